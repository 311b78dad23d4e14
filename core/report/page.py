"""The report as one HTML page that needs no other file and no network."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from core.report import charts
from core.report.pictures import embed
from core.report.style import CSS
from core.report.tables import (
    NONE,
    Result,
    Row,
    Stat,
    Table,
    findings,
    number,
    percent,
    points,
    score,
    times,
)

MAX_STEMS = 4
PICTURE_BUDGET = 4_500_000  # characters of data URIs, which leaves room for charts below 6 MB

# The ramp of the HL pictures, as they are written, from low to high.
HL_RAMP = ("#040628", "#3a0c60", "#7c1c6d", "#bc3754", "#ed6925", "#fbb41a", "#fcffa4")

WHAT_IS_HL = """
<p>Beside the segmentation head, a second head with one output channel reads the same features,
detached, so that it cannot change them. A sigmoid plus a small constant, divided by its sum over
the image’s valid pixels, turns its output into the hardness-level (HL) map: a weight per pixel,
never negative, that sums to 1 over the image (Eq. 1). The segmentation head is trained to minimise
the cross-entropy weighted with this map, the map held fixed (Eq. 2). The HL head is trained to
maximise the same weighted cross-entropy, the cross-entropy held fixed: it moves weight to where the
model is wrong now (Eq. 3). Both are added, the second with a small factor α (Eq. 4 and 5). Because
the head sees features and not labels, what it learns is which kind of place is hard, not which
pixel was wrong once. At inference the HL head is dropped: the model has the size and the speed of
the baseline.</p>
"""

SCALED = """The weighted loss is larger than the plain one, and a larger loss acts like a larger
learning rate. Scale-matched CE is plain cross-entropy enlarged by the same factor at every
iteration: what {hl} gains over it, beyond the
spread between seeds, is due to the map."""


def render_page(
    table: Table,
    results: Sequence[Result],
    run_dirs: Sequence[Path | None],
    *,
    title: str,
    notes: Sequence[str],
    command: str,
    base: Path,
) -> str:
    """The whole page.

    Args:
        table: ``summarize(results)``.
        results: run results, finished and failed.
        run_dirs: the folder of each result, in the same order; its pictures are in
            ``pictures/<stem>_{image,label,pred,hl}.png``. ``None`` where there is none.
        title: heading.
        notes: paragraphs below the findings.
        command: what was typed to make all this.
        base: folder that run folders are named relative to.

    Raises:
        ValueError: ``run_dirs`` is not as long as ``results``.
    """
    if len(run_dirs) != len(results):
        raise ValueError(f"{len(results)} results but {len(run_dirs)} run folders")
    folders = {
        (r["model"], r["arm"], r["seed"]): folder
        for r, folder in zip(results, run_dirs, strict=True)
    }
    sections = [
        _head(table, title, command),
        _results(table, notes),
        _curves(table),
        _classes(table),
        _pictures(table, folders),
        _method(table),
        _cost(table),
        _runs(table, folders, base),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        + "\n".join(filter(None, sections))
        + "\n</body>\n</html>\n"
    )


# Small parts.


def _key(color: str, shape: str = "") -> str:
    color = f"background:var(--{color});border-color:var(--{color})"
    return f'<span class="key {shape}" style="{color}"></span>'


def _arm_legend(table: Table) -> str:
    arms = dict.fromkeys(row.arm for row in table.rows)
    return _list("legend", [_key(table.colors[arm]) + escape(table.names[arm]) for arm in arms])


def _list(kind: str, items: Sequence[str]) -> str:
    return f'<ul class="{kind}">' + "".join(f"<li>{item}</li>" for item in items) + "</ul>"


def _mean_sd(stat: Stat | None, show: Callable[[float | None], str] = percent) -> str:
    if stat is None:
        return NONE
    spread = "" if stat.std is None else f' <span class="sd">± {percent(stat.std)}</span>'
    return show(stat.mean) + spread


def _cells(cells: Sequence[str], left: int, tag: str = "td") -> str:
    """A table row of cells that are HTML already, the first ``left`` of them aligned left."""
    return (
        "<tr>"
        + "".join(
            f'<{tag} class="l">{cell}</{tag}>' if i < left else f"<{tag}>{cell}</{tag}>"
            for i, cell in enumerate(cells)
        )
        + "</tr>"
    )


def _grouped(table: Table, head: Sequence[str], cells: Callable[[Row], list[str]]) -> str:
    """A table with a heading row per model, ``cells(row)`` after the arm's name; a model of which
    nothing was measured is left out."""
    parts = [f"<thead>{_cells(['Arm', *head], 1, 'th')}</thead>"]
    for rows in table.models.values():
        if all(cell == NONE for row in rows for cell in cells(row)):
            continue
        parts.append(
            f'<tbody class="model"><tr><th class="l model" colspan="{len(head) + 1}">'
            f"{escape(rows[0].title)}</th></tr>"
        )
        parts += [_cells([_key(row.color) + escape(row.name), *cells(row)], 1) for row in rows]
        parts.append("</tbody>")
    return f'<div class="scroll"><table class="text">{"".join(parts)}</table></div>'


def _all(table: Table, key: str) -> str:
    """The values of a key over all runs, joined; a report should have one."""
    return ", ".join(dict.fromkeys(str(run[key]) for run in table.runs if run.get(key) is not None))


# Sections.


def _head(table: Table, title: str, command: str) -> str:
    seeds = sorted({run["seed"] for run in table.runs})
    models = [escape(rows[0].title) for rows in table.models.values()]
    facts = {
        "Data": escape(_all(table, "data")),
        "Track": escape(_all(table, "track").replace("_", " ")),
        f"{escape(table.group)}s": "; ".join(models),
        "Iterations": escape(_all(table, "max_iters")),
        "Seeds": ", ".join(map(str, seeds)),
        "Device": escape(_all(table, "device")),
        "Date": escape(_all(table, "date")),
        "Command": command and f"<code>{escape(command)}</code>",
    }
    items = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts.items() if value)
    return f"<header><h1>{escape(title)}</h1><dl>{items}</dl></header>"


def _results(table: Table, notes: Sequence[str]) -> str:
    if not table.rows:
        return "<section><h2>Result</h2><p>There is no run yet.</p></section>"
    head = ["n", "mIoU, %", escape(table.delta_head), "Δ scale-matched"]
    head += ["published", "published Δ", "ours − published"] * table.has_published

    def cells(row: Row) -> list[str]:
        ours = [
            str(row.miou.n if row.miou else 0),
            _mean_sd(row.miou),
            _mean_sd(row.delta_baseline, points),
            _mean_sd(row.delta_scaled, points),
        ]
        theirs = [percent(row.published), points(row.published_delta), points(row.to_published)]
        return ours + theirs * table.has_published

    parts = ["<section><h2>Result</h2>", _grouped(table, head, cells)]
    parts.append(
        '<p class="caption">Mean ± sample standard deviation over n seeds. Δ: difference of mIoU '
        "in points, taken seed by seed, then averaged."
        + " Published: the paper’s figures, in the paper’s setting." * table.has_published
        + "</p>"
    )
    for model, said in findings(table).items():
        name = escape(table.models[model][0].title)
        text = escape(" ".join(said)).replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")
        parts.append(f"<p><strong>{name}.</strong> {text}</p>")
    parts += [f"<p><strong>Take care.</strong> {escape(text)}</p>" for text in table.warnings]
    if table.failed:
        parts.append("<p>Not measured:</p>")
        parts.append(
            _list(
                "failed",
                [
                    f"{escape(str(run['model']))}, {escape(table.names[run['arm']])}, "
                    f"seed {escape(str(run['seed']))}: <code>{escape(str(run['error']))}</code>"
                    for run in table.failed
                ],
            )
        )
    parts += [f"<p>{escape(text)}</p>" for text in notes]

    spans = [
        100 * (max(values) - min(values))
        for rows in table.models.values()
        if (values := [v for row in rows if row.miou for v in row.miou.by_seed.values()])
    ]
    if spans:
        span = 1.25 * max(*spans, 1.0)
        drawn = [
            f'<figure class="chart"><figcaption>{escape(rows[0].title)}</figcaption>'
            f"{charts.miou_chart(rows, span)}</figure>"
            for rows in table.models.values()
        ]
        parts.append(f'<div class="charts" style="--least:24rem">{"".join(drawn)}</div>')
        parts.append(
            '<p class="caption">A dot per seed, a tick at the mean, a line through the runs of '
            "one seed. All axes span the same number of points, and none starts at zero.</p>"
        )
    return "".join(parts) + "</section>"


_CURVE_TITLES = {
    "mIoU": "mIoU, %",
    "loss": "All losses",
    "loss_ce": "Cross-entropy loss",
    "loss_hl": "HL loss",
    "loss_sup": "Supervised loss",
    "loss_aux_0": "Auxiliary loss",
    "loss_unsup": "Unsupervised loss",
    "loss_contrastive": "Contrastive loss",
}


def _curves(table: Table) -> str:
    parts = []
    for model, rows in table.models.items():
        runs = [run for run in table.runs if run["model"] == model]
        names = dict.fromkeys(name for run in runs for name in run.get("curves", {}))
        names = [n for n in names if n == "mIoU" or "loss" in n]
        drawn = []
        for name in sorted(names, key=lambda n: (n != "mIoU", n)):
            curves = {
                row.color: [
                    run["curves"][name]
                    for run in runs
                    if run["arm"] == row.arm and run.get("curves", {}).get(name)
                ]
                for row in rows
            }
            label = f"{name} over iterations, {rows[0].title} ({model})"
            part, _, key = name.rpartition(".")  # mmseg names a loss of a head decode.loss_ce
            title = _CURVE_TITLES.get(key, key) + (f", {part}" if part else "")
            drawn.append(f"<figure>{charts.curve_chart(name, title, curves, label)}</figure>")
        if drawn:
            parts.append(f"<h3>{escape(rows[0].title)}</h3>")
            parts.append(f'<div class="charts small" style="--least:17rem">{"".join(drawn)}</div>')
    if not parts:
        return ""
    return (
        f"<section><h2>Training</h2>{_arm_legend(table)}{''.join(parts)}"
        '<p class="caption">Thin: one seed. Thick: mean over seeds. A loss is what its arm '
        "minimises, so its level cannot be compared between arms; mIoU on the validation images "
        "can.</p></section>"
    )


def _classes(table: Table) -> str:
    if not table.classes:
        return ""
    arms = list(dict.fromkeys(row.arm for row in table.rows))
    parts = []
    for rows in table.models.values():
        others = [row for row in rows if row.arm != "baseline"]
        classes = table.classes_of(rows[0].model)
        colors = _class_colors(r for r in table.runs if r["model"] == rows[0].model)
        head = ["Class", *(_key(row.color) + escape(_short(row)) for row in rows)]
        head += [_key(row.color) + "Δ" for row in others]
        body = [
            _cells(
                [
                    _swatch(colors.get(name)) + escape(name),
                    *(percent(row.iou[name] and row.iou[name].mean) for row in rows),
                    *(points(row.delta_iou[name] and row.delta_iou[name].mean) for row in others),
                ],
                1,
            )
            for name in classes
        ]
        mean = ["mIoU", *(percent(row.miou and row.miou.mean) for row in rows)]
        mean += [points(row.delta_baseline and row.delta_baseline.mean) for row in others]
        foot = _cells(mean, 1).replace("<tr>", '<tr class="mean">')
        parts.append(
            f'<h3>{escape(rows[0].title)}</h3><div class="beside">'
            f"<figure>{charts.class_chart(rows, classes, table.baseline)}</figure>"
            f'<div class="scroll"><table class="wide"><thead>{_cells(head, 1, "th")}</thead>'
            f"<tbody>{''.join(body)}{foot}</tbody></table></div></div>"
        )
    legend = []
    if "hl" in arms:
        legend.append(f"{_key('hl')}{escape(table.names['hl'])}: mean ± standard deviation")
    if "ce-scaled" in arms:
        legend.append(f"{_key('ce-scaled', 'ring')}{escape(table.names['ce-scaled'])}: mean")
    return (
        f"<section><h2>Classes</h2>{_list('legend', legend)}{''.join(parts)}"
        '<p class="caption">IoU in percent, mean over seeds; '
        f"Δ to {escape(table.baseline)} in points, paired by seed. {NONE}: the class "
        "does not occur.</p></section>"
    )


def _short(row: Row) -> str:
    """The arm's name where columns are narrow."""
    return "Scaled" if row.arm == "ce-scaled" else row.name.replace("Baseline (CE)", "CE")


