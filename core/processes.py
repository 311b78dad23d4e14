"""Processes, told apart: by number, start and machine."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def process_of(pid: int) -> dict[str, Any]:
    """What tells a process of this machine from every other one, as plain values."""
    return dict(pid=pid, started=start_of(pid), host=host())


def has_ended(process: Mapping[str, Any]) -> bool | None:
    """Whether the process of a :func:`process_of` is no more; None: it is of another machine."""
    pid, started = process.get("pid"), process.get("started")
    if process.get("host") != host() or not isinstance(pid, int):
        return None
    return not is_alive(pid) or started not in (None, start_of(pid))


def is_alive(pid: int) -> bool:
    """Whether there is such a process on this machine, and it has not ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's; or no number of a process
        return True
    return _stat(pid)[:1] not in (["Z"], ["X"])  # killed, and its parent has not asked yet


def start_of(pid: int) -> str | None:
    """What tells a process from a later one of the same number; None where there is no /proc."""
    found = _stat(pid)
    return found[19] if len(found) > 19 else None


def host() -> str:
    """The machine, or the container in it: where process numbers mean the same."""
    try:
        space = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        return socket.gethostname()
    return f"{socket.gethostname()} ({space})"


def _stat(pid: int) -> list[str]:
    """The fields of /proc from the state on; the name before it may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
