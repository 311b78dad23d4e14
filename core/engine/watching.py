"""Hooks that show what a run does: cost, progress, panels. None changes what is trained, and none
can end it (``only_shows``: see :meth:`core.engine.runner.HLRunner.call_hook`)."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from core.analysis.colors import panel
from core.engine.cli import duration
from core.engine.panels import Pictures
from core.engine.sampling import same_random_state

# mIoU, and what a config measures beside it.
_SHOWN = ("mIoU", "mDice", "mFscore")


@HOOKS.register_module()
class CostHook(Hook):
    """Time and memory of a training step, under ``cost`` in the message hub.

    ``seconds_per_iter``: median over the steps of forward, backward and update, data loading not
    counted, the first 10 of a launch left out. ``peak_memory_mib``: largest allocation on the GPU;
    on the CPU the largest resident size of the process.
    """

    WARMUP = 10
    only_shows = True

    def before_run(self, runner: Runner) -> None:
        self._seconds: list[float] = []
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def before_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        self._start = time.perf_counter()

    def after_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._seconds.append(time.perf_counter() - self._start)
        steps = self._seconds[self.WARMUP :]
        if steps and len(steps) % 50 in (1, 10):
            runner.message_hub.update_info("cost", self._cost(steps))

    def after_train(self, runner: Runner) -> None:
        if steps := self._seconds[self.WARMUP :]:
            runner.message_hub.update_info("cost", self._cost(steps))

    def _cost(self, steps: list[float]) -> dict[str, float]:
        if torch.cuda.is_available():
            memory = torch.cuda.max_memory_allocated() / 2**20
        else:
            kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            memory = kib / (2**10 if sys.platform != "darwin" else 2**20)
        return dict(seconds_per_iter=statistics.median(steps), peak_memory_mib=memory)


@HOOKS.register_module()
class ProgressHook(Hook):
    """One line on stderr: iteration, losses, time left. On a terminal it is rewritten in place.

    Args:
        title: what is running, e.g. ``pspnet_r18 hl seed 0``.
        interval: iterations between two lines where stderr is no terminal; 0: ten in all.
    """

    priority = "LOW"
    only_shows = True

    def __init__(self, title: str = "", interval: int = 0) -> None:
        self.title, self.interval = title, interval
        self._terminal = sys.stderr.isatty()

    def before_train(self, runner: Runner) -> None:
        self._start, self._first = time.monotonic(), runner.iter
        if runner.iter:
            self._write(f"{self.title}: goes on at iteration {runner.iter}", last=True)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        done, total = runner.iter + 1, runner.max_iters
        every = 5 if self._terminal else self.interval or max(1, total // 10)
        if done % every and done != total:
            return
        elapsed = time.monotonic() - self._start
        left = elapsed / (done - self._first) * (total - done)
        losses = ", ".join(
            f"{key.split('.')[-1]} {value.item():.3f}"
            for key, value in (outputs or {}).items()
            if key == "loss" or key.endswith("loss_hl")
        )
        self._write(
            f"{self.title}: {done}/{total} iterations, {losses}, {duration(left)} left",
            last=done == total,
        )

    def before_test(self, runner: Runner) -> None:
        self._start = time.monotonic()

    def after_test_iter(self, runner: Runner, batch_idx: int, *_: Any, **__: Any) -> None:
        done, total = batch_idx + 1, len(runner.test_dataloader)
        every = 5 if self._terminal else self.interval or max(1, total // 5)
        if done % every and done != total:
            return
        left = (time.monotonic() - self._start) / done * (total - done)
        self._write(f"{self.title}: {done}/{total} batches, {duration(left)} left", done == total)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        if found := {k: v for k, v in (metrics or {}).items() if k in _SHOWN}:
            words = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
            self._write(f"{self.title}: {words} at iteration {runner.iter}", last=True)

    def _write(self, line: str, last: bool) -> None:
        if is_main_process():
            end = "\n" if last or not self._terminal else ""
            print(
                f"\r\033[K{line}" if self._terminal else line, end=end, file=sys.stderr, flush=True
            )


@HOOKS.register_module()
class PanelHook(Hook):
    """Every ``interval`` iterations a TensorBoard image: input, label, prediction, HL map.

    The same validation image each time, so that one sees the map settle.
    """

    only_shows = True

    def __init__(self, interval: int = 500) -> None:
        self.interval = interval

    def before_train(self, runner: Runner) -> None:
        self._pictures = Pictures(runner.val_dataloader.dataset, runner.model)

    def after_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        if not is_main_process() or not self.every_n_train_iters(runner, self.interval):
            return
        with same_random_state():
            images = self._pictures.of(0)
        for backend in runner.visualizer._vis_backends.values():  # a config may have named it
            if type(backend).__name__ == "TensorboardVisBackend":
                backend.add_image("panel", panel(images), runner.iter + 1)
