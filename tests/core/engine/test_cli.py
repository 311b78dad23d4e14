"""Flags that all scripts share, and errors in one line."""

import argparse
import os
import subprocess
import sys

import pytest

from core.engine import cli
from core.engine.launch import TIMEOUT_VARIABLE, timeout
from core.engine.runner import HLRunner
from core.errors import ConfigError, MapError, WriteError
from data.errors import DataError


def parser():
    made = argparse.ArgumentParser()
    cli.add_weighting_flags(made, default="hl", sup_only=True)
    cli.add_run_flags(made)
    return made


@pytest.mark.parametrize(
    ("flags", "arm"),
    [
        ([], "focal"),
        (["--options", "gamma=3"], "focal gamma=3"),  # of the arm that a config says
        (["--hl"], "hl"),
        (["--no-hl"], "baseline"),
        (["--sup-only"], "sup-only"),
        (["--weighting", "ce"], "baseline"),
        (["--weighting", "ce", "--no-hl"], "baseline"),
        (["--weighting", "hl", "--hl", "--options", "c=0.5", "--options", "alpha=1"],
         "hl c=0.5 alpha=1"),
        (["--hl", "--hl-options", "c=0.5"], "hl c=0.5"),
        (["--weighting", "balanced", "--class-weights", "w.json"], "balanced"),
        (["--hl", "--as-released"], "hl normalize=batch ignored=include"),
        (["--as-released"], "focal"),
    ],
)  # fmt: skip
def test_flags_name_an_arm(flags, arm):
    assert str(cli.read_arm(parser().parse_args(flags)).arm("focal")) == arm


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--hl", "--no-hl"], "ask for baseline and for hl"),
        (["--sup-only", "--weighting", "focal"], "ask for focal and for sup-only"),
        (["--no-hl", "--options", "c=1"], "baseline has no option 'c'"),
        (["--hl", "--options", "c=1", "c=2"], "c is given twice: 1 and 2"),
        (["--hl", "--as-released", "--options", "normalize=image"], "but normalize=image is given"),
        (["--hardness", "maps", "--hl"], "--hardness is of --weighting collected"),
        (["--class-weights", "w.json"], "--class-weights is of --weighting balanced: give that"),
    ],
)
def test_contradictions_are_refused(flags, words):
    with pytest.raises(ConfigError, match=words):
        cli.read_arm(parser().parse_args(flags))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--cfg-options", "a"], "--cfg-options a: give KEY=VALUE"),
        (["--cfg-options", "a.b=1", "a.b=2"], "a.b: given twice, 1 and 2"),
        (["--seed", "-1"], "-1: give a whole number, 0 to 4294967295"),
        (["--seed", "4294967296"], "4294967296: give a whole number, 0 to 4294967295"),
        (["--launcher", "pytorch"], "pytorch is for processes that torchrun starts, and RANK is"),
        (["--launcher", "slurm"], "slurm is for processes that srun starts, and SLURM_PROCID is"),
        (["--launcher", "mpi"], "mpi is for processes that mpirun starts, and OMPI_COMM_WORLD_R"),
        (["--max-iters", "0"], "0: give a whole number, 1 to 1,000,000,000"),
        (["--max-iters", "-5"], "-5: give a whole number, 1 to 1,000,000,000"),
    ],
)
def test_cfg_options_are_pairs_with_one_value(flags, words, capsys):
    with pytest.raises(SystemExit):
        parser().parse_args(flags)
    assert words in capsys.readouterr().err
    options = parser().parse_args(["--cfg-options", "a=[1,2]", "--cfg-options", "b.c=x"])
    assert options.cfg_options == {"a": [1, 2], "b.c": "x"}
    assert parser().parse_args([]).cfg_options == {}  # not those of the call before


