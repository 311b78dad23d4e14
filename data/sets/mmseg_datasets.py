"""Data sets of ours as mmseg data sets, apart from their other files: those are quick to import."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from data.checks import stems
from data.errors import DataError
from data.sets import camvid, cityscapes, gtav, mapillary, totaltext


@DATASETS.register_module()
class CamVidDataset(BaseSegDataset):
    """mmseg data set of the layout of :mod:`data.sets.camvid`.

    The stored labels have a twelfth class, void; asking for the eleven makes mmseg map it to
    ``ignore_index`` when it reads a label, in training and in evaluation.

    ``filter_cfg=dict(sequences=("0006R0",))`` keeps the images of these sequences (the start of a
    file's name): day and dusk are a domain shift with the same classes.
    """

    METAINFO: ClassVar[dict] = dict(
        classes=(*camvid.CLASSES, "void"), palette=[*map(list, camvid.PALETTE), [0, 0, 0]]
    )

    def __init__(
        self, img_suffix: str | None = None, seg_map_suffix: str = ".png", **kwargs
    ) -> None:
        kwargs.setdefault("metainfo", dict(classes=camvid.CLASSES))
        self.any_suffix = img_suffix is None  # ".jpg", or ".png" where there is none
        super().__init__(img_suffix=img_suffix or ".jpg", seg_map_suffix=seg_map_suffix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """The pairs of the split, whose images are all JPEG or all PNG."""
        folder = Path(self.data_prefix["img_path"])
        if self.any_suffix and not stems(folder, ".jpg") and stems(folder, ".png"):
            self.img_suffix = ".png"
        return super().load_data_list()

    @staticmethod
    def plain(dataset: dict) -> dict:
        """The config of the data set in mmseg's own terms, for a process without this class: void
        is a class that is ignored."""
        return _plain(dataset, CamVidDataset, ignore_index=len(camvid.CLASSES))

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


@DATASETS.register_module()
class GTAVDataset(BaseSegDataset):
    """mmseg data set of the layout of :mod:`data.sets.gtav`, converted.

    Args:
        split: see :func:`data.sets.gtav.names`.
    """

    METAINFO: ClassVar[dict] = dict(classes=cityscapes.CLASSES, palette=cityscapes.PALETTE)

    def __init__(
        self,
        split: str = "all",
        img_suffix: str = ".png",
        seg_map_suffix: str = ".png",
        data_prefix: dict | None = None,
        **kwargs,
    ) -> None:
        self.split = split
        super().__init__(
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            data_prefix=data_prefix or dict(img_path=gtav.IMAGES, seg_map_path=gtav.TRAIN_IDS),
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """The pairs of the split.

        Raises:
            DataError: see :func:`data.sets.gtav.names`.
        """
        return [
            dict(
                img_path=os.path.join(self.data_prefix["img_path"], name + self.img_suffix),
                seg_map_path=os.path.join(
                    self.data_prefix["seg_map_path"], name + self.seg_map_suffix
                ),
                label_map=self.label_map,
                reduce_zero_label=self.reduce_zero_label,
                seg_fields=[],
            )
            for name in gtav.names(self.data_root, self.split)
        ]


@DATASETS.register_module()
class MapillaryDataset(BaseSegDataset):
    """mmseg data set of the layout of :mod:`data.sets.mapillary`; its labels are mapped to the 19
    classes and 255 when they are read."""

    METAINFO: ClassVar[dict] = dict(classes=cityscapes.CLASSES, palette=cityscapes.PALETTE)

    def __init__(self, img_suffix: str = ".jpg", seg_map_suffix: str = ".png", **kwargs) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)

    @classmethod
    def get_label_map(cls, new_classes: Sequence | None = None) -> dict[int, int]:
        """trainId (0-18, 255) by id."""
        return mapillary.ID_TO_TRAIN_ID


@DATASETS.register_module()
class TotalTextDataset(BaseSegDataset):
    """mmseg data set of what :mod:`data.sets.totaltext` writes."""

    METAINFO: ClassVar[dict] = dict(classes=totaltext.CLASSES, palette=totaltext.PALETTE)

    def __init__(self, img_suffix: str = ".jpg", seg_map_suffix: str = ".png", **kwargs) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)

    @staticmethod
    def plain(dataset: dict) -> dict:
        """The config of the data set in mmseg's own terms, for a process without this class."""
        return _plain(dataset, TotalTextDataset)


def _plain(dataset: dict, cls: type[BaseSegDataset], **more: int) -> dict:
    suffixes = dict(img_suffix=".jpg", seg_map_suffix=".png")
    metainfo = {key: [*map(list, v)] if key == "palette" else list(v)
                for key, v in cls.METAINFO.items()}  # fmt: skip
    return dict(suffixes) | dataset | dict(type="BaseSegDataset", metainfo=metainfo, **more)
