"""The table of U²PL's runs: what ``core.report.write_report`` takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core import result
from core.arms import with_released
from core.result import Entry, Failed, Result
from semi_supervised import manifest

NAMES = {
    "baseline": "U²PL",
    "balanced": "U²PL, balanced CE",
    "focal": "U²PL, focal loss",
    "ce-scaled": "U²PL, scale-matched CE",
    "collected": "U²PL, collected HL",
    "hl": "U²PL + HL",
}


def table(out: Path, data: str, failed: Sequence[Failed] = ()) -> dict[str, Any]:
    """All runs that are finished below ``out``, and those that failed; damaged ones are notes."""
    folders = [path.parent for path in sorted(out.glob(f"*/*/{result.NAME}"))]
    runs, damaged = result.read_each(folders)
    entries = [Entry(run.group, run.title, run, folder) for run, folder in runs]
    titles = {entry.subject: entry.title for entry in entries}
    entries += [Entry(f.group, titles.get(f.group, f.group), f) for f in failed]
    # Published figures are Cityscapes'; beside another data set they would mislead.
    figures = manifest.read()["published"] if data == "cityscapes" else {}
    published, others = {}, []
    for entry in entries:
        facts = entry.run.facts if isinstance(entry.run, Result) else {}
        # By part alone: "1/8 balanced" has those of 1/8.
        part = facts.get("published_split") or entry.subject.partition(" ")[0]
        published[entry.subject] = with_released(figures.get(part, {}))
        if part in figures and not facts.get("published_split"):
            others.append(entry.subject)
    notes = [_accidents(entry) for entry in entries if _accidents(entry)]
    if any(run.strength for run, _ in runs):
        notes.append("Strength of the map: of the student's map beside the teacher's predictions.")
    notes += [
        f"{name}: the published figures are of U²PL's own lists, this is another choice of as many "
        "images; --lists DIR takes theirs."
        for name in dict.fromkeys(others)
    ]
    return dict(
        entries=entries,
        notes=[*dict.fromkeys(notes), *damaged],
        title=f"U²PL with pixel-hardness learning on {data}",
        published=published if data == "cityscapes" else None,
        arm_names=NAMES,
        group="Split",
    )


def _accidents(entry: Entry) -> str | None:
    """What a run repeated of the released code."""
    facts = entry.run.facts if isinstance(entry.run, Result) else {}
    names = ", ".join(facts.get("as_released") or ())
    return f"{entry.subject}: with the accidents of the released code: {names}." if names else None
