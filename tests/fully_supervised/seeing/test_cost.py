"""Table 9: what is compared, what stands in the tables, and what is told of a config that fails."""

from __future__ import annotations

import json

import pytest

from core.engine import costs
from core.engine.costs import Inference, Setting, Training
from core.errors import ConfigError
from core.mmfixes import unformatted
from fully_supervised import manifest
from fully_supervised.seeing import cost

PSPNET = "mmseg::pspnet/pspnet_r101-d8_4xb2-40k_cityscapes-769x769.py"
SECONDS = {"baseline": [1.0, 1.0], "ce-scaled": [1.5, 1.7], "hl": [1.2, 1.4]}
FREE = Inference(15, 10, 5, 2 * 10**9, 2 * 10**9, 7, True, True, 1.0, (0.9, 1.0, 1.2))


@pytest.fixture
def saved(tiny_config, tmp_path):
    """``saved(name, **model)``: a small config of such a model as a file."""

    def save(name="tiny", **model):
        cfg = tiny_config()
        cfg.merge_from_dict(dict(model=model))
        path = tmp_path / f"{name}.py"
        path.write_text(unformatted(cfg).pretty_text)
        return path

    return save


@pytest.fixture
def measured(monkeypatch):
    """No process is started: the figures above; the calls are kept."""
    calls = []

    def alone(cfg, arm, setting):
        calls.append((arm and str(arm), setting))
        if arm is None:
            return FREE
        seconds = SECONDS[str(arm)][sum(a == str(arm) for a, _ in calls) - 1]
        return Training(seconds, 100 * seconds, 15 if str(arm) != "baseline" else 10, "CPU")

    monkeypatch.setattr(costs, "alone", alone)
    return calls


def figures(out, name="cost"):
    return json.loads((out / name / "section.json").read_text())


def tables(out):
    return {table["title"].split(":")[0]: table["rows"] for table in figures(out)["tables"]}


def test_ratios_are_to_the_median_of_the_baseline(call, saved, measured, tmp_path):
    path = saved()
    code, out, err = call("fully_supervised/hardness.py", "cost", path, "--crop", 48, "--batch", 3,
                          "--steps", 4, "--repeats", 2, "--out", tmp_path)  # fmt: skip
    assert code == 0, err
    setting = Setting((48, 48), 3, 4)
    arms = ["baseline", "ce-scaled", "hl"]
    assert measured == [*((arm, setting) for arm in arms * 2), (None, setting)]
    rows = tables(tmp_path)["Training"]
    assert [row[1:] for row in rows] == [
        ["Baseline (CE)", "1.00× (1.00–1.00)", "1.00× (1.00–1.00)", "1.000", "100", "0.00"],
        ["Scale-matched CE", "1.60× (1.50–1.70)", "1.60× (1.50–1.70)", "1.600", "160", "0.00"],
        ["+HL", "1.30× (1.20–1.40)", "1.30× (1.20–1.40)", "1.300", "130", "0.00"],
    ]
    of = figures(tmp_path)["figures"][str(path)]
    assert of["time_ratio"]["hl"] == pytest.approx([1.2, 1.4])
    assert "Inference costs nothing extra" in figures(tmp_path)["words"][-1]
    assert "| tiny" in out and "bit-equal" in out


def test_arms_can_be_chosen_and_the_baseline_is_always_one(call, saved, measured, tmp_path):
    code, _, err = call("fully_supervised/hardness.py", "cost", saved(), "--arms", "hl",
                        "--repeats", 1, "--out", tmp_path)  # fmt: skip
    assert code == 0, err
    assert [arm for arm, _ in measured] == ["baseline", "hl", None]


def test_the_published_figures_stand_beside_a_row_of_the_paper(call, saved, measured, tmp_path):
    call("fully_supervised/hardness.py", "cost", PSPNET, saved(), "--repeats", 1,
         "--out", tmp_path)  # fmt: skip
    (row,) = tables(tmp_path)["What +HL adds, beside the paper's Table 9 and the authors' logs"]
    # Table 9: 1.40 %; logs: 18.7 and 19 GB, 0.718 and 0.916 s.
    assert row == ["PSPNet, ResNet-101", "+1.40", "+1.60", "+20.00", "+27.58", "+20.00"]


def test_a_config_is_known_by_its_name_or_by_what_it_is_made_of(saved):
    assert cost.row_of(manifest.model("cityscapes/upernet_r101")) == "cityscapes/upernet_r101"
    assert cost.row_of(manifest.model(PSPNET)) == "cityscapes/pspnet_r101"
    assert cost.row_of(manifest.model(str(saved()))) is None
    assert cost.TABLE_9.keys() <= manifest.costs().keys()


def test_what_cannot_be_measured_says_why_and_the_others_go_on(
    call, saved, measured, tmp_path, monkeypatch
):
    good, bad = saved("good"), saved("bad", decode_head=dict(loss_decode=dict(type="DiceLoss")))
    alone = costs.alone

    def fails(cfg, arm, setting):
        if str(arm) == "hl":
            raise ConfigError("the GPU's memory is exhausted")
        return alone(cfg, arm, setting)

    monkeypatch.setattr(costs, "alone", fails)
    code, _, err = call("fully_supervised/hardness.py", "cost", bad, good, "--repeats", 2,
                        "--out", tmp_path)  # fmt: skip
    assert code == 0, err
    first, second = tables(tmp_path)["Not measured"]
    assert first[0] == str(bad) and "DiceLoss" in first[1]
    assert second == [f"{good}, hl", "the GPU's memory is exhausted"]
    assert [row[1] for row in tables(tmp_path)["Training"]] == ["Baseline (CE)", "Scale-matched CE"]


def test_where_none_can_be_measured_it_ends_in_one_line(call, saved, measured, tmp_path):
    bad = saved("bad", decode_head=dict(loss_decode=dict(type="DiceLoss")))
    code, _, err = call("fully_supervised/hardness.py", "cost", bad, "--out", tmp_path / "out")
    assert code == 1 and "bad.py: cannot be measured: decode_head (FCNHead)" in err
    assert not (tmp_path / "out").exists()


def test_an_unknown_config_is_refused_before_anything_is_measured(call, saved, measured, tmp_path):
    code, _, err = call("fully_supervised/hardness.py", "cost", saved(), "cityscapes/pspnet_r11",
                        "--out", tmp_path / "out")  # fmt: skip
    assert code == 1 and "near it: cityscapes/pspnet_r101" in err
    assert not measured


def test_inference_that_is_not_free_is_said():
    said = cost._verdict([cost.Measured("net", None, None, inference=FREE)])
    assert said.startswith("Inference costs nothing extra.")
    dear = Inference(**{**vars(FREE), "flops": 3 * 10**9})
    for found in (dear, None):
        measured = [cost.Measured("net", None, None, inference=found)]
        assert cost._verdict(measured).startswith("Inference costs something")
