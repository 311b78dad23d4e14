"""Which difference counts, how strong the maps were, and what a comparison can show at all."""

from __future__ import annotations

import csv
import io
import json

import pytest
from scipy import stats

from core.report.findings import Scope, findings, reach, scope_of
from core.report.formats import strength_table, to_csv, to_json, to_markdown
from core.report.page import render_page
from core.report.pictures import pictures
from core.report.stats import Stat
from core.report.summary import leading_arm, summarize
from core.result import Entry, Failed, Metrics, Result, Strength


def entry(arm: str, seed: int, miou: float = 0.4, *, strength=None, subject="net", **more) -> Entry:
    fields = dict(data="camvid", iterations=800, metrics=Metrics(miou), strength=strength) | more
    return Entry(subject, f"The {subject}", Result("t", subject, "camvid", arm, seed, **fields))


def three(arm: str, strength=None, gain: float = 0.0, **more) -> list[Entry]:
    return [entry(arm, s, 0.4 + gain + s / 100, strength=strength, **more) for s in range(3)]


def page(table, tmp_path) -> str:
    return render_page(table, title="t", notes=[], command="", base=tmp_path,
                       pictures=pictures(table))  # fmt: skip


# The interval


@pytest.mark.parametrize("values", [(0.1, 0.4), (0.1, 0.4, 0.2), (0.3, 0.1, 0.2, 0.9, 0.5)])
def test_the_interval_is_that_of_a_paired_t_test(values):
    """scipy's own of the same differences: ends, and whether 0 is outside."""
    ours = Stat.of(dict(enumerate(values)))
    theirs = Stat.of({seed: value**2 for seed, value in enumerate(values)})
    delta = Stat.paired(ours, theirs)
    test = stats.ttest_rel(list(values), [x**2 for x in values])
    assert delta.interval == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert delta.excludes_zero == (test.pvalue < 0.05)


def test_one_seed_has_no_interval_and_equal_seeds_have_one_of_no_width():
    one = Stat.of({0: 0.1})
    assert one.half_width is None and one.interval is None and not one.excludes_zero
    assert Stat.of({0: 0.5, 1: 0.5}).interval == (0.5, 0.5)
    assert not Stat.of({0: 0.0, 1: 0.0}).excludes_zero


# The arm that stands for its kind


@pytest.mark.parametrize(
    ("arms", "leads"),
    [
        (["hl c=0.5", "hl", "hl alpha=auto"], "hl"),
        (["hl alpha=auto", "hl c=0.5 alpha=auto", "baseline"], "hl alpha=auto"),
        (["hl c=0.5", "ce-scaled"], "hl c=0.5"),
        (["hl c=0.5", "hl alpha=1"], None),
        (["ce-scaled"], None),
    ],
)
def test_one_arm_stands_for_hl(arms, leads):
    """It has the colour of the kind; the findings are of every one."""
    assert leading_arm(arms, "hl") == leads
    table = summarize([x for arm in dict.fromkeys(["baseline", *arms]) for x in three(arm)])
    assert [arm for arm, color in table.colors.items() if color == "hl"] == [leads][: bool(leads)]
    assert len(set(table.colors.values())) == len(table.colors)
    said = " ".join(findings(table).get("net", []))
    compared = sum(row.arm.kind.name == "hl" for row in table.rows)
    assert said.count("and the baseline differ") == compared


def test_auto_arms_are_compared_with_each_other():
    """HL at a dose with scale-matched CE at the same; where that is not there, with the one that
    stands for it."""
    arms = ["baseline", "ce-scaled alpha=auto", "ce-scaled c=0.5", "hl alpha=auto", "hl c=0.5",
            "hl c=1"]  # fmt: skip
    runs = [x for i, arm in enumerate(arms) for x in three(arm, gain=i / 100)]
    rows = {str(row.arm): row for row in summarize(runs).rows}
    assert rows["hl alpha=auto"].delta_scaled.mean == pytest.approx(0.02)
    assert rows["hl c=0.5"].delta_scaled.mean == pytest.approx(0.02)
    assert rows["hl c=1"].delta_scaled.mean == pytest.approx(0.04)
    said = findings(summarize(runs))["net"]
    assert said[0].startswith("+HL, alpha=auto is above the baseline by 3.00 points")
    assert said[1].startswith("+HL, alpha=auto is above scale-matched CE by 2.00 points")


