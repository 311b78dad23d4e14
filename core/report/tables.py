"""Run results in, comparison tables out.

A run result is the dict of a run's ``result.json``: ``model``, ``title``, ``arm``, ``seed``,
``mIoU`` and ``IoU`` (0 to 1; ``None`` for a class that does not occur), ``seconds_per_iter``,
``peak_memory_mib``, and what else the page shows; ``best_mIoU``, where it has one, is the best
validation during the run. ``foreground``, where it is there, is the class whose IoU counts in the
place of the mean (text: fgIoU). An arm is a key of ``ARMS``, or one followed by its options
(``hl c=0.5``). A failed run is ``model``, ``arm``, ``seed`` and ``error``. Values are 0
to 1 in every object, in CSV and in JSON; percent, and points for differences, in Markdown and HTML.
"""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

# Every arm in the order of the tables, with the name it has unless a track gives another.
ARMS = {
    "sup-only": "SupOnly",
    "baseline": "Baseline (CE)",
    "balanced": "Balanced CE",
    "ohem": "OHEM",
    "focal": "Focal loss",
    "ce-scaled": "Scale-matched CE",
    "collected": "Collected HL",
    "hl": "+HL",
}
RIVALS = ("balanced", "ohem", "focal", "collected")
VARIANTS = 5  # arms with options that can be told apart by colour
PUBLISHED = ["Published", "Published Δ", "Ours − published"]  # headings
NONE = "–"  # an en dash: nothing was measured here

Result = Mapping[str, Any]
Published = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Stat:
    """Mean over seeds; ``std`` is the sample standard deviation, ``None`` for one seed."""

    mean: float
    std: float | None
    n: int
    by_seed: dict[int, float]

    @classmethod
    def of(cls, by_seed: Mapping[int, float]) -> Stat | None:
        """Statistics of one value per seed; ``None`` if there is no seed."""
        if not by_seed:
            return None
        values = list(by_seed.values())
        std = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), std, len(values), dict(by_seed))

    @classmethod
    def paired(cls, ours: Stat | None, theirs: Stat | None) -> Stat | None:
        """``ours - theirs`` seed by seed, over the seeds that both have."""
        if ours is None or theirs is None:
            return None
        common = [seed for seed in ours.by_seed if seed in theirs.by_seed]
        return cls.of({seed: ours.by_seed[seed] - theirs.by_seed[seed] for seed in common})


@dataclass(frozen=True)
class Row:
    """One model trained in one way, over its seeds. IoU and differences are 0 to 1."""

    model: str
    title: str
    arm: str
    name: str  # the arm as readers see it
    color: str  # its CSS variable on the page
    miou: Stat | None
    delta_baseline: Stat | None  # mIoU minus the baseline's, paired by seed
    delta_scaled: Stat | None  # of arms with an HL map: minus scale-matched CE's, paired
    seconds_per_iter: float | None  # median over seeds
    peak_memory_mib: float | None  # median over seeds
    time_ratio: float | None  # to the baseline of the same model
    memory_ratio: float | None
    iou: dict[str, Stat | None]  # per class
    delta_iou: dict[str, Stat | None]  # per class, minus the baseline's, paired by seed
    published: float | None  # mIoU, 0 to 1
    published_delta: float | None  # minus the published baseline
    to_published: float | None  # our mean minus the published figure


@dataclass(frozen=True)
class Table:
    """All rows, model by model, the arms in their fixed order."""

    rows: list[Row]
    classes: list[str]
    runs: list[dict[str, Any]]  # the finished runs behind the rows
    failed: list[dict[str, Any]]
    names: dict[str, str]  # of every arm
    colors: dict[str, str]  # CSS variable of every arm that occurs
    baseline: str  # its name within a sentence
    group: str  # what a model is called in a heading
    warnings: list[str] = field(default_factory=list)

    @property
    def models(self) -> dict[str, list[Row]]:
        """Rows of each model, by model."""
        grouped: dict[str, list[Row]] = {}
        for row in self.rows:
            grouped.setdefault(row.model, []).append(row)
        return grouped

    def classes_of(self, model: str) -> list[str]:
        """The classes that a model was evaluated on: data sets may differ."""
        runs = [run for run in self.runs if run["model"] == model]
        return list(dict.fromkeys(name for run in runs for name in run.get("IoU", {})))

    @property
    def delta_head(self) -> str:
        """Heading of differences to the baseline."""
        return f"Δ {self.baseline.removeprefix('the ')}"

    @property
    def has_published(self) -> bool:
        """Whether any row has a published figure beside it."""
        return any(row.published is not None for row in self.rows)


