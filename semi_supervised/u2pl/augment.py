"""Strong augmentation of the unlabeled images, with the teacher's pseudo labels.

CutMix and ClassMix mix image i with image (i + 1) mod N of the process's batch, as published: with
one unlabeled image a process they change nothing. Random numbers are NumPy's and torch's global
ones, whose state a checkpoint holds.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

AUGMENTATIONS = ("cutmix", "classmix", "cutout")
RATIO = 2  # a box covers 1 / RATIO of the image


def box_mask(height: int, width: int) -> Tensor:
    """1 outside and 0 inside a random box that covers half of the image, (height, width) bool.

    The width is uniform over [width / 2 + 1, width); the height follows from the area.
    """
    box_width = np.random.randint(int(width / RATIO + 1), width)
    box_height = int(np.round(height * width / RATIO / box_width))
    left = np.random.randint(0, width - box_width + 1)
    top = np.random.randint(0, height - box_height + 1)
    mask = torch.ones(height, width, dtype=torch.bool)
    mask[top : top + box_height, left : left + box_width] = False
    return mask


def class_mask(pseudo_label: Tensor, ignore_index: int = 255) -> Tensor:
    """True where the pixel is of one of a random half (rounded down) of the classes, (H, W);
    ``ignore_index`` is none."""
    classes = torch.unique(pseudo_label)
    classes = classes[classes != ignore_index]
    chosen = classes[torch.randperm(len(classes)).to(classes.device)][: len(classes) // 2]
    return torch.isin(pseudo_label, chosen)


def augment(
    images: Tensor, pseudo_label: Tensor, mode: str, ignore_index: int = 255
) -> tuple[Tensor, Tensor]:
    """Mixed images and their labels.

    Args:
        images: (N, 3, H, W).
        pseudo_label: (N, H, W) integer.
        mode: ``"cutmix"``: a box of the next image; ``"classmix"``: all but half of the classes
            from the next image; ``"cutout"``: a box without a label, of the mean colour (0 after
            normalisation).

    Raises:
        ValueError: another ``mode``.
    """
    if mode not in AUGMENTATIONS:
        raise ValueError(f"augmentation must be one of {', '.join(AUGMENTATIONS)}; got {mode!r}")
    height, width = images.shape[-2:]
    if mode == "classmix":
        keep = torch.stack([class_mask(label, ignore_index) for label in pseudo_label])
    else:
        keep = torch.stack([box_mask(height, width) for _ in images]).to(images.device)
    if mode == "cutout":
        return images * keep[:, None], pseudo_label.masked_fill(~keep, ignore_index)
    mixed = torch.where(keep[:, None], images, images.roll(-1, dims=0))
    return mixed, torch.where(keep, pseudo_label, pseudo_label.roll(-1, dims=0))
