"""The gallery of ``rank``: the first candidates for label errors, a row of crops each, one page
that needs no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2

from core.files import write_atomically
from core.report.images import BadPicture, embed
from core.report.style import CSS, POLICY, SCRIPT
from core.section import Shown, Strip
from core.typed import fit

NAME = "gallery.html"
BUDGET = 8_000_000  # characters of pictures

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<title>{{ title }}</title>
<style>{{ css|safe }}</style>
</head>
<body>
<header><h1>{{ title }}</h1>
<p>{{ words }}</p></header>
{% for row in rows %}
<figure class="row"><figcaption>{{ row.title }}</figcaption>
<div class="strip many">
{% for cell in row.cells %}
<figure><button type="button" class="zoom" title="Enlarge"><img src="{{ cell.uri }}" alt="{{ cell.caption }}" loading="lazy"></button><figcaption>{{ cell.caption }}</figcaption></figure>
{% endfor %}
</div></figure>
{% endfor %}
<dialog id="large"><button type="button" title="Close" autofocus><img alt=""></button><p></p></dialog>
<script>{{ script|safe }}</script>
</body>
</html>
"""  # noqa: E501


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
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    text = page.from_string(_PAGE).render(title=title, words=words, rows=rows, css=CSS,
                                          script=SCRIPT, policy=POLICY)  # fmt: skip
    write_atomically(text.encode(errors="xmlcharrefreplace"), folder / NAME)
    return folder / NAME


def _cell(folder: Path, shown: Shown) -> dict[str, str] | None:
    try:
        return dict(uri=embed(folder / shown.file, photo=shown.photo), caption=shown.caption)
    except BadPicture:
        return None  # rank has just written it; without it the row is shorter
