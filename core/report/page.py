"""The report as one HTML page that needs no other file and no network.

What is shown is prepared here as plain values; ``page.html.jinja`` lays it out and escapes it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.analysis.colors import ramp_hex
from core.report import charts, parts, strength
from core.report.findings import (
    code,
    findings,
    not_measured,
    reach,
    run_code,
    scope_of,
    warnings,
)
from core.report.pictures import class_colors
from core.report.rows import Row
from core.report.stats import Stat
from core.report.summary import Table
from core.report.templates import render
from core.report.words import (
    NONE,
    bounds,
    digits,
    mean,
    percent,
    points,
    spread,
    times,
    whole,
)
from core.result import finite

CURVE_TITLES = {
    "mIoU": "mIoU, %",
    "loss": "All losses",
    "loss_ce": "Cross-entropy loss",
    "loss_hl": "HL loss",
    "loss_sup": "Supervised loss",
    "loss_aux_0": "Auxiliary loss",
    "loss_unsup": "Unsupervised loss",
    "loss_contrastive": "Contrastive loss",
    "hl_gain": "hl_gain: 1 for a flat map",
    "hl_contrast": "hl_contrast: 1 for a flat map",
    "hl_auc": "AUC for wrong pixels",
    "hl_rank": "Rank correlation with the cross-entropy",
}


def render_page(
    table: Table,
    *,
    title: str,
    notes: Sequence[str],
    command: str,
    base: Path,
    pictures: Mapping[str, Any],
) -> str:
    """The whole page.

    Args:
        table: from :func:`core.report.summary.summarize`.
        title: heading.
        notes: paragraphs below the findings.
        command: what was typed to make all this.
        base: folder that run folders are named relative to.
        pictures: from :func:`core.report.pictures.pictures`.
    """
    return render(
        "page.html.jinja",
        title=title,
        facts=_facts(table, command),
        notes=notes,
        reach=reach(scope_of(table)),
        results=_results(table),
        maps=_maps(table),
        parts=_parts(table),
        arms=_arms(table),
        curves=_curves(table),
        classes=_classes(table),
        pictures=pictures,
        ramp=ramp_hex(),
        cost=_cost(table),
        runs=_runs(table, base),
        baseline=table.baseline,
        group=table.group,
        hl_name=table.names[table.leading("hl") or "hl"],
    )


def _facts(table: Table, command: str) -> dict[str, str]:
    def of(value: Callable[[Any], Any]) -> str:
        """The values of a quantity over all runs, joined; a report should have one."""
        values = [value(entry.run) for entry in table.runs]
        return ", ".join(dict.fromkeys(str(x) for x in values if x not in (None, "")))

    seeds = sorted({entry.run.seed for entry in table.runs}, key=str)
    return {
        "Data": of(lambda run: run.data),
        "Track": of(lambda run: run.track).replace("_", " "),
        f"{table.group}s": "; ".join(rows[0].title for rows in table.subjects.values()),
        "Iterations": of(lambda run: run.iterations),
        "Seeds": ", ".join(map(str, seeds)),
        "Device": of(lambda run: run.device),
        "Date": of(lambda run: run.date),
        "Code": ("several: " if len(code(table)) > 1 else "")
        + ", ".join(f"pixel-hardness {text}" for text in code(table)),
        "Command": command,
    }


def _arms(table: Table) -> list[dict[str, str]]:
    rows = {str(row.arm): row for row in table.rows}
    return [
        dict(color=row.color, name=row.name, leads=row.arm.kind.name if row.leads else "")
        for row in rows.values()
    ]


def _miou(stat: Stat | None) -> dict | str:
    return dict(mean=percent(stat.mean), beside=spread(stat)) if stat else NONE


def _delta(stat: Stat | None) -> dict | str:
    return dict(mean=points(stat.mean), beside=bounds(stat)) if stat else NONE


def _unbroken(text: str) -> str:
    """Text whose intervals no end of a line divides."""
    return re.sub(r"(\[[+−][\d.]+,) ", "\\1\N{NO-BREAK SPACE}", text)


def _grouped(table: Table, cells: Callable[[Row], list]) -> list[dict]:
    """Rows by subject; one of which nothing was measured is left out."""
    groups = []
    for rows in table.subjects.values():
        lines = [dict(color=row.color, name=row.name, cells=cells(row)) for row in rows]
        if any(cell != NONE for line in lines for cell in line["cells"]):
            groups.append(dict(title=rows[0].title, rows=lines))
    return groups


def _results(table: Table) -> dict[str, Any]:
    head = ["n", "mIoU, %", table.delta_head, "Δ scale-matched"]
    if table.has_published:
        head += ["published", "published Δ", "ours − published"]

    def cells(row: Row) -> list:
        ours = [
            str(row.miou.n if row.miou else 0),
            _miou(row.miou),
            _delta(row.delta_baseline),
            _delta(row.delta_scaled),
        ]
        if table.has_published:
            ours += [percent(row.published), points(row.published_delta), points(row.to_published)]
        return ours

    spans = [
        100 * (max(values) - min(values))
        for rows in table.subjects.values()
        if (values := [v for row in rows if row.miou for v in row.miou.by_seed.values()])
    ]
    span = 1.25 * max([*spans, 1.0])
    drawn = [
        dict(title=rows[0].title, svg=charts.miou_chart(rows, span))
        for rows in table.subjects.values()
    ]
    return dict(
        head=head,
        groups=_grouped(table, cells),
        has_published=table.has_published,
        findings=[
            dict(
                title=table.subjects[subject][0].title,
                text=_unbroken(" ".join(said)),
            )
            for subject, said in findings(table).items()
        ],
        warnings=warnings(table),
        failed=not_measured(table),
        charts=drawn if spans else [],
    )


def _maps(table: Table) -> dict[str, Any]:
    """What the hardness maps did; no groups where no run tells."""
    groups = []
    for rows in table.subjects.values():
        lines = [dict(color=row.color, name=row.name, cells=strength.cells(row)) for row in rows
                 if row.strength]  # fmt: skip
        groups += [dict(title=rows[0].title, rows=lines)] if lines else []
    return dict(head=strength.HEAD, groups=groups, caption=strength.CAPTION)


def _parts(table: Table) -> dict[str, Any]:
    """Each subject on hard and easy pixels; none where no run tells."""
    subjects = []
    for rows in table.subjects.values():
        groups = [
            dict(title=title, rows=[
                dict(color=row.color, name=row.name, cells=[
                    _miou(part.miou), _delta(part.delta_miou),
                    _miou(part.accuracy), _delta(part.delta_accuracy)])
                for row, part in of])
            for title, of in parts.groups(rows)
        ]  # fmt: skip
        subjects += [dict(title=rows[0].title, groups=groups)] if groups else []
    return dict(head=parts.HEAD, subjects=subjects, caption=parts.CAPTION)


def _curves(table: Table) -> list[dict]:
    groups = []
    for subject, rows in table.subjects.items():
        runs = table.runs_of(subject)
        names = dict.fromkeys(name for entry in runs for name in entry.run.curves)
        names = [n for n in names if n == "mIoU" or "loss" in n or n.startswith("hl_")]
        drawn = []
        for name in sorted(names, key=lambda n: (n != "mIoU", n.startswith("hl_"), n)):
            curves = {
                row.color: [
                    entry.run.curves[name]
                    for entry in runs
                    if entry.run.arm == str(row.arm) and entry.run.curves.get(name)
                ]
                for row in rows
            }
            label = f"{name} over iterations, {rows[0].title} ({subject})"
            part, _, key = name.rpartition(".")  # mmseg names a loss of a head decode.loss_ce
            title = CURVE_TITLES.get(key, key)
            title = f"{title}, {part}" if part else title
            drawn.append(charts.curve_chart(name, title, curves, label))
        if drawn:
            groups.append(dict(title=rows[0].title, charts=drawn))
    return groups


def _classes(table: Table) -> list[dict]:
    groups = []
    for subject, rows in table.subjects.items():
        others = [row for row in rows if row.arm.kind.name != "baseline"]
        classes = table.classes_of(subject)
        if not classes:
            continue
        colors = class_colors(table.runs_of(subject))
        lines = [
            dict(
                name=name,
                color=colors.get(name),
                is_mean=False,
                cells=[
                    *(percent(mean(row.iou[name])) for row in rows),
                    *(points(mean(row.delta_iou[name])) for row in others),
                ],
            )
            for name in classes
        ]
        means = [percent(mean(row.miou)) for row in rows]
        means += [points(mean(row.delta_baseline)) for row in others]
        lines.append(dict(name="mIoU", color=None, is_mean=True, cells=means))
        groups.append(
            dict(
                title=rows[0].title,
                svg=charts.class_chart(rows, classes, table.baseline),
                arms=[dict(color=row.color, name=_short(row)) for row in rows],
                others=[row.color for row in others],
                rows=lines,
            )
        )
    return groups


def _short(row: Row) -> str:
    """The arm's name where columns are narrow."""
    if row.leads and row.arm.kind.name == "ce-scaled":
        return "Scaled"
    return row.name.replace("Baseline (CE)", "CE")


