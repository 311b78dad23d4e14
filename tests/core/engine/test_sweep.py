"""A sweep: what it skips, plans, hands on and reports; no training runs here."""

import argparse
import dataclasses
import json
from pathlib import Path

import pytest

from core import result
from core.arms import Arm
from core.engine import sweep as module
from core.engine.sweep import Evaluation, Run, add_sweep_flags, sweep
from core.errors import ConfigError, ResultError
from core.result import Metrics, Result

SCRIPT = "train.py"
DONE = Result("t", "net", "data", "baseline", 0, iterations=4, asked=4, metrics=Metrics(0.5))


@pytest.fixture
def runs(tmp_path):
    """A baseline, which is finished, HL, which is not, and HL once more."""
    made = [
        Run("net", "net", "data", Arm.parse(arm), 0, tmp_path / Arm.parse(arm).folder, 4, "The net",
            ("net", "--data", "d"))
        for arm in ("baseline", "hl c=0.5", "hl c=0.5")
    ]  # fmt: skip
    result.write(DONE, made[0].work_dir)
    return made


@pytest.fixture
def call_sweep(monkeypatch):
    """``call_sweep(runs, *flags, errors={}, ...)``: exit code, jobs that ran, what was written."""

    def call(runs, *flags, errors=None, lost=False, **more):
        ran, written = [], []
        parser = argparse.ArgumentParser()
        add_sweep_flags(parser, "work_dirs", without=["sup-only"])

        def run_jobs(jobs, at_once=None):
            ran.append([job.name for job in jobs])
            for run in runs:
                if run.name in ran[-1] and run.name not in (errors or {}) and not lost:
                    result.write(dataclasses.replace(DONE, arm=str(run.arm)), run.work_dir)
            return {job.name: errors[job.name] for job in jobs if job.name in (errors or {})}

        monkeypatch.setattr(module, "run_jobs", run_jobs)
        code = None
        try:
            sweep(parser.parse_args(list(flags)), SCRIPT, runs, locate=lambda: ran.append("locate"),
                  write=written.append, **more)  # fmt: skip
        except SystemExit as stop:
            code = stop.code
        return code, ran, written

    return call


def test_what_is_finished_is_skipped_and_equal_runs_are_one(runs, call_sweep, capsys):
    code, ran, written = call_sweep(runs)
    assert (code, ran) == (0, ["locate", ["net hl c=0.5 seed 0"], []])
    assert written == [{}]
    assert "1 of 2 runs to do" in capsys.readouterr().err


def test_a_dry_run_prints_commands_and_reads_no_data(runs, call_sweep, capsys):
    code, ran, written = call_sweep(runs, "--dry-run", "--train-args", "--amp --verbose")
    assert (code, ran, written) == (None, [], [])
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"# finished: {runs[0].work_dir}"
    assert second.endswith(
        "train.py net --data d --weighting hl --options c=0.5 --seed 0 --max-iters 4 "
        f"--work-dir {runs[1].work_dir} --resume --amp --verbose"
    )


def test_a_dry_run_prints_the_note_of_what_is_not_finished(runs, call_sweep, capsys):
    noted = [dataclasses.replace(run, note="4 iterations") for run in runs]
    call_sweep(noted, "--dry-run")
    done, note, command = capsys.readouterr().out.splitlines()
    assert done.startswith("# finished") and "train.py" in command
    assert note == "# net hl c=0.5 seed 0: 4 iterations"


def test_a_failed_run_is_reported_and_not_evaluated(runs, call_sweep):
    def evaluate(run, trained):
        assert trained == (run == runs[1])
        return Evaluation("eval.py", (str(run.work_dir),), run.work_dir / "targets")

    name = runs[1].name
    code, ran, written = call_sweep(runs, errors={name: "no room"}, evaluate=evaluate)
    assert code == 1
    assert ran == ["locate", [name], ["net baseline seed 0"]]
    assert written == [{runs[1]: "no room"}]
    failed = runs[1].failed("no room")
    assert (failed.network, failed.group, failed.arm, failed.title, failed.error) == (
        "net", "data", "hl c=0.5", "The net", "no room")  # fmt: skip