def _class_colors(runs: Iterable[Result]) -> dict[str, str]:
    """CSS colour of each class, from the first of the runs that carries a palette."""
    for run in runs:
        if run.get("palette") and run.get("classes"):
            pairs = zip(run["classes"], run["palette"], strict=False)
            return {name: f"rgb({r},{g},{b})" for name, (r, g, b) in pairs}
    return {}


def _swatch(color: str | None) -> str:
    return f'<span class="swatch" style="background:{color}"></span>' if color else ""


def _pictures(table: Table, folders: Mapping[tuple, Path | None]) -> str:
    used = left_out = 0
    parts, told = [], ""
    for stem in _stems(table):
        blocks = [_top(table, folders, stem)]
        # Data sets may colour their classes differently: the legend where it changes.
        colors = _class_colors(r for r in table.runs if stem in r.get("pictures", []))
        legend = _list("legend", [_swatch(c) + escape(name) for name, c in colors.items()])
        if colors and legend != told:
            parts.append(legend)
            told = legend
        blocks += [_predictions(rows, table, folders, stem) for rows in table.models.values()]
        for block in filter(None, blocks):
            if used + len(block) > PICTURE_BUDGET:
                left_out += 1
                continue
            used += len(block)
            parts.append(block)
    if not used:
        return ""
    ramp = f"linear-gradient(to right, {', '.join(HL_RAMP)})"
    hardness = f'HL map: low<span class="ramp" style="background:{ramp}"></span>high hardness'
    more = f" {left_out} rows were left out to keep this page small." if left_out else ""
    return (
        f"<section><h2>Pictures</h2>{_list('legend', [hardness])}"
        f'{"".join(parts)}<p class="caption">Validation images. The predictions in a row are of '
        "the same seed; black in a label is not evaluated. Each HL map is scaled by itself: "
        f"colours compare places within an image, not images.{more}</p></section>"
    )


