"""Tiny data sets in the published layouts."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest


def _write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array)


@pytest.fixture
def fake_cityscapes(tmp_path) -> Callable[..., Path]:
    """``fake_cityscapes(count)``: a root with labelIds only, as Cityscapes is downloaded."""

    def make(count: int = 3) -> Path:
        rng = np.random.default_rng(0)
        for split, city in (("train", "aachen"), ("val", "ulm")):
            for i in range(count):
                stem = f"{city}_{i:06d}_000019"
                image = rng.integers(0, 255, (16, 32, 3), dtype=np.uint8)
                ids = rng.integers(0, 34, (16, 32)).astype(np.uint8)
                ids.flat[:34] = np.arange(34)
                _write(tmp_path / f"leftImg8bit/{split}/{city}/{stem}_leftImg8bit.png", image)
                _write(tmp_path / f"gtFine/{split}/{city}/{stem}_gtFine_labelIds.png", ids)
        return tmp_path

    return make


@pytest.fixture
def fake_camvid(tmp_path) -> Path:
    """A root in CamVid's layout, all 12 ids in every label."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for i in range(3):
            name = f"0016E5_{i:05d}"
            image = rng.integers(0, 255, (36, 48, 3), dtype=np.uint8)
            label = rng.integers(0, 12, (36, 48)).astype(np.uint8)
            label.flat[:12] = np.arange(12)
            _write(tmp_path / f"images/{split}/{name}.jpg", image)
            _write(tmp_path / f"labels/{split}/{name}.png", label)
    return tmp_path
