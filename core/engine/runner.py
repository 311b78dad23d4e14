"""mmengine's Runner with whole checkpoints, exact resume, and one line instead of a wall of log."""

from __future__ import annotations

import logging
import sys
from typing import Any

import torch
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from core.engine.checkpoint import checkpoints_in, load_checkpoint
from core.errors import CheckpointError


class HLRunner(Runner):
    """``Runner`` whose checkpoints survive a kill and whose resume goes on bit by bit."""

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """The log file keeps everything; the terminal shows errors and what :meth:`tell` says."""
        logger = super().build_logger(*args, **kwargs)
        if not self.cfg.get("verbose", False):
            for handler in logger.handlers:
                if type(handler) is logging.StreamHandler:
                    handler.setLevel(logging.ERROR)
        return logger

    def tell(self, line: str) -> None:
        """A line for the person at the terminal, and for the log."""
        self.logger.info(line)
        if self.rank == 0:
            print(line, file=sys.stderr, flush=True)

    def setup_env(self, env_cfg: dict) -> None:
        """Without a GPU the processes meet through gloo; mmengine would ask for a CUDA device."""
        if self.distributed and not torch.cuda.is_available():
            if not torch.distributed.is_initialized():
                torch.distributed.init_process_group("gloo")
        super().setup_env(env_cfg)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: torch.nn.Module) -> Any:
        if self.distributed and not torch.cuda.is_available() and model_wrapper_cfg is None:
            # mmengine names a CUDA device for DDP; on the CPU there must be none.
            model_wrapper_cfg = dict(
                type="MMDistributedDataParallel", device_ids=None, broadcast_buffers=False
            )
        return super().wrap_model(model_wrapper_cfg, model)

    def load_or_resume(self) -> None:
        """Resume from the latest readable checkpoint; a damaged one is named and skipped."""
        if not self._resume or self._load_from is not None or self._has_loaded:
            super().load_or_resume()
            return
        found = checkpoints_in(self.work_dir)
        for path in found:
            try:
                checkpoint = load_checkpoint(path)
                if "optimizer" not in checkpoint or "random_states" not in checkpoint:
                    raise CheckpointError(f"{path}: holds no training state to resume from")
            except CheckpointError as error:
                self.tell(f"{error}; trying the one before")
                continue
            del checkpoint
            self.resume(str(path))
            return
        if found:
            self.tell(f"no checkpoint in {self.work_dir} can be read; starting afresh")

    def resume(self, filename: str, **kwargs: Any) -> None:
        kwargs["map_location"] = "cpu"  # the GPU holds the model already
        super().resume(filename, **kwargs)
