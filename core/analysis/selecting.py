"""Which images to label next: much hard area, in all classes, and no picture twice."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

ALIKE = 0.95  # correlation of thumbnails from which two pictures are near-duplicates
_THUMBNAIL = (16, 12)  # width, height


def thumbnail(image: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) uint8 as 192 grey values, float32, of mean 0 and length 1: the product of
    two is their correlation. A flat picture is all 0."""
    small = cv2.resize(image, _THUMBNAIL, interpolation=cv2.INTER_AREA).mean(-1).ravel()
    small = small - small.mean()
    length = np.linalg.norm(small)
    return (small / length if length > 1e-6 else 0 * small).astype(np.float32)


def choose(
    hard: np.ndarray, thumbnails: np.ndarray, budget: int, *, alike: float = ALIKE
) -> tuple[list[int], int]:
    """Choose images one by one, each the one that adds most to ``sum_c sqrt(A_c)``, A_c the hard
    area predicted as class c in all that are chosen: the root makes the next pixel of a class
    count less, the more of it there is. Of equal ones the first.

    Args:
        hard: (N, C) hard area of each image by predicted class, >= 0, such as the sum of
            ``sigmoid(D)``.
        thumbnails: (N, d) of :func:`thumbnail`.
        budget: how many; all where there are fewer.
        alike: images at least so like one that is chosen are passed over, as long as there are
            others.

    Returns:
        Indices in the order in which they were chosen; and how many of them, at the end, are like
        one before them.
    """
    hard = np.asarray(hard, np.float64)
    area = np.zeros(hard.shape[1])
    free = np.ones(len(hard), bool)
    fresh = free.copy()
    chosen: list[int] = []
    repeated = 0
    for _ in range(min(budget, len(hard))):
        pool = free & fresh
        if not pool.any():
            pool = free
            repeated += 1
        gain = np.sqrt(area + hard).sum(1) - np.sqrt(area).sum()
        best = int(np.where(pool, gain, -1).argmax())
        chosen.append(best)
        area += hard[best]
        free[best] = False
        fresh &= thumbnails @ thumbnails[best] < alike
    return chosen, repeated


def order(values: Sequence[float]) -> list[int]:
    """Indices by value, the largest first, of equal ones the first."""
    return np.argsort(-np.asarray(values, np.float64), kind="stable").tolist()
