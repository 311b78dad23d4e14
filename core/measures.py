"""What was measured of a run, as its result has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.typed import finite

# The dose (core.dose) of trainings of the paper by kind of optimizer, over 40,000 iterations: alpha
# 0.01, SGD at 0.01 with momentum 0.9, mmseg's PolyLR of power 0.9 down to 1e-4 (PSPNet on
# Cityscapes, Tables 6 to 8); AdamW at 6e-5 with 1,500 of warm-up (Table 11).
PUBLISHED_DOSE = {"SGD": 21.24, "Adam": 1.156}

FLAT = 1.1  # hl_gain below it is that of a map that is nearly flat


@dataclass(frozen=True)
class Part:
    """mIoU and pixel accuracy on a part of the validation pixels, 0 to 1; ``share`` of all valid
    pixels that it holds; ``classes`` that it is of, none: all."""

    miou: float | None = None
    accuracy: float | None = None
    share: float | None = None
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Strength:
    """What the hardness map did (:mod:`core.analysis.strength`), on ``images`` validation images.

    Attributes:
        gain: hardness-weighted over plain cross-entropy; 1: the map is flat.
        contrast: of Z (Eq. 1), 99th over 1st percentile of the pixels.
        auc: probability that a wrong pixel is rated harder than a right one, 0 to 1.
        rank: Spearman's correlation of hardness and cross-entropy, -1 to 1.
        alpha: of Eq. 5, as it was used.
        dose: what the training gave the branch (:mod:`core.dose`).
        published: the dose of the paper's trainings under that kind of optimizer.
    """

    gain: float | None = None
    contrast: float | None = None
    auc: float | None = None
    rank: float | None = None
    images: int | None = None
    alpha: float | None = None
    dose: float | None = None
    published: float | None = None


@dataclass(frozen=True)
class Metrics:
    """On the validation images.

    Attributes:
        miou: mean over the classes that occur.
        iou: of each class, None where it does not occur.
        best_miou: the best validation during the training.
        foreground: the class whose IoU counts in the place of the mean.
        more: what a config measures beside it, by name, in percent.
        parts: on thin classes, small components, near boundaries and the rest, by name
            (:mod:`core.analysis.parts`).
    """

    miou: float | None = None
    iou: Mapping[str, float | None] = field(default_factory=dict)
    best_miou: float | None = None
    foreground: str | None = None
    more: Mapping[str, float | None] = field(default_factory=dict)
    parts: Mapping[str, Part] = field(default_factory=dict)

    @property
    def score(self) -> float | None:
        """What runs are compared by: mIoU, or the IoU of the foreground class."""
        return finite(self.iou.get(self.foreground) if self.foreground else self.miou)


@dataclass(frozen=True)
class Cost:
    """Of a training step: median seconds, largest memory in MiB; number of trained parameters."""

    seconds_per_iter: float | None = None
    peak_memory_mib: float | None = None
    num_params: int | None = None