def _stems(table: Table) -> list[str]:
    """The images to show: a few of every model, which are the same where the data set is."""
    shown: dict[str, None] = {}
    for model in table.models:
        runs = [run for run in table.runs if run["model"] == model]
        stems = dict.fromkeys(stem for run in runs for stem in run.get("pictures", []))
        shown.update(dict.fromkeys(list(stems)[:MAX_STEMS]))
    return list(shown)


def _figure(path: Path | None, caption: str, *, photo: bool) -> str:
    uri = embed(path, photo=photo) if path else None
    shown = (
        f'<img src="{uri}" alt="{escape(caption)}" loading="lazy">'
        if uri
        else '<div class="missing">missing</div>'
    )
    return f"<figure>{shown}<figcaption>{escape(caption)}</figcaption></figure>"


def _top(table: Table, folders: Mapping[tuple, Path | None], stem: str) -> str:
    """Image and label, which are the same in the folders of all runs: from the first that has."""
    places = [
        folder / "pictures"
        for run in table.runs
        if stem in run.get("pictures", []) and (folder := _folder(run, folders))
    ]
    found = {
        kind: next((p for place in places if (p := place / f"{stem}_{kind}.png").is_file()), None)
        for kind in ("image", "label")
    }
    return (
        f'<h3><small>Image</small> {escape(stem)}</h3><div class="strip two">'
        + _figure(found["image"], "Image", photo=True)
        + _figure(found["label"], "Label", photo=False)
        + "</div>"
    )


