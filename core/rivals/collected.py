"""Collected hardness: maps that one trained model wrote weight the pixels of another.

A map is a file of :mod:`core.maps`: the constant c and the sum come in training, on the crop. It
travels through mmseg's own transforms as one more of the ``seg_fields``, so that it is resized (to
the nearest), cropped and flipped as the label is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import PixelData
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS

from core.errors import MapError
from core.maps import FULL, decode


def map_path(folder: str | Path, root: str | Path, image: str | Path) -> Path:
    """Where the map of an image lies: under its own path below the data set's root."""
    image, root = Path(image), Path(root)
    inside = image.relative_to(root) if image.is_relative_to(root) else Path(image.name)
    return Path(folder) / inside.with_suffix(".png")


@TRANSFORMS.register_module()
class LoadHardness(BaseTransform):
    """Adds ``gt_hardness``, (H, W) uint16, to an image whose label is loaded.

    Args:
        folder: of the maps.
        root: of the data set; the map of ``<root>/a/b.jpg`` is ``<folder>/a/b.png``.

    Raises:
        MapError: the map is missing, damaged, or of another size than the label.
    """

    def __init__(self, folder: str, root: str) -> None:
        self.folder, self.root = folder, root

    def transform(self, results: dict) -> dict:
        path = map_path(self.folder, self.root, results["img_path"])
        values = decode(path)
        if values.shape != results["gt_seg_map"].shape:
            height, width = results["gt_seg_map"].shape
            raise MapError(
                f"{path}: is {values.shape[1]}x{values.shape[0]}, its image {width}x{height}; "
                "collect the maps of this data set"
            )
        results["gt_hardness"] = values
        results["seg_fields"].append("gt_hardness")
        return results


@TRANSFORMS.register_module()
class PackWithHardness(PackSegInputs):
    """``PackSegInputs`` that keeps the map: ``gt_hardness`` of the sample, (1, H, W) float, 0-1."""

    def transform(self, results: dict) -> dict:
        packed = super().transform(results)
        scores = torch.from_numpy(results["gt_hardness"].astype(np.float32) / FULL)
        packed["data_samples"].set_data(dict(gt_hardness=PixelData(data=scores[None])))
        return packed
