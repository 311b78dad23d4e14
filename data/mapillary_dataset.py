"""Mapillary Vistas as an mmseg data set in Cityscapes' classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from data.cityscapes import CLASSES, PALETTE
from data.mapillary import ID_TO_TRAIN_ID


@DATASETS.register_module()
class MapillaryDataset(BaseSegDataset):
    """mmseg data set of the layout of :mod:`data.mapillary`; labels are mapped when they are read,
    to the 19 classes and 255."""

    METAINFO: ClassVar[dict] = dict(classes=CLASSES, palette=PALETTE)

    def __init__(self, img_suffix: str = ".jpg", seg_map_suffix: str = ".png", **kwargs) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)

    @classmethod
    def get_label_map(cls, new_classes: Sequence | None = None) -> dict[int, int]:
        """trainId (0-18, 255) by id."""
        return ID_TO_TRAIN_ID
