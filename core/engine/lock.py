"""One training at a time in a work_dir: ``.lock`` names the process that trains there.

A file, and nothing that forked loader workers would go on holding. It is broken without a question
when its process is dead: on this machine that is looked up, of another one it shows by the file's
age, since a training touches it (:func:`beat`).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.errors import ConfigError
from core.files import write_atomically
from core.processes import has_ended, process_of

NAME = ".lock"
BEAT = 30.0  # seconds between two touches
DEAD = 600.0  # seconds without one

_held: dict[str, Any] = {}  # path and time of the last beat of the lock of this process


@contextlib.contextmanager
def locked(work_dir: str | Path) -> Iterator[None]:
    """Hold ``work_dir`` for this process; it is made if it is not there.

    Raises:
        ConfigError: another process, which is alive, holds it.
        WriteError: it cannot be written to.
    """
    path, own = Path(work_dir, NAME), process_of(os.getpid())
    own["since"] = time.strftime("%Y-%m-%d %H:%M:%S")
    with _one_at_a_time(path.parent):
        found = _read(path)
        if found and _is_alive(found, path):
            raise ConfigError(
                f"{work_dir} is in use by process {found.get('pid')} on {found.get('host')} since "
                f"{found.get('since')}: wait for its end, stop it, or name another --work-dir (if "
                f"there is no such process: delete {path})"
            )
        write_atomically(json.dumps(own).encode(), path)
    _held.update(path=path, own=own, beat=time.monotonic())
    try:
        yield
    finally:
        _held.clear()
        if _read(path) == own:
            with contextlib.suppress(OSError):
                path.unlink()


def beat() -> None:
    """Show other machines that this process trains on; writes at most every :data:`BEAT` s."""
    if _held and time.monotonic() - _held["beat"] > BEAT:
        _held["beat"] = time.monotonic()
        with contextlib.suppress(OSError):  # deleted by hand, or a file system that is away
            if _read(_held["path"]) == _held["own"]:
                os.utime(_held["path"])


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None  # none, or none of ours: it is written whole
    return found if isinstance(found, dict) else None


def _is_alive(found: dict[str, Any], path: Path) -> bool:
    ended = has_ended(found)
    if ended is not None:
        return not ended
    with contextlib.suppress(OSError):
        return time.time() - path.stat().st_mtime < DEAD
    return False


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Between looking and writing, as far as the file system knows how; nothing is forked here."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except FileExistsError as error:
        raise ConfigError(f"{folder}: is a file, and no folder for a run") from error
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
