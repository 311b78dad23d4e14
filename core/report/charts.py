"""Charts as inline SVG that takes its colours and its font from the page around it."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from core.arms import KINDS, VARIANTS
from core.report.findings import ENOUGH
from core.report.rows import Row
from core.report.style import LINES
from core.report.words import printable
from core.section import Chart

# Matplotlib knows no CSS variables: it draws in stand-in colours, replaced in the text of the SVG.
INK, MUTED, RULE, PAPER = "#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04"
_NAMES = [*KINDS, *(f"variant-{i}" for i in range(1, len(VARIANTS) + 1))]
COLOR = {name: f"#0a0c{i:02x}" for i, name in enumerate(_NAMES)}  # by CSS variable
LINE = tuple(f"#0a0d{i:02x}" for i in range(1, len(LINES) + 1))
_DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (9, 3)))
_MARKS = "os^DvPX"  # with the dashes tell lines apart without their colours
_VARIABLES = {INK: "ink", MUTED: "muted", RULE: "rule", PAPER: "paper"}
_VARIABLES |= {color: name for name, color in COLOR.items()}
_VARIABLES |= {color: f"line-{i}" for i, color in enumerate(LINE, start=1)}

_STYLE = {
    "font.size": 9,
    "font.sans-serif": ["DejaVu Sans"],
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "svg.fonttype": "none",
    "text.parse_math": False,  # a dollar sign in a name is one
}
_LONGEST = 40  # characters of a name
_LARGEST = 1e100  # of what is drawn: any loss in single precision is less
_BINS = 150  # points of a curve: as many as a chart of this size can show


def _short(name: str) -> str:
    """A name on one line that leaves room for what is drawn."""
    name = printable(" ".join(name.split()))
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


class _Chart:
    """A figure with one set of axes in the house style; ``svg()`` ends it."""

    def __init__(self, width: float, height: float, label: str) -> None:
        """``width`` and ``height`` in inches; ``label`` says what is drawn, and is unique."""
        self.label = label = printable(label)
        self._style = matplotlib.rc_context({**_STYLE, "svg.hashsalt": label})
        self._size = width, height

    def __enter__(self) -> tuple[_Chart, Axes]:
        self._style.__enter__()
        self.figure = Figure(figsize=self._size, layout="constrained")
        return self, self.figure.subplots()

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            buffer = io.StringIO()
            self.figure.savefig(buffer, format="svg", transparent=True)
            self.svg = _inline(buffer.getvalue(), self.label)
        self._style.__exit__(*error)


def _inline(svg: str, label: str) -> str:
    """An SVG file as an element of an HTML page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    # Group names such as axes_1 repeat between charts; what is referred to has a salted hash.
    svg = re.sub(r'<g id="[a-z.]+_?\d*"', "<g", svg)
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r"<[^>]*>", lambda tag: _themed(tag[0]), svg)
    role = f'<svg role="img" aria-label="{html.escape(label)}" '
    return svg.replace("<svg ", role, 1).strip()


def _themed(tag: str) -> str:
    """A tag with the page's font and colours; names stand between tags, and stay as they are."""
    tag = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--sans)", tag)
    for color, name in _VARIABLES.items():
        tag = tag.replace(color, f"var(--{name})")
    return tag


def miou_chart(rows: Sequence[Row], span: float) -> str:
    """mIoU of each arm of one subject: a dot per seed, a tick at the mean, one line per seed.

    Args:
        rows: the subject's rows.
        span: width of the axis in points. The same for all subjects, so that equal differences
            look equal beside each other.
    """
    label = f"mIoU of each arm and seed, {rows[0].title} ({rows[0].subject})"
    with _Chart(4.4, 0.75 + 0.34 * len(rows), label) as (chart, axes):
        seeds = sorted({seed for row in rows if row.miou for seed in row.miou.by_seed})
        for seed in seeds:
            path = [
                (100 * row.miou.by_seed[seed], y)
                for y, row in enumerate(rows)
                if row.miou and seed in row.miou.by_seed
            ]
            axes.plot(*zip(*path, strict=True), color=MUTED, linewidth=0.7, alpha=0.6, zorder=1)
        values = []
        for y, row in enumerate(rows):
            if row.miou is None:
                continue
            seen = [100 * value for value in row.miou.by_seed.values()]
            values += seen
            color = COLOR[row.color]
            axes.plot([100 * row.miou.mean] * 2, [y - 0.3, y + 0.3], color=color, linewidth=2.2)
            axes.plot(seen, [y] * len(seen), "o", color=color, markersize=6, markeredgecolor=PAPER)
        middle = (min(values) + max(values)) / 2 if values else 0
        axes.set_xlim(middle - span / 2, middle + span / 2)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)), [_short(row.name) for row in rows])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="x")
        axes.set_xlabel("mIoU, %")
    return chart.svg


