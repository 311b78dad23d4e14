import numpy as np
import pytest

from core.analysis.planting import KINDS, Planted, found, owners, plant, rng_of


@pytest.fixture
def label():
    """Blocks of five classes on a road, and a column of void."""
    label = np.random.default_rng(3).integers(0, 5, (12, 16)).repeat(12, 0).repeat(12, 1)
    label[:, 90:95] = -1
    return label


def planted(label, kinds=KINDS, seed=0, **more):
    more = dict(dict(share=0.5, max_share=0.5), **more)
    return plant(label, rng_of(seed, "a"), 5, kinds=kinds, **more)


@pytest.mark.parametrize("kinds", [KINDS, *[(k,) for k in KINDS]])
def test_the_list_is_exactly_what_changed(label, kinds):
    before = label.copy()
    new, number, errors = planted(label, kinds)
    assert (label == before).all()
    assert len(errors) > 3
    assert {e.kind for e in errors} <= set(kinds)
    assert ((new != label) == (number > 0)).all()
    assert ((new < 0) == (label < 0)).all()  # void stays void, and none is made
    assert sorted(set(number.ravel())) == list(range(len(errors) + 1))
    for i, e in enumerate(errors, start=1):
        y, x = np.nonzero(number == i)
        assert e.area == len(y) >= 50
        assert e.box == (x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1)
        assert e.true != e.given
        if e.kind != "shift":
            assert set(label[y, x]) == {e.true}
            assert set(new[y, x]) == {e.given}
        else:
            assert set(new[y, x]) <= {e.true, e.given}


def test_each_kind_does_what_it_says():
    label = np.zeros((60, 60), int)
    label[20:30, 20:40] = 2
    new, _, (error,) = planted(label, ["drop"], share=1, max_share=0.3)
    assert (new == 0).all()
    assert error == Planted("drop", (20, 20, 20, 10), 200, 2, 0)
    new, _, (error,) = planted(label, ["swap"], share=1, max_share=0.3)
    assert error.given not in (0, 2)
    assert (new[label == 2] == error.given).all()
    new, _, (error,) = planted(label, ["shift"], share=1, max_share=0.3, shift=4)
    assert (new == 2).sum() == 200
    y, x = (np.nonzero(new == 2)[axis].min() - 20 for axis in (0, 1))
    assert max(abs(y), abs(x)) == 4
    assert {abs(y), abs(x)} <= {0, 4}


def test_the_same_seed_plants_the_same_and_another_one_other_errors(label):
    first, again, other = (planted(label, seed=s)[2] for s in (0, 0, 1))
    assert first == again
    assert first != other
    assert plant(label, rng_of(0, "b"), 5, share=0.5)[2] != first


def test_no_share_plants_nothing_and_nonsense_is_refused(label):
    new, number, errors = planted(label, share=0)
    assert (new == label).all()
    assert not errors
    assert not number.any()
    with pytest.raises(ValueError, match="kinds"):
        planted(label, ["lost"])
    with pytest.raises(ValueError, match="0 to 1"):
        planted(label, share=1.5)


def test_a_candidate_is_on_an_error_that_has_half_of_it():
    ids = np.array([[1, 1, 2, 2, 3, 3, 3, 0]])
    number = np.array([[1, 0, 2, 2, 0, 0, 2, 1]])
    assert owners(ids, number).tolist() == [1, 2, 0]
    assert owners(ids, np.zeros_like(ids)).tolist() == [0, 0, 0]


def test_average_precision_by_hand():
    # Order: error 1, nothing, error 1 again, error 2; a third is on no candidate.
    outcome = found(np.array([4.0, 3, 2, 1]), np.array([1, 0, 1, 2]), 3, ks=(1, 2), budget=0.5)
    assert outcome.average_precision == pytest.approx((1 + 3 / 4) / 3)
    assert outcome.at == {1: 1.0, 2: 0.5}
    assert outcome.at_budget == pytest.approx(1 / 3)
    assert outcome.reachable == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="no error"):
        found(np.ones(1), np.zeros(1, int), 0)
