"""Run results in, comparisons out: arms side by side, paired by seed.

Values are 0 to 1 in every object. An arm is one of :mod:`core.arms`, which has its order, name and
colour; nothing of that is told here anew.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from core.arms import KINDS, VARIANTS, Arm
from core.errors import ResultError
from core.report.parts import part_rows
from core.report.rows import Row
from core.report.stats import Stat
from core.report.strength import strengths
from core.result import Entry, Failed, finite

Published = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Table:
    """All rows, subject by subject, the arms in their fixed order."""

    rows: list[Row]
    classes: list[str]
    runs: list[Entry]  # the finished runs behind the rows
    failed: list[tuple[Entry, str]]  # and why
    names: dict[str, str]  # of every arm, by its text
    colors: dict[str, str]  # CSS variable of every arm that occurs
    baseline: str  # its name within a sentence
    group: str  # what a subject is called in a heading
    unlike: list[tuple[str, str, list[str]]] = field(default_factory=list)

    @property
    def subjects(self) -> dict[str, list[Row]]:
        """Rows of each subject."""
        grouped: dict[str, list[Row]] = {}
        for row in self.rows:
            grouped.setdefault(row.subject, []).append(row)
        return grouped

    def runs_of(self, subject: str) -> list[Entry]:
        """The finished runs of a subject."""
        return [entry for entry in self.runs if entry.subject == subject]

    def classes_of(self, subject: str) -> list[str]:
        """The classes that a subject was evaluated on: data sets may differ."""
        runs = self.runs_of(subject)
        return list(dict.fromkeys(name for entry in runs for name in entry.run.metrics.iou))

    def leading(self, kind: str) -> str | None:
        """The arm that stands for a kind: see :func:`leading_arm`."""
        return leading_arm(self.colors, kind)

    @property
    def delta_head(self) -> str:
        """Heading of differences to the baseline."""
        return f"Δ {self.baseline.removeprefix('the ')}"

    @property
    def has_published(self) -> bool:
        """Whether any row has a published figure beside it."""
        return any(row.published is not None for row in self.rows)


def summarize(
    entries: Sequence[Entry],
    published: Published | None = None,
    *,
    arm_names: Mapping[str, str] | None = None,
    group: str = "Network",
) -> Table:
    """Compare the arms of every subject.

    Args:
        entries: runs, finished and failed, in any order.
        published: mIoU in percent by subject and arm, to stand beside ours.
        arm_names: names of kinds of arms in place of those in :data:`core.arms.KINDS`.
        group: what a subject is called in a heading: ``Network``, ``Split``, ``Domain``.

    Returns:
        A row for every subject in every arm that occurs at all; what was not measured is ``None``.

    Raises:
        ResultError: an unknown arm, in a run or in ``arm_names``; or the same run twice.
    """
    arm_names = arm_names or {}
    if unknown := arm_names.keys() - KINDS.keys():
        raise ResultError(f"names of unknown arms {sorted(unknown)}; known: {', '.join(KINDS)}")
    arms = _arms(entries)
    names = {name: kind.title for name, kind in KINDS.items()} | dict(arm_names)
    names |= {text: arm.title(arm_names) for text, arm in arms.items()}
    runs, failed = _split(entries)
    subjects = list(dict.fromkeys(entry.subject for entry in entries))
    order = list(arms)
    runs.sort(key=lambda e: (subjects.index(e.subject), order.index(e.run.arm), e.run.seed))
    colors = _colors(arms)
    rows = []
    for subject in subjects:
        title = next(entry.title for entry in entries if entry.subject == subject)
        of = {text: [] for text in arms}
        for entry in runs:
            if entry.subject == subject:
                of[entry.run.arm].append(entry)
        paper = {arm: value / 100 for arm, value in (published or {}).get(subject, {}).items()}
        rows += _rows(subject, title, arms, of, paper, names, colors)
    return Table(
        rows=rows,
        classes=list(dict.fromkeys(name for entry in runs for name in entry.run.metrics.iou)),
        runs=runs,
        failed=failed,
        names=names,
        colors=colors,
        baseline=arm_names.get("baseline", "the baseline"),
        group=group,
        unlike=_unlike(runs),
    )


def _arms(entries: Sequence[Entry]) -> dict[str, Arm]:
    """Every arm that occurs, by its text, in the order of the tables; options as they came."""
    found = {}
    for entry in entries:
        try:
            found.setdefault(entry.run.arm, Arm.parse(entry.run.arm))
        except ValueError as error:
            raise ResultError(f"a run of {entry.subject}: {error}") from error
    kinds = list(KINDS)
    return dict(sorted(found.items(), key=lambda pair: kinds.index(pair[1].kind.name)))


def leading_arm(arms: Collection[str], kind: str) -> str | None:
    """The arm that stands for its kind, in its colour and in what is said of it.

    The one without options; else that with the published dose (``alpha=auto``); else the only
    one; ``None`` where several have other options, or none is there.
    """
    for text in (kind, f"{kind} alpha=auto"):
        if text in arms:
            return text
    of_kind = [text for text in arms if text.partition(" ")[0] == kind]
    return of_kind[0] if len(of_kind) == 1 else None


def _colors(arms: Mapping[str, Arm]) -> dict[str, str]:
    leading = {leading_arm(arms, kind): kind for kind in KINDS}
    variants = [text for text in arms if text not in leading]
    return {
        text: leading.get(text) or f"variant-{variants.index(text) % len(VARIANTS) + 1}"
        for text in arms
    }


def _split(entries: Sequence[Entry]) -> tuple[list[Entry], list[tuple[Entry, str]]]:
    """Finished runs and failed ones; a run whose mIoU is no number has failed.

    Raises:
        ResultError: the same run twice.
    """
    done, failed, seen = [], [], set()
    for entry in entries:
        run = entry.run
        key = (entry.subject, run.arm, run.seed)
        if key in seen:
            raise ResultError(f"two results for {key[0]}, arm {key[1]}, seed {key[2]}")
        seen.add(key)
        if isinstance(run, Failed):
            failed.append((entry, run.error))
        elif run.score is None:
            failed.append((entry, "its mIoU is not a number"))
        else:
            done.append(entry)
    return done, failed


def _rows(
    subject: str,
    title: str,
    arms: Mapping[str, Arm],
    of: Mapping[str, Sequence[Entry]],
    paper: Mapping[str, float],
    names: Mapping[str, str],
    colors: Mapping[str, str],
) -> list[Row]:
    """One subject's row in every arm."""
    classes = list(dict.fromkeys(c for es in of.values() for e in es for c in e.run.metrics.iou))
    miou = {arm: Stat.over(of[arm], lambda e: e.run.score) for arm in arms}
    iou = {
        arm: {name: Stat.over(of[arm], lambda e, n=name: e.run.metrics.iou.get(n))
              for name in classes}
        for arm in arms
    }  # fmt: skip
    cost = {arm: [entry.run.cost for entry in of[arm]] for arm in arms}
    seconds = {arm: _median([c.seconds_per_iter for c in cost[arm]]) for arm in arms}
    memory = {arm: _median([c.peak_memory_mib for c in cost[arm]]) for arm in arms}
    rows = []
    for text, arm in arms.items():
        base = "baseline" if text != "baseline" else None  # what it is compared with
        scaled = " ".join(["ce-scaled", *arm.pairs])  # of the same options, where it is there
        scaled = scaled if scaled in arms else leading_arm(arms, "ce-scaled")
        scaled = scaled if arm.kind.has_map else None
        figure, ours = paper.get(text), miou[text]
        rows.append(
            Row(
                subject=subject,
                title=title,
                arm=arm,
                name=names[text],
                color=colors[text],
                miou=ours,
                delta_baseline=Stat.paired(ours, miou.get(base)),
                delta_scaled=Stat.paired(ours, miou.get(scaled)),
                seconds_per_iter=seconds[text],
                peak_memory_mib=memory[text],
                num_params=next((c.num_params for c in cost[text] if c.num_params), None),
                time_ratio=_ratio(seconds[text], seconds.get("baseline")),
                memory_ratio=_ratio(memory[text], memory.get("baseline")),
                iou=iou[text],
                delta_iou={
                    name: Stat.paired(iou[text][name], iou.get(base, {}).get(name))
                    for name in classes
                    if base
                },
                published=figure,
                published_delta=_minus(figure, paper.get(base)),
                to_published=_minus(ours.mean if ours else None, figure),
                leads=leading_arm(arms, arm.kind.name) == text,
                strength=strengths(of[text]),
                parts=part_rows(of[text], of.get(base, ())),
            )
        )
    return rows


def _median(values: Sequence[float | None]) -> float | None:
    found = [value for value in map(finite, values) if value is not None]
    return finite(statistics.median(found)) if found else None


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return finite(ours / theirs) if ours is not None and theirs else None


def _minus(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or theirs is None else ours - theirs


def _unlike(runs: Sequence[Entry]) -> list[tuple[str, str, list[str]]]:
    """What makes runs of one subject incomparable: subject, quantity, its values."""
    quantities = {
        "track": lambda run: run.track,
        "network": lambda run: run.network,
        "data": lambda run: run.data,
        "iterations": lambda run: str(run.iterations),
        "device": lambda run: run.device,
        "code": lambda run: " ".join(filter(None, (run.code.version, run.code.revision))),
    }
    found = []
    for subject in dict.fromkeys(entry.subject for entry in runs):
        of = [entry.run for entry in runs if entry.subject == subject]
        for name, value in quantities.items():
            values = list(dict.fromkeys(value(run) for run in of))
            if len(values) > 1:
                found.append((subject, name, values))
    return found
