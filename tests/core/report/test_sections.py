"""The page of hardness.py's commands: what it gathers, in what order, and that it stands alone."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

from core import result
from core.analysis.colors import color_hardness
from core.measures import Metrics, Strength
from core.report import images, sections
from core.report.charts import LINE, line_chart
from core.report.sections import ALONE, tell, write_page
from core.report.style import LINES
from core.result import Result
from core.section import NAME, Chart, Grid, Section, Shown, Strip, write

HOSTILE = '<script>alert("1")</script><img src=x onerror=alert(2)>'
KINDS = ("map", "evolve", "rank")


class Reader(HTMLParser):
    """Text by tag, attributes of tags, in their order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.texts, self._open = [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "path", "use"):
            self._open.append(tag)

    def handle_endtag(self, tag):
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data):
        self.texts.setdefault(self._open[-1] if self._open else "", []).append(data)


def picture(path: Path, seed: int = 0, size=(24, 32)) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path.name


def leave(root: Path, folder: str, **more) -> Section:
    kind = folder.partition("-")[0]
    section = Section(**(dict(kind=kind, title=f"Title of {folder}") | more))
    return write(section, root / folder, f"python hardness.py {folder}")


def page(root: Path) -> Reader:
    return Reader(write_page(root, KINDS).read_text())


def test_sections_stand_in_the_order_of_the_commands_then_by_number(tmp_path):
    for name in ("rank-10", "zz", "rank-2", "rank", "map", "evolve-2"):
        leave(tmp_path, name)
    shown = page(tmp_path)
    titles = [t for t in shown.texts["h2"] if t.startswith("Title")]
    wanted = ["map", "evolve-2", "rank", "rank-2", "rank-10", "zz"]
    assert titles == [f"Title of {name}" for name in wanted]
    places = [tag["href"] for name, tag in shown.tags if name == "a"]
    ids = [tag["id"] for name, tag in shown.tags if name == "section"]
    assert places == [f"#{x}" for x in ids] and len(places) == 6


def test_one_section_needs_no_contents_and_none_is_said(tmp_path):
    assert any("No command" in text for text in page(tmp_path).texts["p"])
    leave(tmp_path, "map")
    assert not [tag for tag in page(tmp_path).tags if tag[0] == "nav"]


def test_every_text_is_escaped_and_shown(tmp_path):
    name = picture(tmp_path / "map" / "<b>.png")
    leave(
        tmp_path,
        "map",
        title=HOSTILE,
        words=(HOSTILE,),
        facts={HOSTILE: HOSTILE},
        tables=(Grid(HOSTILE, (HOSTILE,), ((HOSTILE,),), HOSTILE),),
        charts=(Chart(HOSTILE, HOSTILE, HOSTILE, {HOSTILE: [[0, 1]]}, HOSTILE),),
        strips=(Strip(HOSTILE, (Shown(name, HOSTILE),)),),
        files={name: HOSTILE},
    )
    shown = page(tmp_path)
    assert [name for name, _ in shown.tags].count("script") == 1  # the page's own
    assert not any("onerror" in tag for _, tag in shown.tags)
    for tag in ("h2", "p", "dt", "dd", "th", "td", "h3", "figcaption"):
        assert HOSTILE in "".join(shown.texts[tag]), tag
    assert any(tag.get("alt") == HOSTILE for _, tag in shown.tags)
    assert any(tag.get("href") == "map/%3Cb%3E.png" for _, tag in shown.tags)


def test_nothing_comes_from_elsewhere(tmp_path):
    name = picture(tmp_path / "map" / "a.png")
    leave(tmp_path, "map", strips=(Strip("s", (Shown(name, "a"),)),),
          charts=(Chart("c", "x", "y", {"l": [[0, 1], [1, 2]]}),))  # fmt: skip
    shown = page(tmp_path)
    for name, tag in shown.tags:
        for key in ("src", "href", "xlink:href"):
            value = tag.get(key) or "#"
            assert value.startswith(("data:image/", "#")), (name, value)
    assert not re.search(r"url\((?!#)|@import", (tmp_path / "index.html").read_text())
    assert any(tag.get("http-equiv") == "Content-Security-Policy" for _, tag in shown.tags)


