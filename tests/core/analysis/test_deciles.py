"""Subsets of equal size over many images, mIoU of each, and what a score tells."""

import numpy as np
import pytest

from core.analysis.deciles import (
    NONE,
    HardnessSubsets,
    ScoreMeter,
    SubsetMeter,
    loss_bins,
    score_bins,
)
from core.analysis.similarity import spearman


def parted(maps, valid, subsets=10):
    found = HardnessSubsets(subsets)
    for scores, v in zip(maps, valid, strict=True):
        found.count(scores, v)
    return [found.of(scores, v) for scores, v in zip(maps, valid, strict=True)]


@pytest.mark.parametrize("kind", ["spread", "flat", "two values"])
def test_deciles_part_the_valid_pixels(kind):
    rng = np.random.default_rng(0)
    maps = [rng.random((h, 7)) ** 4 for h in (5, 9, 6)]
    if kind == "flat":
        maps = [np.full_like(m, 0.5) for m in maps]
    if kind == "two values":
        maps = [(m > 0.2).astype(float) for m in maps]
    valid = [rng.random(m.shape) < 0.8 for m in maps]
    subsets = parted(maps, valid)
    every = np.concatenate([s[v] for s, v in zip(subsets, valid, strict=True)])
    sizes = np.bincount(every, minlength=10)
    assert every.min() >= 0 and sizes.sum() == sum(v.sum() for v in valid)
    assert np.ptp(sizes) <= 1
    assert all((s[~v] == NONE).all() for s, v in zip(subsets, valid, strict=True))
    assert all((a == b).all() for a, b in zip(subsets, parted(maps, valid), strict=True))


def test_they_are_those_of_a_sort():
    rng = np.random.default_rng(1)
    maps = [rng.random((10, 10)) for _ in range(3)]
    subsets = parted(maps, [np.ones((10, 10), bool)] * 3)
    # Scores that share a step of the counts may change places.
    order = np.argsort(-np.concatenate(maps).ravel(), kind="stable")
    want = np.empty(300, dtype=int)
    want[order] = np.arange(300) // 30
    found = np.concatenate(subsets).ravel()
    assert (found == want).mean() > 0.98 and abs(found - want).max() <= 1


def test_ties_go_by_image_and_row():
    subsets = parted([np.full((1, 4), 0.3)] * 2, [np.ones((1, 4), bool)] * 2, subsets=4)
    assert [s.tolist() for s in subsets] == [[[0, 0, 1, 1]], [[2, 2, 3, 3]]]


def test_another_image_in_the_second_pass_is_refused():
    found = HardnessSubsets()
    found.count(np.full((2, 2), 0.3), np.ones((2, 2), bool))
    with pytest.raises(ValueError, match="other scores"):
        found.of(np.full((2, 2), 0.4), np.ones((2, 2), bool))


def test_the_easy_half_of_a_sharp_map_keeps_its_order():
    scores = np.geomspace(1e-6, 0.5, 200)
    assert (np.diff(score_bins(scores)) > 0).all()
    assert (np.diff(loss_bins(np.geomspace(1e-5, 15, 60))) > 0).all()


def test_miou_of_a_case_by_hand():
    subset = np.array([[0, 0, 0, 0], [1, 1, 1, NONE]])
    label = np.array([[0, 0, 1, 1], [2, 2, 2, 7]])
    pred = np.array([[0, 1, 1, 1], [2, 2, 0, 0]])
    meter = SubsetMeter(3, 3)
    meter.add(subset, label, pred, np.array([[1.0, 3, 0, 0], [0.5, 0.5, 2, 99]]))
    found = meter.result()
    # First: class 0 has 1 of 2, class 1 has 2 of 3. Second: class 2 alone, 2 of 3.
    assert found["miou"] == [pytest.approx((1 / 2 + 2 / 3) / 2), pytest.approx(2 / 3), None]
    # All: class 0 has 1 of 3 with the pixel predicted in the second.
    assert found["miou_from"][0] == pytest.approx((1 / 3 + 2 / 3 + 2 / 3) / 3)
    assert found["accuracy"] == [0.75, pytest.approx(2 / 3), None]
    assert found["loss"] == [1.0, 1.0, None]
    assert found["pixels"] == [4, 3, 0] and found["classes"] == [2, 1, 0]


def test_rank_and_auc_are_the_exact_ones_nearly():
    rng = np.random.default_rng(2)
    x = rng.random(4000) ** 3
    loss = np.exp(3 * x + rng.normal(size=4000)) * 0.01
    wrong = rng.random(4000) < x
    meter = ScoreMeter()
    for part in np.array_split(np.arange(4000), 3):
        meter.add(x[part], loss[part], wrong[part])
    found = meter.result()
    assert found["rank"] == pytest.approx(spearman(x, loss), abs=0.005)
    higher = (x[wrong][:, None] > x[~wrong]).mean() + (x[wrong][:, None] == x[~wrong]).mean() / 2
    assert found["auc"] == pytest.approx(higher, abs=1e-3)


def test_what_cannot_be_told_is_none():
    meter = ScoreMeter()
    assert meter.result() == dict(rank=None, auc=None)
    meter.add(np.full(5, 0.5), np.arange(5.0), np.zeros(5, bool))
    assert meter.result() == dict(rank=None, auc=None)
