"""The strength of a hardness map against brute force in float64."""

import numpy as np
import pytest

from core.analysis import strength
from core.analysis.strength import StrengthMeter


@pytest.fixture
def images():
    """Three small images with void and ties: (scores, loss, wrong, valid)."""
    rng = np.random.default_rng(0)

    def make(height, width):
        scores = (rng.integers(0, 12, (height, width)) / 11).astype(np.float32)
        loss = scores * rng.random((height, width)) + rng.random((height, width)) / 5
        wrong, valid = loss > 0.4, rng.random((height, width)) > 0.2
        return scores, loss.astype(np.float32), wrong, valid

    return [make(9, 12), make(7, 5), make(8, 8)]


def measured(images, c=0.1):
    meter = StrengthMeter(c)
    for image in images:
        meter.add(*image)
    return meter.result()


@pytest.mark.parametrize("c", [0.1, 1.0])
def test_numbers_are_those_of_their_definitions(c, images):
    from scipy.stats import spearmanr

    weighted, plain = [], []
    for scores, loss, _, valid in images:
        z, x = scores[valid].astype(float) + c, loss[valid].astype(float)
        weighted.append((z / z.sum() * x).sum())
        plain.append(x.mean())
    scores, loss, wrong = (np.concatenate([i[k][i[3]] for i in images]) for k in range(3))
    z = scores.astype(float) + c
    a, b = z[wrong][:, None], z[~wrong]
    found = measured(images, c)
    assert found["gain"] == pytest.approx(np.mean(weighted) / np.mean(plain), rel=1e-12)
    assert found["auc"] == pytest.approx(((a > b) + (a == b) / 2).mean(), abs=1e-12)
    assert found["contrast"] == pytest.approx(
        np.percentile(z, 99, method="inverted_cdf") / np.percentile(z, 1, method="inverted_cdf"),
        rel=1e-4,
    )
    rank = spearmanr(scores, loss).statistic  # so few are all in the sample
    assert found["rank"] == pytest.approx(rank, rel=1e-9)
    assert found["images"] == 3


def test_a_flat_map_is_plain_cross_entropy(images):
    flat = [(np.full_like(i[0], 0.3), *i[1:]) for i in images]
    found = measured(flat)
    assert found["gain"] == pytest.approx(1, abs=1e-12)
    assert (found["contrast"], found["auc"], found["rank"]) == (1, 0.5, None)


def test_void_counts_nowhere(images):
    scores, loss, wrong, valid = images[0]
    spoilt = (np.where(valid, scores, 1 - scores), np.where(valid, loss, np.nan),
              wrong ^ ~valid, valid)  # fmt: skip
    assert measured([spoilt]) == measured([images[0]])


def test_what_cannot_be_told_is_none(images):
    scores, loss, wrong, valid = images[0]
    nothing = dict(gain=None, contrast=None, auc=None, rank=None, images=0)
    assert measured([]) == measured([(scores, loss, wrong, valid & False)]) == nothing
    for same in (wrong & False, wrong | True):
        assert measured([(scores, loss, same, valid)])["auc"] is None
    found = measured([(scores, loss * 0, wrong & False, valid)])
    assert (found["gain"], found["rank"]) == (None, None)


def test_rank_is_of_a_grid_of_a_large_image(monkeypatch):
    """A tenth of the pixels give the same order, whatever the width; memory is bounded."""
    rng = np.random.default_rng(1)
    scores = rng.random((64, 64)).astype(np.float32)
    loss = (scores + rng.normal(0, 0.3, scores.shape)).astype(np.float32)
    valid = np.ones(scores.shape, dtype=bool)
    every = measured([(scores, loss, ~valid, valid)])["rank"]
    monkeypatch.setattr(strength, "SAMPLE", 400)
    meter = StrengthMeter()
    meter.add(scores, loss, ~valid, valid)
    assert 200 < len(meter._sample[0][0]) <= 400
    assert meter.result()["rank"] == pytest.approx(every, abs=0.1)
