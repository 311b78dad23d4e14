"""Pixels by decreasing hardness: subsets of equal size over a whole set of images (Figure 4 of the
paper), and how well a score tells loss and errors.

The images are looked at one after another and memory does not grow with their number: what is kept
are counts, by score in :data:`BINS` steps of its logit between -16 and 16. (Steps of the score
itself would throw the easy half of a sharp map, all below 0.001, into one.)
"""

from __future__ import annotations

import numpy as np

from core.analysis.strength import auc

BINS = 2**16
COARSE = 512  # steps of the logit for the joint counts that a rank correlation is of
NONE = -1  # the subset of a pixel that is not valid
_END = 16.0  # of the logits: beyond, float32 knows no 1 - sigmoid


def score_bins(scores: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Of scores of 0-1, any shape: the step of the logit in which each lies, int64, 0 to
    ``bins`` - 1."""
    x = np.clip(np.asarray(scores, dtype=np.float64), 1e-12, 1 - 1e-12)
    return _steps(np.log(x) - np.log1p(-x), bins)


def loss_bins(loss: np.ndarray, bins: int = COARSE) -> np.ndarray:
    """Of cross-entropies, >= 0: the step of the logit of 1 - p(label), as :func:`score_bins`."""
    x = np.clip(np.asarray(loss, dtype=np.float64), 1e-12, 700)
    return _steps(np.log(np.expm1(x)), bins)


def _steps(logit: np.ndarray, bins: int) -> np.ndarray:
    step = np.floor((logit + _END) * (bins / (2 * _END))).astype(np.int64)
    return np.clip(step, 0, bins - 1)


class HardnessSubsets:
    """Parts all valid pixels of a set, of all images together, into subsets of decreasing hardness.

    Two passes over the same images in the same order: :meth:`count` of each, then :meth:`of` each.
    Every valid pixel is in one subset, and the sizes of the subsets differ by one at most. Pixels
    whose scores share a step, 1 / 2048 of a logit, go by the order of the images and, within one,
    of its rows.

    Args:
        subsets: how many; 10 are deciles.
    """

    def __init__(self, subsets: int = 10) -> None:
        self.subsets = subsets
        self._counts = np.zeros(BINS, dtype=np.int64)
        self._next: np.ndarray | None = None  # rank of the next pixel of each step, 0 the hardest

    @property
    def total(self) -> int:
        """Valid pixels that were counted."""
        return int(self._counts.sum())

    def count(self, scores: np.ndarray, valid: np.ndarray) -> None:
        """First pass. ``scores``: sigmoid(D), (H, W), 0-1; ``valid``: bool, (H, W)."""
        self._counts += np.bincount(score_bins(scores[valid]), minlength=BINS)
        self._next = None

    def of(self, scores: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Second pass: the subset of each pixel, (H, W) int64, 0 holds the hardest; :data:`NONE`
        where not valid.

        Raises:
            ValueError: there are pixels that were not counted: it is another image.
        """
        if self._next is None:
            harder = self._counts[::-1].cumsum()[::-1] - self._counts
            self._next, self._end = harder.copy(), harder + self._counts
        bins = score_bins(scores[valid])
        order = np.argsort(bins, kind="stable")
        here = np.bincount(bins, minlength=BINS)
        if (self._next + here > self._end).any():
            raise ValueError("an image has other scores than when they were counted")
        # The place of each pixel among those of its step in this image.
        first = (here.cumsum() - here)[bins[order]]
        rank = np.empty(len(bins), dtype=np.int64)
        rank[order] = self._next[bins[order]] + np.arange(len(bins)) - first
        self._next += here
        found = np.full(valid.shape, NONE, dtype=np.int64)
        found[valid] = rank * self.subsets // self.total
        return found


class SubsetMeter:
    """How one model predicts subsets of the pixels, image by image.

    The IoU of a class counts labels and predictions on the pixels of the subset alone, and mIoU is
    the mean over the classes that the labels hold there.

    Args:
        subsets: how many.
        num_classes: C.
    """

    def __init__(self, subsets: int, num_classes: int) -> None:
        self.num_classes = num_classes
        self.matrices = np.zeros((subsets, num_classes, num_classes), dtype=np.int64)
        self._loss = np.zeros(subsets)

    def add(
        self, subset: np.ndarray, label: np.ndarray, pred: np.ndarray, pixel_loss: np.ndarray
    ) -> None:
        """An image; all (H, W). ``subset``: of each pixel, :data:`NONE`: none; ``label`` and
        ``pred``: 0 to C - 1 where there is one; ``pixel_loss``: cross-entropy."""
        inside = subset != NONE
        subset, n = subset[inside], self.num_classes
        cell = (subset * n + label[inside]) * n + pred[inside]
        shape = self.matrices.shape
        self.matrices += np.bincount(cell, minlength=self.matrices.size).reshape(shape)
        self._loss += np.bincount(subset, pixel_loss[inside], minlength=len(self._loss))

    def result(self) -> dict[str, list[float | None]]:
        """Lists, one value a subset: ``miou``, ``accuracy`` and ``loss`` (mean cross-entropy) of
        each; ``miou_from`` of it and all easier ones; None where there is no pixel. And
        ``pixels``, how many it holds, and ``classes``, how many of them its labels hold."""
        sizes = self.matrices.sum(axis=(1, 2))
        easier = self.matrices[::-1].cumsum(axis=0)[::-1]
        right = self.matrices.diagonal(axis1=1, axis2=2).sum(axis=1)
        return dict(
            miou=[_miou(m) for m in self.matrices],
            miou_from=[_miou(m) for m in easier],
            accuracy=_ratios(right, sizes),
            loss=_ratios(self._loss, sizes),
            pixels=sizes.tolist(),
            classes=(self.matrices.sum(axis=2) > 0).sum(axis=1).tolist(),
        )


class ScoreMeter:
    """How well a score of 0-1 tells where a model's loss is high, and where it is wrong.

    Two figures over all pixels of all images: ``rank``, Spearman's correlation of score and
    cross-entropy, from joint counts in :data:`COARSE` x :data:`COARSE` steps (values that share a
    step count as ties, which moves it by less than 0.01); and ``auc``, the probability that a wrong
    pixel scores higher than a right one, where values that share one of :data:`BINS` steps count
    half.
    """

    def __init__(self) -> None:
        self._joint = np.zeros((COARSE, COARSE), dtype=np.int64)
        self._of_wrong = np.zeros((2, BINS), dtype=np.int64)

    def add(self, scores: np.ndarray, pixel_loss: np.ndarray, wrong: np.ndarray) -> None:
        """Pixels, all of one shape: scores of 0-1, cross-entropies >= 0, and bool."""
        bins = score_bins(scores).ravel()
        cell = bins // (BINS // COARSE) * COARSE + loss_bins(pixel_loss).ravel()
        self._joint += np.bincount(cell, minlength=COARSE**2).reshape(COARSE, COARSE)
        both = np.bincount(bins + BINS * wrong.ravel(), minlength=2 * BINS)
        self._of_wrong += both.reshape(2, BINS)

    def result(self) -> dict[str, float | None]:
        """``rank`` and ``auc``; None where it cannot be told, as without a wrong pixel."""
        return dict(rank=self._rank(), auc=auc(*self._of_wrong))

    def _rank(self) -> float | None:
        joint = self._joint.astype(np.float64)
        total = joint.sum()
        if not total:
            return None
        rows, columns = joint.sum(axis=1), joint.sum(axis=0)
        x = (rows.cumsum() - (rows - 1) / 2) - (total + 1) / 2
        y = (columns.cumsum() - (columns - 1) / 2) - (total + 1) / 2
        spread = (rows @ x**2) * (columns @ y**2)
        return float(x @ joint @ y / np.sqrt(spread)) if spread > 0 else None


def _miou(matrix: np.ndarray) -> float | None:
    labeled = matrix.sum(axis=1)
    held = labeled > 0
    if not held.any():
        return None
    right = matrix.diagonal()
    return float((right / (labeled + matrix.sum(axis=0) - right).clip(1))[held].mean())


def _ratios(sums: np.ndarray, sizes: np.ndarray) -> list[float | None]:
    return [float(x / n) if n else None for x, n in zip(sums, sizes, strict=True)]