# The map


STRONG = Strength(1.9, 3.4, 0.81, -0.55, 101, 0.133, 21.0, 21.24)
FLAT = Strength(1.02, 1.1, 0.6, 0.1, 101, 0.01, 0.8, 1.156)


def test_the_map_is_a_table_with_means_over_seeds(tmp_path):
    runs = three("baseline") + three("ce-scaled", FLAT)
    runs += [entry("hl", 0, strength=STRONG), entry("hl c=0.5", 0, strength=STRONG)]
    runs.append(entry("hl", 1, strength=Strength(2.1, dose=None)))
    table = summarize(runs)
    lines = [[cell.strip() for cell in line.strip("|").split("|")]
             for line in strength_table(table).splitlines()]  # fmt: skip
    assert "dose (published)" in lines[0] and "hl_gain (authors: about 2.3)" in lines[0]
    assert lines[2:] == [
        [
            "The net",
            "Scale-matched CE",
            "3",
            "101",
            "0.01",
            "0.8 (1.2)",
            "1.02",
            "1.10 of 11",
            "0.60",
            "0.10",
        ],
        ["", "+HL", "2", "101", "0.133", "21 (21)", "2.00", "3.40 of 11", "0.81", "−0.55"],
        ["", "+HL, c=0.5", "1", "101", "0.133", "21 (21)", "1.90", "3.40 of 3", "0.81", "−0.55"],
    ]
    assert strength_table(table) in to_markdown(table)
    assert "3.40 of 11" in page(table, tmp_path)
    first = next(csv.DictReader(io.StringIO(to_csv(summarize([entry("hl", 0, strength=STRONG)])))))
    assert [first[key] for key in ("alpha", "dose", "hl_gain", "hl_contrast", "hl_auc", "hl_rank")
            ] == ["0.133", "21.0", "1.9", "3.4", "0.81", "-0.55"]  # fmt: skip
    row = json.loads(to_json(table))["rows"][2]
    assert row["strength"]["gain"]["by_seed"] == {"0": 1.9, "1": 2.1}


def test_results_that_tell_no_strength_have_no_table(tmp_path):
    table = summarize(three("baseline") + three("hl"))
    for text in (to_markdown(table), page(table, tmp_path)):
        assert "Hardness map" not in text and "hl_gain" not in text
        assert "Hard and easy pixels" not in text
        assert "the strength of the map not measured" in text


def test_a_flat_map_is_said_to_be_flat_and_a_strong_one_is_a_number():
    runs = three("baseline") + three("ce-scaled", FLAT) + three("collected", STRONG)
    said = findings(summarize(runs + three("hl", FLAT)))["net"]
    assert said[-2:] == [
        "hl_gain of Collected HL: 1.90.",
        "The map of +HL (hl_gain 1.02, dose 0.8, published: 1.2) was nearly flat: the comparison "
        "cannot tell what hardness does.",
    ]
    said = findings(summarize(three("baseline") + three("hl", STRONG)))["net"]
    assert said[-1] == "hl_gain of +HL: 1.90." and "flat" not in " ".join(said)
    # The mean over seeds decides: 1.05 and 1.25.
    mixed = [entry("hl", 0, strength=Strength(1.05)), entry("hl", 1, strength=Strength(1.25))]
    assert "flat" not in " ".join(findings(summarize([*three("baseline"), *mixed]))["net"])


# What a comparison can show

REAL = "a difference whose interval excludes 0 is more than chance here"
CHANCE = "fewer than three seeds cannot tell a difference from chance"


