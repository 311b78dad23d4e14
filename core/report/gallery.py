"""The gallery of ``rank``: the first candidates for label errors, a row of crops each, one page
that needs no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from core.files import write_atomically
from core.report.images import BadPicture, embed
from core.report.templates import render
from core.section import Shown, Strip
from core.typed import fit

NAME = "gallery.html"
BUDGET = 8_000_000  # characters of pictures


def write_gallery(folder: Path, title: str, gallery: Sequence[Mapping]) -> Path:
    """Write the page of strips, as a section's figures hold them, whose pictures lie in
    ``folder``: as many as there is room for, and it says how many are left out.

    Raises:
        WriteError: it cannot be written.
    """
    strips = [fit(Strip, strip) for strip in gallery]
    rows, room = [], BUDGET
    for strip in strips:
        cells = [cell for shown in strip.pictures if (cell := _cell(folder, shown))]
        room -= sum(len(cell["uri"]) for cell in cells)
        if room < 0:
            break
        rows.append(dict(title=strip.title, cells=cells))
    words = "The region is outlined; a click enlarges a picture. The same scale holds for all maps."
    if len(rows) < len(strips):
        words += f" {len(strips) - len(rows)} more have no room here: see regions.csv."
    text = render("gallery.html.jinja", title=title, words=words, rows=rows)
    write_atomically(text.encode(errors="backslashreplace"), folder / NAME)
    return folder / NAME


def _cell(folder: Path, shown: Shown) -> dict[str, str] | None:
    try:
        return dict(uri=embed(folder / shown.file, photo=shown.photo), caption=shown.caption)
    except BadPicture:
        return None  # rank has just written it; without it the row is shorter
