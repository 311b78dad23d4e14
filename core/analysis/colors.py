"""Label, error and hardness maps as pictures."""

from __future__ import annotations

import numpy as np

# Anchors of a perceptually even ramp from dark blue over red to pale yellow, RGB 0-255.
_RAMP = np.array(
    [(4, 6, 40), (58, 12, 96), (124, 28, 109), (188, 55, 84), (237, 105, 37), (251, 180, 26),
     (252, 255, 164)], dtype=float)  # fmt: skip
# Of an error map, RGB 0-255: apart in brightness and, for all eyes, in hue (blue and orange).
RIGHT, WRONG = (44, 58, 84), (255, 176, 0)


def color_labels(label: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Labels (H, W) as RGB (H, W, 3) uint8; what lies outside the palette (void) is black."""
    table = np.zeros((256, 3), dtype=np.uint8)
    table[: len(palette)] = palette
    return table[np.clip(label, 0, 255)]


def ramp_hex() -> list[str]:
    """The anchors of the ramp of :func:`color_hardness`, from low to high, as ``#rrggbb``."""
    return ["#" + "".join(f"{int(x):02x}" for x in color) for color in _RAMP]


def color_hardness(scores: np.ndarray) -> np.ndarray:
    """``sigmoid(D)`` of Eq. 1, (H, W), 0-1, as RGB (H, W, 3) uint8: dark is easy, bright is hard.

    The ramp is the same for all maps, so that a flat one looks flat.
    """
    t = np.clip(scores, 0, 1) * (len(_RAMP) - 1)
    steps = np.arange(len(_RAMP))
    return np.stack([np.interp(t, steps, _RAMP[:, k]) for k in range(3)], axis=-1).astype(np.uint8)


def color_errors(label: np.ndarray, pred: np.ndarray, classes: int) -> np.ndarray:
    """Where a prediction is :data:`WRONG`, and where :data:`RIGHT`: both (H, W), as RGB (H, W, 3)
    uint8; where the label is none of so many classes (void) it is black."""
    right = np.where((label == pred)[..., None], np.uint8(RIGHT), np.uint8(WRONG))
    return right * ((label >= 0) & (label < classes))[..., None]


def panel(pictures: dict[str, np.ndarray], gap: int = 4) -> np.ndarray:
    """Pictures (H, W, 3) of one size side by side on white, in the order given."""
    height = next(iter(pictures.values())).shape[0]
    spacer = np.full((height, gap, 3), 255, dtype=np.uint8)
    row = [part for picture in pictures.values() for part in (spacer, picture)][1:]
    return np.concatenate(row, axis=1)
