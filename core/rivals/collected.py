"""Collected hardness: maps that one trained model wrote weight the pixels of another.

A map is a 16-bit PNG of its image's size, 0-65535 for ``sigmoid(D)`` of Eq. 1 from 0 to 1: the
constant c and the sum come in training, on the crop. It travels through mmseg's own transforms as
one more of the ``seg_fields``, so that it is resized (to the nearest), cropped and flipped as the
label is.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import PixelData
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS
from torch import Tensor

from core.errors import MapError

FULL = 65535
_PNG_END = b"IEND\xaeB`\x82"


def map_path(folder: str | Path, root: str | Path, image: str | Path) -> Path:
    """Where the map of an image lies: under its own path below the data set's root."""
    image, root = Path(image), Path(root)
    inside = image.relative_to(root) if image.is_relative_to(root) else Path(image.name)
    return Path(folder) / inside.with_suffix(".png")


def encode(scores: Tensor) -> bytes:
    """A map (H, W), 0-1, as a 16-bit PNG."""
    values = (scores.float().clamp(0, 1) * FULL).round().cpu().numpy().astype(np.uint16)
    done, data = cv2.imencode(".png", values)
    if not done:
        raise OSError("OpenCV could not encode a PNG")
    return data.tobytes()


def decode(path: str | Path) -> np.ndarray:
    """A map as stored, (H, W) uint16.

    Raises:
        MapError: it is missing or not a whole 16-bit PNG of one channel.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise MapError(
            f"{path}: no hardness map; collect the maps of this data set first"
        ) from error
    values = None
    if data.endswith(_PNG_END):  # OpenCV would decode what is left of a PNG that was cut
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.ndim != 2:
        raise MapError(f"{path}: not a whole 16-bit map; delete it and collect it again")
    return values


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
