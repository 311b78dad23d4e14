"""Trainings that are stopped, whatever they are at: real processes on a tiny data set."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.convert import to_hl
from core.engine import lock
from core.engine.checkpoint import checkpoints_in, load_checkpoint
from core.engine.pool import SWEEP
from core.engine.prepare import prepare
from core.errors import ConfigError
from core.processes import process_of

MARK = "TEST_STOPPING"
# argv: config, and what is to be slow: it says "slow" and sleeps.
SCRIPT = """
import os, sys, time
from core import signals  # as an entry script of ours, from here on
signals._install()
from mmengine.config import Config
from core.engine import run
from core.engine.cli import main_line
from core.engine.panels import Pictures
from core.engine.runner import HLRunner
from core.result import Result

def slow(cls, name):
    before = getattr(cls, name)
    def method(*args, **kwargs):
        print("slow", file=sys.stderr, flush=True)
        time.sleep(60)
        return before(*args, **kwargs)
    setattr(cls, name, method)

if len(sys.argv) > 2:
    cls, _, name = sys.argv[2].partition(".")
    slow(globals()[cls], name)
RUN = Result("fully_supervised", "tiny", "tiny data", "hl", 0)
main_line(lambda: run.train(Config.fromfile(sys.argv[1]), RUN, pictures=1))
"""


@pytest.fixture
def config(tiny_config, tiny_data, tmp_path):
    """``config(**more)``: a run in ``tmp_path/work``."""

    def make(workers=0, max_iters=12, **more):
        cfg = tiny_config("plain")
        cfg.merge_from_dict(tiny_data)
        for name in ("train_dataloader", "val_dataloader"):
            cfg[name].update(num_workers=workers, persistent_workers=workers > 0)
        cfg.train_cfg.max_iters = max_iters
        cfg.merge_from_dict(more)
        return prepare(to_hl(cfg), work_dir=tmp_path / "work", title="tiny", resume=True)

    return make


@pytest.fixture
def start(tmp_path):
    """``start(cfg, slow, launch)``: a training in a process group of its own, of which nothing may
    be left at the end of the test."""
    started = []

    def run(cfg, *slow, launch=(), **more):
        cfg.dump(tmp_path / "config.py")
        (tmp_path / "script.py").write_text(SCRIPT)
        mark = f"{tmp_path}/{len(started)}"
        process = subprocess.Popen(
            [sys.executable, *launch, str(tmp_path / "script.py"), str(tmp_path / "config.py"),
             *slow],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path), OMP_NUM_THREADS="1",
                     **{MARK: mark}, **more),
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # fmt: skip
        process.mark = mark
        started.append(process)
        return process

    yield run
    for process in started:
        left = alive(process)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        process.communicate()
        assert not left


def alive(process):
    """The rank, None without one, by number of each process that lives of those that ``start``
    began with this one; torchrun gives its ranks groups of their own."""
    mark, found = f"{MARK}={process.mark}".encode(), {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/environ").read_bytes().split(b"\0")
            state = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if mark in words and state not in "ZX":
            ranks = [int(word[5:]) for word in words if word.startswith(b"RANK=")]
            found[int(name)] = ranks[0] if ranks else None
    return found


def until(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def none_left(process, seconds=10):
    end = time.monotonic() + seconds
    while alive(process):
        assert time.monotonic() < end, "something lives on"
        time.sleep(0.1)


def lines_of(process):
    error = process.communicate(timeout=60)[1]
    assert "Traceback" not in error
    return [line for line in error.splitlines() if line.strip() and not line.startswith("tiny")]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGHUP])  # SIGTERM: below
def test_a_signal_to_the_group_saves_the_step_and_leaves_no_worker(number, config, start, tmp_path):
    cfg = config(workers=2, max_iters=4000, **{"train_cfg.val_interval": 4000})
    process = start(cfg)
    until(lambda: checkpoints_in(tmp_path / "work"), process)
    assert len(alive(process)) == 3
    os.killpg(process.pid, number)
    (line,) = lines_of(process)
    assert process.returncode == 128 + number
    step = checkpoints_in(tmp_path / "work")[0].stem.removeprefix("iter_")
    assert line == (f"{number.name}: saved iteration {step} in {tmp_path / 'work'}; "
                    "go on with --resume")  # fmt: skip
    none_left(process)
    assert not (tmp_path / "work" / ".lock").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("slow", "words"),
    [
        ("HLRunner.build_dataloader", "stopped before the first step; nothing to save"),
        ("Pictures.save", "stopped; the same command with --resume goes on"),
    ],
)
def test_where_there_is_no_step_in_hand_a_line_says_so(slow, words, config, start, tmp_path):
    process = start(config(max_iters=3), slow)
    assert any(line == "slow\n" for line in process.stderr)
    os.killpg(process.pid, signal.SIGTERM)
    assert lines_of(process) == [f"SIGTERM: {words}"]
    assert process.returncode == 143
    assert not (tmp_path / "work" / ".lock").exists()


@pytest.mark.slow
def test_kill_9_leaves_no_worker_and_the_same_command_goes_on_at_once(config, start, tmp_path):
    """Its lock is broken without a word, its unfinished file is removed with a line."""
    work_dir = tmp_path / "work"
    cfg = config(workers=2, max_iters=4000, **{"train_cfg.val_interval": 4000})
    process = start(cfg)
    until(lambda: checkpoints_in(work_dir), process)
    process.kill()
    draft = work_dir / f".iter_9.pth.{process.pid}.tmp"
    draft.write_bytes(bytes(2_500_000))
    assert json.loads((work_dir / ".lock").read_text())["pid"] == process.pid
    again = start(cfg)  # the first one is a zombie
    before = len(checkpoints_in(work_dir)) and checkpoints_in(work_dir)[0]
    until(lambda: checkpoints_in(work_dir)[0] != before, again)
    with pytest.raises(ConfigError, match=f"work is in use by process {again.pid} on "):
        with lock.locked(work_dir):
            pass
    again.terminate()
    lines = lines_of(again)
    assert f"note: {work_dir}: removed 1 unfinished file of killed processes, 2.5 MB" in lines
    assert again.returncode == 143 and not draft.exists()
    none_left(process)


@pytest.mark.slow
def test_a_training_whose_sweep_was_killed_saves_and_ends(config, start, tmp_path):
    sweep = subprocess.Popen(["sleep", "300"])
    cfg = config(max_iters=4000, **{"train_cfg.val_interval": 4000})
    process = start(cfg, **{SWEEP: json.dumps(process_of(sweep.pid))})
    until(lambda: checkpoints_in(tmp_path / "work"), process)
    sweep.kill()
    (line,) = lines_of(process)
    assert line.startswith("SIGTERM: saved iteration") and process.returncode == 143
    sweep.wait()


@pytest.mark.slow
def test_a_stuck_worker_is_ended_by_its_parent(tmp_path):
    """As torch does it: terminate() of one that does not come back, and it is gone."""
    code = """
