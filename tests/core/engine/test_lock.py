"""One training at a time in a work_dir; what killed ones left is removed."""

import json
import os
import subprocess
import sys
import time

import pytest

from core.engine import lock
from core.engine.lock import locked
from core.errors import ConfigError
from core.files import remove_drafts, write_atomically
from core.processes import process_of

HOLD = """
import sys, time
from core.engine.lock import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path, root):
    """``holder()``: a process that holds the lock of tmp_path."""
    started = []

    def start():
        process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], text=True,
                                   stdout=subprocess.PIPE, cwd=root)  # fmt: skip
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def foreign(folder, **more):
    """The lock of a process on another machine."""
    content = dict(pid=1, started="1", host="elsewhere (1)", since="2026-01-01 00:00:00")
    (folder / lock.NAME).write_text(json.dumps(content | more))


def test_the_second_is_refused_with_who_where_since_when_and_the_way_out(holder, tmp_path):
    process = holder()
    with pytest.raises(ConfigError) as refusal, locked(tmp_path):
        pass
    words = str(refusal.value)
    year = time.strftime("since %Y-")
    for part in (f"process {process.pid} on ", year, "--work-dir", f"delete {tmp_path}/.lock"):
        assert part in words
    assert (tmp_path / ".lock").is_file()  # of the first, still


def test_a_killed_holder_is_forgotten_at_once_zombie_or_not(holder, tmp_path):
    process = holder()
    process.kill()
    time.sleep(0.2)  # a zombie: nobody has waited for it
    with locked(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    assert not (tmp_path / ".lock").exists()


def test_a_number_that_another_process_has_now_does_not_lock(tmp_path):
    content = process_of(os.getppid()) | dict(started="0")
    (tmp_path / ".lock").write_text(json.dumps(content))
    with locked(tmp_path):
        pass


def test_another_machine_is_dead_after_ten_minutes_of_silence(tmp_path):
    foreign(tmp_path)
    with pytest.raises(ConfigError, match="process 1 on elsewhere"), locked(tmp_path):
        pass
    old = time.time() - 601
    os.utime(tmp_path / ".lock", (old, old))
    with locked(tmp_path):
        pass


def test_a_beat_is_written_every_half_minute(tmp_path, monkeypatch):
    with locked(tmp_path):
        os.utime(tmp_path / ".lock", (0, 0))
        lock.beat()
        assert (tmp_path / ".lock").stat().st_mtime == 0
        monkeypatch.setitem(lock._held, "beat", time.monotonic() - 31)
        lock.beat()
        assert time.time() - (tmp_path / ".lock").stat().st_mtime < 60
        (tmp_path / ".lock").unlink()
        monkeypatch.setitem(lock._held, "beat", time.monotonic() - 31)
        lock.beat()  # deleted by hand: no error


def test_it_is_gone_after_an_error_and_that_of_another_stays(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "new"):
        raise ZeroDivisionError
    assert list((tmp_path / "new").iterdir()) == []
    with locked(tmp_path):
        foreign(tmp_path)
    assert "elsewhere" in (tmp_path / ".lock").read_text()


@pytest.mark.parametrize("content", [b"", b"\xff", b"[1]", b"{}"])
def test_a_damaged_old_lock_is_no_lock(content, tmp_path):
    (tmp_path / ".lock").write_bytes(content)
    os.utime(tmp_path / ".lock", (0, 0))
    with locked(tmp_path):
        pass


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path):
    (tmp_path / "x").touch()
    with pytest.raises(ConfigError, match="x: is a file"), locked(tmp_path / "x"):
        pass


def dead_pid():
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_drafts_of_the_dead_are_removed_those_of_the_living_stay(tmp_path):
    (tmp_path / "pictures").mkdir()
    dead = dead_pid()
    gone = [tmp_path / f".iter_3.pth.{dead}.tmp", tmp_path / "pictures" / f".a.png.{dead}.tmp"]
    kept = [tmp_path / f".iter_6.pth.{os.getppid()}.tmp", tmp_path / ".mine.tmp",
            tmp_path / f"iter_3.pth.{dead}.tmp"]  # fmt: skip
    for path in (*gone, *kept):
        path.write_bytes(b"12345")
    assert remove_drafts(tmp_path) == (2, 10)
    assert not any(path.exists() for path in gone) and all(path.exists() for path in kept)


def test_writing_a_file_removes_what_a_killed_process_left_of_it(tmp_path):
    dead = dead_pid()
    (tmp_path / f".plain[1].pth.{dead}.tmp").touch()
    (tmp_path / f".other.pth.{dead}.tmp").touch()
    write_atomically(b"x", tmp_path / "plain[1].pth")
    assert {p.name for p in tmp_path.iterdir()} == {"plain[1].pth", f".other.pth.{dead}.tmp"}