def test_what_is_damaged_is_a_line_and_the_others_are_shown(tmp_path, capsys):
    leave(tmp_path, "map", strips=(Strip("s", (Shown("gone.png", "a"), Shown("bad.png", "b"))),))
    (tmp_path / "map" / "bad.png").write_bytes(b"no picture")
    for folder, content in (("evolve", "{"), ("rank", json.dumps(dict(kind="rank")))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / NAME).write_text(content)
    leave(tmp_path, "similarity", tables=(Grid("t", ("a", "b"), (("1",),)),))
    leave(tmp_path, "cost", charts=(Chart("t", "x", "y", {"l": [[1.0]]}),))
    (tmp_path / result.NAME).write_text("[]")
    root = tmp_path / "map"  # below a damaged result
    shown, err = page(tmp_path), capsys.readouterr().err
    lines = [t for t in shown.texts["p"] if t.startswith("Cannot be shown")]
    named = ("evolve", "rank", "similarity", "cost", "gone.png", "bad.png")
    assert len(lines) == len(named) == err.count("note: cannot be shown")
    for name in named:
        assert any(f"/{name}" in line for line in lines), name
    assert "Title of map" in shown.texts["h2"]
    assert len([tag for _, tag in shown.tags if tag.get("class") == "missing"]) == 2
    assert any("result.json" in t for t in page(root).texts["p"])


def test_the_head_says_what_the_run_was(tmp_path):
    run = Result("fully_supervised", "net", "camvid", "hl alpha=0.1", 0, data="camvid",
                 metrics=Metrics(miou=0.51234), strength=Strength(gain=1.05, dose=23.7,
                                                                  published=21.24))  # fmt: skip
    result.write(run, tmp_path)
    leave(tmp_path / "hardness", "map")
    shown = page(tmp_path / "hardness")
    pairs = dict(zip(shown.texts["dt"], shown.texts["dd"], strict=False))
    assert pairs["Network"] == "net" and pairs["Arm"] == "+HL alpha=0.1"
    assert pairs["mIoU"] == "51.23 %" and pairs["Dose"] == "24 (published: 21)"
    assert pairs["hl_gain"] == "1.05 (nearly flat)"
    result.write(dataclasses.replace(run, strength=None), tmp_path)
    assert "Dose" not in page(tmp_path / "hardness").texts["dt"]


def test_each_section_gets_a_share_of_the_pictures(tmp_path, monkeypatch):
    for folder, count in (("map", 30), ("rank", 2)):
        for i in range(count):
            picture(tmp_path / folder / f"{i}.png", i)
        strips = tuple(Strip(f"{folder} {i}", (Shown(f"{i}.png", "x"),)) for i in range(count))
        leave(tmp_path, folder, strips=strips)
    size = len(images.embed(tmp_path / "map/0.png", photo=False))
    monkeypatch.setattr(sections, "ROOM", 6.5 * size)
    shown = page(tmp_path)
    rows = [t for t in shown.texts["figcaption"] if t.startswith(("map", "rank"))]
    assert {"rank 0", "rank 1"} < set(rows) and 5 <= len(rows) <= 7
    left_out = " ".join("".join(shown.texts["p"]).split())
    assert f"{30 - len(rows) + 2} of 30 rows of pictures are left out" in left_out


def test_a_picture_alone_may_be_wider(tmp_path):
    for name in ("a.png", "b.png"):
        picture(tmp_path / "map" / name, size=(4, 2000))
    one, two = Shown("a.png", "a"), Shown("b.png", "b")
    leave(tmp_path, "map", strips=(Strip("one", (one,)), Strip("two", (one, two))))
    uris = re.findall(r'src="data:image/png;base64,([^"]+)"', write_page(tmp_path).read_text())
    widths = [Image.open(io.BytesIO(base64.b64decode(uri))).width for uri in uris]
    assert widths == [ALONE, images.MAX_WIDTH, images.MAX_WIDTH]