import functools, os, time, torch
from core.engine.stopping import start_worker
class Stuck(torch.utils.data.Dataset):
    def __len__(self): return 9
    def __getitem__(self, i):
        if i: time.sleep(300)
        return i
init = functools.partial(start_worker, None, os.getpid())
batches = iter(torch.utils.data.DataLoader(Stuck(), num_workers=1, worker_init_fn=init))
next(batches)
os.kill(batches._workers[0].pid, 1)
start = time.monotonic()
worker = batches._workers[0]
worker.terminate()
worker.join(9)
print(worker.exitcode)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
                          env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)))  # fmt: skip
    assert done.stdout == "0\n", done.stderr


TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")


@pytest.fixture
def two(config, start, tmp_path):
    """``two()``: torchrun, and its two ranks, which have saved a checkpoint."""

    def make():
        cfg = config(max_iters=4000, **{"train_cfg.val_interval": 4000})
        cfg.launcher = "pytorch"
        process = start(cfg, launch=TWO, HL_DIST_TIMEOUT="10")
        until(lambda: checkpoints_in(tmp_path / "work"), process)
        return process, {rank: pid for pid, rank in alive(process).items()}

    return make


LOST = ("error: another process of this run has died or hangs (no answer, waited up to 10 s: "
        "--dist-timeout); go on with --resume")  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "seconds", "rank"),
    [(signal.SIGKILL, 15, 0), (signal.SIGSTOP, 60, 1)],
)
def test_a_rank_that_is_lost_ends_the_others_with_a_line(number, seconds, rank, two):
    process, ranks = two()
    os.kill(ranks[rank], number)
    other, begun = ranks[1 - rank], time.monotonic()
    while other in alive(process):
        assert time.monotonic() - begun < 25
        time.sleep(0.1)
    if number == signal.SIGSTOP:  # torchrun would wait half a minute for it
        os.kill(ranks[rank], signal.SIGKILL)
    error = process.communicate(timeout=seconds)[1]
    assert process.returncode == 1
    assert "main_line" not in error  # torchrun shows a traceback of its own, the ranks none
    if number == signal.SIGSTOP:
        assert [line for line in error.splitlines() if "has died" in line] == [LOST]
    none_left(process)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT])
