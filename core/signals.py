"""Ctrl-C, SIGTERM and SIGHUP end an entry script in one line, from its first import on.

Needs the standard library alone. :mod:`core` installs it when one of this project's scripts is what
runs, :func:`core.engine.cli.main_line` turns :class:`Interrupted` into the line, and a training
takes the signals while it has a step in hand (:mod:`core.engine.stopping`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# What comes within these seconds of the first is the same stop: a launcher passes on what the group
# had already.
_TOGETHER, _TOGETHER_LAUNCHED = 0.5, 5.0


class Interrupted(SystemExit):
    """A stop signal was obeyed; the exit code is 128 + the signal.

    Attributes:
        words: what the line says after the signal's name; "" where that was told already.
    """

    def __init__(self, number: int, words: str = "stopped") -> None:
        super().__init__(128 + number)
        self.number, self.words = number, words

    @property
    def line(self) -> str:
        return f"{signal.Signals(self.number).name}: {self.words}"


class _State:
    """Of this process: which phase a signal finds, and who takes it."""

    def __init__(self) -> None:
        self.pid = 0  # of the process whose signals these are; 0: nobody's
        self.begun = self.ended = False
        self.first: float | None = None  # when the first signal came
        self.taker: Callable[[int], None] | None = None
        self.terminals: tuple[int, ...] = ()


_state = _State()


def install_for_scripts() -> None:
    """From here on, if the program that runs is a script of this project's packages."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    folder = os.path.dirname(os.path.abspath(path)) if path else ""
    here = os.path.dirname(folder) == ROOT and os.path.basename(folder) != "tests"
    as_module = sys.argv[:1] == ["-m"] and "core.export" in sys.orig_argv
    if here or as_module:
        _install()


@contextlib.contextmanager
def caught() -> Iterator[None]:
    """Signals raise :class:`Interrupted` inside; afterwards they are as before, or, in a script of
    this project, end what is left of it at once."""
    scripts = _state.pid == os.getpid()
    before = {} if scripts else _install()
    _state.begun = True
    try:
        yield
    finally:
        _state.taker = None
        if scripts:
            _state.ended = True
        elif before:
            for number, handler in before.items():
                signal.signal(number, handler)
            _state.__init__()


def take(taker: Callable[[int], None] | None) -> None:
    """Who gets the number of the first signal in the place of an exception; None: nobody."""
    _state.taker = taker


def is_first_process() -> bool:
    """Whether this process is alone, or the one of several that speaks and writes."""
    names = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK")
    return next((os.environ[name] for name in names if name in os.environ), "0") == "0"


def _install() -> dict:
    if threading.current_thread() is not threading.main_thread():
        return {}
    _state.__init__()
    _state.pid = os.getpid()
    _state.terminals = tuple(n for n in (1, 2) if os.isatty(n))
    # What nohup and shells ignore stays ignored.
    heard = [n for n in SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
    return {number: signal.signal(number, _on_signal) for number in heard}


def _on_signal(number: int, frame: FrameType | None) -> None:
    if os.getpid() != _state.pid:  # a forked process: its parent got the signal, too
        if number == signal.SIGTERM:
            os._exit(128 + number)
        return
    now = time.monotonic()
    if number == signal.SIGHUP:
        _leave_terminal()
    if _state.first is not None:
        together = _TOGETHER if "RANK" not in os.environ else _TOGETHER_LAUNCHED
        if now - _state.first > together:
            _end(number, "ended at once, at the second signal")
        return
    _state.first = now
    if _state.taker:
        _state.taker(number)
    elif not _state.begun:
        _end(number, "stopped before anything was begun")
    elif _state.ended:
        _end(number, "stopped at the very end; all was written")
    elif _importing(frame):  # where an exception could be swallowed, or be taken for another one
        _end(number, "stopped")
    else:
        raise Interrupted(number)


def _importing(frame: FrameType | None) -> bool:
    while frame:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _leave_terminal() -> None:
    """Writing to a terminal that is gone is an error, and would come before the saving."""
    for number in _state.terminals:
        try:
            os.get_terminal_size(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def _end(number: int, words: str) -> None:
    """At once, whatever is going on."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # it may be in the middle of a write
            stream.flush()
    if is_first_process():
        with contextlib.suppress(OSError):
            os.write(2, f"\n{Interrupted(number, words).line}\n".encode())
    os._exit(128 + number)
