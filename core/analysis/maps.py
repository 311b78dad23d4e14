"""Statistics of HL maps as they are stored, 0-65535 for 0-1."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LEVELS = 65536


class MapFigures(NamedTuple):
    """Of the pixels of one map or many: mean, 1st, 50th and 99th percentile, 0-1 each; and the
    share of the pixels above 0.5."""

    mean: float
    low: float
    median: float
    high: float
    hard: float


class Histogram:
    """Pixels of maps, one map after the other: exact at any number of them, in constant memory."""

    def __init__(self) -> None:
        self._counts = np.zeros(LEVELS, np.int64)

    @property
    def pixels(self) -> int:
        return int(self._counts.sum())

    def add(self, values: np.ndarray) -> None:
        """A map, (H, W) uint16."""
        self._counts += np.bincount(values.ravel(), minlength=LEVELS)

    def figures(self) -> MapFigures:
        """Of all pixels; a percentile q is the least value that q % of the pixels do not exceed.

        Raises:
            ValueError: there is no pixel.
        """
        total = self.pixels
        if not total:
            raise ValueError("no pixel was added")
        values = np.arange(LEVELS) / (LEVELS - 1)
        below = np.cumsum(self._counts)
        at = [int(np.searchsorted(below, q * total)) for q in (0.01, 0.5, 0.99)]
        return MapFigures(float(values @ self._counts / total), *values[at].tolist(),
                          float(self._counts[values > 0.5].sum() / total))  # fmt: skip
