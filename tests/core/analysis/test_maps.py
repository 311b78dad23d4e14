"""Figures of many maps are those of all their pixels at once."""

import numpy as np
import pytest

from core.analysis.maps import Histogram


def test_figures_are_those_of_all_pixels():
    rng = np.random.default_rng(0)
    maps = [rng.integers(0, 65536, size).astype(np.uint16) for size in ((30, 40), (7, 9), (1, 1))]
    found = Histogram()
    for values in maps:
        found.add(values)
    pixels = np.concatenate([values.ravel() for values in maps]) / 65535
    mean, low, median, high, hard = found.figures()
    assert mean == pytest.approx(pixels.mean()) and hard == np.mean(pixels > 0.5)
    want = np.quantile(pixels, (0.01, 0.5, 0.99), method="inverted_cdf")
    assert (low, median, high) == pytest.approx(want)


def test_no_pixel_has_no_figures():
    with pytest.raises(ValueError, match="no pixel"):
        Histogram().figures()
