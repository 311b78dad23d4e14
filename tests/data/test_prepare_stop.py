"""A stopped prepare.py: one line, no process left, and the same command goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture
def prepare(root):
    started = []

    def start(*words):
        process = subprocess.Popen([sys.executable, *words], cwd=root, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True, start_new_session=True,
                                   env=dict(os.environ, PYTHONPATH=str(root)),
                                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
                                   )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        process.communicate()


def group_ends(group, seconds=5):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        stats = [p.read_text().rpartition(")")[2].split() for p in Path("/proc").glob("[0-9]*/stat")
                 if p.exists()]  # fmt: skip
        if not any(int(s[2]) == group and s[0] not in "ZX" for s in stats):
            return True
        time.sleep(0.1)
    return False


def streets(folder):
    return ("data/prepare.py", "streets", "--out", folder, "--num-train", "400", "--workers", "2")


def drawn(folder, process):
    end = time.monotonic() + 60
    while len(list(folder.rglob("*_leftImg8bit.png"))) < 2:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_to_the_group_is_one_line_and_leaves_no_process(number, prepare, tmp_path):
    process = prepare(*streets(tmp_path))
    drawn(tmp_path, process)
    os.killpg(process.pid, number)
    error = process.communicate(timeout=30)[1]
    assert process.returncode == 128 + number
    assert "Traceback" not in error
    assert f"{number.name}: stopped; the same command goes on from here" in error
    assert group_ends(process.pid)
    assert not list(tmp_path.rglob(".unfinished-*"))


@pytest.mark.slow
def test_processes_of_a_killed_one_end(prepare, tmp_path):
    process = prepare(*streets(tmp_path))
    drawn(tmp_path, process)
    process.kill()
    assert group_ends(process.pid)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_in_the_imports_is_one_line(number, prepare):
    process = prepare("-X", "importtime", "data/prepare.py", "--help")
    for line in process.stderr:
        if line.rstrip().endswith("| numpy.version") or "numpy._core" in line:
            break
    process.send_signal(number)
    error = process.communicate(timeout=20)[1]
    told = [line for line in error.splitlines() if not line.startswith("import time")]
    assert told == [f"{number.name}: stopped; the same command goes on from here"]
    assert process.returncode == 128 + number
