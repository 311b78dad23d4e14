"""A tiny GTAV and a tiny Cityscapes in their published formats, and a CamVid with its sequences."""

import cv2
import numpy as np
import pytest
from PIL import Image

from data.sets.cityscapes import LABEL_COLORS


def _scene(rng, width, height):
    """labelIds in blocks, and an image whose colours tell them."""
    ids = rng.choice([7, 8, 11, 21, 23, 26], (3, 4))
    ids = np.kron(ids, np.ones((height // 3, width // 4))).astype(np.uint8)
    image = np.array(LABEL_COLORS, np.uint8)[ids] // 2 + rng.integers(0, 40, (*ids.shape, 3))
    return image.astype(np.uint8), ids


def _write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), array)


@pytest.fixture(scope="session")
def gtav(tmp_path_factory):
    root = tmp_path_factory.mktemp("gtav")
    rng = np.random.default_rng(0)
    (root / "labels").mkdir()
    for i in range(1, 7):
        image, ids = _scene(rng, 160, 90)
        _write(root / f"images/{i:05d}.png", image)
        label = Image.fromarray(ids)
        label.putpalette([v for color in LABEL_COLORS for v in color])
        label.save(root / f"labels/{i:05d}.png")
    (root / "train.txt").write_text("00001\n00002\n00003\n00004\n")
    (root / "val.txt").write_text("00005\n00006\n")
    return root


@pytest.fixture(scope="session")
def cityscapes(tmp_path_factory):
    root = tmp_path_factory.mktemp("cityscapes")
    rng = np.random.default_rng(1)
    for split, city, count in (("train", "aachen", 1), ("val", "ulm", 3)):
        for i in range(count):
            image, ids = _scene(rng, 256, 126)
            stem = f"{city}/{city}_{i:06d}_000019"
            _write(root / f"leftImg8bit/{split}/{stem}_leftImg8bit.png", image)
            _write(root / f"gtFine/{split}/{stem}_gtFine_labelIds.png", ids)
    return root


@pytest.fixture(scope="session")
def sequences(tmp_path_factory):
    """CamVid by day and at dusk."""
    root = tmp_path_factory.mktemp("sequences")
    rng = np.random.default_rng(2)
    for split, names in (
        ("train", ("0006R0_1", "0006R0_2", "0016E5_1", "0016E5_2", "0001TP_1", "0001TP_2")),
        ("val", ("0016E5_3",)),
    ):
        for name in names:
            label = np.kron(rng.integers(0, 12, (3, 4)), np.ones((60, 60))).astype(np.uint8)
            light = 0.3 if name.startswith("0001TP") else 1.0
            image = (label[..., None] * 20 + rng.integers(0, 30, (180, 240, 3))) * light
            _write(root / f"images/{split}/{name}.jpg", image.astype(np.uint8))
            _write(root / f"labels/{split}/{name}.png", label)
    return root
