"""Label and hardness maps as pictures."""

from __future__ import annotations

import numpy as np

# Anchors of a perceptually even ramp from dark blue over red to pale yellow, RGB 0-255.
_RAMP = np.array(
    [(4, 6, 40), (58, 12, 96), (124, 28, 109), (188, 55, 84), (237, 105, 37), (251, 180, 26),
     (252, 255, 164)], dtype=float)  # fmt: skip


def color_labels(label: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Labels (H, W) as RGB (H, W, 3) uint8; what lies outside the palette (void) is black."""
    table = np.zeros((256, 3), dtype=np.uint8)
    table[: len(palette)] = palette
    return table[np.clip(label, 0, 255)]


def ramp_hex() -> list[str]:
    """The anchors of the ramp of :func:`color_hardness`, from low to high, as ``#rrggbb``."""
    return ["#" + "".join(f"{int(x):02x}" for x in color) for color in _RAMP]


def color_hardness(hl_map: np.ndarray) -> np.ndarray:
    """HL map (H, W), any scale, as RGB (H, W, 3) uint8: dark is easy, bright is hard.

    The ramp runs from the smallest value to the 99.5th percentile: a few peaks would else leave
    the rest dark.
    """
    low, high = float(hl_map.min()), float(np.percentile(hl_map, 99.5))
    t = np.clip((hl_map - low) / max(high - low, 1e-12), 0, 1) * (len(_RAMP) - 1)
    steps = np.arange(len(_RAMP))
    return np.stack([np.interp(t, steps, _RAMP[:, k]) for k in range(3)], axis=-1).astype(np.uint8)


def panel(pictures: dict[str, np.ndarray], gap: int = 4) -> np.ndarray:
    """Pictures (H, W, 3) of one size side by side on white, in the order given."""
    height = next(iter(pictures.values())).shape[0]
    spacer = np.full((height, gap, 3), 255, dtype=np.uint8)
    row = [part for picture in pictures.values() for part in (spacer, picture)][1:]
    return np.concatenate(row, axis=1)