def _cost(table: Table) -> dict[str, Any]:
    def cells(row: Row) -> list[str]:
        return [
            digits(row.seconds_per_iter),
            times(row.time_ratio),
            whole(row.peak_memory_mib),
            times(row.memory_ratio),
            NONE if row.num_params is None else f"{row.num_params / 1e6:.2f}",
        ]

    head = ["s / iteration", "ratio", "peak memory, MiB", "ratio", "parameters, M"]
    return dict(head=head, groups=_grouped(table, cells) if table.runs else [])


def _runs(table: Table, base: Path) -> dict[str, Any]:
    has_best = any(finite(entry.run.metrics.best_miou) is not None for entry in table.runs)
    head = [table.group, "Arm", "Folder", "Seed", "mIoU, %", *(["best"] if has_best else [])]
    rows = []
    for entry in table.runs:
        run = entry.run
        best = [percent(finite(run.metrics.best_miou))] if has_best else []
        cells = [run.seed, percent(run.score), *best, digits(finite(run.cost.seconds_per_iter)),
                 whole(finite(run.cost.peak_memory_mib)), run_code(run.code) or NONE]  # fmt: skip
        rows.append(
            dict(
                subject=entry.subject,
                color=table.colors[run.arm],
                name=table.names[run.arm],
                folder=os.path.relpath(entry.folder, base) if entry.folder else None,
                cells=cells,
            )
        )
    return dict(
        head=[*head, "s / iter", "MiB", "code"],
        rows=rows,
        has_best=has_best,
        stack={name: " / ".join(seen) for name, seen in _stack(table).items()},
    )


def _stack(table: Table) -> Mapping[str, dict[str, None]]:
    """Versions of each package over all runs."""
    versions: dict[str, dict[str, None]] = {}
    for entry in table.runs:
        for name, version in entry.run.code.stack.items():
            versions.setdefault(name, {})[str(version)] = None
    return versions