def number(value: Any) -> float | None:
    """``value`` as a finite float, else ``None``: JSON files carry nulls and NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def score(run: Result) -> float | None:
    """What a run is compared by, 0 to 1: its mIoU, or the IoU of its ``foreground`` class."""
    name = run.get("foreground")
    return number(run["IoU"].get(name) if name else run.get("mIoU"))


def kind(arm: str) -> str:
    """The key of ``ARMS`` that an arm with options, such as ``hl c=0.5``, belongs to."""
    return arm.partition(" ")[0]


def split(results: Sequence[Result]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Finished runs and failed ones; a run whose mIoU is no number has failed.

    Raises:
        ValueError: an arm that is not one of ``ARMS``, or the same run twice.
    """
    done, failed, seen = [], [], set()
    for result in results:
        key = (result["model"], result["arm"], result["seed"])
        if kind(result["arm"]) not in ARMS:
            raise ValueError(f"unknown arm {result['arm']!r} of {key}; known: {', '.join(ARMS)}")
        if key in seen:
            raise ValueError(f"two results for model {key[0]}, arm {key[1]}, seed {key[2]}")
        seen.add(key)
        if "error" in result:
            failed.append(dict(result))
        elif score(result) is None:
            failed.append({**result, "error": "its mIoU is not a number"})
        else:
            done.append(dict(result))
    return done, failed


def _unlike(runs: Sequence[Result]) -> list[str]:
    """What makes runs of one model incomparable, a sentence each."""
    found = []
    for model in dict.fromkeys(run["model"] for run in runs):
        for key in ("track", "data", "max_iters", "device"):
            values = dict.fromkeys(str(run.get(key)) for run in runs if run["model"] == model)
            if len(values) > 1:
                found.append(f"The runs of {model} differ in {key}: {', '.join(values)}.")
    return found


def _median(runs: Sequence[Result], key: str) -> float | None:
    values = [value for run in runs if (value := number(run.get(key))) is not None]
    return statistics.median(values) if values else None


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return ours / theirs if ours is not None and theirs else None


