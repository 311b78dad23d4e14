"""Tables against numbers worked out by hand; the page as a self-contained document."""

from __future__ import annotations

import base64
import csv
import dataclasses
import hashlib
import html
import io
import json
import os
import re
import struct
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.analysis.colors import color_hardness, ramp_hex
from core.arms import KINDS, VARIANTS
from core.errors import ResultError, WriteError
from core.report import write_report
from core.report.findings import findings
from core.report.formats import main_table, to_csv, to_json, to_markdown
from core.report.images import MAX_WIDTH, embed
from core.report.style import POLICY
from core.report.summary import summarize
from core.result import Code, Cost, Entry, Failed, Metrics, Part, Result, Strength


def run(arm: str, seed: int, miou: float, subject: str = "net", title="", folder=None, **more):
    """A finished run as an entry; ``more`` replaces fields of it, its metrics and its cost."""
    iou = {"road": miou + 0.1, "pole": miou - 0.1, "train": None}
    metrics = dict(miou=miou, iou=iou, best_miou=None, foreground=None, parts={})
    cost = dict(seconds_per_iter=0.2, peak_memory_mib=800.0, num_params=700_000)
    for part in (metrics, cost):
        part.update({key: more.pop(key) for key in list(more) if key in part})
    if "curves" not in more:
        more["curves"] = {
            "loss_ce": [[i, 2 / i] for i in range(1, 400)],
            "lr": [[1, 0.1]],
            "mIoU": [[100, 0.2 + seed / 100], [200, miou]],
        }
    fields = dict(
        track="fully_supervised",
        data="streets",
        network="net",
        group="streets",
        arm=arm,
        seed=seed,
        iterations=600,
        metrics=Metrics(**metrics),
        cost=Cost(**cost),
        code=Code("0.5.0", "1a2b3c", {"torch": "2.12.1"}),
        device="CPU",
        date="2026-11-23",
        pictures=("town_1",),
        palette=((128, 64, 128), (153, 153, 153), (0, 80, 100)),
        classes=("road", "pole", "train"),
    )
    return Entry(subject, title or f"The {subject}", Result(**(fields | more)), folder)


def failed(arm: str, seed: int, error: str, subject: str = "net", title="") -> Entry:
    return Entry(subject, title or f"The {subject}", Failed("net", "streets", arm, seed, error))


@pytest.fixture
def results() -> list[Entry]:
    """Seeds 0, 1, 2 of the baseline; HL lacks seed 1, scale-matched CE seeds 1 and 2."""
    return [
        run("hl", 2, 0.44, seconds_per_iter=0.30),
        run("baseline", 0, 0.40),
        run("baseline", 1, 0.45),
        run("baseline", 2, 0.41),
        run("hl", 0, 0.42, seconds_per_iter=0.26, iou={"road": 0.6, "pole": None, "train": None}),
        run("ce-scaled", 0, 0.41),
        failed("hl", 1, "loss became NaN at 17 | stopped"),
    ]


U2PL = {"baseline": "U²PL", "ce-scaled": "U²PL, scale-matched CE", "hl": "U²PL + HL"}


@pytest.fixture
def semi() -> list[Entry]:
    """Two seeds of the semi-supervised arms but scale-matched CE."""
    of = {"hl": (0.62, 0.63), "sup-only": (0.50, 0.54), "baseline": (0.60, 0.62)}
    return [run(arm, seed, of[arm][seed], subject="1/8") for arm in of for seed in (0, 1)]


def rows_of(table) -> dict:
    return {str(row.arm): row for row in table.rows}


# Tables


def test_mean_std_and_paired_difference_by_hand(results):
    rows = rows_of(summarize(results))
    assert list(rows) == ["baseline", "ce-scaled", "hl"]
    base, scaled, hl = rows.values()
    assert base.miou.n == 3
    assert base.miou.mean == pytest.approx(0.42)
    assert base.miou.std == pytest.approx(0.0007**0.5)  # (0.02² + 0.03² + 0.01²) / 2
    assert base.delta_baseline is None
    # Paired: (0.42 - 0.40, 0.44 - 0.41), not the difference of means 0.43 - 0.42.
    assert hl.delta_baseline.n == 2
    assert hl.delta_baseline.mean == pytest.approx(0.025)
    assert hl.delta_baseline.std == pytest.approx(0.005 * 2**0.5)
    assert hl.delta_scaled.by_seed == pytest.approx({0: 0.01})
    assert scaled.delta_scaled is None


def test_cost_is_a_ratio_of_medians(results):
    hl = rows_of(summarize(results))["hl"]
    assert hl.seconds_per_iter == pytest.approx(0.28)
    assert hl.time_ratio == pytest.approx(1.4)
    assert hl.memory_ratio == pytest.approx(1.0)


