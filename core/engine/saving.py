"""The hook that keeps what a run has: its checkpoints, with all that a resume needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size, is_main_process
from mmengine.hooks import CheckpointHook, EarlyStoppingHook
from mmengine.logging import HistoryBuffer
from mmengine.runner import EpochBasedTrainLoop, LogProcessor, Runner
from mmseg.registry import HOOKS

from core.engine.checkpoint import checkpoints_in, is_plain, iteration_of, to_plain
from core.engine.finite import not_finite_in, stop_run
from core.engine.loops import ResumableEpochLoop, ResumableIterLoop
from core.engine.sampling import random_state, same_random_state, set_random_state
from core.errors import CheckpointError, WriteError
from core.schedule import SAVED_EVERY


@HOOKS.register_module()
class ResumableCheckpointHook(CheckpointHook):
    """``CheckpointHook`` that prunes after it wrote, and saves all that a resume needs.

    Intervals in epochs are kept as the iterations that these take; files are ``iter_N.pth``.
    Adds ``random_states`` (one entry a process) to the checkpoint, and puts them back before the
    first step after a resume: the loaders are made by then, and they draw too. Validation leaves
    the generators as they were, so that it does not matter at which side of it a run was cut. Adds
    the log's history, of which averages are made, and what early stopping has seen. What the
    checkpoint's step still had to come, a validation, is made up after a resume.

    Args:
        interval: between two checkpoints; None: every validation, and :data:`SAVED_EVERY`.

    Raises:
        NotFinite: a weight is NaN or infinite, and is not saved.
    """

    priority = "VERY_LOW"  # after the hooks that change what is saved

    def __init__(self, by_epoch: bool = True, interval: int | None = None, **kwargs: Any) -> None:
        super().__init__(SAVED_EVERY if interval is None else interval, by_epoch=False,
                         backend_args=dict(backend="atomic"), **kwargs)  # fmt: skip
        self._with_validations = interval is None
        self._resumed_state: dict | None = None
        self._states: list | None = None
        self._in_epochs = by_epoch and interval is not None
        self._before_val: dict | None = None
        self._stopping: list = []
        self._told: set[str] = set()
        self._written: int | None = None

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        self._per_epoch = None
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            self._per_epoch = len(runner.train_loop.dataloader)
            if self._in_epochs:
                self.interval *= self._per_epoch
                self.save_begin *= self._per_epoch
        stopping = [h for h in runner.hooks if isinstance(h, EarlyStoppingHook)]
        for hook, seen in zip(stopping, self._stopping, strict=False):
            hook.best_score, hook.wait_count = seen
        if isinstance(runner.train_loop, (ResumableIterLoop, ResumableEpochLoop)):
            runner.train_loop.make_up()

    def every_n_train_iters(self, runner: Runner, n: int, start: int = 0) -> bool:
        """Whether a checkpoint is due after the step that runs."""
        loop = runner.train_loop
        return super().every_n_train_iters(runner, n, start) or (
            self._with_validations
            and isinstance(loop, (ResumableIterLoop, ResumableEpochLoop))
            and loop.validates_after(runner.iter + 1)
        )

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        bad = not_finite_in(runner.model)
        self._states = all_gather_object(self._before_val or random_state())
        if get_world_size() > 1:  # all stop, or none
            bad = next((found for found in all_gather_object(bad) if found), None)
        if bad:
            stop_run(runner, f"{bad} is not finite", step)
        if self._per_epoch:
            epochs, rest = divmod(step, self._per_epoch)
            # mmengine counts an epoch after its last step, and ends it in between.
            meta = dict(meta, epoch=epochs, epoch_has_ended=not rest and runner.epoch == epochs)
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        try:
            runner.save_checkpoint(
                self.out_dir,
                name,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=False,
                backend_args=self.backend_args,
            )
        except WriteError as error:
            earlier = checkpoints_in(self.out_dir)
            there = f"; {earlier[0].name} is there: go on with --resume" if earlier else ""
            raise CheckpointError(f"{error}{there}") from error
        self._states, self._written = None, step
        if is_main_process() and self.max_keep_ckpts > 0:
            # A later one is damaged, or no checkpoint, and was passed over.
            found = [p for p in checkpoints_in(self.out_dir) if iteration_of(p) <= step]
            for path in found[self.max_keep_ckpts :]:
                path.unlink(missing_ok=True)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        histories = checkpoint["message_hub"]["log_scalars"]
        hub = checkpoint["message_hub"] = to_plain(checkpoint["message_hub"])
        hub["log_scalars"] = {
            key: torch.from_numpy(np.stack([x[-kept:] for x in history.data]))
            for key, history in histories.items()
            if isinstance(history, HistoryBuffer)
            and (kept := _window(runner.log_processor, key, len(history.data[0])))
        }
        self._leave_out_what_is_not_plain(runner, hub["runtime_info"])
        there = hub["runtime_info"].keys() | hub["log_scalars"].keys()
        hub["resumed_keys"] = {k: v for k, v in hub["resumed_keys"].items() if k in there}
        checkpoint["early_stopping"] = [
            to_plain({name: vars(hook)[name] for name in ("best_score", "wait_count")})
            for hook in runner.hooks
            if isinstance(hook, EarlyStoppingHook)
        ]
        checkpoint["run"] = runner.identity
        for name in ("meta", "param_schedulers", "optimizer", "run"):  # NumPy's numbers are not
            if name in checkpoint:
                checkpoint[name] = to_plain(checkpoint[name])
        odd = [name for name, value in checkpoint.items() if not is_plain(value)]
        if odd:
            raise CheckpointError(f"{odd[0]} of this run holds other than tensors and plain "
                                  "values, which no resume could read: a hook, an optimizer or a "
                                  "config of yours put it there")  # fmt: skip
        if self._states:  # not in that of the best validation, from which no run goes on
            checkpoint["random_states"] = self._states

    def _leave_out_what_is_not_plain(self, runner: Runner, info: dict) -> None:
        """In place: what a hook of the user keeps in the message hub and the safe load refuses."""
        for key in [key for key, value in info.items() if not is_plain(value)]:
            kind = type(info.pop(key)).__name__
            if key not in self._told:
                self._told.add(key)
                runner.tell(f"{key} in the message hub is a {kind}, which no checkpoint keeps")

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        states = checkpoint.get("random_states")
        if not runner._resume or states is None:
            return
        scalars = checkpoint["message_hub"]["log_scalars"]
        for key, history in scalars.items():  # none in checkpoints of versions before 0.7
            scalars[key] = HistoryBuffer(*history.numpy())
        self._stopping = [(seen["best_score"], seen["wait_count"])
                          for seen in checkpoint.get("early_stopping", [])]  # fmt: skip
        info = checkpoint["message_hub"]["runtime_info"]
        info.pop("keep_ckpt_ids", None)
        for key in [key for key in info if key.startswith("best_ckpt")]:
            # mmengine removes it when there is a better one: in this work_dir, wherever it was.
            name = Path(str(info.pop(key))).name
            if re.fullmatch(r"best_[\w.%-]+\.pth", name):
                info[key] = str(Path(runner.work_dir, name))
        if isinstance(runner.train_loop, ResumableEpochLoop):
            ended = checkpoint["meta"].get("epoch_has_ended", False)
            runner.train_loop.epoch_has_ended = ended
        if len(states) != get_world_size():
            runner.tell(
                f"saved by {len(states)} processes, resumed by {get_world_size()}: the samples "
                "and random numbers from here on are not those of an uninterrupted run"
            )
        else:
            self._resumed_state = states[get_rank()]
            with same_random_state():  # what cannot be put back is told now
                set_random_state(self._resumed_state)

    def before_train_epoch(self, runner: Runner) -> None:
        # An epoch's loader draws a number when it is made: between two epochs, after the state.
        if self._per_epoch and runner.iter % self._per_epoch == 0:
            self.before_train_iter(runner, 0)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if self._resumed_state is not None:
            set_random_state(self._resumed_state)
            self._resumed_state = None

    def before_val(self, runner: Runner) -> None:
        self._before_val = random_state()

    def after_val(self, runner: Runner) -> None:
        set_random_state(self._before_val)
        self._before_val = None

    def save_now(self, runner: Runner, step: int) -> None:
        """Write ``iter_<step>.pth`` outside the interval, unless that was done."""
        if self._written != step:  # a file of that name may be a damaged one, passed over
            self._save_checkpoint_with_step(runner, step, dict(epoch=runner.epoch, iter=step))


def _window(processor: LogProcessor, key: str, length: int) -> int:
    """How many of a scalar's last values the log's averages take."""
    name = key.partition("/")[2]
    windows = [processor.window_size]
    for entry in processor.custom_cfg:
        if entry["data_src"] == name:
            window = entry.get("window_size")
            windows.append(window if isinstance(window, int) else length)  # "epoch", "global"
    return min(max(windows), length)