def summarize(
    results: Sequence[Result],
    published: Published | None = None,
    *,
    arm_names: Mapping[str, str] | None = None,
    group: str = "Model",
) -> Table:
    """Compare the arms of every model.

    Args:
        results: run results, finished and failed, in any order.
        published: mIoU in percent by model and arm, to stand beside ours.
        arm_names: names of arms in place of those in ``ARMS``.
        group: what a model is called in a heading; in a semi-supervised track, ``Partition``.

    Returns:
        A row for every model in every arm that occurs at all; what was not measured is ``None``.

    Raises:
        ValueError: an unknown arm, in a result or in ``arm_names``, or the same run twice.
    """
    arm_names = arm_names or {}
    if unknown := arm_names.keys() - ARMS.keys():
        raise ValueError(f"names of unknown arms {sorted(unknown)}; known: {', '.join(ARMS)}")
    names = {**ARMS, **arm_names}
    runs, failed = split(results)
    models = list(dict.fromkeys(result["model"] for result in results))
    seen = dict.fromkeys(result["arm"] for result in results)
    arms = sorted(seen, key=lambda arm: list(ARMS).index(kind(arm)))  # stable: as they came
    names |= {arm: f"{names[kind(arm)]}, {arm.partition(' ')[2]}" for arm in arms if " " in arm}
    variants = [arm for arm in arms if " " in arm]
    colors = {arm: f"variant-{variants.index(arm) % VARIANTS + 1}" if arm in variants else arm
              for arm in arms}  # fmt: skip
    runs.sort(key=lambda r: (models.index(r["model"]), arms.index(r["arm"]), r["seed"]))
    classes = list(dict.fromkeys(name for run in runs for name in run.get("IoU", {})))

    rows = []
    for model in models:
        of = {arm: [r for r in runs if r["model"] == model and r["arm"] == arm] for arm in arms}
        title = next((r["title"] for r in results if r["model"] == model and "title" in r), model)
        miou = {arm: Stat.of({r["seed"]: score(r) for r in of[arm]}) for arm in arms}
        iou = {arm: {name: _class_iou(of[arm], name) for name in classes} for arm in arms}
        seconds = {arm: _median(of[arm], "seconds_per_iter") for arm in arms}
        memory = {arm: _median(of[arm], "peak_memory_mib") for arm in arms}
        paper = {arm: value / 100 for arm, value in (published or {}).get(model, {}).items()}
        for arm in arms:
            compared = arm != "baseline"
            mapped = kind(arm) in ("hl", "collected")
            rows.append(
                Row(
                    model=model,
                    title=title,
                    arm=arm,
                    name=names[arm],
                    color=colors[arm],
                    miou=miou[arm],
                    delta_baseline=Stat.paired(
                        miou[arm], miou.get("baseline") if compared else None
                    ),
                    delta_scaled=Stat.paired(miou[arm], miou.get("ce-scaled") if mapped else None),
                    seconds_per_iter=seconds[arm],
                    peak_memory_mib=memory[arm],
                    time_ratio=_ratio(seconds[arm], seconds.get("baseline")),
                    memory_ratio=_ratio(memory[arm], memory.get("baseline")),
                    iou=iou[arm],
                    delta_iou={
                        name: Stat.paired(iou[arm][name], iou.get("baseline", {}).get(name))
                        for name in classes
                        if compared
                    },
                    published=paper.get(arm),
                    published_delta=paper[arm] - paper["baseline"]
                    if compared and arm in paper and "baseline" in paper
                    else None,
                    to_published=miou[arm].mean - paper[arm]
                    if miou[arm] and arm in paper
                    else None,
                )
            )
    baseline = arm_names.get("baseline", "the baseline")
    return Table(rows, classes, runs, failed, names, colors, baseline, group, _unlike(runs))


def _class_iou(runs: Sequence[Result], name: str) -> Stat | None:
    by_seed = {run["seed"]: number(run.get("IoU", {}).get(name)) for run in runs}
    return Stat.of({seed: value for seed, value in by_seed.items() if value is not None})


# Numbers as text. A true minus sign, since a hyphen reads as a dash beside figures.


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


def with_std(stat: Stat | None, show: Callable[[float | None], str] = percent) -> str:
    """``mean ± std``, or the mean alone for one seed."""
    if stat is None:
        return NONE
    return show(stat.mean) + ("" if stat.std is None else f" ± {percent(stat.std)}")


# What is seen, in words.


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


def findings(table: Table) -> dict[str, list[str]]:
    """What the numbers say about HL and its rivals, sentence by sentence, by model.

    A difference counts as seen only if its mean exceeds the standard deviation of the per-seed
    differences. Scale-matched CE is compared too: HL enlarges the loss, hence the step, and that
    arm enlarges it by the same factor without a map. Of training on the labeled images alone it is
    only said how far the baseline is above it.
    """
    said: dict[str, list[str]] = {}
    for model, rows in table.models.items():
        arms = {row.arm: row for row in rows}
        base, hl, sup_only = arms.get("baseline"), arms.get("hl"), arms.get("sup-only")
        sentences = [
            _compare(row.name, row.delta_baseline, table.baseline)
            for row in rows
            if kind(row.arm) in RIVALS and base
        ]
        if hl:
            sentences.append(_compare(hl.name, hl.delta_baseline, table.baseline))
        if hl and "ce-scaled" in arms:
            sentences.append(_compare(hl.name, hl.delta_scaled, "scale-matched CE"))
        if base and sup_only:
            gain = Stat.paired(base.miou, sup_only.miou)
            sentences.append(_compare(base.name, gain, sup_only.name))
        if sentences:
            said[model] = sentences
    return said