def test_cost_that_was_not_measured_is_a_dash():
    table = summarize([run("baseline", 0, 0.4, peak_memory_mib=None), run("hl", 0, 0.4)])
    assert rows_of(table)["hl"].memory_ratio is None
    assert main_table(table).splitlines()[-1].endswith("– |")


def test_one_seed_has_no_spread(results):
    scaled = rows_of(summarize(results))["ce-scaled"]
    assert scaled.miou.std is None
    line = next(x for x in main_table(summarize(results)).splitlines() if "Scale-matched" in x)
    assert "±" not in line
    assert "41.00" in line


def test_null_class_is_left_out_of_the_mean(results):
    table = summarize(results)
    hl = rows_of(table)["hl"]
    assert hl.iou["train"] is None
    assert hl.iou["pole"].by_seed == pytest.approx({2: 0.34})  # seed 0 has null
    assert hl.delta_iou["pole"].mean == pytest.approx(0.34 - 0.31)
    assert hl.iou["road"].mean == pytest.approx((0.6 + 0.54) / 2)


def test_an_arm_without_any_run_of_a_model_is_a_row_of_dashes(results):
    table = summarize([*results, run("baseline", 0, 0.3, subject="other")])
    other = [row for row in table.rows if row.subject == "other"]
    assert [str(row.arm) for row in other] == ["baseline", "ce-scaled", "hl"]
    assert other[2].miou is None
    cells = [c.strip() for c in main_table(table).splitlines()[-1].strip("|").split("|")]
    assert cells == ["", "+HL", "0", "–", "–", "–", "–", "–"]
    assert "cannot be compared" in findings(table)["other"][0]


def test_main_table_is_aligned(results):
    published = {"net": {"baseline": 74.3, "hl": 75.6}}
    lines = main_table(summarize(results, published)).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert "Published" in lines[0]
    assert "75.60" in lines[-1]
    assert "+1.30" in lines[-1]
    assert "Published" not in main_table(summarize(results))


@pytest.mark.parametrize(
    ("deltas", "words"),
    [
        # Student's t for three seeds: 4.3027 times std / sqrt(3) = 0.1 / sqrt(3).
        ((0.004, 0.005, 0.006),
         "+HL is above the baseline by 0.50 points [+0.25, +0.75] over 3 seeds."),
        ((-0.004, -0.005, -0.006),
         "+HL is below the baseline by 0.50 points [−0.75, −0.25] over 3 seeds."),
        # Above its std of 0.26, within its interval.
        ((0.001, 0.003, 0.006),
         "differ by +0.33 points [−0.29, +0.96] over 3 seeds: the 95 % interval holds 0, so no"),
        # 12.706 for two seeds; that 0 is outside says nothing with so few.
        ((0.004, 0.006), "differ by +0.50 points [−0.77, +1.77] over 2 seeds: fewer than three"),
        ((0.005, 0.005), "differ by +0.50 points [+0.50, +0.50] over 2 seeds: fewer than three"),
        ((0.01,), "above the baseline by 1.00 points on the one seed"),
        ((0.0,), "equals the baseline on the one seed"),
    ],
)  # fmt: skip
def test_findings_say_what_is_seen(deltas, words):
    runs = [run("baseline", seed, 0.5) for seed in range(len(deltas))]
    runs += [run("hl", seed, 0.5 + delta) for seed, delta in enumerate(deltas)]
    said = findings(summarize(runs))["net"]
    assert words in said[0]
    assert len(said) == 1  # no scale-matched arm, nothing said of it


def test_sup_only_is_first_and_below_the_baseline(semi):
    rows = rows_of(summarize(semi))
    assert list(rows) == ["sup-only", "baseline", "hl"]
    assert rows["sup-only"].delta_baseline.by_seed == pytest.approx({0: -0.10, 1: -0.08})
    assert rows["sup-only"].delta_iou["road"].mean == pytest.approx(-0.09)
    assert rows["sup-only"].delta_scaled is None


def test_of_sup_only_no_more_is_found_than_the_way_to_the_baseline(semi):
    few = "over 2 seeds: fewer than three seeds cannot tell a difference from chance."
    way = f"U²PL and SupOnly differ by +9.00 points [−3.71, +21.71] {few}"
    assert findings(summarize(semi, arm_names=U2PL))["1/8"] == [
        f"U²PL + HL and U²PL differ by +1.50 points [−4.85, +7.85] {few}",
        way,
    ]
    scaled = [run("ce-scaled", 0, 0.60, subject="1/8")]
    said = findings(summarize(semi + scaled, arm_names=U2PL))["1/8"]
    assert said[1].startswith("U²PL + HL is above scale-matched CE by 2.00 points on the one seed")
    no_hl = [e for e in semi if e.run.arm != "hl"]
    assert findings(summarize(no_hl, arm_names=U2PL)) == {"1/8": [way]}
    alone = [e for e in semi if e.run.arm == "sup-only"]
    assert findings(summarize(alone, arm_names=U2PL)) == {}


