"""Entry scripts as processes: forked from a parent that has imported all that is slow, each the
first of a session, so that a start takes milliseconds and a fault touches nothing else."""

from __future__ import annotations

import atexit
import ctypes
import os
import re
import runpy
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 60.0  # seconds that any command may take
_BECOME_REAPER = 36  # prctl(2): what a dead process leaves behind becomes a child of ours


class Fault(Exception):
    """What should hold did not."""


class Skipped(Exception):
    """Cannot be tried here."""


@dataclass(frozen=True)
class Case:
    """One fault.

    Attributes:
        kind: the row of the table that counts it.
        name: tells it apart, and repeats it with ``--match``.
        act: does it in an empty folder; raises :class:`Fault` or :class:`Skipped`.
    """

    kind: str
    name: str
    act: Callable[[Path], None]


@dataclass(frozen=True)
class Done:
    """How a process ended: exit code, or the signal below 0."""

    code: int
    out: str
    err: str


def warm_up() -> None:
    """Import what the scripts import late; to be called once, before any start."""
    ctypes.CDLL(None).prctl(_BECOME_REAPER, 1, 0, 0, 0)
    os.environ.update(OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT))
    import torch

    torch.set_num_threads(1)
    import mmseg.models  # noqa: F401
    from mmseg.utils import register_all_modules

    import semi_supervised.u2pl.build  # noqa: F401

    register_all_modules(init_default_scope=True)


class Started:
    """A running script.

    Args:
        script: its path in the repository.
        arguments: after it.
        folder: the working folder; what it prints goes to files beside it.
        before: called in the new process before the script, to set a trap.
    """

    def __init__(
        self,
        script: str,
        arguments: Sequence[object],
        folder: Path,
        before: Callable[[], None] | None = None,
    ) -> None:
        self._logs = [folder.parent / f"{folder.name}.{name}" for name in ("out", "err")]
        folder.mkdir(parents=True, exist_ok=True)
        self._code: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                code = self._be(ROOT / script, [str(a) for a in arguments], folder, before)
            finally:
                os._exit(code)

    def _be(self, script: Path, arguments: list[str], folder: Path, before) -> int:
        os.setsid()
        os.chdir(folder)
        for number, path in enumerate(self._logs, 1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout, sys.stderr = (open(n, "w", buffering=1, closefd=False) for n in (1, 2))
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = [str(script), *arguments]
        code = 0
        try:
            if before:
                before()
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
            if isinstance(stop.code, str):
                print(stop.code, file=sys.stderr)
        except BaseException:
            traceback.print_exc()
            code = 1
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        return code

    def ended(self) -> bool:
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code is not None

    def wait_for(self, what: Callable[[], bool], limit: float = LIMIT) -> bool:
        """Whether ``what`` came true before the process ended, or the limit passed."""
        end = time.monotonic() + limit
        while not what():
            if self.ended() or time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def send(self, number: int, group: bool = False) -> None:
        if not self.ended():
            (os.killpg if group else os.kill)(self.pid, number)

    def finish(self, limit: float = LIMIT) -> Done:
        """Wait for its end.

        Raises:
            Fault: it goes on longer than the limit, and is killed.
        """
        if not self.wait_for(self.ended, limit) and not self.ended():
            os.killpg(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self._code = -signal.SIGKILL
            raise Fault(f"not at its end after {limit:.0f} s")
        out, err = (path.read_text(errors="replace") for path in self._logs)
        return Done(self._code, out, err)

    def all_dead(self, grace: float = 5.0) -> bool:
        """Whether nothing that it started is alive, ``grace`` seconds after its end."""
        end = time.monotonic() + grace
        while children():
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True


def end_all() -> None:
    """Kill what a case has left behind, so that the next one is not blamed for it."""
    while left := children():
        for pid in left:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def children(of: int | None = None) -> list[int]:
    """Living children of a process, by default of this one, whose dead ones are buried."""
    mine = of or os.getpid()
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == mine:
            pid = int(path.parent.name)
            if state == "Z" and of is None:
                os.waitpid(pid, os.WNOHANG)
            else:
                found.append(pid)
    return found


def run(script: str, *arguments: object, folder: Path, limit: float = LIMIT, before=None) -> Done:
    """A script from start to end."""
    return Started(script, arguments, folder, before).finish(limit)


def must_end(done: Done) -> None:
    """It did what was asked.

    Raises:
        Fault: it did not.
    """
    if done.code:
        raise Fault(f"exit code {done.code}: {_last(done.err)}")
    if "Traceback" in done.err:
        raise Fault(f"a traceback on the way: {_last(done.err)}")


def must_refuse(done: Done, words: str = "") -> str:
    """It ended with one line of error that says ``words``, a regular expression; the line.

    Raises:
        Fault: it did not.
    """
    lines = [line for line in done.err.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(error: |[\w./-]+( \w+)?: error: )", line)]
    if "Traceback" in done.err:
        raise Fault(f"traceback, {len(lines)} lines: {_last(done.err)}")
    if done.code == 0:
        raise Fault(f"accepted: {_last(done.out)}")
    if done.code < 0 or len(errors) != 1 or lines[-1] != errors[0]:
        raise Fault(f"exit code {done.code}, {len(errors)} error lines: {_last(done.err)}")
    if not re.search(words, errors[0]):
        raise Fault(f"does not say {words!r}: {errors[0][:300]}")
    return errors[0]


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "nothing said"
