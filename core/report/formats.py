"""A comparison as Markdown, CSV and JSON. Percent, and points for differences: Markdown alone."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from collections.abc import Sequence

from core.report import parts, strength
from core.report.findings import code, findings, not_measured, reach, scope_of, warnings
from core.report.summary import Table
from core.report.words import (
    mean,
    percent,
    points,
    printable,
    times,
    with_interval,
    with_std,
)
from core.result import Entry, finite

PUBLISHED = ["Published", "Published Δ", "Ours − published"]  # headings
_INTERVAL = r"[+−][\d.]+, [+−][\d.]+\](?:\s|$)"  # what follows its first bracket


def main_table(table: Table) -> str:
    """The comparison of arms as an aligned Markdown table: fit for a terminal too."""
    head = [table.group, "Arm", "n", "mIoU", table.delta_head, "Δ scaled CE", "Time", "Memory"]
    body = []
    for rows in table.subjects.values():
        for i, row in enumerate(rows):
            cells = [
                row.title if i == 0 else "",
                row.name,
                str(row.miou.n if row.miou else 0),
                with_std(row.miou),
                with_interval(row.delta_baseline),
                with_interval(row.delta_scaled),
                times(row.time_ratio),
                times(row.memory_ratio),
            ]
            if table.has_published:
                cells += [percent(row.published), points(row.published_delta)]
                cells += [points(row.to_published)]
            body.append(cells)
    return grid([*head, *PUBLISHED] if table.has_published else head, body, left=2)


def class_table(table: Table, subject: str) -> str:
    """Per-class IoU of one subject as an aligned Markdown table."""
    rows = table.subjects[subject]
    others = [row for row in rows if row.arm.kind.name != "baseline"]
    head = ["Class", *(row.name for row in rows), *(f"Δ {row.name}" for row in others)]
    body = [
        [
            name,
            *(percent(mean(row.iou[name])) for row in rows),
            *(points(mean(row.delta_iou[name])) for row in others),
        ]
        for name in table.classes_of(subject)
    ]
    return grid(head, body, left=1)


def strength_table(table: Table) -> str:
    """What the hardness maps did, of the arms that have one."""
    body = []
    for rows in table.subjects.values():
        titles = [rows[0].title]
        for row in rows:
            if row.strength:
                body.append([titles.pop() if titles else "", row.name, *strength.cells(row)])
    return grid([table.group, "Arm", *strength.HEAD], body, left=2)


def parts_table(table: Table, subject: str) -> str:
    """One subject on hard and easy pixels."""
    body = []
    for title, of in parts.groups(table.subjects[subject]):
        for i, (row, part) in enumerate(of):
            body.append([title if i == 0 else "", row.name, *parts.cells(part)])
    return grid(["Pixels", "Arm", *parts.HEAD], body, left=2)


def to_markdown(table: Table, notes: Sequence[str] = ()) -> str:
    """The whole report as Markdown: what it can show, main table, findings, failed runs, notes,
    hardness maps, hard and easy pixels, per-class IoU."""
    said = reach(scope_of(table))
    text = [_paragraph(said)] if said else []
    text += [
        main_table(table),
        "mIoU in percent, mean ± sample standard deviation over n seeds. Δ in points, paired by "
        "seed, in brackets the 95 % interval (Student's t): very wide with two seeds, none with "
        "one. Time per iteration and peak memory as ratios to "
        f"{_inert(table.baseline)}, of medians over seeds, as the machine was: runs side by side "
        "slow each other.",
    ]
    for subject, sentences in findings(table).items():
        text.append(
            f"**{_inert(table.subjects[subject][0].title)}.** {_inert(' '.join(sentences))}"
        )
    text += [f"**Take care.** {_inert(warning)}" for warning in warnings(table)]
    if table.failed:
        lines = [f"- {_paragraph(what)}: {_inert(why)}" for what, why in not_measured(table)]
        text.append("Not measured:\n\n" + "\n".join(lines))
    text += [_paragraph(note) for note in notes]
    if revisions := code(table):
        text.append(f"Made with pixel-hardness {', '.join(map(_inert, revisions))}.")
    if strength.is_measured(table.rows):
        text += ["Hardness map:", strength_table(table), _inert(strength.CAPTION)]
    has_parts = [subject for subject, rows in table.subjects.items() if parts.groups(rows)]
    for subject in has_parts:
        text.append(f"Hard and easy pixels, {_inert(table.subjects[subject][0].title)}:")
        text.append(parts_table(table, subject))
    text += [_inert(parts.CAPTION)] if has_parts else []
    for subject, rows in table.subjects.items():
        if table.classes_of(subject):
            text.append(f"IoU per class, {_inert(rows[0].title)}:")
            text.append(class_table(table, subject))
    return "\n\n".join(text) + "\n"


def to_csv(table: Table) -> str:
    """One row per run, finished or failed; 0 to 1, with columns ``IoU/<class>`` per class and
    ``<part>/mIoU``, ``<part>/accuracy``, ``<part>/share`` per part of the pixels.

    An empty cell is a value that the run does not have.
    """
    keys = ["track", "data", "network", "group", "title", "arm", "seed", "iterations", "mIoU",
            "seconds_per_iter", "peak_memory_mib", "num_params", *strength.figures(None), "device",
            "date", "version", "revision", "error"]  # fmt: skip
    names = dict.fromkeys(name for e in table.runs for name in parts.parts_of(e.run.metrics))
    keys += [f"{name}/{key}" for name in names for key in ("mIoU", "accuracy", "share")]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(keys + [f"IoU/{name}" for name in table.classes])
    errors = {id(entry): error for entry, error in table.failed}
    for entry in [*table.runs, *(entry for entry, _ in table.failed)]:
        cells = _cells(entry) | dict(error=errors.get(id(entry)))
        iou = entry.run.metrics.iou if hasattr(entry.run, "metrics") else {}
        writer.writerow(
            [cells.get(key) for key in keys] + [finite(iou.get(name)) for name in table.classes]
        )
    return out.getvalue()


def _cells(entry: Entry) -> dict:
    """A run as columns."""
    run = entry.run
    cells = {key: getattr(run, key, None) for key in ("track", "data", "network", "group", "arm",
             "seed", "iterations", "device", "date")}  # fmt: skip
    cells["title"] = entry.title
    if hasattr(run, "metrics"):
        cells |= dict(mIoU=run.metrics.miou, version=run.code.version, revision=run.code.revision)
        cells |= dataclasses.asdict(run.cost) | strength.figures(run.strength)
        for name, part in parts.parts_of(run.metrics).items():
            cells |= {f"{name}/{key}": getattr(part, key.lower()) for key in
                      ("mIoU", "accuracy", "share")}  # fmt: skip
    return cells


def to_json(table: Table) -> str:
    """Rows, findings and failed runs; every IoU and difference 0 to 1."""
    rows = []
    for row in table.rows:
        rows.append({f.name: getattr(row, f.name) for f in dataclasses.fields(row)})
        rows[-1]["arm"] = str(row.arm)
    failed = [
        dict(subject=entry.subject, arm=entry.run.arm, seed=entry.run.seed, error=error)
        for entry, error in table.failed
    ]
    content = dict(
        can_show=reach(scope_of(table)),
        rows=rows,
        findings=findings(table),
        warnings=warnings(table),
        failed=failed,
    )
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False,
                      default=dataclasses.asdict)  # fmt: skip
    return text + "\n"


def grid(head: Sequence[str], body: Sequence[Sequence[str]], left: int) -> str:
    """A Markdown table with padded columns, the first ``left`` of them aligned left."""
    cells = [[_inert(cell).replace("|", "\\|") for cell in row] for row in (head, *body)]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * w if i < left else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    lines = [cells[0], rule, *cells[1:]]
    return "\n".join(
        "| "
        + " | ".join(c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(pairs))
        + " |"
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    )


def _inert(text: object) -> str:
    """Text on one line that is not taken for HTML, a link or code, and ends no bold one.

    The brackets of an interval stay as they are: without a target behind them they are no link.
    """
    line = printable(" ".join(str(text).split()))
    line = re.sub(r"&(?=#?\w+;)", "&amp;", line).replace("<", "&lt;")
    return re.sub(rf"[\\`*]|\[(?!{_INTERVAL})", r"\\\g<0>", line)


def _paragraph(text: object) -> str:
    """The same, that is no heading, list or quotation."""
    return re.sub(r"^(\d*)([#>+~=.)-])", r"\1\\\2", _inert(text))
