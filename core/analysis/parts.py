"""How well the pixels are predicted that a mean over all hides: near boundaries, small, thin.

    boundary   pixels with a pixel of another class within 3 pixels, to any side: the trimap at the
               size of the label. Void is no class: along its edge there is no boundary.
    inside     all others
    small      pixels of components (of one class, connected by their sides) that hold under 0.1 %
               of the image's pixels
    thin       not pixels but classes: of those that occur, the third (rounded up) whose pixels lie
               most in the trimap. A list of names, such as poles and riders, would be of one data
               set; and at a low resolution also other classes are thin.

On the first three the IoU of a class counts labels and predictions on these pixels alone, and mIoU
is the mean over the classes that the labels hold there. For ``thin`` it is the mean of the classes'
ordinary IoU. Accuracy is the share of pixels that is right, share that of all valid pixels. Only
labels decide what belongs to a part, so it is the same for all that is compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

WIDTH = 3  # pixels
SMALL = 0.001  # of an image's pixels


class PartMeter:
    """Gathers images, one after another.

    Args:
        classes: names, by id.
        ignore_index: label of what does not count, as does any other that is no class.
    """

    def __init__(self, classes: Sequence[str], ignore_index: int = 255) -> None:
        self.classes, self.ignore_index = tuple(map(str, classes)), ignore_index
        n = len(self.classes)
        # Confusion matrices: label by prediction, the last column of what is no class.
        self._inside, self._boundary, self._small = np.zeros((3, n, n + 1), dtype=np.int64)

    def add(self, label: np.ndarray, pred: np.ndarray) -> None:
        """An image.

        Args:
            label: (H, W), integer.
            pred: (H, W), integer, the class at each pixel.

        Raises:
            ValueError: they are of different sizes.
        """
        if label.shape != pred.shape:
            raise ValueError(f"the label is {label.shape}, the prediction {pred.shape}")
        n = len(self.classes)
        valid = is_valid(label, n, self.ignore_index)
        label = np.where(valid, label, n).astype(np.int32)
        pred = np.where((pred >= 0) & (pred < n), pred, n).astype(np.int32)
        cell = label * (n + 1) + pred
        near = trimap(label, valid)
        both = np.bincount((cell + near * np.int32((n + 1) ** 2)).ravel(),
                           minlength=2 * (n + 1) ** 2)  # fmt: skip
        inside, boundary = both.reshape(2, n + 1, n + 1)[:, :n]
        small = np.bincount(cell[small_components(label, valid)], minlength=n * (n + 1))
        self._inside += inside
        self._boundary += boundary
        self._small += small.reshape(n, n + 1)

    def result(self) -> dict[str, dict[str, Any]]:
        """``miou``, ``accuracy`` and ``share``, 0 to 1, of each part by name, and the names of its
        ``classes``, none: all. What has no pixel has no mIoU and no accuracy."""
        whole = self._inside + self._boundary
        total = whole.sum()
        found = {}
        for name, matrix in dict(boundary=self._boundary, inside=self._inside,
                                 small=self._small).items():  # fmt: skip
            held = np.flatnonzero(matrix.sum(axis=1))
            found[name] = _figures(matrix, held, total) | dict(classes=())
        thin = self._thin(whole)
        names = tuple(self.classes[k] for k in thin)
        return {"thin": _figures(whole, thin, total) | dict(classes=names), **found}

    def _thin(self, whole: np.ndarray) -> np.ndarray:
        """Ids of the thin classes."""
        pixels = whole.sum(axis=1)
        held = np.flatnonzero(pixels)
        near = self._boundary.sum(axis=1)[held] / pixels[held]
        return np.sort(held[np.argsort(-near, kind="stable")[: math.ceil(len(held) / 3)]])


def is_valid(label: np.ndarray, classes: int, ignore_index: int) -> np.ndarray:
    """Where a label (any shape) is one of so many classes."""
    return (label != ignore_index) & (label >= 0) & (label < classes)


def trimap(label: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Valid pixels, bool (H, W), with a valid pixel of another label within :data:`WIDTH`."""
    around = np.ones((2 * WIDTH + 1, 2 * WIDTH + 1), dtype=np.uint8)
    label = label.astype(np.uint16)
    top = np.iinfo(label.dtype).max
    highest = cv2.dilate(np.where(valid, label + 1, 0), around, borderValue=0)
    lowest = cv2.erode(np.where(valid, label + 1, top), around, borderValue=top)
    return valid & (highest != lowest)


def small_components(label: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Valid pixels, bool (H, W), of components that hold under :data:`SMALL` of the image."""
    height, width = label.shape
    # All classes in one go: pixels at even places and, between two of one class, a bridge.
    grid = np.zeros((2 * height - 1, 2 * width - 1), dtype=np.uint8)
    grid[::2, ::2] = valid
    grid[::2, 1::2] = valid[:, 1:] & (label[:, 1:] == label[:, :-1])
    grid[1::2, ::2] = valid[1:] & (label[1:] == label[:-1])
    component = cv2.connectedComponents(grid, connectivity=4)[1][::2, ::2]
    size = np.bincount(component.ravel())
    return valid & (size < SMALL * label.size)[component]


def _figures(matrix: np.ndarray, classes: np.ndarray, total: int) -> dict[str, float | None]:
    """Of some classes of a confusion matrix."""
    labeled, right = matrix.sum(axis=1)[classes], matrix.diagonal()[classes]
    pixels = int(labeled.sum())
    if not pixels:
        return dict(miou=None, accuracy=None, share=0.0 if total else None)
    iou = right / (labeled + matrix[:, :-1].sum(axis=0)[classes] - right)
    return dict(miou=float(iou.mean()), accuracy=float(right.sum() / pixels),
                share=float(pixels / total))  # fmt: skip