def test_a_signal_to_torchrun_and_its_ranks_at_once_is_one_stop(number, two, tmp_path):
    """As schedulers signal each process of a job; torchrun passes on what the ranks had already."""
    process, _ = two()
    for pid in alive(process):
        os.kill(pid, number)
    error = process.communicate(timeout=60)[1]
    assert error.count("saved iteration") == 1 and "ended at once" not in error
    step = int(error.partition("saved iteration ")[2].split()[0])
    assert checkpoints_in(tmp_path / "work")[0].name == f"iter_{step}.pth"
    none_left(process)


@pytest.mark.slow
def test_ranks_of_a_torchrun_that_is_no_more_save_and_end(two, tmp_path):
    process, _ = two()
    before = checkpoints_in(tmp_path / "work")[0]
    process.kill()
    none_left(process, 40)
    assert checkpoints_in(tmp_path / "work")[0] != before
    assert not (tmp_path / "work" / ".lock").exists()


@pytest.fixture
def disk(tmp_path):
    """``disk(kilobytes)``: ``tmp_path/work``, a file system of that size."""
    made = []

    def make(size):
        (tmp_path / "work").mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", tmp_path / "work"]
        if subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("file systems may not be mounted here")
        made.append(tmp_path / "work")

    yield make
    for folder in made:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("size", [4, 4000])
def test_a_full_disk_is_a_line_with_a_path(size, config, start, disk, tmp_path):
    """Whatever does not fit: lock, log, config, scalars, a checkpoint; what was saved is whole."""
    disk(size)
    process = start(config(max_iters=400, **{"train_cfg.val_interval": 3}))
    lines = lines_of(process)
    assert process.returncode == 1
    assert lines[-1].startswith(f"error: {tmp_path / 'work'}") and "No space left" in lines[-1]
    assert not [line for line in lines if "Logging error" in line or "Exception in" in line]
    for path in checkpoints_in(tmp_path / "work"):
        load_checkpoint(path)


@pytest.mark.slow
def test_a_read_only_folder_is_a_line_with_its_path(config, start, disk, tmp_path):
    disk(4000)
    subprocess.run(["mount", "-o", "remount,ro", tmp_path / "work"], check=True)
    process = start(config())
    (line,) = lines_of(process)
    assert line.startswith(f"error: {tmp_path / 'work' / '.lock'}: could not be written (Read-only")
    assert process.returncode == 1
