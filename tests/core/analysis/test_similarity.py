"""SSIM as Wang et al. published it, and correlations."""

import numpy as np
import pytest

from core.analysis.similarity import pearson, spearman, ssim


@pytest.fixture
def maps():
    rng = np.random.default_rng(0)
    return rng.random((2, 24, 32)).astype(np.float32)


def test_a_map_is_like_itself_and_not_like_its_negative(maps):
    a, _ = maps
    assert ssim(a, a) == 1 and pearson(a, a) == pytest.approx(1) == spearman(a, a)
    assert ssim(a, 1 - a) < 0 and spearman(a, 1 - a) == pytest.approx(-1)


def test_ssim_is_the_formula_of_one_window(maps):
    """11 x 11 pixels hold one window: its figure by hand, in float64."""
    a, b = (m[:11, :11].astype(np.float64) for m in maps)
    x = np.arange(-5, 6)
    line = np.exp(-(x**2) / (2 * 1.5**2))
    weight = np.outer(line, line) / line.sum() ** 2
    mean = lambda m: (weight * m).sum()  # noqa: E731
    ua, ub = mean(a), mean(b)
    cov = mean(a * b) - ua * ub
    va, vb = mean(a * a) - ua**2, mean(b * b) - ub**2
    c1, c2 = 0.01**2, 0.03**2
    want = (2 * ua * ub + c1) * (2 * cov + c2) / ((ua**2 + ub**2 + c1) * (va + vb + c2))
    assert ssim(a, b) == pytest.approx(want, abs=1e-12)


def test_flat_maps_are_alike_but_not_correlated(maps):
    a, b = 0.5 + 1e-4 * (maps - 0.5)
    assert ssim(a, b) > 0.999 and abs(pearson(a, b)) < 0.1
    assert pearson(np.full((12, 12), 0.5), a[:12, :12]) is None


def test_spearman_knows_the_order_alone_and_ties():
    assert spearman(np.array([1, 2, 2, 9]), np.array([10, 20, 20, 21])) == pytest.approx(1)
    assert spearman(np.array([1, 2, 3]), np.array([1, 1, 2])) == pytest.approx(np.sqrt(0.75))


def test_maps_of_other_sizes_are_refused(maps):
    with pytest.raises(ValueError, match=r"\(24, 32\) and \(24, 31\)"):
        ssim(maps[0], maps[1][:, 1:])
    with pytest.raises(ValueError, match="11 pixels"):
        ssim(maps[0][:10], maps[1][:10])
