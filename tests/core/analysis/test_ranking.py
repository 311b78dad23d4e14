import numpy as np
import pytest

from core.analysis.ranking import (
    BASIC,
    Best,
    Means,
    candidates,
    near_boundary,
    parts_of,
    rarity,
    score,
)


@pytest.fixture
def pair():
    label = np.zeros((40, 60), int)
    label[:, 30:] = 1
    label[:5] = -1
    pred = np.where(label < 0, 3, label)
    pred[10:20, 5:15] = 2
    pred[10:20, 15:20] = 3  # touches: another pair, another region
    pred[25:35, 26:36] = 2  # across the boundary: a region on each side
    return label, pred


def test_regions_are_connected_pairs_away_from_boundaries(pair):
    label, pred = pair
    found = candidates(label, pred, 4, min_area=1)
    rows = list(zip(found.box.tolist(), found.area, found.given, found.suggested, strict=True))
    assert rows == [([5, 10, 10, 10], 100, 0, 2), ([15, 10, 5, 10], 50, 0, 3),
                    ([26, 25, 2, 10], 20, 0, 2), ([32, 25, 4, 10], 40, 1, 2)]  # fmt: skip
    assert found.border == 40  # two columns on each side
    for i, (x, y, w, h) in enumerate(found.box.tolist(), start=1):
        assert (found.ids[y : y + h, x : x + w] == i).sum() == found.area[i - 1]
    assert found.confusion.sum() == (label >= 0).sum()
    assert found.confusion[0, 2] == 140
    assert (found.confusion.sum(1) == [(label == k).sum() for k in range(4)]).all()


def test_void_belongs_to_no_region_small_ones_and_other_classes_are_left_out(pair):
    found = candidates(*pair, 4, min_area=45)
    assert found.area.tolist() == [100, 50]
    assert (found.ids[pair[0] < 0] == 0).all()
    assert candidates(*pair, 4, min_area=1, classes=[3]).area.tolist() == [50]
    assert candidates(*pair, 4, min_area=1, classes=[1]).area.tolist() == [40]
    same = candidates(pair[0], np.maximum(pair[0], 0), 4)
    assert len(same.area) == len(same.box) == 0
    with pytest.raises(ValueError, match="H, W"):
        candidates(pair[0], pair[1][:3], 4)


def test_near_boundary_is_two_pixels_on_both_sides():
    label = np.zeros((9, 12), int)
    label[:, 6:] = 7
    assert np.flatnonzero(near_boundary(label)[4]).tolist() == [4, 5, 6, 7]
    assert not near_boundary(np.full((5, 5), 3)).any()


def test_means_are_those_of_the_pixels(pair):
    found = candidates(*pair, 4)
    values = np.random.default_rng(0).random(pair[0].shape)
    expected = [values[found.ids == i].mean() for i in range(1, len(found.area) + 1)]
    assert found.mean(values) == pytest.approx(expected)


def test_scores_are_named_means_products_and_surprise():
    means = Means(*(np.array([k + 1.0, 2.0]) for k in range(6)))
    for k, name in enumerate(BASIC):
        assert score(name, means, 0)[0] == k + 1
    assert score("hardness*loss", means, 0).tolist() == [3, 4]
    assert score("surprise", means, np.array([4.0, 0])).tolist() == [5, 2]
    assert score("hardness*surprise", means, np.array([4.0, 0])).tolist() == [5, 4]
    for bad in ("", "loss*loss", "loss*", "lost"):
        with pytest.raises(ValueError, match="give one of"):
            parts_of(bad)


def test_rarity_is_of_the_suggested_class_given_the_label():
    rare = rarity([[98, 0], [0, 0]])
    assert np.exp(-rare).sum(1) == pytest.approx([1, 1])
    assert rare[0].tolist() == pytest.approx([-np.log(0.99), -np.log(0.01)])


def test_best_keeps_the_first_of_equal_scores():
    best = Best(3)
    for i, x in enumerate([1, 5, 3, 5, 3, 0]):
        best.add(x, f"item {i}")
    assert best.sorted() == [(5, "item 1"), (5, "item 3"), (3, "item 2")]