def class_chart(rows: Sequence[Row], classes: Sequence[str], baseline: str) -> str:
    """Per-class IoU minus the baseline's: a bar with its 95 % interval for HL, where three seeds
    or more make one that can be read; a ring for scale-matched CE.

    Args:
        rows: one subject's rows. SupOnly's is not drawn: it is so far off that the axis would hide
            what HL does.
        classes: top to bottom.
        baseline: its name within a sentence.
    """
    label = f"IoU per class minus {baseline}'s, {rows[0].title} ({rows[0].subject})"
    with _Chart(4.6, 0.75 + 0.28 * len(classes), label) as (chart, axes):
        for row in rows:
            seen = [(y, row.delta_iou.get(name)) for y, name in enumerate(classes)]
            seen = [(y, stat) for y, stat in seen if stat]
            at = [y for y, _ in seen]
            mean = [100 * stat.mean for _, stat in seen]
            color = COLOR[row.color]
            if not row.leads:
                continue
            if row.arm.kind.name == "hl":
                axes.barh(at, mean, height=0.6, color=color, alpha=0.4)
                axes.errorbar(
                    mean,
                    at,
                    xerr=[100 * stat.half_width if stat.n >= ENOUGH else 0 for _, stat in seen],
                    fmt="none",
                    ecolor=color,
                    elinewidth=1.3,
                )
            elif row.arm.kind.name == "ce-scaled":
                ring = dict(markerfacecolor=PAPER, markeredgewidth=1.4, markersize=5)
                axes.plot(mean, at, "o", color=color, zorder=3, **ring)
        axes.axvline(0, color=MUTED, linewidth=0.9)
        axes.set_ylim(len(classes) - 0.4, -0.6)
        axes.set_yticks(range(len(classes)), [_short(name) for name in classes])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.grid(axis="x")
        axes.set_xlabel(_short(f"IoU minus {baseline.removeprefix('the ')}, points"))
    return chart.svg


Curve = Sequence[Sequence[float]]


def _thin(curve: Curve) -> np.ndarray:
    """(n, 2) points that an axis can hold, in order; a long curve averaged in ``_BINS`` bins."""
    points = np.array([p for p in curve if p[1] is not None], dtype=float).reshape(-1, 2)
    points = points[(np.abs(points) < _LARGEST).all(1)]
    points = points[np.argsort(points[:, 0], kind="stable")]
    if len(points) <= _BINS:
        return points
    return np.array([part.mean(0) for part in np.array_split(points, _BINS)])


def curve_chart(name: str, title: str, curves: Mapping[str, Sequence[Curve]], label: str) -> str:
    """One quantity over the iterations: a thin line per seed, a thick one for their mean.

    Args:
        name: key of the curves; ``mIoU`` is drawn in percent.
        title: printed above.
        curves: per arm, by its CSS variable, the ``[[iteration, value], ...]`` of each seed.
        label: says what is drawn, and is unique.
    """
    with _Chart(3.4, 2.3, label) as (chart, axes):
        for arm_color, of_arm in curves.items():
            lines = [line for curve in of_arm if len(line := _thin(curve))]
            if not lines:
                continue
            scale = 100 if name == "mIoU" else 1
            mark = "o" if max(map(len, lines)) == 1 else ""  # a line of one point is not seen
            for line in lines:
                style = dict(color=COLOR[arm_color], linewidth=0.6, alpha=0.45, markersize=3)
                axes.plot(line[:, 0], scale * line[:, 1], mark + "-", **style)
            # Seeds may have logged at other iterations: mean where all of them have values.
            grid = max(lines, key=len)[:, 0]
            first, last = max(line[0, 0] for line in lines), min(line[-1, 0] for line in lines)
            grid = grid[(grid >= first) & (grid <= last)]
            mean = np.mean([np.interp(grid, line[:, 0], line[:, 1]) for line in lines], axis=0)
            axes.plot(grid, scale * mean, color=COLOR[arm_color], linewidth=1.7)
        axes.set_title(_short(title))
        axes.margins(x=0.02)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.tick_params(axis="y", labelcolor=MUTED)
        axes.grid(axis="y")
        axes.set_xlabel("iteration")
    return chart.svg


def line_chart(chart: Chart, label: str) -> str:
    """Lines over one quantity, each with a colour, a dash and a mark of its own; the legend below,
    but for one line that is called as its axis.

    Args:
        chart: what is drawn; points of a line are put in the order of x.
        label: says what is drawn, and is unique.

    Raises:
        ValueError: a point is not two numbers.
    """
    if any(len(point) != 2 for line in chart.lines.values() for point in line):
        raise ValueError(f"chart {chart.title!a} has points of other than two numbers")
    columns = 2 if all(len(name) <= _LONGEST // 2 for name in chart.lines) else 1
    rows = -(-len(chart.lines) // columns)
    with _Chart(4.8, 2.7 + 0.19 * rows, label) as (drawn, axes):
        lines = [_thin(line) for line in chart.lines.values()]
        for i, (name, line) in enumerate(zip(chart.lines, lines, strict=True)):
            axes.plot(line[:, 0], line[:, 1], label=_short(name), color=LINE[i % len(LINE)],
                      linestyle=_DASHES[i % len(_DASHES)], linewidth=1.6,
                      marker=_MARKS[i % len(_MARKS)], markersize=4.5, markeredgecolor=PAPER,
                      markeredgewidth=0.6, markevery=max(1, len(line) // 12))  # fmt: skip
        axes.margins(x=0.03)
        x = np.concatenate([line[:, 0] for line in lines]) if lines else np.zeros(0)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=bool((x == x.round()).all())))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.tick_params(axis="y", labelcolor=MUTED)
        axes.grid(axis="y")
        axes.set_xlabel(_short(chart.x))
        axes.set_ylabel(_short(chart.y))
        if lines and list(chart.lines) != [chart.y]:
            drawn.figure.legend(loc="outside lower left", ncols=columns, frameon=False,
                                handlelength=3.2, fontsize=8.5)  # fmt: skip
    return drawn.svg
