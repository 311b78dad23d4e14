"""Run results as tables (Markdown, CSV, JSON) and as one HTML page. Knows arrays and files only."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from core.files import write_files
from core.report.formats import to_csv, to_json, to_markdown
from core.report.page import render_page
from core.report.pictures import pictures
from core.report.summary import Published, summarize
from core.result import Entry

__all__ = ["Entry", "Report", "write_report"]


class Report(NamedTuple):
    """What ``write_report`` made."""

    paths: dict[str, Path]  # by kind: markdown, csv, json, html
    markdown: str
    broken: list[str]  # of pictures that cannot be shown, a line each

    def tell(self) -> None:
        """Print the tables, and where the page is; on stderr what cannot be shown."""
        for line in self.broken:
            print(f"note: {line}", file=sys.stderr)
        print(f"{self.markdown}\npage: {self.paths['html']}")


def write_report(
    out_dir: Path,
    entries: Sequence[Entry],
    *,
    title: str,
    notes: Sequence[str] = (),
    command: str = "",
    published: Published | None = None,
    arm_names: Mapping[str, str] | None = None,
    group: str = "Network",
) -> Report:
    """Write ``results.md``, ``results.csv``, ``results.json`` and ``index.html``.

    Args:
        out_dir: made if it is missing.
        entries: runs, finished and failed, each with its subject, heading and folder.
        title: heading of the page.
        notes: paragraphs below the findings.
        command: what was typed to make all this.
        published: mIoU in percent by subject and arm, to stand beside ours.
        arm_names: names of kinds of arms in place of those in :data:`core.arms.KINDS`.
        group: what a subject is called in a heading: ``Network``, ``Split``, ``Domain``.

    Raises:
        ResultError: an unknown arm, in a run or in ``arm_names``, or the same run twice.
        WriteError: a file cannot be written; a full disk leaves the old files as they were.
    """
    table = summarize(entries, published, arm_names=arm_names, group=group)
    out_dir = Path(out_dir)
    markdown = to_markdown(table, notes)
    shown = pictures(table)
    texts = {
        "markdown": ("results.md", markdown),
        "csv": ("results.csv", to_csv(table)),
        "json": ("results.json", to_json(table)),
        "html": ("index.html", render_page(table, title=title, notes=notes, command=command,
                                           base=out_dir, pictures=shown)),
    }  # fmt: skip
    write_files(
        {out_dir / name: text.encode(errors="backslashreplace") for name, text in texts.values()}
    )
    return Report({kind: out_dir / name for kind, (name, _) in texts.items()}, markdown,
                  shown["broken"])  # fmt: skip
