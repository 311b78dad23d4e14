"""A line of a comparison: what its tables, charts and words are made of."""

from __future__ import annotations

from dataclasses import dataclass

from core.arms import Arm
from core.report.stats import Stat


@dataclass(frozen=True)
class PartRow:
    """An arm on a part of the pixels; differences to the baseline are paired by seed."""

    miou: Stat | None
    accuracy: Stat | None
    delta_miou: Stat | None
    delta_accuracy: Stat | None
    share: Stat | None  # of all valid pixels
    classes: tuple[str, ...]  # that it is of, none: all


@dataclass(frozen=True)
class Row:
    """One subject (a network, a split, a domain) in one arm, over its seeds."""

    subject: str
    title: str
    arm: Arm
    name: str  # the arm as readers see it
    color: str  # its CSS variable on the page
    miou: Stat | None
    delta_baseline: Stat | None  # mIoU minus the baseline's, paired by seed
    delta_scaled: Stat | None  # of arms with an HL map: minus scale-matched CE's, paired
    seconds_per_iter: float | None  # median over seeds
    peak_memory_mib: float | None  # median over seeds
    num_params: int | None
    time_ratio: float | None  # to the baseline of the same subject
    memory_ratio: float | None
    iou: dict[str, Stat | None]  # per class
    delta_iou: dict[str, Stat | None]  # per class, minus the baseline's, paired by seed
    published: float | None  # mIoU
    published_delta: float | None  # minus the published baseline
    to_published: float | None  # our mean minus the published figure
    leads: bool  # whether it stands for its kind: see leading_arm
    strength: dict[str, Stat]  # of the hardness map, by the names of core.measures.Strength
    parts: dict[str, PartRow]  # on parts of the pixels, by name
