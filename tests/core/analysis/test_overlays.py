"""Overlays, the colour bar and the sheet."""

import numpy as np
import pytest

from core.analysis.colors import color_hardness
from core.analysis.overlays import BAR, CELL, Sheet, fitted, overlay, with_bar


def test_colors_stand_over_grey():
    image = np.zeros((4, 6, 3), np.uint8)
    image[:2] = (255, 0, 0)
    colors = np.full((4, 6, 3), (0, 100, 200), np.uint8)
    found = overlay(image, colors, 0.5)
    assert (found[3] == (0, 50, 100)).all()  # nothing but half of the colour on black
    assert len({int(x) for x in (found[0, 0].astype(int) - found[3, 0])}) == 1  # grey, not red


@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (40, 700), (700, 40)])
def test_the_bar_is_the_whole_ramp_below_any_picture(size):
    """Its two ends are the colours of 0 and 1; the picture above is untouched."""
    picture = np.full((*size, 3), 9, np.uint8)
    found = with_bar(picture)
    assert (found[: size[0], : size[1]] == 9).all() and len(found) >= size[0] + BAR
    for value in (0.0, 1.0):
        color = color_hardness(np.array([[value]]))[0, 0]
        assert (found[size[0] :] == color).all(axis=-1).any()
    assert (found[:, size[1] :][: size[0]] == 255).all()


def test_bars_of_equal_pictures_are_equal():
    """Whatever the map above: one scale for all."""
    low, high = (with_bar(color_hardness(np.full((50, 400), x))) for x in (0.1, 0.9))
    assert (low[50:] == high[50:]).all()


@pytest.mark.parametrize("count", [1, 3, 4, 11])
def test_the_sheet_has_a_place_for_each(count):
    sheet = Sheet(count, "heading")
    for k in range(count):
        left = np.full((300, 20 + 40 * k, 3), (k, 250, 0), np.uint8)
        sheet.add(f"ordner/bild ä {k} " + "lang " * 30, left, 0 * left)
    found = sheet.picture()
    for k in range(count):
        assert (found == (k, 250, 0)).all(axis=-1).any(), k


def test_a_picture_fits_and_keeps_a_pixel():
    for shape in ((1, 1), (3, 2000), (8000, 4), (400, 600)):
        height, width = fitted(np.zeros((*shape, 3), np.uint8), CELL).shape[:2]
        assert 1 <= width <= CELL[0] and 1 <= height <= CELL[1]
