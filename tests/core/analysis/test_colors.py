"""Maps on one scale; errors and void apart."""

import numpy as np

from core.analysis.colors import RIGHT, WRONG, color_errors, color_hardness


def test_hardness_has_one_scale_for_all_maps():
    """A map that is nearly flat shows one colour, that of its height."""
    steps = color_hardness(np.linspace(0, 1, 101)[None])
    flat = color_hardness(np.full((4, 4), 0.5) + np.arange(4) * 1e-6)
    assert np.abs(flat.astype(int) - steps[0, 50]).max() <= 1
    brightness = steps[0].astype(int).sum(axis=1)
    assert (np.diff(brightness) >= 0).all() and brightness[-1] > brightness[0] + 400


def test_errors_are_bright_and_void_is_black():
    label, pred = np.array([[0, 1, 255, 3, -1]]), np.array([[0, 0, 1, 3, -1]])
    picture = color_errors(label, pred, 3)
    assert picture.dtype == np.uint8
    black = (0, 0, 0)
    assert [tuple(map(int, p)) for p in picture[0]] == [RIGHT, WRONG, black, black, black]
