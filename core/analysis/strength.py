"""How strong a hardness map is: what it changes in the loss, and whether hard pixels are wrong.

A short training leaves the map nearly flat; its weights are then those of plain cross-entropy, and
a comparison of the two tells nothing. Four numbers say how far a map is from that, over the valid
pixels of many images, with Z = sigmoid(D) + c (Eq. 1) and L the cross-entropy of a pixel:

    gain       mean over the images of sum(Z * L) / sum(Z) (Eq. 4), over that of mean(L); flat: 1
    contrast   of Z, the 99th over the 1st percentile of all pixels; flat: 1, at most (1 + c) / c.
    auc        probability that a wrong pixel is rated harder than a right one, ties count half;
               flat: 0.5.
    rank       Spearman's correlation of Z and L, -1 to 1.

Memory does not grow with the size of images: contrast and auc come from histograms of sigmoid(D) in
steps of 1 / 65535, rank from the pixels on a grid.
"""

from __future__ import annotations

import math

import numpy as np

BINS = 2**16
SAMPLE = 2048  # pixels of an image that rank is of, about; fewer where some are void


class StrengthMeter:
    """Gathers images, one after another.

    Args:
        c: of Eq. 1.
    """

    def __init__(self, c: float = 0.1) -> None:
        self.c = c
        self._means: list[tuple[float, float]] = []  # of each image: weighted and plain
        self._counts = np.zeros((2, BINS), dtype=np.int64)  # of right and of wrong pixels
        self._sample: list[tuple[np.ndarray, np.ndarray]] = []

    def add(
        self, scores: np.ndarray, pixel_loss: np.ndarray, wrong: np.ndarray, valid: np.ndarray
    ) -> None:
        """An image; one without a valid pixel is passed over.

        Args:
            scores: sigmoid(D), (H, W), 0-1.
            pixel_loss: L, (H, W), >= 0; not read where not valid.
            wrong: bool, (H, W), whether the predicted class is another than the label's.
            valid: bool, (H, W).
        """
        if not valid.any():
            return
        z = scores[valid].astype(np.float64)
        loss = pixel_loss[valid].astype(np.float64)
        bins = (z * (BINS - 1)).round().astype(np.int64)
        for row, pixels in zip(self._counts, (~wrong[valid], wrong[valid]), strict=True):
            row += np.bincount(bins[pixels], minlength=BINS)
        z += self.c
        self._means.append((float((z * loss).sum() / z.sum()), float(loss.mean())))
        step = max(1, math.ceil(math.sqrt(valid.size / SAMPLE)))
        grid = np.s_[step // 2 :: step, step // 2 :: step]
        self._sample.append((scores[grid][valid[grid]], pixel_loss[grid][valid[grid]]))

    def result(self) -> dict[str, float | int | None]:
        """``gain``, ``contrast``, ``auc``, ``rank`` and the number of ``images``.

        What cannot be told is None: all without an image, gain where nothing costs anything, auc
        where every pixel is right or every one wrong, rank where Z or L is the same everywhere.
        """
        found = dict(gain=None, contrast=None, auc=None, rank=None)
        if self._means:
            weighted, plain = np.mean(self._means, axis=0)
            found = dict(gain=weighted / plain if plain > 0 else None, contrast=self._contrast(),
                         auc=self._auc(), rank=self._rank())  # fmt: skip
        told = {k: float(x) for k, x in found.items() if x is not None and math.isfinite(x)}
        return {**dict.fromkeys(found), **told, "images": len(self._means)}

    def _contrast(self) -> float:
        below = self._counts.sum(axis=0).cumsum()
        # The smallest value that at least this share of the pixels does not exceed.
        low, high = np.searchsorted(below, (0.01 * below[-1], 0.99 * below[-1])) / (BINS - 1)
        return (high + self.c) / (low + self.c)

    def _auc(self) -> float | None:
        return auc(*self._counts)

    def _rank(self) -> float | None:
        z, loss = (np.concatenate(parts) for parts in zip(*self._sample, strict=True))
        if len(z) < 2 or np.ptp(z) == 0 or np.ptp(loss) == 0:
            return None
        return np.corrcoef(ranks(z), ranks(loss))[0, 1]


def auc(right: np.ndarray, wrong: np.ndarray) -> float | None:
    """Probability that a wrong pixel lies in a higher step than a right one, ties count half; from
    the counts of both by step, (bins,). None without one or the other."""
    right, wrong = right.astype(np.float64), wrong.astype(np.float64)
    if not right.any() or not wrong.any():
        return None
    lower = right.cumsum() - right / 2
    return float(wrong @ lower / (wrong.sum() * right.sum()))


def ranks(x: np.ndarray) -> np.ndarray:
    """Of values, ties in the middle: Spearman's. (scipy.stats takes a second to import.)"""
    _, place, count = np.unique(x, return_inverse=True, return_counts=True)
    return (count.cumsum() - (count - 1) / 2)[place]
