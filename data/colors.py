"""Colours of labels to ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from data.errors import DataError

_PACK = np.array([65536, 256, 1], np.uint32)


class Colors:
    """Which id each colour stands for.

    Args:
        ids: id (0-255) by (red, green, blue).
    """

    def __init__(self, ids: Mapping[Sequence[int], int]) -> None:
        packed = {int(np.array(color, np.uint32) @ _PACK): i for color, i in ids.items()}
        self._colors = np.array(sorted(packed), np.uint32)  # 0xRRGGBB, to be searched in
        self._ids = np.array([packed[color] for color in sorted(packed)], np.uint8)

    def ids(self, label: np.ndarray) -> np.ndarray:
        """Colours (H, W, 3 or 4) uint8, RGB or RGBA, as ids (H, W) uint8.

        Raises:
            DataError: a colour that stands for nothing.
        """
        packed = label[..., :3] @ _PACK
        place = np.searchsorted(self._colors, packed).clip(max=len(self._colors) - 1)
        known = self._colors[place] == packed
        if not known.all():
            present, counts = np.unique(packed[~known], return_counts=True)
            refuse("colour", [f"({c >> 16}, {c >> 8 & 255}, {c & 255})" for c in present], counts)
        return self._ids[place]


def refuse(kind: str, values: Sequence[str], counts: np.ndarray) -> None:
    """Name the first of ``values``, if there are any.

    Raises:
        DataError: there are.
    """
    if values:
        more = f" and {len(values) - 1} more" if values[1:] else ""
        raise DataError(f"unknown {kind} {values[0]} ({counts[0]} pixels){more}")
