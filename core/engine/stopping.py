"""A training alone in its work_dir, and ended by a signal: with the step saved, or in one line."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from core import signals
from core.engine import lock
from core.engine.checkpoint import checkpoints_in
from core.engine.cli import note
from core.engine.pool import SWEEP
from core.engine.saving import ResumableCheckpointHook
from core.files import remove_drafts
from core.processes import has_ended, process_of
from core.signals import Interrupted

_LOOK = 2.0  # seconds between two looks of a worker whether its parent is there


@HOOKS.register_module()
class StopHook(Hook):
    """SIGINT, SIGTERM, SIGHUP: finish the step, write a checkpoint, leave; a second one leaves at
    once.

    All processes stop at the same step: the flag is gathered at its end, in validation too. When
    the torchrun or the sweep that started this one is no more, it stops as at SIGTERM.
    """

    priority = "LOWEST"  # after the checkpoint of this step, if one was due

    def __init__(self) -> None:
        self._signal = 0

    def before_run(self, runner: Runner) -> None:
        self._above = [json.loads(os.environ[SWEEP])] if SWEEP in os.environ else []
        if "TORCHELASTIC_RUN_ID" in os.environ:
            self._above.append(process_of(os.getppid()))

    def before_train(self, runner: Runner) -> None:
        if get_world_size() > 1:  # the others may have a step in hand
            signals.take(self._note)

    def before_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        signals.take(self._note)  # until then there is nothing to save

    def after_run(self, runner: Runner) -> None:
        signals.take(None)
        if self._signal:  # in the last step, or after it
            raise Interrupted(self._signal)

    def after_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        self._poll(runner, runner.iter + 1)

    def after_val_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        self._poll(runner, runner.iter)

    def _note(self, number: int) -> None:
        self._signal = number

    def _poll(self, runner: Runner, step: int) -> None:
        lock.beat()
        if any(map(has_ended, self._above)):
            self._signal = self._signal or int(signal.SIGTERM)
        number = max(all_gather_object(self._signal)) if get_world_size() > 1 else self._signal
        if not number:
            return
        hook = next(h for h in runner.hooks if isinstance(h, ResumableCheckpointHook))
        if step:
            hook.save_now(runner, step)
        if is_main_process():
            name = signal.Signals(number).name
            print(f"\n{name}: saved iteration {step} in {runner.work_dir}; go on with --resume",
                  file=sys.stderr)  # fmt: skip
        raise Interrupted(number, "")


def alone(train: Callable) -> Callable:
    """Decorate ``train(cfg, …)``: it has ``cfg.work_dir`` for itself while it runs.

    Unfinished files of killed processes are removed there first. A signal that finds no step in
    hand tells what is saved.

    Raises:
        ConfigError: another process trains there.
        Interrupted: a signal came.
    """

    @functools.wraps(train)
    def call(cfg: Any, *args: Any, **kwargs: Any) -> Any:
        with _words_of(Path(cfg.work_dir)), contextlib.ExitStack() as held:
            if signals.is_first_process():
                held.enter_context(lock.locked(cfg.work_dir))
                count, size = remove_drafts(Path(cfg.work_dir))
                if count:
                    note(f"{cfg.work_dir}: removed {count} unfinished file{'s' * (count > 1)} of "
                         f"killed processes, {size / 1e6:.1f} MB")  # fmt: skip
            return train(cfg, *args, **kwargs)

    return call


@contextlib.contextmanager
def _words_of(work_dir: Path) -> Iterator[None]:
    """What a signal, or an error of a file that has no name, says of the work_dir."""
    try:
        yield
    except Interrupted as stop:
        if stop.words:
            stop.words = ("stopped; the same command with --resume goes on"
                          if checkpoints_in(work_dir)
                          else "stopped before the first step; nothing to save")  # fmt: skip
        raise
    except OSError as error:
        if error.errno and not error.filename:  # a full disk does not say which
            error.filename = str(work_dir)
        raise
    finally:
        signals.take(None)


def start_worker(init: Callable[[int], None] | None, parent: int, worker: int) -> None:
    """``worker_init_fn`` of a loader: signals are the business of the process that trains.

    A stop that reaches the whole process group would end the workers before the step is saved. The
    parent's own SIGTERM ends a worker, and so does the parent's end.

    Args:
        init: the ``worker_init_fn`` that the config asks for.
        parent: process number.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigtimedwait"):  # there the sender of a signal is known
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_heed, args=(parent,), daemon=True).start()
    if init is not None:
        init(worker)


def _heed(parent: int) -> None:
    while os.getppid() == parent:
        found = signal.sigtimedwait({signal.SIGTERM}, _LOOK)
        if found and found.si_pid == parent:
            break
    os._exit(0)