@pytest.mark.parametrize("flag", ["--local-rank=3", "--local_rank=3"])
def test_local_rank_is_taken_as_torchs_old_launcher_passes_it(flag, monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    args = parser().parse_args([flag])
    assert os.environ["LOCAL_RANK"] == "3" and "local_rank" not in vars(args)
    parser().parse_args(["--local-rank=1"])
    assert os.environ["LOCAL_RANK"] == "3"  # torchrun's own counts


@pytest.mark.parametrize(
    ("variable", "launcher"),
    [("WORLD_SIZE", "pytorch"), ("SLURM_STEP_NUM_TASKS", "slurm"),
     ("OMPI_COMM_WORLD_SIZE", "mpi")],
)  # fmt: skip
def test_one_of_several_processes_needs_its_launcher(variable, launcher, monkeypatch, capsys):
    """Each would train the same, into one folder."""
    monkeypatch.setenv(variable, "2")
    with pytest.raises(SystemExit):
        parser().parse_args([])
    assert f"would all train the same: add --launcher {launcher}" in capsys.readouterr().err
    monkeypatch.setenv(variable, "1")
    assert parser().parse_args([]).launcher == "none"


def test_the_code_of_another_checkout_is_refused(tmp_path):
    """The environment of one checkout is active, a script of another is started."""
    for folder in ("core", "fully_supervised"):
        (tmp_path / folder).mkdir()
    script = tmp_path / "fully_supervised/x.py"
    script.write_text("from core.engine.cli import main_line\nmain_line(lambda: print('ran'))\n")
    (tmp_path / "fully_supervised/path.py").write_text("")
    environment = dict(os.environ, PYTHONPATH=str(cli.ROOT), PYTHONSAFEPATH="1")
    done = subprocess.run([sys.executable, script], text=True, capture_output=True,
                          env=environment)  # fmt: skip
    assert done.returncode == 1 and "ran" not in done.stdout
    assert f"{script} would run with the code of {cli.ROOT}" in done.stderr


def test_a_killed_loader_worker_is_one_line():
    def main():
        raise RuntimeError("DataLoader worker (pid 5) is killed by signal: Killed. \nTraceback ...")

    with pytest.raises(SystemExit, match=r"error: DataLoader worker \(pid 5\) .* --resume$"):
        cli.main_line(main)


def test_exhausted_memory_is_one_line():
    def main():
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    with pytest.raises(SystemExit, match="the GPU's memory is exhausted: take a smaller batch"):
        cli.main_line(main)


def test_a_setting_given_by_flag_and_option_must_agree():
    same = ["--seed", "3", "--cfg-options", "randomness.seed=3"]
    cli.check_twice(parser().parse_args(same))
    for flags in (
        ["--seed", "3", "--cfg-options", "randomness.seed=4"],
        ["--max-iters", "3", "--cfg-options", "train_cfg.max_iters=4"],
        ["--work-dir", "a", "--cfg-options", "work_dir=b"],
    ):
        with pytest.raises(ConfigError, match="leave one of the two out"):
            cli.check_twice(parser().parse_args(flags))


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ConfigError("x.py: no\nsuch file"), "error: x.py: no such file"),
        (DataError("gone"), "error: gone"),
        (WriteError("r.json: could not be written"), "error: r.json: could not be written"),
        (OSError(28, "No space left on device", "a.bin"),
         "error: a.bin: No space left on device; make room"),
        (ModuleNotFoundError("No module named 'x'"),
         "error: No module named 'x'; set up with: source setup.sh"),
        # As a loader's worker hands it on.
        (MapError("Caught MapError in worker 0.\nTraceback (most recent call last):\n"
                  "  File\ncore.errors.MapError: m.png: no hardness map"),
         "error: m.png: no hardness map"),
    ],
)  # fmt: skip
def test_an_error_for_the_user_is_one_line(error, line):
    def main():
        raise error

    with pytest.raises(SystemExit) as stop:
        cli.main_line(main, DataError)
    assert stop.value.code == line


def test_a_fault_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        cli.main_line(lambda: 1 / 0)


def test_a_command_is_told_as_it_was_typed(root, monkeypatch):
    script = root / "fully_supervised/train.py"
    assert cli.command_of(str(script), ["a b", "--hl"]) == (
        "python fully_supervised/train.py 'a b' --hl")  # fmt: skip
    sweep = str(root / "domain_gen/run_all.py")
    assert cli.command_of(sweep, ["--seeds", 0]) == "bash domain_gen/run_all.sh --seeds 0"
    monkeypatch.setattr("sys.argv", ["train.py", "x.py"])
    assert cli.command_of(str(script), None) == "python fully_supervised/train.py x.py"


def test_the_wait_for_other_processes_is_the_flags_then_the_configs_then_ours(monkeypatch):
    monkeypatch.setenv(TIMEOUT_VARIABLE, "")
    assert (timeout(), timeout(1800)) == (600, 1800)
    parser().parse_args(["--dist-timeout", "7"])
    assert (timeout(), timeout(1800)) == (7, 7)
    with pytest.raises(SystemExit):
        parser().parse_args(["--dist-timeout", "0"])


def test_nccl_waits_as_long_and_the_config_stays_as_it_is(monkeypatch):
    given, found = dict(dist_cfg=dict(backend="nccl")), {}
    monkeypatch.setenv(TIMEOUT_VARIABLE, "7")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("mmengine.runner.Runner.setup_env", lambda self, cfg: found.update(cfg))
    runner = HLRunner.__new__(HLRunner)
    runner._distributed = True
    runner.setup_env(given)
    assert found == dict(dist_cfg=dict(backend="nccl", timeout=7))
    assert given == dict(dist_cfg=dict(backend="nccl"))


def test_a_lost_process_is_a_line_where_there_are_several(monkeypatch):
    def main():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [::1]:1")

    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit, match=r"error: another process .* go on with --resume"):
        cli.main_line(main)
    monkeypatch.setenv("WORLD_SIZE", "1")
    with pytest.raises(RuntimeError):
        cli.main_line(main)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--max-iters", "9" * 19], "give a whole number, 1 to 1,000,000,000"),
        (["--work-dir", ""], "--work-dir: is empty; name a folder"),
        (["--cfg-options", "train_cfg=5"], "is a section; give train_cfg.NAME=VALUE"),
        (["--cfg-options", "optim_wrapper=x"], "is a section"),
        (["--cfg-options", "train_cfg.max_iters=0"], "max_iters=0: give a whole number, 1 or"),
        (["--cfg-options", "train_cfg.val_interval=x"], "val_interval=x: give a whole number"),
        (["--cfg-options", "train_dataloader.num_workers=1.5"], "give a whole number, 0 or more"),
        (["--cfg-options", "default_hooks.logger.interval=x"], "give a whole number, -1 or more"),
    ],
)
def test_what_no_run_can_be_made_of_is_refused_at_once(flags, words, capsys):
    run_parser = cli.script_parser("")
    cli.add_run_flags(run_parser)
    with pytest.raises(SystemExit):
        run_parser.parse_args(flags)
    assert words in capsys.readouterr().err


def test_sections_may_be_left_out():
    run_parser = cli.script_parser("")
    cli.add_run_flags(run_parser)
    options = ["val_dataloader=None", "custom_hooks=[]", "train_cfg.max_iters=3"]
    found = run_parser.parse_args(["--cfg-options", *options]).cfg_options
    assert found == {"val_dataloader": None, "custom_hooks": [], "train_cfg.max_iters": 3}
