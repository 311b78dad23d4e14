"""What a call of run_all.sh asks for: tables, rows, sweeps, other data sets; and the list."""

import pytest

from core.arms import Arm
from core.errors import ConfigError
from core.result import Entry, Result
from fully_supervised import manifest, plans, run_all


@pytest.fixture
def parsed(tmp_path):
    """``parsed(*flags)``: the arguments of a call."""

    def parse(*flags):
        return run_all.parse_args([*map(str, flags), "--out", str(tmp_path)])

    return parse


def test_the_list_has_every_row_with_its_figures(capsys):
    plans.print_list()
    out = capsys.readouterr().out
    for name, table in manifest.tables().items():
        part = out[out.index(f"--table {name}: ") :].partition("\n\n")[0]
        for row, figures in table.rows.items():
            assert row in part
            for figure in figures.values():
                assert f"{figure:.2f}" in part
    assert "+1.71" in out and "needs" in out
    refused = 2  # Mask2Former as ce-scaled and as hl
    rows = sum(len(t.rows) * len(t.arms) for t in manifest.tables().values()) - refused
    assert f"{rows} rows" in out
    assert "40,000 iterations, batch 8, lr 0.01\n    baseline              74.39" in out
    assert "authors: 2.5 h on 4 GPUs, 33.7 GB each" in out


def test_the_list_is_scaled_for_gpus(capsys, monkeypatch):
    monkeypatch.setenv("GPUS", "2")
    plans.print_list()
    assert "80,000 iterations, batch 4, lr 0.005 (published: 40,000 of 8, lr 0.01" in (
        capsys.readouterr().out)  # fmt: skip


def test_arms_that_must_be_refused_are_not_planned(parsed):
    (plan,) = plans.plans(parsed("--table", "beyond"))
    arms = [str(r.arm) for r in plan.runs if r.network == "ade20k/mask2former_swin-t"]
    assert arms == ["baseline"]
    with pytest.raises(ConfigError, match="can only be trained as baseline; not as hl"):
        plans.plans(parsed("--only", "ade20k/mask2former_swin-t", "--arms", "hl"))


def test_rows_for_a_laptop_have_the_published_dose_and_the_papers_have_its_alpha(parsed):
    def arms(*flags):
        return [str(run.arm) for run in plans.plans(parsed(*flags, "--seeds", 0))[0].runs]

    auto = ["baseline", "ce-scaled alpha=auto", "hl alpha=auto"]
    assert arms() == auto and arms("--data", "camvid") == auto
    assert arms("--data", "camvid", "--table", 6) == [
        "baseline", "balanced", "ohem", "focal", *auto[1:]]  # fmt: skip
    doses = [*auto[:2], "hl alpha=auto@2", "hl alpha=auto", "hl alpha=auto@200",
             "hl alpha=auto@2000"]  # fmt: skip
    assert arms("--data", "camvid", "--sweep", "alpha") == doses
    assert arms("--data", "camvid", "--table", 8) == doses
    assert arms("--data", "camvid", "--table", 7)[2:] == [
        "hl c=0.01 alpha=auto", "hl alpha=auto", "hl c=0.5 alpha=auto"]  # fmt: skip
    assert arms("--data", "camvid", "--arms", "hl") == ["hl"]  # as it is asked for
    assert arms("--table", 6, "--only", "cityscapes/pspnet_r18")[-2:] == ["ce-scaled", "hl"]
    assert "hl alpha=0.001" in arms("--table", 8)


def test_a_dry_run_says_what_a_row_trains(parsed, monkeypatch):
    monkeypatch.setenv("GPUS", "1")
    (plan,) = plans.plans(parsed("--only", "cityscapes/upernet_r18"))
    assert plan.runs[0].note == (
        "160,000 iterations, batch 2, lr 0.0025 (published: 40,000 of 8, lr 0.01; linear scaling, "
        "Goyal et al. 2017); authors: 2.5 h on 4 GPUs, 33.7 GB each"
    )
    (plan,) = plans.plans(parsed("--only", "cityscapes/upernet_r18", "--max-iters", "9"))
    assert plan.runs[0].note.startswith("cut to 9 iterations; whole: 160,000")
    (plan,) = plans.plans(parsed("--data", "camvid"))
    assert plan.runs[0].note.startswith("1,500 iterations; batch and learning rate as config")


