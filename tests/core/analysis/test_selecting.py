import numpy as np

from core.analysis.selecting import choose, order, thumbnail

APART = np.eye(6, dtype=np.float32)


def test_the_hardest_comes_first_and_then_other_classes():
    hard = np.array([[90, 0, 0], [100, 0, 0], [0, 20, 0], [95, 0, 1], [0, 0, 0]], float)
    chosen, repeated = choose(hard, APART[:5], 3)
    assert chosen[0] == 3  # 95 and a pixel of another class outweigh 100
    assert chosen[1] == 2  # class 1, though its image is a fifth as hard
    assert repeated == 0
    assert choose(hard, APART[:5], 9)[0][-1] == 4
    assert choose(hard, APART[:5], 3) == (chosen, 0)


def test_near_duplicates_wait_until_there_is_nothing_else():
    hard = np.array([[9.0], [8], [1]])
    alike = APART[[0, 0, 1]]
    assert choose(hard, alike, 2) == ([0, 2], 0)
    assert choose(hard, alike, 3) == ([0, 2, 1], 1)


def test_thumbnails_are_alike_for_a_picture_and_its_brighter_copy():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 200, (2, 48, 64, 3)).astype(np.uint8)
    assert thumbnail(one) @ thumbnail(one + 40) > 0.999
    assert abs(thumbnail(one) @ thumbnail(other)) < 0.5
    assert not thumbnail(np.full((48, 64, 3), 7, np.uint8)).any()


def test_order_keeps_the_first_of_equals():
    assert order([1, 3, 2, 3]) == [1, 3, 2, 0]
