"""The page of what the commands of ``hardness.py`` left below a folder."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from core import result
from core.arms import Arm
from core.errors import ResultError
from core.files import write_atomically
from core.measures import FLAT
from core.report.charts import line_chart
from core.report.findings import run_code
from core.report.formats import grid
from core.report.images import MAX_WIDTH, BadPicture, Budget, embed
from core.report.templates import render
from core.report.words import brief_two, percent, plain, printable
from core.result import Result
from core.section import NAME, Grid, Section, Strip, check_page, read

ROOM = 9_000_000  # characters of data URIs: many commands share the page
ALONE = 2 * MAX_WIDTH  # pixels that a picture may be wide that has no other beside it
_NUMBER = re.compile(r"[−+-]?\.?\d|[–-]?$")  # how the cells of a column of numbers begin
_LONG = 60  # characters of a cell that may be broken into lines
_REMEDY = "run its command again"


def tell(section: Section, folder: Path) -> None:
    """Print the tables of a section, and where its files lie."""
    print(f"{printable(section.title)}\n")
    for table in section.tables:
        left = next((i for i, is_text in enumerate(_texts(table)) if not is_text),
                    len(table.columns))  # fmt: skip
        print(f"{printable(table.title)}\n\n{grid(table.columns, table.rows, left)}\n")
    for name, what in section.files.items():
        print(f"{folder / name}: {printable(what)}")


def write_page(root: Path, kinds: Sequence[str] = ()) -> Path:
    """Write ``index.html`` in ``root``: every section in a folder of it, and, where ``root`` lies
    in a run's work_dir, what the run was. What cannot be shown is a line there and on stderr.

    Args:
        kinds: of sections, in the order of the page; others come last.

    Returns:
        Its path.

    Raises:
        WriteError: it cannot be written; an old one stands.
        ConfigError: there is somebody else's.
    """
    check_page(root)
    broken, views, pictures = [], [], []
    for path in sorted(root.glob(f"*/{NAME}"), key=lambda path: _place(path.parent.name, kinds)):
        folder = path.parent
        try:
            section = read(folder)
            views.append(_view(section, folder))
            pictures.append((views[-1], section.strips, folder))
        except ResultError as error:
            broken.append(str(error))
    _embed(pictures)
    run, lost = _run(root)
    broken += lost
    for line in broken + [line for view in views for line in view["broken"]]:
        print(f"note: cannot be shown: {printable(line)}", file=sys.stderr)
    title = f"Pixel hardness: {run.network}, {run.data or run.group}" if run else "Pixel hardness"
    text = render("sections.html.jinja", title=title, facts=_facts(run) if run else {},
                  sections=views, broken=broken)  # fmt: skip
    write_atomically(text.encode(errors="backslashreplace"), root / "index.html")
    return root / "index.html"


def _place(folder: str, kinds: Sequence[str]) -> tuple:
    """Where the section of a folder stands: ``rank-2`` is the second of the kind ``rank``."""
    kind, _, number = folder.rpartition("-")
    if not (kind and number.isdecimal()):
        kind, number = folder, "1"
    kinds = list(kinds)
    return kinds.index(kind) if kind in kinds else len(kinds), kind, int(number)


def _run(root: Path) -> tuple[Result | None, list[str]]:
    """The run in whose work_dir the folder lies, and a line where it cannot be read."""
    try:
        return result.read(root.resolve().parent), []
    except ResultError as error:
        return None, [str(error)]


def _facts(run: Result) -> dict[str, str]:
    arm, strength = Arm.parse(run.arm), run.strength
    facts = {"Network": run.network, "Arm": " ".join([arm.kind.title, *arm.pairs]),
             "Data": run.data}  # fmt: skip
    if run.score is not None:
        facts["mIoU"] = f"{percent(run.score)} %"
    if strength and strength.dose is not None:
        facts["Dose"] = brief_two(strength.dose)
        if strength.published is not None:
            facts["Dose"] += f" (published: {brief_two(strength.published)})"
    if strength and strength.gain is not None:
        facts["hl_gain"] = plain(strength.gain) + " (nearly flat)" * (strength.gain < FLAT)
    return facts


def _view(section: Section, folder: Path) -> dict[str, Any]:
    """What the template lays out, its pictures apart.

    Raises:
        ResultError: a table or chart is not what it says.
    """
    at = f"{folder / NAME}"
    try:
        charts = [
            dict(title=chart.title, caption=chart.caption,
                 svg=line_chart(chart, f"{chart.title} ({folder.name}, {i})"))
            for i, chart in enumerate(section.charts, start=1)
        ]  # fmt: skip
    except ValueError as error:
        raise ResultError(f"{at}: {error}; {_REMEDY}") from error
    for table in section.tables:
        if any(len(row) != len(table.columns) for row in table.rows):
            raise ResultError(f"{at}: table {table.title!a} has rows of another length than its "
                              f"head; {_REMEDY}")  # fmt: skip
    return dict(
        name=folder.name,
        title=section.title,
        words=section.words,
        facts=dict(section.facts),
        tables=[_table(table) for table in section.tables],
        charts=charts,
        strips=[],
        left_out=[],
        files=[_file(folder, name, what) for name, what in section.files.items()],
        made={"Command": section.command, "Date": section.date, "Code": run_code(section.code)},
        broken=[],
    )


def _texts(table: Grid) -> list[bool]:
    """Of each column whether it is of words, set to the left; the first is."""
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.columns)
    return [i == 0 or not all(map(_NUMBER.match, cells)) for i, cells in enumerate(columns)]


def _table(table: Grid) -> dict[str, Any]:
    texts = _texts(table)

    def cell(text: str, is_text: bool) -> dict[str, str]:
        return dict(text=text, css="l" * is_text + " long" * (len(text) > _LONG))

    head, *rows = [
        [cell(text, is_text) for text, is_text in zip(row, texts, strict=True)]
        for row in (table.columns, *table.rows)
    ]
    return dict(title=table.title, caption=table.caption, head=head, rows=rows)


def _file(folder: Path, name: str, what: str) -> dict[str, str]:
    is_there = (folder / name).exists()
    return dict(name=name, what=what, href=quote(f"{folder.name}/{name}") if is_there else "")


def _embed(pictures: Sequence[tuple[dict, Sequence[Strip], Path]]) -> None:
    """Give the views their strips, of each the first, then of each the second, until the page is
    full: a command with hundreds of pictures leaves room for the others."""
    budget = Budget(ROOM)
    waiting = [(view, list(strips), folder) for view, strips, folder in pictures]
    while waiting:
        for view, strips, folder in waiting:
            if not strips:
                continue
            strip = strips.pop(0)
            if cells := budget.take(_cells(view, strip, folder)):
                view["strips"].append(dict(title=strip.title, cells=cells))
            elif strip.pictures:
                view["left_out"] += [strip.title, *(later.title for later in strips)]
                strips.clear()
        waiting = [entry for entry in waiting if entry[1]]


def _cells(view: dict, strip: Strip, folder: Path) -> list[dict]:
    cells = []
    for shown in strip.pictures:
        path, uri = folder / shown.file, None
        try:
            width = ALONE if len(strip.pictures) == 1 else MAX_WIDTH
            uri = embed(path, photo=shown.photo, width=width, remedy=_REMEDY)
        except BadPicture as error:
            view["broken"].append(str(error))
        cells.append(dict(uri=uri, caption=shown.caption))
    return cells
