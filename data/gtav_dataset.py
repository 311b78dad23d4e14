"""GTAV as an mmseg data set. Apart from :mod:`data.gtav`, which must be quick to import."""

from __future__ import annotations

import os
from typing import ClassVar

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from data.cityscapes import CLASSES, PALETTE
from data.gtav import IMAGES, TRAIN_IDS, names


@DATASETS.register_module()
class GTAVDataset(BaseSegDataset):
    """mmseg data set of the layout of :mod:`data.gtav`, converted.

    Args:
        split: see :func:`data.gtav.names`.
    """

    METAINFO: ClassVar[dict] = dict(classes=CLASSES, palette=PALETTE)

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
            data_prefix=data_prefix or dict(img_path=IMAGES, seg_map_path=TRAIN_IDS),
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """The pairs of the split.

        Raises:
            DataError: see :func:`data.gtav.names`.
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
            for name in names(self.data_root, self.split)
        ]