def test_given_names_replace_all_others(semi):
    table = summarize(
        [*semi, failed("ce-scaled", 0, "killed", "1/8")], arm_names=U2PL, group="Partition"
    )
    assert [row.name for row in table.rows] == ["SupOnly", *U2PL.values()]
    text = to_markdown(table)
    assert "- 1/8, U²PL, scale-matched CE, seed 0: killed" in text
    head = [cell.strip() for cell in text.splitlines()[2].split("|")]
    assert (head[1], head[5]) == ("Partition", "Δ U²PL")
    assert "ratios to U²PL" in text
    for old in ("+HL", "Baseline", "the baseline", "Network"):
        assert old not in text


def test_a_name_for_an_unknown_arm_is_refused(semi, tmp_path):
    with pytest.raises(ResultError, match=r"unknown arms \['u2pl'\]; known: sup-only, baseline"):
        write_report(tmp_path, semi, title="t", arm_names={"u2pl": "U²PL"})
    assert list(tmp_path.iterdir()) == []


def test_failed_runs_are_listed(results):
    text = to_markdown(summarize([*results, run("ce-scaled", 1, float("nan"))]))
    assert "- net, +HL, seed 1: loss became NaN at 17 | stopped" in text
    assert "- net, Scale-matched CE, seed 1: its mIoU is not a number" in text


def test_incomparable_runs_are_named(results):
    text = to_markdown(summarize([*results, run("ce-scaled", 2, 0.4, iterations=1200)]))
    assert "The runs of net differ in iterations: 600, 1200." in text
    other = run("ce-scaled", 2, 0.4, network="another")  # in the folder of an earlier version
    text = to_markdown(summarize([*results, other]))
    assert re.search(r"The runs of net differ in network: \w+, another\.", text)


def test_unknown_arm_and_doubled_run_are_refused(results):
    with pytest.raises(ResultError, match="a run of net: unknown arm 'hinge'"):
        summarize([run("hinge c=1", 0, 0.4)])
    with pytest.raises(ResultError, match="two results for net, arm hl, seed 2"):
        summarize([*results, run("hl", 2, 0.4)])


def test_csv_reads_back(results):
    rows = list(csv.DictReader(io.StringIO(to_csv(summarize(results)))))
    assert len(rows) == len(results)
    by_key = {(r["arm"], int(r["seed"])): r for r in rows}
    for _, title, result, _ in results:
        row = by_key[result.arm, result.seed]
        assert (row["title"], row["network"], row["group"]) == (title, "net", "streets")
        if isinstance(result, Failed):
            assert row["error"] == result.error
            assert row["mIoU"] == ""
            continue
        assert float(row["mIoU"]) == result.metrics.miou
        assert (row["version"], row["revision"]) == ("0.5.0", "1a2b3c")
        for name, value in result.metrics.iou.items():
            assert row[f"IoU/{name}"] == ("" if value is None else repr(value))


def test_json_is_zero_to_one_and_strict(results):
    content = json.loads(to_json(summarize(results)), parse_constant=pytest.fail)
    hl = content["rows"][-1]
    assert hl["miou"]["mean"] == pytest.approx(0.43)
    assert hl["delta_baseline"]["by_seed"] == pytest.approx({"0": 0.02, "2": 0.03})
    assert content["failed"][0]["seed"] == 1


# The page


class Checker(HTMLParser):
    """Balanced tags, references, ids and text of a page."""

    VOID = frozenset(["meta", "img", "br", "link", "input", "hr"])

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        names = ("src", "href", "xlink:href", "srcset", "data")
        self.references += [attrs[name] for name in names if name in attrs]
        self.ids += [attrs["id"]] if "id" in attrs else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] not in (["style"], ["script"]):
            self.text += data