def test_a_run_that_left_nothing_or_another_training_is_told(runs, call_sweep):
    """The report of the others is not lost by it."""
    code, _, written = call_sweep(runs, lost=True)
    assert code == 1 and list(written[0].values()) == [f"it left no result in {runs[1].work_dir}"]
    result.write(dataclasses.replace(DONE, arm="hl c=0.5", iterations=2, asked=2),
                 runs[1].work_dir)  # fmt: skip
    with pytest.raises(ResultError, match="is of 2 iterations, now 4 are asked"):
        call_sweep(runs)


@pytest.mark.parametrize("rank", ["0", "1"])
def test_the_first_machine_alone_evaluates_and_writes(rank, runs, call_sweep, monkeypatch):
    for name, value in dict(NNODES="2", MASTER_ADDR="h", NODE_RANK=rank, GPUS="2").items():
        monkeypatch.setenv(name, value)
    seen = []

    def evaluate(run, trained):
        seen.append(run)
        return Evaluation("eval.py", (), Path("x"))

    code, ran, written = call_sweep(runs, evaluate=evaluate)
    assert code == 0 and ran[1] == ["net hl c=0.5 seed 0"]
    assert bool(written) == bool(seen) == (rank == "0")


def test_arms_are_refused_by_the_parser(call_sweep, runs, capsys):
    code, _, _ = call_sweep(runs, "--arms", "hl c=0")
    assert code == 2 and "hl: c must be > 0" in capsys.readouterr().err
    code, _, _ = call_sweep(runs, "--arms", "sup-only")
    assert (
        code == 2 and "sup-only: is no arm of this track, there are: b" in capsys.readouterr().err
    )


def test_two_trainings_in_one_folder_are_refused(runs, call_sweep):
    other = dataclasses.replace(runs[1], network="other", label="other")
    with pytest.raises(ConfigError, match="two different trainings would go to one folder"):
        call_sweep([*runs, other])


def test_a_run_of_other_settings_is_not_finished(runs, call_sweep):
    """Flags that --train-args had then or has now; a config that was changed since."""
    was = "python train.py net --seed 0 --cfg-options a.b=1 default_hooks.checkpoint.interval=9"
    result.write(dataclasses.replace(DONE, command=was, facts=dict(config="old")), runs[0].work_dir)
    with pytest.raises(ResultError, match=r"with --cfg-options a\.b=1, now none are"):
        call_sweep(runs)
    same = "--verbose --cfg-options a.b=1"  # how it is watched and saved makes no other training
    assert call_sweep(runs, "--train-args", same)[0] == 0
    with pytest.raises(ResultError, match=r"a\.b=1, now --cfg-options a\.b=1 --amp are"):
        call_sweep(runs, "--train-args", f"{same} --amp")
    changed = [dataclasses.replace(run, config="new") for run in runs]
    with pytest.raises(ResultError, match="is of the config as it was before it was changed"):
        call_sweep(changed, "--train-args", same)


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    "content",
    ['{"format": 2', "", "null", dict(seed="0"), dict(arm="magic"), dict(curves=[]),
     dict(command="train.py 'x"), dict(command="train.py --cfg-options"),
     dict(command="train.py --amp=3")],
)  # fmt: skip
def test_a_damaged_result_is_told_and_made_anew(content, dry, runs, call_sweep, capsys):
    """In one line, by the same command; the other runs are as they were."""
    place = runs[0].work_dir / result.NAME
    if isinstance(content, dict):
        content = json.dumps(json.loads(place.read_text()) | content)
    place.write_text(content)
    code, ran, written = call_sweep(runs, *dry)
    out, err = capsys.readouterr()
    (line,) = [line for line in err.splitlines() if "damaged" in line]
    assert line.startswith(f"note: {place}: damaged (") and "makes it anew" in line
    if dry:
        assert [line.startswith("#") for line in out.splitlines()] == [False, False]
    else:
        assert (code, ran[1], written) == (0, [run.name for run in runs[:2]], [{}])
        assert runs[0].result() == DONE


