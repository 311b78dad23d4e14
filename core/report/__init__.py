"""Run results as tables (Markdown, CSV, JSON) and as one HTML page. Knows arrays and files only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from core.report.files import write_files
from core.report.page import render_page
from core.report.tables import (
    Published,
    Result,
    findings,
    main_table,
    summarize,
    to_csv,
    to_json,
    to_markdown,
)

__all__ = [
    "Report",
    "findings",
    "main_table",
    "summarize",
    "to_csv",
    "to_json",
    "to_markdown",
    "write_report",
]


class Report(NamedTuple):
    """What ``write_report`` made."""

    paths: dict[str, Path]  # by kind: markdown, csv, json, html
    markdown: str


def write_report(
    out_dir: Path,
    results: Sequence[Result],
    run_dirs: Sequence[Path | None],
    *,
    title: str,
    notes: Sequence[str] = (),
    command: str = "",
    published: Published | None = None,
    arm_names: Mapping[str, str] | None = None,
    group: str = "Model",
) -> Report:
    """Write ``results.md``, ``results.csv``, ``results.json`` and ``index.html``.

    Args:
        out_dir: made if it is missing.
        results: run results, finished and failed (see ``core.report.tables``).
        run_dirs: the folder of each result, in the same order, ``None`` where there is none.
        title: heading of the page.
        notes: paragraphs below the findings.
        command: what was typed to make all this.
        published: mIoU in percent by model and arm, to stand beside ours.
        arm_names: names of arms in place of those in ``core.report.tables.ARMS``.
        group: what a model is called in a heading; in a semi-supervised track, ``Partition``.

    Raises:
        ValueError: an unknown arm, in a result or in ``arm_names``, the same run twice, or lists
            that differ in length.
        OSError: a file cannot be written; a full disk leaves the old files as they were.
    """
    table = summarize(results, published, arm_names=arm_names, group=group)
    markdown = to_markdown(table, notes)
    paths = {
        kind: Path(out_dir) / name
        for kind, name in (
            ("markdown", "results.md"),
            ("csv", "results.csv"),
            ("json", "results.json"),
            ("html", "index.html"),
        )
    }
    page = render_page(
        table, results, run_dirs, title=title, notes=notes, command=command, base=Path(out_dir)
    )
    texts = {"markdown": markdown, "csv": to_csv(table), "json": to_json(table), "html": page}
    write_files({paths[kind]: text for kind, text in texts.items()})
    return Report(paths, markdown)
