"""Hard and easy pixels beside the overall mIoU."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from core.report.formats import parts_table, to_csv, to_json, to_markdown
from core.report.page import render_page
from core.report.pictures import pictures
from core.report.summary import summarize
from core.result import Entry, Metrics, Part, Result

PARTS = {
    "boundary": Part(0.2, 0.5, 0.25),
    "inside": Part(0.5, 0.9, 0.75),
    "odd": Part(0.3, 0.4, 0.1),
    "small": Part(0.1, None, 0.01),
    "thin": Part(0.15, 0.3, 0.03, ("pole", "rider")),
}


def entry(arm: str, seed: int, gain: float = 0.0, parts=PARTS) -> Entry:
    moved = {name: Part(p.miou + gain, p.accuracy and p.accuracy + gain, p.share, p.classes)
             for name, p in parts.items()}  # fmt: skip
    run = Result("t", "net", "camvid", arm, seed, metrics=Metrics(0.4 + gain, parts=moved))
    return Entry("net", "The net", run)


@pytest.fixture
def runs() -> list[Entry]:
    """HL has seeds 0 and 1, the baseline seed 2 beside them."""
    of = [entry("baseline", seed, seed / 100) for seed in range(3)]
    return [*of, entry("hl", 0, 0.02), entry("hl", 1, 0.05)]


def test_parts_are_paired_with_the_baseline_by_seed(runs):
    base, hl = summarize(runs).rows
    assert list(hl.parts) == ["overall", "thin", "small", "boundary", "inside", "odd"]
    assert hl.parts["boundary"].miou.by_seed == pytest.approx({0: 0.22, 1: 0.25})
    assert hl.parts["boundary"].delta_miou.by_seed == pytest.approx({0: 0.02, 1: 0.04})
    assert base.parts["boundary"].delta_miou is None
    assert hl.parts["small"].accuracy is None and hl.parts["small"].delta_accuracy is None
    # Boundary and inside are all pixels: 0.5 * 0.25 + 0.9 * 0.75.
    assert base.parts["overall"].accuracy.by_seed[0] == pytest.approx(0.8)
    assert hl.parts["overall"].delta_miou.mean == pytest.approx(0.03)


def test_parts_are_a_table_everywhere(runs, tmp_path):
    table = summarize(runs)
    lines = [[cell.strip() for cell in line.strip("|").split("|")]
             for line in parts_table(table, "net").splitlines()]  # fmt: skip
    # 12.706 times 0.0141 / sqrt(2) on either side.
    assert lines[2:6] == [
        ["Overall", "Baseline (CE)", "41.00 ± 1.00", "–", "81.00 ± 1.00", "–"],
        ["", "+HL", "43.50 ± 2.12", "+3.00 [−9.71, +15.71]", "83.50 ± 2.12",
         "+3.00 [−9.71, +15.71]"],
        ["Thin classes: pole, rider (3.00 %)", "Baseline (CE)", "16.00 ± 1.00", "–",
         "31.00 ± 1.00", "–"],
        ["", "+HL", "18.50 ± 2.12", "+3.00 [−9.71, +15.71]", "33.50 ± 2.12",
         "+3.00 [−9.71, +15.71]"],
    ]  # fmt: skip
    titles = [
        "Small components (1.00 %)",
        "Boundaries (25.00 %)",
        "Inside (75.00 %)",
        "odd (10.00 %)",
    ]
    assert [line[0] for line in lines[6::2]] == titles
    assert "Hard and easy pixels, The net:\n\n" + parts_table(table, "net") in to_markdown(table)
    text = render_page(table, title="t", notes=[], command="", base=tmp_path,
                       pictures=pictures(table))  # fmt: skip
    part = text.split("<h2>Hard and easy pixels</h2>")[1].split("</section>")[0]
    heads = re.findall(r'<th class="l model" colspan="5">(.*?)</th>', part)
    assert heads == [line[0] for line in lines[2::2]]
    row = next(csv.DictReader(io.StringIO(to_csv(table))))
    assert (row["thin/mIoU"], row["thin/share"], row["small/accuracy"]) == ("0.15", "0.03", "")
    read = json.loads(to_json(table))["rows"][1]["parts"]["thin"]
    assert read["classes"] == ["pole", "rider"]
    assert read["delta_accuracy"]["mean"] == pytest.approx(0.03)


def test_an_accuracy_is_no_guess(runs):
    """Where boundary or inside is missing, that of all pixels is not known."""
    some = {name: PARTS[name] for name in ("boundary", "thin")}
    (row,) = summarize([entry("hl", 0, parts=some)]).rows
    assert row.parts["overall"].accuracy is None and row.parts["overall"].miou.mean == 0.4