def _folder(run: Result, folders: Mapping[tuple, Path | None]) -> Path | None:
    return folders[run["model"], run["arm"], run["seed"]]


def _predictions(
    rows: Sequence[Row], table: Table, folders: Mapping[tuple, Path | None], stem: str
) -> str:
    """One model's predictions and its HL map, all of the seed that most arms have."""
    with_stem = [
        run
        for run in table.runs
        if run["model"] == rows[0].model and stem in run.get("pictures", [])
    ]
    if not with_stem:
        return ""
    seeds = [run["seed"] for run in with_stem]
    seed = min(seeds, key=lambda s: (-seeds.count(s), s))
    place = {run["arm"]: _folder(run, folders) for run in with_stem if run["seed"] == seed}

    def file(arm: str, kind: str) -> Path | None:
        folder = place.get(arm)
        return folder and folder / "pictures" / f"{stem}_{kind}.png"

    cells = [_figure(file(row.arm, "pred"), row.name, photo=False) for row in rows]
    if any(row.arm == "hl" for row in rows):
        cells.append(_figure(file("hl", "hl"), "HL map", photo=True))
    return (
        f'<figure class="row"><figcaption>{escape(rows[0].title)} <small>seed {escape(str(seed))}'
        f'</small></figcaption><div class="strip many">{"".join(cells)}</div></figure>'
    )


