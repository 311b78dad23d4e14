"""CamVid as an mmseg data set. Apart from :mod:`data.camvid`, which must be quick to import."""

from __future__ import annotations

from typing import ClassVar

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from data.camvid import CLASSES, PALETTE


@DATASETS.register_module()
class CamVidDataset(BaseSegDataset):
    """mmseg data set of the layout above.

    The stored labels have a twelfth class, void; asking for the eleven makes mmseg map it to
    ``ignore_index`` when it reads a label, in training and in evaluation.
    """

    METAINFO: ClassVar[dict] = dict(
        classes=(*CLASSES, "void"), palette=[*map(list, PALETTE), [0, 0, 0]]
    )

    def __init__(self, img_suffix: str = ".jpg", seg_map_suffix: str = ".png", **kwargs) -> None:
        kwargs.setdefault("metainfo", dict(classes=CLASSES))
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
