"""How trainings are started: alone, by torchrun, by srun; and side by side."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

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


# Two trainings of three; each takes a moment to save when it is stopped.
SWEEP = """
import sys
from pathlib import Path
from core.engine.cli import main_line
from core.engine.pool import Job, run_jobs
code = '''
import os, signal, sys, time
def save(number, frame):
    time.sleep(0.5)
    open("saved", "w").close()
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, save)
open("pid", "w").write(str(os.getpid()))
while True:
    time.sleep(0.1)
    print("step", file=sys.stderr, flush=True)
'''
def job(folder):
    there = f"import os; os.chdir({str(folder)!r})\\n"
    return Job(folder.name, folder, (sys.executable, "-c", there + code))
jobs = [job(Path(sys.argv[1], name)) for name in "abc"]
main_line(lambda: run_jobs(jobs, 2))
"""


@pytest.fixture
def sweep(tmp_path, root):
    """A sweep in which two trainings run, and their process numbers."""
    process = subprocess.Popen([sys.executable, "-c", SWEEP, str(tmp_path)], cwd=root, text=True,
                               stderr=subprocess.PIPE, start_new_session=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
                               )  # fmt: skip
    pids = [tmp_path / name / "pid" for name in "ab"]
    end = time.monotonic() + 20
    while not all(path.is_file() and path.read_text() for path in pids):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    yield process, [int(path.read_text()) for path in pids]
    process.kill()
    process.communicate()


def ends(pid, seconds=5):
    end = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    return not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_sweep_waits_until_its_trainings_have_saved(number, sweep, tmp_path):
    process, pids = sweep
    os.killpg(process.pid, number)
    error = process.communicate(timeout=20)[1]
    assert process.returncode == 128 + number
    assert error.splitlines()[-1] == f"{number.name}: stopped; the same command goes on from here"
    assert "Traceback" not in error
    assert all((tmp_path / name / "saved").is_file() for name in "ab")
    assert all(ends(pid, 0) for pid in pids)
    assert not (tmp_path / "c").exists()  # none is begun any more


def test_trainings_of_a_killed_sweep_end(sweep):
    process, pids = sweep
    process.kill()
    process.wait()
    assert all(ends(pid) for pid in pids)


def test_a_folder_or_log_that_cannot_be_written_is_a_reason_no_traceback(tmp_path, capfd):
    (tmp_path / "file").touch()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "train.log").symlink_to("/dev/full")
    noisy = "import sys; sys.exit('x' * 99_999 + '\\nerror: no room')"
    jobs = [Job("a", tmp_path / "file" / "a", ("true",)),
            Job("b", tmp_path / "b", (sys.executable, "-c", noisy)),
            Job("c", tmp_path / "c", ("no-such-command",))]  # fmt: skip
    errors = run_jobs(jobs, 3)
    assert errors["a"] == f"{tmp_path}/file/a: Not a directory"
    assert errors["b"].startswith("no room (see ")
    assert errors["c"] == "no-such-command: No such file or directory"
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("jobs", ["0", "-1", "x"])
def test_a_number_of_jobs_is_1_or_more(jobs, call):
    code, _, err = call("fully_supervised/run_all.py", "--jobs", jobs)
    assert code == 2 and f"argument --jobs: {jobs}: give a whole number, 1 to" in err
