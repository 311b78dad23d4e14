"""CamVid in its 11-class form (Brostow et al., "Semantic object classes in video", 2008).

On disk: ``images/<split>/NAME.jpg`` and ``labels/<split>/NAME.png``, 8-bit, 0-10 and 11 for void.
"""

from __future__ import annotations

from typing import ClassVar

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

CLASSES = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car",
           "pedestrian", "bicyclist")  # fmt: skip
PALETTE = ((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (0, 0, 192),
           (128, 128, 0), (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0),
           (0, 128, 192))  # fmt: skip
VOID = 11


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
