"""The table of U²PL's runs: what ``core.report.write_report`` takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core import result
from core.result import Entry, Failed
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
    """All runs that are finished below ``out``, and those that failed."""
    folders = [path.parent for path in sorted(out.glob(f"*/*/{result.NAME}"))]
    runs = [(result.read(folder), folder) for folder in folders]
    entries = [Entry(run.group, run.title, run, folder) for run, folder in runs]
    titles = {entry.subject: entry.title for entry in entries}
    entries += [Entry(f.group, titles.get(f.group, f.group), f) for f in failed]
    figures = manifest.read()["published"]
    # By part alone: "1/8 balanced" has those of 1/8.
    published = {entry.subject: figures.get(entry.subject.split()[0], {}) for entry in entries}
    return dict(
        entries=entries,
        title=f"U²PL with pixel-hardness learning on {data}",
        # Published figures are Cityscapes'; beside another data set they would mislead.
        published=published if data == "cityscapes" else None,
        arm_names=NAMES,
        group="Split",
    )