def test_a_table_is_its_rows_in_its_arms(parsed):
    (plan,) = plans.plans(parsed("--table", "2"))
    assert (plan.name, len(plan.runs)) == ("table-2", 12 * 3)
    assert plan.published["cityscapes/upernet_r18"] == {
        "baseline": 74.39, "hl": 76.10, "hl normalize=batch ignored=include": 76.10}  # fmt: skip
    assert all(run.group == "cityscapes" and run.asked is None for run in plan.runs)
    six, seven = plans.plans(parsed("--table", "6", "7", "--only", "cityscapes/pspnet_r50"))
    assert [str(run.arm) for run in six.runs] == list(manifest.tables()["6"].arms)
    shared = {r.work_dir for r in six.runs} & {r.work_dir for r in seven.runs}
    assert len(shared) == 3  # what two tables have in common is run once
    names = [plan.name for plan in plans.plans(parsed("--table", "2", "6", "--only",
                                                        "cityscapes/pspnet_r50"))]  # fmt: skip
    assert names == ["table-6"]


def test_one_row_is_of_its_data_set_with_its_figures(parsed):
    (plan,) = plans.plans(parsed("--only", "ade20k/pspnet_r50"))
    assert [str(run.arm) for run in plan.runs] == ["baseline", "ce-scaled", "hl"]
    assert plan.name == "ade20k" and plan.published["ade20k/pspnet_r50"]["hl"] == 42.70
    (plan,) = plans.plans(parsed("--only", "ade20k/pspnet_r50", "--data", "camvid"))
    assert {run.group for run in plan.runs} == {"camvid"}
    assert {run.work_dir.parent.name for run in plan.runs} == {"ade20k-pspnet_r50"}
    assert "ade20k/pspnet_r50" not in plan.published  # figures of another data set
    assert {run.asked for run in plan.runs} == {1500}


def test_sweeps_are_the_papers_values_for_any_row(parsed):
    (plan,) = plans.plans(parsed("--sweep", "c"))
    assert plan.name == "table-7" and len(plan.runs) == 3 * 5
    (plan,) = plans.plans(parsed("--sweep", "alpha", "--only", "cityscapes/upernet_r18"))
    arms = ["baseline", "ce-scaled", "hl alpha=0.001", "hl", "hl alpha=0.1", "hl alpha=1"]
    assert [str(run.arm) for run in plan.runs] == arms


def test_commands_name_row_weighting_and_options(parsed):
    args = parsed("--table", "6", "--only", "cityscapes/pspnet_r18", "--data-root",
                  "cityscapes=/c", "camvid=/v")  # fmt: skip
    (plan,) = plans.plans(args)
    commands = {str(run.arm): ("train.py", *run.arguments) for run in plan.runs}
    for arm, command in commands.items():
        text = " ".join(command)
        assert "train.py cityscapes/pspnet_r18 --data-root /c " in text and " --weighting " in text
        assert "--data " not in text
        assert ("cityscapes_class_weights.json" in text) == (arm == "balanced")
    assert "--weighting ce " in " ".join(commands["baseline"])
    args = parsed("--arms", "hl c=0.5 alpha=1", "--data-root", "/s")
    (plan,) = plans.plans(args)
    text = " ".join(plan.runs[0].arguments)
    assert "--data streets --data-root /s --weighting hl --options c=0.5 alpha=1 --seed 0" in text
    assert plan.runs[0].work_dir.name == "hl-c=0.5-alpha=1-seed0"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--table", "9"], "unknown table '9', there are: 2, 3, 4, 5, 6, 7, 8, fig5"),
        (["--only", "cityscapes/upernet_r19"], "near it: cityscapes/upernet_r18"),
        (["--table", "2", "--only", "ade20k/pspnet_r50"], "is not in table 2"),
        (["--data", "gtav"], "no list for 'gtav': name models with --only"),
    ],
)
def test_what_is_not_there_is_told(flags, words, parsed):
    with pytest.raises(ConfigError, match=words):
        plans.plans(parsed(*flags))


