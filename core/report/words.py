"""Numbers and findings as text. A true minus sign: a hyphen reads as a dash beside figures."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from core.report.summary import Stat, Table

NONE = "–"  # an en dash: nothing was measured here
# Of a name from outside: what steers a terminal, turns the direction of text, or is no UTF-8.
_ODD = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Text without control characters: ``\\x1b`` as it is written in Python."""
    return _ODD.sub(lambda found: ascii(found[0])[1:-1], text)


def percent(value: float | None) -> str:
    """0 to 1 as percent with two decimals."""
    return NONE if value is None else f"{100 * value:.2f}"


def points(value: float | None) -> str:
    """A difference of 0-to-1 values as signed percentage points."""
    # Adding zero turns the -0.0 that rounding can leave into 0.0.
    return NONE if value is None else f"{round(100 * value, 2) + 0.0:+.2f}".replace("-", "−")


def times(value: float | None) -> str:
    """A ratio."""
    return NONE if value is None else f"{value:.2f}×"


def digits(value: float | None) -> str:
    """Three significant digits, without an exponent."""
    if value is None:
        return NONE
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if value > 0 else "0"


def whole(value: float | None) -> str:
    """A whole number with its thousands set apart."""
    return NONE if value is None else f"{value:,.0f}"


def mean(stat: Stat | None) -> float | None:
    """The mean of what was measured, if it was."""
    return stat.mean if stat else None


def with_std(stat: Stat | None, show: Callable[[float | None], str] = percent) -> str:
    """``mean ± std``, or the mean alone for one seed."""
    if stat is None:
        return NONE
    return show(stat.mean) if stat.std is None else f"{show(stat.mean)} ± {percent(stat.std)}"


def findings(table: Table) -> dict[str, list[str]]:
    """What the numbers say about HL and its rivals, sentence by sentence, by subject.

    A difference counts as seen only if its mean exceeds the standard deviation of the per-seed
    differences. Scale-matched CE is compared too: HL enlarges the loss, hence the step, and that
    arm enlarges it by the same factor without a map. Of training on the labeled images alone it is
    only said how far the baseline is above it.
    """
    said: dict[str, list[str]] = {}
    for subject, rows in table.subjects.items():
        arms = {str(row.arm): row for row in rows}
        base, sup_only = arms.get("baseline"), arms.get("sup-only")
        hls = [row for row in rows if row.arm.kind.name == "hl"]
        hl = arms.get("hl") or (hls[0] if len(hls) == 1 else None)
        sentences = [
            _compare(row.name, row.delta_baseline, table.baseline)
            for row in rows
            if row.arm.kind.is_rival and base
        ]
        if hl:
            sentences.append(_compare(hl.name, hl.delta_baseline, table.baseline))
        if hl and any(row.arm.kind.name == "ce-scaled" for row in rows):
            sentences.append(_compare(hl.name, hl.delta_scaled, "scale-matched CE"))
        if base and sup_only:
            gain = Stat.paired(base.miou, sup_only.miou)
            sentences.append(_compare(base.name, gain, sup_only.name))
        if sentences:
            said[subject] = sentences
    return said


def _compare(name: str, delta: Stat | None, other: str) -> str:
    if delta is None:
        return f"No seed has both {name} and {other}, so the two cannot be compared."
    if delta.n == 1:
        if points(delta.mean) == "+0.00":
            return f"{name} equals {other} on the one seed that both have."
        side = "above" if delta.mean > 0 else "below"
        return (
            f"{name} is {side} {other} by {percent(abs(delta.mean))} points on the one seed that "
            "both have, which says nothing about the spread between seeds."
        )
    if abs(delta.mean) <= delta.std:
        return (
            f"{name} and {other} differ by {with_std(delta, points)} points over {delta.n} seeds: "
            "the difference is within the spread between seeds."
        )
    size = f"{percent(abs(delta.mean))} ± {percent(delta.std)} points over {delta.n} seeds"
    return f"{name} is {'above' if delta.mean > 0 else 'below'} {other} by {size}."


def warnings(table: Table) -> list[str]:
    """What makes runs of one subject incomparable, a sentence each."""
    return [
        f"The runs of {subject} differ in {name}: {', '.join(values)}."
        for subject, name, values in table.unlike
    ]


def not_measured(table: Table) -> list[tuple[str, str]]:
    """Of each run that failed what it is, and why."""
    return [
        (f"{entry.subject}, {table.names[entry.run.arm]}, seed {entry.run.seed}", error)
        for entry, error in table.failed
    ]


def code(table: Table) -> list[str]:
    """Versions and revisions of ours that the runs were made with."""
    found = dict.fromkeys(run_code(entry.run.code) for entry in table.runs)
    return [text for text in found if text]


def run_code(code: object) -> str:
    """``0.5.0 (1a2b3c4d5e6f)``; "" for a run of version 0.4 or before, which did not tell."""
    if not code.version:
        return ""
    return f"{code.version} ({code.revision})" if code.revision else code.version