# Markdown, CSV, JSON.


def _grid(head: Sequence[str], body: Sequence[Sequence[str]], left: int) -> str:
    """A Markdown table with padded columns, the first ``left`` of them aligned left."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (head, *body)]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * w if i < left else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    lines = [cells[0], rule, *cells[1:]]
    return "\n".join(
        "| "
        + " | ".join(c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(pairs))
        + " |"
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    )


def main_table(table: Table) -> str:
    """The comparison of arms as an aligned Markdown table: fit for a terminal too."""
    head = [table.group, "Arm", "n", "mIoU", table.delta_head, "Δ scaled CE", "Time", "Memory"]
    body = []
    for rows in table.models.values():
        for i, row in enumerate(rows):
            cells = [
                row.title if i == 0 else "",
                row.name,
                str(row.miou.n if row.miou else 0),
                with_std(row.miou),
                with_std(row.delta_baseline, points),
                with_std(row.delta_scaled, points),
                times(row.time_ratio),
                times(row.memory_ratio),
            ]
            if table.has_published:
                cells += [percent(row.published), points(row.published_delta)]
                cells += [points(row.to_published)]
            body.append(cells)
    return _grid(head + PUBLISHED * table.has_published, body, left=2)


def class_table(table: Table, model: str) -> str:
    """Per-class IoU of one model as an aligned Markdown table."""
    rows = table.models[model]
    others = [row for row in rows if row.arm != "baseline"]
    head = ["Class", *(row.name for row in rows), *(f"Δ {row.name}" for row in others)]
    body = [
        [
            name,
            *(percent(row.iou[name] and row.iou[name].mean) for row in rows),
            *(points(row.delta_iou[name] and row.delta_iou[name].mean) for row in others),
        ]
        for name in table.classes_of(model)
    ]
    return _grid(head, body, left=1)


def to_markdown(table: Table, notes: Sequence[str] = ()) -> str:
    """The whole report as Markdown: main table, findings, failed runs, notes, per-class IoU."""
    parts = [
        main_table(table),
        "mIoU in percent, mean ± sample standard deviation over n seeds. Δ in points, paired by "
        f"seed. Time per iteration and peak memory as ratios to {table.baseline}, of medians over "
        "seeds.",
    ]
    for model, said in findings(table).items():
        parts.append(f"**{table.models[model][0].title}.** {' '.join(said)}")
    parts += [f"**Take care.** {warning}" for warning in table.warnings]
    if table.failed:
        parts.append(
            "Not measured:\n\n"
            + "\n".join(
                f"- {run['model']}, {table.names[run['arm']]}, seed {run['seed']}: {run['error']}"
                for run in table.failed
            )
        )
    parts += notes
    if table.classes:
        for model, rows in table.models.items():
            parts += [f"IoU per class, {rows[0].title}:", class_table(table, model)]
    return "\n\n".join(parts) + "\n"


def to_csv(table: Table) -> str:
    """One row per run, finished or failed, with a column ``IoU/<class>`` per class; 0 to 1.

    An empty cell is a value that the run does not have.
    """
    keys = ["track", "data", "model", "title", "arm", "seed", "max_iters", "mIoU"]
    keys += ["seconds_per_iter", "peak_memory_mib", "num_params", "device", "date", "error"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(keys + [f"IoU/{name}" for name in table.classes])
    for run in table.runs + table.failed:
        iou = run.get("IoU", {})
        writer.writerow(
            [run.get(key) for key in keys] + [number(iou.get(name)) for name in table.classes]
        )
    return out.getvalue()


def to_json(table: Table) -> str:
    """Rows, findings and failed runs; every IoU and difference 0 to 1."""
    failed = [{key: run[key] for key in ("model", "arm", "seed", "error")} for run in table.failed]
    content = {
        "rows": [asdict(row) for row in table.rows],
        "findings": findings(table),
        "warnings": table.warnings,
        "failed": failed,
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
