"""Results on the hard and the easy pixels: thin classes, small components, boundaries, inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from core.measures import Metrics, Part
from core.report.rows import PartRow, Row
from core.report.stats import Stat
from core.report.words import percent, with_interval, with_std
from core.result import Entry, finite

OVERALL = "overall"
# In the order of the tables; a name that is not here stands below them as it is.
TITLES = {
    OVERALL: "Overall",
    "thin": "Thin classes",
    "small": "Small components",
    "boundary": "Boundaries",
    "inside": "Inside",
}
HEAD = ["mIoU, %", "Δ mIoU", "accuracy, %", "Δ accuracy"]
CAPTION = (
    "On the validation images, at most 500 of them. Boundaries: pixels within 3 pixels of another "
    "class. Inside: all others. Small components: connected ones of under 0.1 % of the image. Thin "
    "classes: the third of the classes that lies most at boundaries. In brackets: share of the "
    "pixels, which may overlap. Labels alone decide what belongs to a part."
)


class Group(NamedTuple):
    """A part with its row in each arm."""

    title: str
    rows: list[tuple[Row, PartRow]]


def parts_of(metrics: Metrics) -> dict[str, Part]:
    """The parts of a run and, where it has any, all pixels."""
    if not metrics.parts:
        return {}
    return {OVERALL: Part(metrics.miou, _accuracy(metrics), 1.0), **metrics.parts}


def _accuracy(metrics: Metrics) -> float | None:
    """On all pixels: every one is near a boundary or inside."""
    two = [metrics.parts.get(name, Part()) for name in ("boundary", "inside")]
    pairs = [(finite(part.accuracy), finite(part.share)) for part in two]
    if any(x is None for pair in pairs for x in pair) or not sum(share for _, share in pairs):
        return None
    return sum(a * share for a, share in pairs) / sum(share for _, share in pairs)


def part_rows(ours: Sequence[Entry], base: Sequence[Entry]) -> dict[str, PartRow]:
    """An arm's runs on each part that any of them has, beside the baseline's runs."""
    found = dict.fromkeys(name for entry in ours for name in parts_of(entry.run.metrics))
    names = sorted(found, key=lambda n: [*TITLES, n].index(n))
    rows = {}
    for name in names:

        def stat(entries: Sequence[Entry], key: str, name: str = name) -> Stat | None:
            def value(entry: Entry) -> float | None:
                return getattr(parts_of(entry.run.metrics).get(name), key, None)

            return Stat.over(entries, value)

        miou, accuracy = stat(ours, "miou"), stat(ours, "accuracy")
        classes = (parts_of(e.run.metrics).get(name, Part()).classes for e in ours)
        rows[name] = PartRow(
            miou=miou,
            accuracy=accuracy,
            delta_miou=Stat.paired(miou, stat(base, "miou")),
            delta_accuracy=Stat.paired(accuracy, stat(base, "accuracy")),
            share=stat(ours, "share"),
            classes=next((names for names in classes if names), ()),
        )
    return rows


def groups(rows: Sequence[Row]) -> list[Group]:
    """One subject's parts, each with a row per arm that was measured on it."""
    names = dict.fromkeys(name for row in rows for name in row.parts)
    found = []
    for name in sorted(names, key=lambda n: [*TITLES, n].index(n)):
        of = [(row, row.parts[name]) for row in rows if name in row.parts]
        found.append(Group(_title(name, of[0][1]), of))
    return found


def _title(name: str, part: PartRow) -> str:
    title = TITLES.get(name, name)
    title += f": {', '.join(part.classes)}" if part.classes else ""
    has_share = part.share is not None and name != OVERALL
    return f"{title} ({percent(part.share.mean)} %)" if has_share else title


def cells(part: PartRow) -> list[str]:
    """A row of the table below :data:`HEAD`."""
    return [with_std(part.miou), with_interval(part.delta_miou), with_std(part.accuracy),
            with_interval(part.delta_accuracy)]  # fmt: skip