def test_another_batch_than_the_published_is_noted():
    facts = dict(batch_size=2, published_batch_size=8, lr_factor=0.25)
    one = Result("fully_supervised", "m", "d", "hl", 0, iterations=160_000, facts=facts)
    other = Result("fully_supervised", "n", "d", "hl", 0, facts=dict(lr_factor=1))
    entries = [Entry("m", "The net", one), Entry("m", "The net", one), Entry("n", "N", other)]
    (note,) = run_all.batch_notes(entries)
    assert note == (
        "The net: batch 2 in the place of the published 8; learning rate × 0.25, "
        "160,000 iterations (linear scaling, Goyal et al. 2017)."
    )


def test_as_released_is_in_arm_folder_and_flags(parsed):
    (plan,) = plans.plans(parsed("--table", "7", "--only", "cityscapes/pspnet_r18",
                                 "--as-released"))  # fmt: skip
    last = plan.runs[-1]
    assert str(last.arm) == "hl c=0.5 normalize=batch ignored=include"
    assert last.work_dir.name == "hl-c=0.5-normalize=batch-ignored=include-seed0"
    assert "--weighting hl --options c=0.5 normalize=batch ignored=include" in " ".join(
        last.arguments
    )
    assert str(plan.runs[0].arm) == "baseline"
    assert plan.published["cityscapes/pspnet_r18"][str(last.arm)] == 74.82
    with pytest.raises(ConfigError, match="but ignored=exclude is given"):
        plans.plans(parsed("--arms", "hl ignored=exclude", "--as-released"))


OWN = """
_base_ = "mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-769x769.py"
randomness = dict(seed=5)
"""


@pytest.mark.slow
def test_arms_of_a_users_config_are_planned(parsed, tmp_path):
    """By its path; its seed is the default, another one is asked for by name."""
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    (plan,) = plans.plans(parsed("--only", path, "--arms", "baseline", "hl", "--data-root", "d"))
    assert plan.name == "own-mine" and "own data" in plan.title
    first, second = plan.runs
    assert first.arguments == (
        str(path), "--data-root", "d", "--weighting", "ce", "--seed", "5",
        "--work-dir", str(tmp_path / "own/mine/baseline-seed5"), "--resume")  # fmt: skip
    assert second.network == "mine" and second.arm == Arm.parse("hl")
    (plan,) = plans.plans(parsed("--only", path, "--arms", "hl", "--seeds", 3))
    assert plan.runs[0].arguments[1:3] == ("--cfg-options", "randomness.seed=3")
    before = plan.runs[0].config
    path.write_text(OWN + "train_cfg = dict(max_iters=9)\n")
    (plan,) = plans.plans(parsed("--only", path, "--arms", "hl"))
    assert plan.runs[0].config != before
    with pytest.raises(ConfigError, match="is a config of your own, and no row of a table"):
        plans.plans(parsed("--only", path, "--table", "2"))
    with pytest.raises(ConfigError, match=r"nowhere\.py: no such config file"):
        plans.plans(parsed("--only", "nowhere.py"))


def test_a_config_of_mmsegs_runs_on_a_data_set_of_ours(parsed):
    name = "mmseg::fcn/fcn_r18-d8_4xb2-80k_cityscapes-769x769.py"
    (plan,) = plans.plans(parsed("--only", name, "--data", "camvid", "--arms", "hl"))
    assert plan.runs[0].arguments[:3] == (name, "--data", "camvid")
