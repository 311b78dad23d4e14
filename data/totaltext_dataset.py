"""Total-Text as an mmseg data set, apart from :mod:`data.totaltext`: that is quick to import."""

from __future__ import annotations

from typing import ClassVar

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from data.totaltext import CLASSES, PALETTE


@DATASETS.register_module()
class TotalTextDataset(BaseSegDataset):
    """mmseg data set of what :mod:`data.totaltext` writes."""

    METAINFO: ClassVar[dict] = dict(classes=CLASSES, palette=PALETTE)

    def __init__(self, img_suffix: str = ".jpg", seg_map_suffix: str = ".png", **kwargs) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
