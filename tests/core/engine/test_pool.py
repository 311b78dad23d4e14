"""How trainings are started: alone, by torchrun, by srun; and side by side."""

import sys

import pytest

from core.engine.launch import Launch, world_size
from core.engine.pool import Job, run_jobs
from core.errors import ConfigError

SCRIPT = "train.py"
VARIABLES = ("GPUS", "NNODES", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "GPUS_PER_NODE",
             "CPUS_PER_TASK", "SRUN_ARGS")  # fmt: skip


def launch(monkeypatch, launcher="pytorch", **environment):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Launch.from_environment(launcher)


def test_one_process_needs_no_launcher(monkeypatch):
    alone = launch(monkeypatch)
    assert alone.command(SCRIPT, ()) == (sys.executable, "train.py")
    assert alone.at_once is None and alone.is_first
    assert launch(monkeypatch, GPUS="0").command(SCRIPT, ()) == (sys.executable, "train.py")


def test_torchrun_on_one_machine_and_on_two(monkeypatch):
    one = launch(monkeypatch, GPUS="4")
    assert one.at_once == 1
    assert one.command(SCRIPT, ["--a"])[1:] == (
        "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=4",
        "train.py", "--launcher", "pytorch", "--a")  # fmt: skip
    two = launch(monkeypatch, GPUS="8", NNODES="2", NODE_RANK="1", MASTER_ADDR="10.0.0.1")
    command = two.command(SCRIPT, ())
    for flag in ("--nnodes=2", "--node_rank=1", "--master_addr=10.0.0.1", "--nproc_per_node=8"):
        assert flag in command
    assert "--standalone" not in command
    assert two.at_once == 1 and not two.is_first


def test_slurm_starts_a_task_a_gpu(monkeypatch):
    command = launch(
        monkeypatch, "slurm", GPUS="16", SRUN_ARGS="--partition 'a b' --time=3:00"
    ).command(SCRIPT, ())
    assert command[0] == "srun" and command[-4:] == ("-u", "train.py", "--launcher", "slurm")
    for flag in ("--ntasks=16", "--ntasks-per-node=8", "--gres=gpu:8", "a b", "--time=3:00"):
        assert flag in command
    monkeypatch.setenv("SLURM_NTASKS", "16")
    assert world_size("slurm") == 16


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (dict(GPUS="four"), "GPUS=four: give a number"),
        (dict(NNODES="2"), "NNODES needs MASTER_ADDR"),
    ],
)
def test_what_cannot_be_started_is_told(environment, words, monkeypatch):
    with pytest.raises(ConfigError, match=words):
        launch(monkeypatch, **environment)


def test_a_failing_job_leaves_the_others_and_its_last_line(tmp_path):
    def job(name, code):
        return Job(name, tmp_path / name, (sys.executable, "-c", code))

    jobs = [
        job("good", f"open({str(tmp_path / 'done')!r}, 'w')"),
        job("bad", "import sys; sys.exit('error: the disk is full')"),
        job("silent", "import os; os._exit(3)"),
    ]
    errors = run_jobs(jobs, 2)
    assert (tmp_path / "done").is_file()
    assert errors.keys() == {"bad", "silent"}
    assert errors["bad"].startswith("the disk is full (see ")
    assert errors["silent"].startswith("exit code 3")


def test_each_run_is_counted_and_what_is_left_told(tmp_path, capsys):
    jobs = [Job(name, tmp_path / name, (sys.executable, "-c", "pass")) for name in "abc"]
    assert run_jobs(jobs, 1) == {}
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "run 1 of 3: a"
    assert lines[1].startswith("run 2 of 3: b, about ") and lines[1].endswith(" s left")
    assert lines[2].startswith("run 3 of 3: c, about ")
