"""Drafts that a kill leaves, and what is no file."""

import os
import subprocess
import time

import pytest

from data.errors import DataError
from data.files import _draft, save, size_of, sweep


def test_drafts_of_the_dead_are_swept_and_others_stay(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    (tmp_path / "deep").mkdir()
    names = [
        _draft(dead.pid) + "x",
        _draft(os.getpid()) + "x",
        ".unfinished-new",
        ".unfinished-old",
    ]
    for name in names:
        (tmp_path / "deep" / name).write_bytes(b"half")
    hours_ago = time.time() - 2 * 3600
    os.utime(tmp_path / "deep/.unfinished-old", (hours_ago, hours_ago))
    save(tmp_path / "deep/whole.txt", b"whole")
    assert sweep(tmp_path) == 2
    left = {path.name for path in (tmp_path / "deep").iterdir()}
    assert left == {names[1], names[2], "whole.txt"}


@pytest.mark.parametrize(
    ("make", "what"), [(os.mkfifo, "a pipe"), (os.mkdir, "a folder"),
                       (lambda p: os.symlink("/dev/zero", p), "a device")]
)  # fmt: skip
def test_what_is_no_file_is_named_without_opening_it(make, what, tmp_path):
    make(tmp_path / "x")
    with pytest.raises(DataError, match=f"is {what}, not a file"):
        size_of(tmp_path / "x")