def _method(table: Table) -> str:
    scaled = SCALED.format(hl=escape(table.names["hl"]))
    return f"<section><h2>What is the HL map?</h2>{WHAT_IS_HL}<p>{scaled}</p></section>"


def _cost(table: Table) -> str:
    if not table.runs:
        return ""
    head = ["s / iteration", "ratio", "peak memory, MiB", "ratio", "parameters, M"]

    def cells(row: Row) -> list[str]:
        params = next(
            (
                count
                for run in table.runs
                if (run["model"], run["arm"]) == (row.model, row.arm)
                and (count := number(run.get("num_params"))) is not None
            ),
            None,
        )
        return [
            _digits(row.seconds_per_iter),
            times(row.time_ratio),
            NONE if row.peak_memory_mib is None else f"{row.peak_memory_mib:,.0f}",
            times(row.memory_ratio),
            NONE if params is None else f"{params / 1e6:.2f}",
        ]

    return (
        f"<section><h2>Cost of training</h2>{_grouped(table, head, cells)}"
        f'<p class="caption">Medians over seeds; ratios to {escape(table.baseline)} of the same '
        f"{escape(table.group.lower())}. Parameters as trained, the HL head included.</p></section>"
    )


def _digits(value: float | None) -> str:
    """Three significant digits, without an exponent."""
    if value is None:
        return NONE
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if value > 0 else "0"


def _runs(table: Table, folders: Mapping[tuple, Path | None], base: Path) -> str:
    if not table.runs:
        return ""
    has_best = any(number(run.get("best_mIoU")) is not None for run in table.runs)
    head = [escape(table.group), "Arm", "Folder", "Seed", "mIoU, %", *["best"] * has_best]
    head += ["s / iter", "MiB"]
    body = []
    for run in table.runs:
        folder = _folder(run, folders)
        memory = number(run.get("peak_memory_mib"))
        body.append(
            _cells(
                [
                    escape(run["model"]),
                    _key(table.colors[run["arm"]]) + escape(table.names[run["arm"]]),
                    f"<code>{escape(os.path.relpath(folder, base))}</code>" if folder else NONE,
                    escape(str(run["seed"])),
                    percent(score(run)),
                    *[percent(number(run.get("best_mIoU")))] * has_best,
                    _digits(number(run.get("seconds_per_iter"))),
                    NONE if memory is None else f"{memory:,.0f}",
                ],
                3,
            )
        )
    versions: dict[str, dict[str, None]] = {}
    for run in table.runs:
        for name, version in run.get("versions", {}).items():
            versions.setdefault(name, {})[str(version)] = None
    listed = ", ".join(
        f"{escape(name)}&nbsp;{escape(' / '.join(seen))}" for name, seen in versions.items()
    )
    environment = f"<h3>Environment</h3><p>{listed}</p>" if listed else ""
    return (
        f'<section><h2>Runs</h2><div class="scroll"><table class="wide">'
        f"<thead>{_cells(head, 3, 'th')}</thead><tbody>{''.join(body)}</tbody></table></div>"
        + '<p class="caption">Best: of all validations during the run.</p>' * has_best
        + f"{environment}</section>"
    )
