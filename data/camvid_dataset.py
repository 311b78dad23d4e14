"""CamVid as an mmseg data set. Apart from :mod:`data.camvid`, which must be quick to import."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from data.camvid import CLASSES, PALETTE
from data.errors import DataError


@DATASETS.register_module()
class CamVidDataset(BaseSegDataset):
    """mmseg data set of the layout of :mod:`data.camvid`.

    The stored labels have a twelfth class, void; asking for the eleven makes mmseg map it to
    ``ignore_index`` when it reads a label, in training and in evaluation.

    ``filter_cfg=dict(sequences=("0006R0",))`` keeps the images of these sequences (the start of a
    file's name): day and dusk are a domain shift with the same classes.
    """

    METAINFO: ClassVar[dict] = dict(
        classes=(*CLASSES, "void"), palette=[*map(list, PALETTE), [0, 0, 0]]
    )

    def __init__(self, img_suffix: str = ".jpg", seg_map_suffix: str = ".png", **kwargs) -> None:
        kwargs.setdefault("metainfo", dict(classes=CLASSES))
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)

    def filter_data(self) -> list[dict]:
        """The images of the sequences asked for, all by default.

        Raises:
            DataError: there is none of them.
        """
        if not self.filter_cfg:
            return self.data_list
        sequences = tuple(self.filter_cfg["sequences"])
        kept = [x for x in self.data_list if Path(x["img_path"]).name.startswith(sequences)]
        if not kept:
            folder = self.data_prefix["img_path"]
            raise DataError(f"no image of the sequences {', '.join(sequences)} in {folder}")
        return kept
