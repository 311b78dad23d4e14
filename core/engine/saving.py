"""Hooks that keep what a run has: checkpoints, and no loss that is not finite."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size, is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmseg.registry import HOOKS

from core.engine.checkpoint import checkpoints_in, iteration_of, to_plain
from core.engine.sampling import random_state, set_random_state
from core.errors import CheckpointError, NotFinite, WriteError


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Ends a run whose loss is NaN or infinite before that step is saved.

    Raises:
        NotFinite: with the last good checkpoint.
    """

    priority = "VERY_HIGH"  # before the checkpoint: the last good one stays the last

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        loss = float(torch.as_tensor((outputs or {}).get("loss", 0.0)).detach())
        if not math.isfinite(loss):
            last = checkpoints_in(runner.work_dir)
            kept = f"the last good checkpoint is {last[0]}" if last else "none was saved yet"
            raise NotFinite(f"the loss is {loss} at iteration {runner.iter + 1}; {kept}")


@HOOKS.register_module()
class ResumableCheckpointHook(CheckpointHook):
    """``CheckpointHook`` that prunes after it wrote, and saves all that a resume needs.

    Intervals in epochs are kept as the iterations that these take; files are ``iter_N.pth``.
    Adds ``random_states`` (one entry a process) to the checkpoint, and puts them back before the
    first step after a resume: the loaders are made by then, and they draw too. Validation leaves
    the generators as they were, so that it does not matter at which side of it a run was cut.
    """

    priority = "VERY_LOW"  # after the hooks that change what is saved

    def __init__(self, by_epoch: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs, by_epoch=False, backend_args=dict(backend="atomic"))
        self._resumed_state: dict | None = None
        self._states: list | None = None
        self._in_epochs = by_epoch

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        self._per_epoch = None
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            self._per_epoch = len(runner.train_loop.dataloader)
            if self._in_epochs:
                self.interval *= self._per_epoch
                self.save_begin *= self._per_epoch

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        self._states = all_gather_object(random_state())
        if self._per_epoch:
            meta = dict(meta, epoch=step // self._per_epoch)  # mmengine counts it after the step
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
            raise CheckpointError(
                f"{error}; earlier checkpoints are there: go on with --resume"
            ) from error
        self._states = None
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
        checkpoint["run"] = runner.identity
        if self._states:  # not in that of the best validation, from which no run goes on
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

    def save_now(self, runner: Runner, step: int) -> None:
        """Write ``iter_<step>.pth`` outside the interval, unless it is there."""
        if not any(iteration_of(path) == step for path in checkpoints_in(self.out_dir)):
            self._save_checkpoint_with_step(runner, step, dict(epoch=runner.epoch, iter=step))