@pytest.mark.parametrize(
    ("scope", "line"),
    [
        (Scope(["camvid"], 3, 800, True, [(21.0, 21.24)], [1.9]),
         "Three seeds on camvid, 800 iterations, at the published dose, the map at work (hl_gain "
         f"1.90): {REAL}; the paper's shortest schedule is 50 times as long."),
        (Scope(["streets"], 3, 300, True, [(0.4, 21.24), (0.8, 21.24)], [1.01, 1.02]),
         "Three seeds on streets, 300 iterations, at dose 0.4 to 0.8 (published: 21), the map "
         "nearly flat (hl_gain 1.01 to 1.02): this cannot tell what hardness does; drawn scenes "
         "show that the software works, not that the method does; the paper's shortest schedule "
         "is 133 times as long."),
        (Scope(["camvid"], 1, 800, True, [], [1.0]),
         "One seed on camvid, 800 iterations, the map nearly flat (hl_gain 1.00): this cannot tell "
         "what hardness does, nor, with fewer than three seeds, a difference from chance; the "
         "paper's shortest schedule is 50 times as long."),
        (Scope(["camvid"], 2, None, True, [(21, 21.24), (0.6, 1.2)], [1.9]),
         "Two seeds on camvid, at 0.5 to 0.989 times the published dose, the map at work (hl_gain "
         f"1.90): {CHANCE}."),
        (Scope(["camvid"], 2, 800, True, [(21, 21.24), (1.2, 1.156)], [1.9]),
         "Two seeds on camvid, 800 iterations, at the published dose, the map at work (hl_gain "
         f"1.90): {CHANCE}; the paper's shortest schedule is 50 times as long."),
        (Scope(["cityscapes"], 12, 40_000, True, [(21, 21.24)], [1.05, 2.3]),
         "12 seeds on cityscapes, 40,000 iterations, at the published dose, the map nearly flat in "
         f"part (hl_gain 1.05 to 2.30): {REAL}, but tells nothing of hardness where the map "
         "is flat."),
        (Scope([], 3), f"Three seeds, the strength of the map not measured: {REAL}."),
        (Scope(["camvid"], 1, None, False), f"One seed on camvid: {CHANCE}."),
        (None, ""),
    ],
)  # fmt: skip
def test_what_a_comparison_can_show_is_one_line(scope, line):
    assert reach(scope) == line


def test_the_scope_is_that_of_the_weakest_subject(tmp_path):
    runs = three("baseline") + three("hl alpha=auto", STRONG)
    runs += three("baseline", subject="b", iterations=400)
    runs += three("hl alpha=auto", FLAT, subject="b", iterations=400)[:2]
    table = summarize(runs)
    scope = scope_of(table)
    assert (scope.data, scope.seeds, scope.iterations, scope.has_hl) == (["camvid"], 2, 400, True)
    assert scope.doses == [(21.0, 21.24), (0.8, 1.156)]
    assert scope.gains == pytest.approx([1.9, 1.02])
    line = reach(scope)
    assert to_markdown(table).startswith(line)
    assert line in page(table, tmp_path).replace("&#39;", "'").split("<dl>")[0]
    assert json.loads(to_json(table))["can_show"] == line


def test_a_table_without_a_comparison_claims_nothing():
    failed = Entry("net", "The net", Failed("net", "camvid", "hl", 0, "killed"))
    assert scope_of(summarize([])) is None
    assert scope_of(summarize(three("hl", STRONG))) is None
    assert scope_of(summarize(three("hl", STRONG) + three("ce-scaled"))).seeds == 3
    assert scope_of(summarize([*three("baseline"), failed])) is None
    swept = [x for c in ("0.5", "1") for x in three(f"hl c={c}", FLAT)]
    assert scope_of(summarize(three("baseline") + swept)).gains == pytest.approx([1.02, 1.02])
    rivals = scope_of(summarize(three("baseline") + three("focal")))
    assert rivals.seeds == 3 and not rivals.has_hl