def test_columns_of_numbers_stand_right(tmp_path):
    rows = (("road", "1.2", "sky", "–"), ("7", "−3", "4", "+.5"))
    leave(tmp_path, "map", tables=(Grid("t", ("a", "b", "c", "d"), rows),))
    cells = [tag.get("class") for name, tag in page(tmp_path).tags if name in ("th", "td")]
    assert cells == ["l", "", "l", ""] * 3


def test_tell_prints_tables_and_files(tmp_path, capsys):
    section = Section("map", "Maps\x1b[2J", tables=(Grid("T", ("a", "b"), (("x", "1"),)),),
                      files={"m.csv": "the figures"})  # fmt: skip
    tell(section, tmp_path)
    out = capsys.readouterr().out
    assert "| x   |   1 |" in out and f"{tmp_path / 'm.csv'}: the figures" in out
    assert "\x1b" not in out


def test_a_line_chart_draws_every_line_and_tells_them_apart():
    lines = {f"line {i}": [[x, x * i] for x in range(5)] for i in range(9)}
    lines["cost $5$ " + "x" * 60] = [[0, 1]]
    svg = line_chart(Chart("c", "share <1", "mIoU, %", lines), "all")
    assert all(f">line {i}<" in svg for i in range(9))
    assert "share &lt;1" in svg and "cost $5$" in svg and "x" * 41 not in svg
    assert not any(color in svg for color in LINE)
    style = r"fill: none; (?:stroke-dasharray: ([^;]+);[^\"]*)?stroke: (var\(--line-\d\))"
    drawn = re.findall(style, svg)
    assert len(set(drawn)) >= 9  # no two with the same dash and colour
    assert {color for _, color in drawn} == {f"var(--line-{i})" for i in range(1, len(LINES) + 1)}


def test_a_chart_without_points_is_drawn_and_one_of_triples_is_refused():
    assert line_chart(Chart("c", "x", "y", {}), "none").startswith("<svg")
    assert ">empty<" in line_chart(Chart("c", "x", "y", {"empty": []}), "empty")
    assert line_chart(Chart("c", "x", "SSIM", {"SSIM": [[0, 1]]}), "named").count("SSIM") == 1
    with pytest.raises(ValueError, match="two numbers"):
        line_chart(Chart("c", "x", "y", {"l": [[1, 2, 3]]}), "bad")


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize(("scheme", "paper"), [(0, "#fffefb"), (1, "#16171a")])
def test_lines_stand_out_from_the_page(scheme, paper):
    for pair in LINES:
        light = sorted((luminance(pair[scheme]), luminance(paper)))
        assert (light[1] + 0.05) / (light[0] + 0.05) >= 3, pair


# Machado, Oliveira, Fernandes 2009, severity 1, of linear RGB.
PROTAN = ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216),
          (-0.003882, -0.048116, 1.051998))  # fmt: skip
DEUTAN = ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413),
          (-0.011820, 0.042940, 0.968881))  # fmt: skip


def seen(colors: np.ndarray, matrix) -> np.ndarray:
    """CIELAB of sRGB colours (n, 3), 0-1, as an eye without red or green cones has them."""
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.array(matrix).T, 0, 1)
    return rgb2lab(
        np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    )


@pytest.mark.parametrize("matrix", [np.eye(3), PROTAN, DEUTAN], ids=["all", "protan", "deutan"])
def test_colors_are_for_all_eyes(matrix):
    for scheme in (0, 1):
        lines = [[int(pair[scheme][i : i + 2], 16) / 255 for i in (1, 3, 5)] for pair in LINES]
        lab = seen(np.array(lines), matrix)
        assert deltaE_ciede2000(lab[1:], lab[:-1]).min() > 12
    ramp = color_hardness(np.linspace(0, 1, 21)[None])[0] / 255
    assert np.diff(seen(ramp, matrix)[:, 0]).min() > 2  # harder is brighter
