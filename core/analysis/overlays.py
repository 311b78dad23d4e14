"""Maps and classes over their image, with a colour bar; many of them on one sheet."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from core.analysis.colors import color_hardness

OPACITY = 0.6
BAR = 34  # rows below a picture, of a picture up to 800 wide
CELL = (232, 174)  # W, H of a picture on a sheet
COLUMNS = 3  # of pairs
_GAP, _LINE = 10, 24
_INK = (40, 40, 40)


def overlay(image: np.ndarray, colors: np.ndarray, opacity: float = OPACITY) -> np.ndarray:
    """Colours (H, W, 3) uint8 over an image of the same shape, which shows through in grey."""
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    behind = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(np.ascontiguousarray(colors), opacity, behind, 1 - opacity, 0)


def with_bar(picture: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) uint8 and, below it, the ramp of hardness from 0 to 1 with its numbers.

    The same for every picture, as is the ramp; it grows with one wider than 800, and one that is
    narrower than the bar's numbers need gets white at its right.
    """
    scale = max(1.0, picture.shape[1] / 800)
    rows, least = round(BAR * scale), 120
    width = max(picture.shape[1], least)
    wide = np.full((picture.shape[0] + rows, width, 3), 255, np.uint8)
    wide[: picture.shape[0], : picture.shape[1]] = picture
    margin, high = round(14 * scale), round(11 * scale)
    top = picture.shape[0] + round(4 * scale)
    ramp = color_hardness(np.linspace(0, 1, width - 2 * margin)[None])
    wide[top : top + high, margin : width - margin] = ramp
    marks = (0, 0.5, 1) if width < 300 else (0, 0.25, 0.5, 0.75, 1)
    for mark in marks:
        middle = round(margin + mark * (width - 2 * margin - 1))
        cv2.line(wide, (middle, top + high), (middle, top + high + round(2 * scale)), _INK)
        text = f"{mark:g}"
        left = middle - _width(text, round(12 * scale)) // 2
        _write(wide, text, (left, wide.shape[0] - round(4 * scale)), round(12 * scale))
    return wide


class Sheet:
    """Pairs of pictures with a name, row by row on one picture.

    Args:
        count: pairs that are to come.
        heading: of the first line.
    """

    def __init__(self, count: int, heading: str) -> None:
        width, height = CELL
        self._columns = min(COLUMNS, count)
        self._pair = (2 * width + 2 + 2 * _GAP, height + _LINE + _GAP)
        rows = -(-count // self._columns)
        least = _width(heading, 15) + 2 * _GAP
        size = (2 * _GAP + _LINE + rows * self._pair[1] + BAR,
                max(least, self._columns * self._pair[0]))  # fmt: skip
        self._sheet = np.full((*size, 3), 255, np.uint8)
        _write(self._sheet, heading, (_GAP, _GAP + 15), 15)
        self._at = 0

    def add(self, name: str, left: np.ndarray, right: np.ndarray) -> None:
        """A pair, (H, W, 3) uint8 RGB of any size, made to fit."""
        width, height = CELL
        row, column = divmod(self._at, self._columns)
        x, y = _GAP + column * self._pair[0], 2 * _GAP + _LINE + row * self._pair[1]
        for k, picture in enumerate((left, right)):
            small = fitted(picture, CELL)
            at = x + k * (width + 2) + (width - small.shape[1]) // 2
            top = y + (height - small.shape[0]) // 2
            self._sheet[top : top + small.shape[0], at : at + small.shape[1]] = small
        _write(self._sheet, _shortened(name, 2 * width, 14), (x, y + height + 17), 14)
        self._at += 1

    def picture(self) -> np.ndarray:
        """The sheet with the colour bar below, (H, W, 3) uint8 RGB."""
        body = self._sheet[:-BAR]
        body = np.concatenate([body, with_bar(body[:0])[:BAR]]) if body.shape[1] <= 800 else (
            with_bar(body))  # fmt: skip
        return body


def legend(classes: Sequence[str], palette: np.ndarray) -> np.ndarray:
    """Names of classes beside their colours, (H, W, 3) uint8 RGB.

    Args:
        palette: (len(classes), 3) uint8, RGB.
    """
    names = [_shortened(f"{k} {name}", 300, 14) for k, name in enumerate(classes)]
    rows = min(len(names), 12)
    wide = max(_width(name, 14) for name in names) + 2 * _LINE + _GAP
    columns = -(-len(names) // rows)
    picture = np.full((rows * _LINE + 2 * _GAP, columns * wide + _GAP, 3), 255, np.uint8)
    for k, (name, color) in enumerate(zip(names, palette, strict=True)):
        x, y = _GAP + k // rows * wide, _GAP + k % rows * _LINE
        picture[y + 3 : y + _LINE - 3, x : x + _LINE] = _INK  # a border, for what is white
        picture[y + 4 : y + _LINE - 4, x + 1 : x + _LINE - 1] = color
        _write(picture, name, (x + _LINE + _GAP, y + _LINE - 7), 14)
    return picture


def fitted(picture: np.ndarray, box: tuple[int, int]) -> np.ndarray:
    """A picture no larger than ``box`` (W, H), in its proportions; a side has a pixel at least."""
    height, width = picture.shape[:2]
    factor = min(1.0, box[0] / width, box[1] / height)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if factor < 1 else picture


def _shortened(text: str, width: int, size: int) -> str:
    """Its end, which tells images of a data set apart, where it is too long."""
    if _width(text, size) <= width:
        return text
    while text and _width(f"…{text}", size) > width:
        text = text[max(1, len(text) // 12) :]
    return f"…{text}"


def _write(picture: np.ndarray, text: str, at: tuple[int, int], size: int) -> None:
    """In place, in OpenCV's own font, which has letters of most scripts."""
    text = _drawable(text)
    cv2.putText(picture, text, at, _INK, cv2.FontFace("sans"), size)


def _drawable(text: str) -> str:
    """A name that is no UTF-8, in which OpenCV would end the process, with ? for what is not."""
    return text.encode(errors="replace").decode()


def _width(text: str, size: int) -> int:
    return cv2.getTextSize((10000, 100), _drawable(text), (0, 50), cv2.FontFace("sans"), size)[2]