def test_a_result_that_stays_damaged_is_a_failed_run(runs, call_sweep):
    """The report of the others is not lost by it."""
    (runs[0].work_dir / result.NAME).write_text("[]")
    code, _, written = call_sweep(runs, lost=True)
    assert code == 1 and "result.json: damaged (it is a list" in written[0][runs[0]]


def test_the_result_of_a_later_version_is_refused(runs, call_sweep):
    (runs[0].work_dir / result.NAME).write_text('{"format": 3}')
    with pytest.raises(ResultError, match="is of a later version"):
        call_sweep(runs)


@pytest.mark.parametrize("words", ["--cfg-options", "--amp=3"])
def test_train_args_that_are_none_are_refused(words, runs, call_sweep):
    with pytest.raises(ConfigError, match="--train-args: argument --"):
        call_sweep(runs, f"--train-args={words}")


@pytest.mark.parametrize("words", ["--hl", "--options c=0.5", "--weighting=focal"])
def test_train_args_name_no_arm(words, runs, call_sweep):
    with pytest.raises(ConfigError, match="name arms with --arms, such as"):
        call_sweep(runs, f"--train-args={words}")


@pytest.mark.parametrize(
    ("words", "flag"),
    [("--seed 3", "--seeds"), ("--work-dir=x", "--out"),
     ("--cfg-options train_cfg.max_iters=2", "--max-iters")],
)  # fmt: skip
def test_train_args_say_nothing_that_the_sweep_says(words, flag, runs, call_sweep):
    with pytest.raises(ConfigError, match=f"is said by {flag} of this command"):
        call_sweep(runs, f"--train-args={words}")


def test_two_configs_of_one_name_are_refused(runs, call_sweep):
    """Neither is dropped for the other."""
    other = dataclasses.replace(runs[1], config="other", flags=("y/net.py",))
    with pytest.raises(ConfigError, match="two different trainings would go to one folder"):
        call_sweep([runs[1], other])


def test_a_report_is_written_of_runs_with_further_flags(runs, call_sweep):
    """The table asks each run for its result once more."""
    done = dataclasses.replace(DONE, command="python train.py net --amp")
    result.write(done, runs[0].work_dir)
    code, _, written = call_sweep(runs[:1], "--train-args=--amp")
    assert code == 0 and written == [{}] and runs[0].result() == done


def test_the_result_of_another_arm_is_refused(runs, call_sweep):
    result.write(dataclasses.replace(DONE, arm="hl c=0.4"), runs[1].work_dir)
    with pytest.raises(ResultError, match=r"is of the arm 'hl c=0\.4', now hl c=0\.5 is asked"):
        call_sweep(runs)


def test_the_result_of_another_network_is_refused(runs, call_sweep):
    result.write(dataclasses.replace(DONE, network="other"), runs[0].work_dir)
    with pytest.raises(ResultError, match="is of other, now net is asked"):
        call_sweep(runs)


def test_collected_maps_go_to_the_runs_that_read_them(runs, call_sweep, capsys):
    maps = dataclasses.replace(runs[1], arm=Arm.parse("collected"), work_dir=runs[1].work_dir / "m")
    with pytest.raises(ConfigError, match="the arm collected needs the folder of its maps"):
        call_sweep([*runs, maps])
    call_sweep([*runs, maps], "--hardness", "maps", "--dry-run")
    lines = capsys.readouterr().out.splitlines()
    assert ["--hardness maps" in line for line in lines] == [False, False, True]
