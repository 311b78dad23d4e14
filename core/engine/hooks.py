"""Hooks of a run: checkpoints, stop signals, cost, progress, panels."""

from __future__ import annotations

import math
import resource
import signal
import statistics
import sys
import time
from typing import Any

import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size, is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from core.analysis.maps import panel
from core.engine.checkpoint import checkpoints_in, iteration_of, to_plain
from core.engine.pictures import Pictures
from core.engine.sampling import random_state, same_random_state, set_random_state


class Interrupted(SystemExit):
    """A stop signal was obeyed: a checkpoint is written, the exit code is 128 + the signal."""


class NotFinite(RuntimeError):
    """The loss became NaN or infinite."""


@HOOKS.register_module()
class ResumableCheckpointHook(CheckpointHook):
    """``CheckpointHook`` that prunes after it wrote, and saves all that a resume needs.

    Adds ``random_states`` (one entry a process) to the checkpoint, and puts them back before the
    first step after a resume: the loaders are made by then, and they draw too. Validation leaves
    the generators as they were, so that it does not matter at which side of it a run was cut.
    """

    priority = "VERY_LOW"  # after the hooks that change what is saved

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs, by_epoch=False, backend_args=dict(backend="atomic"))
        self._resumed_state: dict | None = None

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        self._states = all_gather_object(random_state())
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=False,
            backend_args=self.backend_args,
        )
        if is_main_process() and self.max_keep_ckpts > 0:
            for path in checkpoints_in(self.out_dir)[self.max_keep_ckpts :]:
                path.unlink(missing_ok=True)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        hub = checkpoint["message_hub"] = to_plain(checkpoint["message_hub"])
        hub["log_scalars"] = {}
        hub["resumed_keys"] = {
            key: value for key, value in hub["resumed_keys"].items() if key in hub["runtime_info"]
        }
        checkpoint["meta"] = to_plain(checkpoint["meta"])
        checkpoint["random_states"] = self._states

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        states = checkpoint.get("random_states")
        if not runner._resume or states is None:
            return
        if len(states) != get_world_size():
            runner.tell(
                f"saved by {len(states)} processes, resumed by {get_world_size()}: the samples "
                "and random numbers from here on are not those of an uninterrupted run"
            )
        else:
            self._resumed_state = states[get_rank()]

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if self._resumed_state is not None:
            set_random_state(self._resumed_state)
            self._resumed_state = None

    def before_val(self, runner: Runner) -> None:
        self._val = same_random_state()
        self._val.__enter__()

    def after_val(self, runner: Runner) -> None:
        self._val.__exit__(None, None, None)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        loss = float(torch.as_tensor((outputs or {}).get("loss", 0.0)).detach())
        if not math.isfinite(loss):  # before saving: the last good checkpoint stays the last
            last = checkpoints_in(runner.work_dir)
            kept = f"the last good checkpoint is {last[0]}" if last else "none was saved yet"
            raise NotFinite(f"the loss is {loss} at iteration {runner.iter + 1}; {kept}")
        super().after_train_iter(runner, batch_idx, data_batch, outputs)

    def save_now(self, runner: Runner, step: int) -> None:
        """Write ``iter_<step>.pth`` outside the interval, unless it is there."""
        if not any(iteration_of(path) == step for path in checkpoints_in(self.out_dir)):
            self._save_checkpoint_with_step(runner, step, dict(epoch=runner.epoch, iter=step))


@HOOKS.register_module()
class StopHook(Hook):
    """SIGTERM and SIGINT: finish the step, write a checkpoint, leave; a second one leaves at once.

    All processes stop at the same step: the flag is gathered at its end, in validation too.
    """

    priority = "LOWEST"  # after the checkpoint of this step, if one was due

    def __init__(self) -> None:
        self._signal = 0

    def before_run(self, runner: Runner) -> None:
        self._before = {s: signal.signal(s, self._note) for s in (signal.SIGTERM, signal.SIGINT)}

    def after_run(self, runner: Runner) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def after_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        self._poll(runner, runner.iter + 1)

    def after_val_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        self._poll(runner, runner.iter)

    def _note(self, number: int, _: Any) -> None:
        self._signal = number
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _poll(self, runner: Runner, step: int) -> None:
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
        raise Interrupted(128 + number)


@HOOKS.register_module()
class CostHook(Hook):
    """Time and memory of a training step, under ``cost`` in the message hub.

    ``seconds_per_iter``: median over the steps of forward, backward and update, data loading not
    counted, the first 10 of a launch left out. ``peak_memory_mib``: largest allocation on the GPU;
    on the CPU the largest resident size of the process.
    """

    WARMUP = 10

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
        if metrics and "mIoU" in metrics:
            self._write(
                f"{self.title}: mIoU {metrics['mIoU']:.2f} at iteration {runner.iter}", last=True
            )

    def _write(self, line: str, last: bool) -> None:
        if is_main_process():
            end = "\n" if last or not self._terminal else ""
            print(
                f"\r\033[K{line}" if self._terminal else line, end=end, file=sys.stderr, flush=True
            )


def duration(seconds: float) -> str:
    """Seconds as ``42 s``, ``3 min 5 s`` or ``2 h 10 min``."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


@HOOKS.register_module()
class PanelHook(Hook):
    """Every ``interval`` iterations a TensorBoard image: input, label, prediction, HL map.

    The same validation image each time, so that one sees the map settle.
    """

    def __init__(self, interval: int = 500) -> None:
        self.interval = interval

    def before_train(self, runner: Runner) -> None:
        self._pictures = Pictures(runner.val_dataloader.dataset, runner.model)

    def after_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        if not is_main_process() or not self.every_n_train_iters(runner, self.interval):
            return
        with same_random_state():
            images = self._pictures.of(0)
        backend = runner.visualizer.get_backend("TensorboardVisBackend")
        backend.add_image("panel", panel(images), runner.iter + 1)