def picture(path: Path, width: int = 800) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((width // 2, width, 3), dtype=np.uint8)
    pixels[:, : width // 2] = 128, 64, 128
    Image.fromarray(pixels).save(path)


def page_of(out: Path, results, title: str = "t", **options) -> str:
    """The page of results that have no folders."""
    report = write_report(out, results, title=title, **options)
    return report.paths["html"].read_text("utf-8")


def in_folders(results, root: Path) -> list[Entry]:
    """The same, each in a folder of its own."""
    return [e._replace(folder=root / f"{e.subject}-{e.run.arm}-{e.run.seed}") for e in results]


def test_page_stands_alone(results, tmp_path):
    results = in_folders(results, tmp_path / "runs")
    for entry in results:
        kinds = ["image", "label", "pred", *(["hl"] if entry.run.arm != "baseline" else [])]
        for kind in kinds:
            picture(entry.folder / "pictures" / f"town_1_{kind}.png")
    report = write_report(
        tmp_path / "out",
        results,
        title="Streets",
        notes=["A note & more"],
        command="bash run_all.sh <here>",
    )
    text = report.paths["html"].read_text("utf-8")
    page = Checker(text)
    assert [r for r in page.references if not r.startswith(("data:image/", "#"))] == []
    assert sum(r.startswith("data:image/") for r in page.references) == 6
    local = {r[1:] for r in page.references if r.startswith("#")}
    local |= set(re.findall(r"url\(#([^)]+)\)", text))
    assert local <= set(page.ids)
    assert "@import" not in text
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in POLICY and POLICY in html.unescape(text)
    assert re.findall(r"url\((?!#)", text) == []
    assert "#0a0b0" not in text  # every stand-in colour of the charts was replaced
    for words in ("A note & more", "bash run_all.sh <here>", "loss became NaN", "torch\xa02.12.1"):
        assert words in page.text
    assert os.path.join("..", "runs", "net-hl-2") in page.text
    assert "missing" not in page.text and "None" not in page.text
    assert "–: the class does not occur." in page.text
    assert "published" not in page.text.lower()
    assert len(text) < 6_000_000


def test_names_are_escaped(tmp_path):
    evil = [
        run(arm, 0, 0.4, subject="<b>", title="<b>", iou={"<i>&": 0.4}, classes=("<i>&",))
        for arm in ("baseline", "hl")
    ]
    evil.append(failed("hl", 1, "<script>", subject="<b>", title="<b>"))
    names = {"baseline": "<b>", "hl": "<b>"}
    text = page_of(tmp_path, evil, title="<b>", notes=["<b>"], arm_names=names, group="<b>")
    Checker(text)
    for raw in ("<b>", "<i>", "<script>"):
        assert text.count(raw) == (raw == "<script>")  # the page's own


def test_page_of_a_semi_supervised_track(semi, tmp_path):
    semi.append(run("ce-scaled", 0, 0.61, subject="1/8"))
    raw = page_of(tmp_path, semi, arm_names=U2PL, group="Partition")
    page = Checker(raw)
    assert "#0a0b0" not in raw
    for words in (
        "Partitions",
        "U²PL and SupOnly differ by +9.00",
        "U²PL + HL: mean and, from three seeds on, its 95 % interval",
        "IoU minus U²PL, points",
        "what U²PL + HL gains over it",
        "Ratios to U²PL of the same partition",
    ):
        assert words in " ".join(page.text.split())
    assert "IoU per class minus U²PL's" in html.unescape(raw)
    for old in ("+HL", "Baseline", "Network", "minus baseline"):
        assert old not in page.text
    heads = re.findall(r"<thead>.*?</thead>", raw, re.DOTALL)
    classes = [re.sub(r"<.*?>", " ", head).split() for head in heads if "Class" in head]
    assert classes == ["Class SupOnly U²PL Scaled U²PL + HL Δ Δ Δ".split()]


def test_class_chart_leaves_out_what_would_hide_the_rest(semi, tmp_path):
    """SupOnly is 9 points below: its rings would stretch the axis of differences of 1.5."""
    raw = page_of(tmp_path, semi)
    chart = re.search(r'<svg role="img" aria-label="IoU per class.*?</svg>', raw, re.DOTALL)[0]
    assert "var(--hl)" in chart
    assert "var(--sup-only)" not in chart
    assert "var(--sup-only)" in raw


@pytest.mark.parametrize("best", [None, 0.77])
def test_best_validation_is_a_column_of_the_runs_if_any_has_it(semi, tmp_path, best):
    semi[0] = run(
        "hl", 0, 0.62, subject="1/8", best_miou=best
    )  # hl, seed 0: the last but one in the list
    runs = page_of(tmp_path, semi).split("<h2>Runs</h2>")[1]
    cells = r"<t[hd].*?>(.*?)</t[hd]>"
    rows = [re.findall(cells, row, re.DOTALL) for row in runs.split("<tr>")[1:]]
    assert ("best" in rows[0]) == (best is not None)
    assert {len(row) for row in rows} == {8 + (best is not None)}
    if best:
        assert rows[-2][rows[0].index("best")] == "77.00"
        assert rows[-1][rows[0].index("best")] == "–"
    assert "77.00" not in to_markdown(summarize(semi))


def test_missing_and_damaged_pictures_are_said_to_be_missing(results, tmp_path):
    results = in_folders(results, tmp_path)
    hl = results[4].folder / "pictures"  # seed 0, which all arms have
    picture(hl / "town_1_image.png")
    (hl / "town_1_pred.png").write_bytes(b"no picture")
    report = write_report(tmp_path / "out", results, title="t")
    text = report.paths["html"].read_text("utf-8")
    page = Checker(text)
    assert sum(r.startswith("data:image/") for r in page.references) == 1
    assert page.text.count("missing") == 5  # label, three predictions, HL map
    (line,) = report.broken
    assert line.startswith(f"{hl}/town_1_pred.png: is left out, it cannot be read (cannot ident")


def test_errors_stand_beside_the_map_of_the_arm_that_leads(tmp_path):
    """What the run drew of itself, in its own order; a run of before 0.8 drew no errors."""
    arms = ("baseline", "hl c=0.5", "hl alpha=auto")
    runs = in_folders([run(arm, 0, 0.4) for arm in arms], tmp_path)
    for entry in runs:
        for kind in ("image", "label", "pred", "hl", "err"):
            picture(entry.folder / f"pictures/town_1_{kind}.png", width=4)
    old = "An HL map without an error map beside it is of an earlier version"
    shown = write_report(tmp_path / "new", runs, title="t").paths["html"].read_text()
    captions = re.findall(r"<figcaption>([^<]*)</figcaption></figure>", shown)
    names = ["Baseline (CE)", "+HL, c=0.5", "+HL, alpha=auto"]
    assert captions == ["Image", "Label", *names, "HL map", "Errors of +HL, alpha=auto"]
    assert shown.count('class="zoom"') == 7 and old not in shown
    assert "0<span" in shown and "one scale for all" in shown
    (runs[2].folder / "pictures/town_1_err.png").unlink()
    shown = write_report(tmp_path / "old", runs, title="t").paths["html"].read_text()
    assert old in shown and "Errors of" not in shown and "missing</div>" not in shown


def bomb(side: int) -> bytes:
    """A PNG of ``side`` times ``side`` pixels in a few bytes."""
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@pytest.mark.parametrize("what", ["cut", "bomb", "large", "eps", "empty"])
def test_a_picture_that_cannot_be_read_is_one_line(what, results, tmp_path, capsys, recwarn):
    results = in_folders(results, tmp_path)
    place = results[4].folder / "pictures/town_1_image.png"
    picture(place)
    whole = place.read_bytes()
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    place.write_bytes({"cut": whole[: len(whole) // 2], "bomb": bomb(60000), "large": bomb(12000),
                       "eps": eps, "empty": b""}[what])  # fmt: skip
    write_report(tmp_path / "out", results, title="t").tell()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"note: {place}: is left out, it cannot be read (")
    assert not [w for w in recwarn if "Decompression" in w.category.__name__]


@pytest.mark.parametrize("stem", ["../../secret", "/secret", "a/../../../secret", "x" * 300])
def test_a_name_leaves_no_folder(stem, tmp_path):
    """What lies elsewhere is not shown."""
    for kind in ("image", "label", "pred"):
        picture(tmp_path / f"secret_{kind}.png")
    stem = f"{tmp_path}{stem}" if stem == "/secret" else stem
    runs = in_folders([run("baseline", 0, 0.4, pictures=(stem,))], tmp_path)
    (tmp_path / "net-baseline-0/pictures/a").mkdir(parents=True)
    report = write_report(tmp_path / "out", runs, title="t")
    assert "data:image/" not in report.paths["html"].read_text()
    said = [] if len(stem) == 300 else [
        f"{tmp_path}/net-baseline-0/result.json: the name of the picture {stem!r} leaves its folder"
    ]  # fmt: skip
    assert report.broken == said


@pytest.mark.parametrize("finished", [False, True])
def test_little_to_report(tmp_path, finished):
    """No run at all, and one whose optional parts are absent."""
    bare = Result("fully_supervised", "net", "streets", "hl", 0, metrics=Metrics(0.4))
    results = [Entry("net", "The net", bare)] if finished else []
    report = write_report(tmp_path, results, title="Empty")
    page = Checker(report.paths["html"].read_text("utf-8"))
    assert ("40.00" if finished else "no run yet") in page.text


def test_only_failed_runs(tmp_path):
    report = write_report(tmp_path, [failed("baseline", 0, "killed")], title="Failed")
    assert "killed" in Checker(report.paths["html"].read_text("utf-8")).text
    assert "killed" in report.markdown


def test_embedded_label_map_keeps_its_colours(tmp_path):
    picture(tmp_path / "wide.png", width=2 * MAX_WIDTH)
    uri = embed(tmp_path / "wide.png", photo=False)
    image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    assert image.size == (MAX_WIDTH, MAX_WIDTH // 2)
    assert {color for _, color in image.convert("RGB").getcolors()} == {(128, 64, 128), (0, 0, 0)}
    assert embed(tmp_path / "wide.png", photo=True).startswith("data:image/jpeg;base64,")


# Files


def test_report_files(results, tmp_path):
    report = write_report(tmp_path / "new", results, title="t")
    names = {path.name for path in report.paths.values()}
    assert names == {"results.md", "results.csv", "results.json", "index.html"}
    assert {path.name for path in (tmp_path / "new").iterdir()} == names
    assert report.paths["markdown"].read_text("utf-8") == report.markdown


@pytest.mark.parametrize("call", ["os.replace", "os.fsync", "builtins.open"])
def test_a_full_disk_leaves_the_old_files(results, tmp_path, monkeypatch, call):
    report = write_report(tmp_path, results[:3], title="old")
    old = {path: path.read_bytes() for path in report.paths.values()}

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(call, full)
        with pytest.raises(WriteError, match="No space left"):
            write_report(tmp_path, results, title="new")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == old


def test_same_results_give_the_same_page(results, tmp_path):
    assert page_of(tmp_path / "0", results) == page_of(tmp_path / "1", results)


def test_groups_with_different_classes_keep_them_apart(tmp_path):
    """Targets of one network: other images, other classes, other colours of the same name."""
    other = dict(
        iou={"sky": 0.5, "road": 0.7},
        classes=("sky", "road"),
        palette=((1, 2, 3), (4, 5, 6)),
        pictures=tuple(f"dusk_{i}" for i in range(5)),
    )
    runs = [run("baseline", 0, 0.4), run("baseline", 0, 0.6, subject="dusk", **other)]
    runs = in_folders(runs, tmp_path)
    for entry in runs:
        (entry.folder / "pictures").mkdir(parents=True)
        for stem in entry.run.pictures:
            for kind in ("image", "label", "pred"):
                Image.new("RGB", (8, 4)).save(entry.folder / f"pictures/{stem}_{kind}.png")
    report = write_report(tmp_path, runs, title="t", notes=["BDD is not there."])

    assert "BDD is not there." in report.markdown
    tables = {t.splitlines()[0]: t for t in report.markdown.split("IoU per class, ")[1:]}
    assert "train" in tables["The net:"] and "sky" not in tables["The net:"]
    assert tables["The dusk:"].index("sky") < tables["The dusk:"].index("road")
    assert "pole" not in tables["The dusk:"]
    page = report.paths["html"].read_text()
    pictures = page.split("<h2>Pictures</h2>")[1]
    assert "town_1" in pictures and "dusk_3" in pictures and "dusk_4" not in pictures
    # Each legend stands before the pictures that it is of.
    order = [pictures.index(x) for x in ("rgb(128,64,128)", "town_1", "rgb(4,5,6)", "dusk_0")]
    assert order == sorted(order)


def test_arms_with_options_rivals_and_foreground(tmp_path):
    """Each variant has a row, a name and a colour of its own; text counts by its own IoU."""
    arms = ["hl c=0.5", "baseline", "hl", "focal", "hl c=0.01", "ce-scaled"]
    scores = [run(arm, seed, 0.3 + i / 100 + seed / 1000) for i, arm in enumerate(arms)
              for seed in (0, 1)]  # fmt: skip
    table = summarize(scores, {"net": {"baseline": 30.0, "hl c=0.5": 33.0}})
    assert [str(row.arm) for row in table.rows] == [
        "baseline", "focal", "ce-scaled", "hl c=0.5", "hl", "hl c=0.01"]  # fmt: skip
    by_arm = rows_of(table)
    assert by_arm["hl c=0.5"].name == "+HL, c=0.5" and by_arm["focal"].name == "Focal loss"
    assert len({row.color for row in table.rows}) == 6
    assert by_arm["hl c=0.5"].delta_scaled is not None and by_arm["focal"].delta_scaled is None
    assert by_arm["hl c=0.5"].published_delta == pytest.approx(0.03)
    ours = by_arm["hl c=0.5"]
    assert ours.to_published == pytest.approx(ours.miou.mean - 0.33)
    assert "Ours − published" in main_table(table)
    assert any("Focal loss" in sentence for sentence in findings(table)["net"])
    page = page_of(tmp_path, scores)
    for row in table.rows:
        assert f"var(--{row.color})" in page
        assert f"--{row.color}: #" in page

    text = run("hl", 0, 0.8, iou={"background": 0.98, "text": 0.6}, foreground="text")
    (row,) = summarize([text]).rows
    assert row.miou.mean == 0.6


@pytest.mark.parametrize("name", KINDS)
def test_every_arm_there_is_can_be_reported(name, tmp_path):
    """What can be trained has a row, a name, and a colour in both schemes of the page."""
    runs = [run("baseline", 0, 0.3), *([] if name == "baseline" else [run(name, 0, 0.4)])]
    page = page_of(tmp_path, runs)
    assert KINDS[name].title in Checker(page).text
    for color in KINDS[name].colors:
        assert f"--{name}: {color};" in page
    assert f"var(--{name})" in page.split("<h2>Training</h2>")[1]  # in the charts, too
    assert len({kind.colors for kind in KINDS.values()} | set(VARIANTS)) == (
        len(KINDS) + len(VARIANTS))  # fmt: skip


def test_equations_are_numbered_as_in_the_module_of_the_method(results, tmp_path, root):
    """Of the map, of L_h, of its gradient, of L_s and of their sum."""
    text = " ".join(Checker(page_of(tmp_path, results)).text.split())
    source = (root / "core/hardness.py").read_text()
    number = {
        "sums to 1 over the image (Eq. %s)": r'"""Eq. (\d): ``Z = sigmoid',
        "the cross-entropy held fixed (Eq. %s)": r'"""Eq. (\d): ``L_h = -sum\(H \* stop\(L\)\)``',
        "where the model is wrong now (Eq. %s)": r"dL_h/dH = -L \(Eq. (\d)\)",
        "the map held fixed (Eq. %s)": r'"""Eq. (\d): ``L_s = sum\(stop\(H\) \* L\)``',
        "with a small factor α (Eq. %s)": r'"""Eq. (\d): ``L_f = L_s \+ alpha \* L_h',
    }
    for words, pattern in number.items():
        assert words % re.search(pattern, source)[1] in text
    assert "HL head is trained to maximise" in text.split("(Eq. 2)")[0]


def test_the_ramp_of_the_page_is_that_of_the_pictures(results, tmp_path):
    results = in_folders(results, tmp_path)
    for entry in results:
        picture(entry.folder / "pictures" / "town_1_hl.png")
    page = page_of(tmp_path / "out", results)
    assert f"linear-gradient(to right, {', '.join(ramp_hex())})" in page
    low_to_high = color_hardness(np.linspace(0, 1, 2000)[None])[0]
    for stop, pixel in ((ramp_hex()[0], low_to_high[0]), (ramp_hex()[-1], low_to_high[-1])):
        assert stop == "#" + "".join(f"{value:02x}" for value in pixel)


def test_whose_prediction_and_whose_map_is_said(semi, tmp_path):
    """U²PL predicts with its teacher, the HL branch is the student's."""
    ours = [e._replace(run=dataclasses.replace(e.run, track="semi_supervised")) for e in semi]
    text = " ".join(Checker(page_of(tmp_path / "u2pl", ours)).text.split())
    assert "HL map (the student’s)" in text
    assert "U²PL predicts with its teacher; the HL branch, and so the HL map, is" in text
    other = Checker(page_of(tmp_path / "other", semi)).text
    assert "teacher" not in other and "student" not in other


def test_code_that_made_the_runs_is_told(results, tmp_path):
    other = run("ce-scaled", 2, 0.4, code=Code("0.5.0", "ffff-dirty"))
    report = write_report(tmp_path, [*results, other], title="t")
    words = "pixel-hardness 0.5.0 (1a2b3c), "
    page = Checker(report.paths["html"].read_text()).text
    assert words in page and words in report.markdown
    assert "several: pixel-hardness 0.5.0 (1a2b3c), pixel-hardness 0.5.0 (ffff-dirty)" in page
    care = "The runs of net differ in code: 0.5.0 1a2b3c, 0.5.0 ffff-dirty."
    assert care in report.markdown


HOSTILE = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a|b\\|c|", "``` `x`",
    "](javascript:alert(1)) [a](javascript:alert(1))", '0)"><img src=x onerror=alert(1)>',
    "</style></svg><script>x</script>", "--><script>", "{{ 7*7 }}{% raw %}", r"$\frac{$ $x$",
    "'DejaVu Sans' \"x #0a0b01", "\x1b[2J\0\u202e\ud800", "# a\n\n# b\r\n- c", "&lt;script&gt;",
    "1. **a**", "x" * 3000, "",
]  # fmt: skip


class Plain(HTMLParser):
    """The tags and attributes of a page, without its values, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[tuple[str, ...]] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.add((tag, *(name for name, _ in attrs)))

    def handle_data(self, data):
        self.text += data


def everywhere(text: str, root: Path) -> dict:
    """Arguments of ``write_report``: a text in every field that takes one."""
    words = ("track", "data", "network", "group", "command", "device", "date")
    said = {key: text for key in words}
    runs = [
        run(arm, seed, 0.4 + seed / 100, subject=text, title=text, iou={text: 0.3, "road": 0.4},
            classes=(text, "road"), palette=((1, 2, 3), (4, 5, 6)), pictures=("town",),
            curves={f"loss{text}": [[1, 2.0], [2, 1.0]], f"{text}.loss": [[1, 2.0]],
                    f"hl_{text}": [[1, 1.0], [2, 1.1]]},
            code=Code(text or "1", text, {text: text}), facts={text: text},
            parts={text: Part(0.3, 0.4, 0.5, (text,))}, strength=Strength(1.01, dose=0.5),
            folder=root / "<i>" / arm, **said)
        for arm in ("baseline", "ce-scaled", "hl") for seed in (0, 1)
    ]  # fmt: skip
    for entry in runs:
        for kind in ("image", "label", "pred", "hl", "err"):
            picture(entry.folder / f"pictures/town_{kind}.png", width=4)
    names = {"baseline": text, "hl": text}
    return dict(entries=[*runs, failed("hl", 5, text, subject=text, title=text)], title=text,
                notes=[text], command=text, arm_names=names, group=text)  # fmt: skip


@pytest.fixture(scope="module")
def harmless(tmp_path_factory) -> str:
    """The page of a harmless name in every field."""
    out = tmp_path_factory.mktemp("harmless")
    report = write_report(out, **everywhere("harmless", out))
    return report.paths["html"].read_text("utf-8")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_from_outside_stays_text(text, harmless, tmp_path, recwarn):
    """In every field: the page has the tags that it has with a harmless name, Markdown none."""
    report = write_report(tmp_path / "b", **everywhere(text, tmp_path))
    raw = report.paths["html"].read_text("utf-8")
    Checker(raw)
    page, known = Plain(raw), Plain(harmless)
    assert page.found <= known.found | {("defs",), ("path", "id", "d")}
    assert not any(name.startswith("on") for names in page.found for name in names[1:])
    if text.isprintable() and len(text) < 40:
        assert " ".join(text.split()) in " ".join(page.text.split())
    told = report.markdown
    told.encode()  # also what the terminal gets
    assert (
        "<" not in told and "\x1b" not in told and not re.search(r"(?<!\\)\[[^\[\]]*\][(\[:]", told)
    )
    assert not [line for line in told.splitlines() if re.match(r"[#>+~=]|\d+[.)]", line)]
    table = told.split("\n\n")[1].splitlines()
    assert {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in table} == {9}
    json.loads(report.paths["json"].read_text("utf-8"))
    assert not [w for w in recwarn if "constrained" in str(w.message)]


@pytest.mark.parametrize("color", [('0)"><img>', 0, 0), (1.0, 2, 3), (True, 0, 0), (256, 0, 0),
                                   (1, 2), (float("nan"), 0, 0), (-1, 0, 0)])  # fmt: skip
def test_a_colour_is_three_whole_numbers_or_none(color, tmp_path):
    odd = run("baseline", 0, 0.4, palette=(color, (4, 5, 6)), classes=("road", "pole"))
    page = page_of(tmp_path, [odd])
    assert set(re.findall(r"rgb\([^)]*\)", page)) == {"rgb(4,5,6)"}


@pytest.mark.parametrize(
    "more",
    [dict(curves={"loss": [[1, x], [2, -x], [x, 3]], "mIoU": [[1, x], [None, None]], "loss_a": []})
     for x in (1.7e308, float("nan"), float("inf"), 2**62)]
    + [dict(strength=Strength(*[x] * 4, 9, x, x), parts={"thin": Part(x, x, x)})
       for x in (1.7e308, 5e-324, float("nan"), 0.0)]
    + [dict(seconds_per_iter=1.7e308, peak_memory_mib=1.7e308, num_params=2**62),
       dict(seconds_per_iter=5e-324, peak_memory_mib=-1, num_params=-1)],
)  # fmt: skip
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_numbers_of_any_size_are_reported(more, tmp_path):
    runs = [run(arm, seed, 0.4, **more) for arm in ("baseline", "hl") for seed in (0, -(2**62))]
    page = page_of(tmp_path, runs)
    assert not re.search(r"\b(nan|inf)\b", Checker(page).text)
