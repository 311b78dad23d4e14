"""Candidates for label errors: regions where a model disagrees with the label, and their scores.

Rottmann and Reese (arXiv 2207.06104) rank connected components of confident disagreement, too.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar

import cv2
import numpy as np
from skimage.measure import label as components

BORDER = 2  # pixels from a class boundary within which annotators and models are never sure
MIN_AREA = 20  # pixels


class Candidates(NamedTuple):
    """Regions of one image, in the order of their first pixels, row by row.

    ``ids``: (H, W) int32, 0 or the number of the region, from 1. ``box``: (n, 4) x, y, width,
    height. ``area``: (n,) pixels. ``given``, ``suggested``: (n,) classes. ``confusion``: (C, C)
    pixels by given and predicted class, where there is a label. ``border``: of those that disagree,
    how many lie at a class boundary and so belong to no region.
    """

    ids: np.ndarray
    box: np.ndarray
    area: np.ndarray
    given: np.ndarray
    suggested: np.ndarray
    confusion: np.ndarray
    border: int

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Mean over each region, (n,) float64, of values (H, W)."""
        sums = np.bincount(self.ids.ravel(), np.asarray(values, np.float64).ravel(),
                           minlength=len(self.area) + 1)  # fmt: skip
        return sums[1:] / np.maximum(self.area, 1)


def near_boundary(label: np.ndarray, reach: int = BORDER) -> np.ndarray:
    """Where another value of the label, void too, is at most ``reach`` rows and columns away:
    (H, W) bool."""
    values = np.asarray(label).astype(np.float32)  # ids far below 2**24 are exact
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    return cv2.dilate(values, kernel) != cv2.erode(values, kernel)


def candidates(
    label: np.ndarray,
    pred: np.ndarray,
    num_classes: int,
    *,
    min_area: int = MIN_AREA,
    border: int = BORDER,
    classes: Iterable[int] | None = None,
) -> Candidates:
    """Connected regions (8 neighbours) in which label and prediction are one pair of different
    classes, away from the boundaries of the label.

    Args:
        label, pred: (H, W), integer; where the label is not 0..num_classes-1 nothing is compared.
        min_area: pixels of a region, at least.
        border: see :func:`near_boundary`.
        classes: only regions whose given or suggested class is one of these.

    Raises:
        ValueError: shapes differ.
    """
    label, pred = np.asarray(label).astype(np.int64), np.asarray(pred).astype(np.int64)
    if label.shape != pred.shape or label.ndim != 2:
        raise ValueError(f"label and pred must be (H, W), got {label.shape} and {pred.shape}")
    valid = (label >= 0) & (label < num_classes)
    differ = valid & (label != pred)
    inside = differ & ~near_boundary(np.where(valid, label, -1), border)
    pair = np.where(inside, 1 + label * num_classes + pred, 0)
    if classes is not None:
        wanted = np.zeros(num_classes + 1, bool)
        wanted[list(classes)] = True
        pair *= wanted[np.where(valid, label, -1)] | wanted[pred]
    ids = components(pair, background=0, connectivity=2)
    area = np.bincount(ids.ravel())
    kept = np.flatnonzero(area >= min_area)
    kept = kept[kept > 0]
    renumber = np.zeros(len(area), np.int32)
    renumber[kept] = np.arange(1, len(kept) + 1)
    ids = renumber[ids]
    y, x = np.nonzero(ids)
    of = ids[y, x] - 1
    low, high = np.full((2, len(kept)), 2**31), np.full((2, len(kept)), -1)
    for axis, at in enumerate((x, y)):
        np.minimum.at(low[axis], of, at)
        np.maximum.at(high[axis], of, at)
    given, suggested = np.zeros((2, len(kept)), np.int64)
    given[of], suggested[of] = label[y, x], pred[y, x]
    box = np.concatenate([low, high - low + 1]).T
    pairs = label[valid] * num_classes + pred[valid]
    confusion = np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
    return Candidates(ids, box, area[kept], given, suggested, confusion,
                      int(differ.sum() - inside.sum()))  # fmt: skip


BASIC = ("hardness", "label-error", "loss", "entropy", "margin", "p-label")
BY = (*BASIC, "surprise")


class Means(NamedTuple):
    """Means over each region, (n,), all the larger, the more there is to look at.

    ``hardness``: sigmoid(D), 0-1, NaN without a map. ``label_error``: p(suggested) - p(given),
    0-1. ``loss``: -ln p(given). ``entropy``: 0 to ln C. ``margin``: one minus the difference of the
    two largest p, 0-1. ``p_label``: 1 - p(given), 0-1.
    """

    hardness: np.ndarray
    label_error: np.ndarray
    loss: np.ndarray
    entropy: np.ndarray
    margin: np.ndarray
    p_label: np.ndarray


def rarity(confusion: np.ndarray) -> np.ndarray:
    """-ln P(suggested | given), (C, C) >= 0: how rarely pixels of a given class are predicted so.

    Args:
        confusion: (C, C) pixels by given and predicted class, of all images; one pixel more is
            counted for each pair.
    """
    counts = np.asarray(confusion, np.float64) + 1
    return -np.log(counts / counts.sum(1, keepdims=True))


def parts_of(by: str) -> tuple[str, ...]:
    """The factors of a choice such as ``hardness*loss``.

    Raises:
        ValueError: one is not in :data:`BY`, or comes twice.
    """
    parts = tuple(by.split("*"))
    if set(parts) - set(BY) or len(set(parts)) < len(parts):
        raise ValueError(f"{by}: give one of {', '.join(BY)}, or a product such as hardness*loss")
    return parts


def score(by: str, means: Means, rare: np.ndarray | float) -> np.ndarray:
    """The score of each region, (n,).

    ``surprise`` is the loss plus half the rarity of the swap. Under a model that is right, the
    first is how improbable the given label is here, the second how improbable its confusion is
    anywhere: what the model confuses all the time comes late. Half of it did better than the whole
    on planted errors, see ``benchmarks/label_errors.py``.

    Args:
        by: see :func:`parts_of`.
        rare: of :func:`rarity`, (n,) for the pair of each region.
    """
    result = np.ones(np.shape(means.loss))
    for part in parts_of(by):
        if part == "surprise":
            result = result * (means.loss + 0.5 * np.asarray(rare))
        else:
            result = result * getattr(means, part.replace("-", "_"))
    return result


T = TypeVar("T")


class Best(Generic[T]):
    """The ``count`` best of many, of equal scores those that came first; holds no more."""

    def __init__(self, count: int) -> None:
        self.count, self._heap, self._came = count, [], 0

    def add(self, score: float, item: T) -> None:
        self._came += 1
        entry = (score, -self._came, item)
        if len(self._heap) < self.count:
            heapq.heappush(self._heap, entry)
        elif entry[:2] > self._heap[0][:2]:
            heapq.heapreplace(self._heap, entry)

    def sorted(self) -> list[tuple[float, T]]:
        """Score and item, the best first."""
        return [(s, item) for s, _, item in sorted(self._heap, key=lambda e: e[:2], reverse=True)]


def swaps(rows: Mapping[tuple[int, int], tuple[int, int]]) -> list[tuple[int, int, int, int]]:
    """Given, suggested, regions, pixels: by pixels, most first; ties by class."""
    return sorted(((g, s, n, a) for (g, s), (n, a) in rows.items()), key=lambda r: (-r[3], *r[:2]))
