"""How alike two maps of one picture are: SSIM, and correlations of their pixels.

SSIM compares mean, contrast and structure in small windows (Wang, Bovik, Sheikh, Simoncelli, "Image
quality assessment: from error visibility to structural similarity", IEEE TIP 13(4), 2004), here as
published: Gaussian window of 11 x 11 pixels, sigma 1.5, K1 = 0.01, K2 = 0.03, population
covariances, mean over the windows that lie inside. Values are of [0, 1], so the range L is 1.

SSIM of two maps that are nearly flat is close to 1 whatever they show, since their contrast is
small beside the constants: a figure is read beside those of maps that have nothing in common, and
beside the correlations, which do not know the contrast.
"""

from __future__ import annotations

import numpy as np
from skimage.metrics import structural_similarity

from core.analysis.strength import ranks

SIGMA, WINDOW = 1.5, 11  # pixels


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Mean SSIM of two maps (H, W) with values in 0-1; at most 1, which equal maps have.

    Raises:
        ValueError: their sizes differ, or a side is shorter than :data:`WINDOW`.
    """
    _check(a, b)
    if min(a.shape) < WINDOW:
        raise ValueError(f"SSIM needs {WINDOW} pixels a side, the maps have {a.shape}")
    # In float32 the variances of a flat map would be rounding.
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return float(structural_similarity(a, b, data_range=1.0, gaussian_weights=True, sigma=SIGMA,
                                       use_sample_covariance=False))  # fmt: skip


def pearson(a: np.ndarray, b: np.ndarray) -> float | None:
    """Correlation of the values of two arrays of one shape, -1 to 1; None where one is flat.

    Raises:
        ValueError: their shapes differ.
    """
    _check(a, b)
    a, b = np.asarray(a, dtype=np.float64).ravel(), np.asarray(b, dtype=np.float64).ravel()
    if a.size < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def spearman(a: np.ndarray, b: np.ndarray) -> float | None:
    """Correlation of the ranks, ties in the middle; else as :func:`pearson`."""
    _check(a, b)
    return pearson(ranks(np.ravel(a)), ranks(np.ravel(b)))


def _check(a: np.ndarray, b: np.ndarray) -> None:
    if np.shape(a) != np.shape(b):
        raise ValueError(f"the maps are {np.shape(a)} and {np.shape(b)}")
