"""mmengine's Runner with whole checkpoints, exact resume, and one line instead of a wall of log."""

from __future__ import annotations

import contextlib
import datetime
import functools
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook, LoggerHook
from mmengine.logging import MMLogger
from mmseg.engine.hooks import SegVisualizationHook
from torch.utils.data import DataLoader

import core.engine.evaluating
import core.engine.loops
import core.engine.norms  # noqa: F401  (they register what is built by name)
from core.engine import additions
from core.engine.launch import has_lost_a_process, timeout
from core.engine.resuming import ResumingRunner
from core.engine.stopping import start_worker
from core.errors import ConfigError, WriteError
from core.fused_heads import set_impl

# What mmengine and mmseg raise when a part of a config cannot be built.
_WRONG = (TypeError, KeyError, ValueError, AttributeError, AssertionError, IndexError,
          NotImplementedError, ImportError, ModuleNotFoundError, RuntimeError)  # fmt: skip


@contextlib.contextmanager
def building(part: str) -> Iterator[None]:
    """What mmengine raises inside is said of the config's ``part``, in a line.

    Raises:
        ConfigError: with the words of the error.
    """
    try:
        yield
    except Exception as error:
        if type(error) not in _WRONG or has_lost_a_process(
            error
        ):  # a line for the user already, or no fault of the config
            raise
        words = " ".join(str(error).split())
        if not words:  # a bare assert
            where = traceback.extract_tb(error.__traceback__)[-1]
            words = f"{type(error).__name__} at {where.line} ({Path(where.filename).name})"
        kind = "no such key " if isinstance(error, KeyError) else ""
        raise ConfigError(f"the config's {part} cannot be built: {kind}{words}") from error


class HLRunner(ResumingRunner):
    """``Runner`` whose checkpoints survive a kill and whose resume goes on bit by bit.

    What a run has beyond its config comes in here (:mod:`core.engine.additions`).
    """

    @classmethod
    def from_cfg(cls, cfg: Config, reading: Callable[[Config], Config] | None = None) -> HLRunner:
        """A runner of a prepared config.

        Args:
            reading: the config with the loaders that are built, such as those that check their
                files; it does not show in what the run writes.

        Raises:
            ConfigError: a part of it cannot be built.
        """
        with building("settings"):
            runner = super().from_cfg(cfg)
        if reading:
            read = reading(cfg)
            for name in ("train", "val", "test"):
                setattr(runner, f"_{name}_dataloader", read.get(f"{name}_dataloader"))
        return runner

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """The log file keeps everything; the terminal shows errors and what :meth:`tell` says."""
        logger = super().build_logger(*args, **kwargs)
        if not self.cfg.get("verbose", False):
            for handler in logger.handlers:
                if type(handler) is logging.StreamHandler:
                    handler.setLevel(logging.ERROR)
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                handler.handleError = functools.partial(self._no_log, handler)
        return logger

    def _no_log(self, handler: logging.FileHandler, record: logging.LogRecord) -> None:
        """A log that cannot be written ends no run: what matters is saved, or refuses by itself."""
        error = sys.exc_info()[1]
        self.logger.removeHandler(handler)
        self.tell(f"{handler.baseFilename} is left out from here on, the run goes on: "
                  f"{type(error).__name__}: {error}")  # fmt: skip

    def dump_config(self) -> None:
        try:
            super().dump_config()
        except OSError as error:
            name = Path(self.cfg.filename or f"{self.timestamp}.py").name
            path, reason = Path(self.work_dir, name), error.strerror or error
            raise WriteError(f"{path}: could not be written ({reason}); make room or mend the "
                             "folder") from error  # fmt: skip

    # ---- what is built

    def build_model(self, model: Any) -> torch.nn.Module:
        with building("model"):
            model = super().build_model(model)
            set_impl(model, self.cfg.get("loss_impl", "fused"))
            return model

    def build_train_loop(self, loop: Any) -> Any:
        if isinstance(loop, dict):
            epochs = _in_epochs(loop)
            sampler = (self._train_dataloader or {}).get("sampler") or {}
            if epochs and sampler.get("type") == "InfiniteSampler":
                raise ConfigError(
                    "train_cfg counts epochs, but the train_dataloader's InfiniteSampler never "
                    "ends one: give sampler=dict(type='DefaultSampler', shuffle=True)"
                )
            if epochs:
                loop = dict(loop, type="ResumableEpochLoop")
            elif loop.get("type", "IterBasedTrainLoop") == "IterBasedTrainLoop":
                loop = dict(loop, type="ResumableIterLoop")
            if loop.get("type", "").startswith("Resumable"):
                loop.pop("by_epoch", None)
        with building("train_cfg"):
            return super().build_train_loop(loop)

    def build_val_loop(self, loop: Any) -> Any:
        return super().build_val_loop(_of_labels(loop, "Val"))

    def build_test_loop(self, loop: Any) -> Any:
        return super().build_test_loop(_of_labels(loop, "Test"))

    def build_dataloader(self, dataloader: Any, *args: Any, **kwargs: Any) -> DataLoader:
        training = dataloader is self._train_dataloader
        name = "train_dataloader" if training else "val_dataloader or test_dataloader"
        with building(name):
            if training and isinstance(dataloader, dict):
                dataloader = additions.training_loader(dataloader)
            loader = super().build_dataloader(dataloader, *args, **kwargs)
        if loader.num_workers:
            init = loader.worker_init_fn
            loader.worker_init_fn = functools.partial(start_worker, init, os.getpid())
        return loader

    def build_evaluator(self, evaluator: Any) -> Any:
        with building("evaluator"):
            if isinstance(evaluator, (dict, list)):
                evaluator = additions.evaluator(evaluator)
            return super().build_evaluator(evaluator)

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        with building("optim_wrapper"):
            return super().build_optim_wrapper(optim_wrapper)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        with building("param_scheduler"):
            return super().build_param_scheduler(scheduler)

    def build_log_processor(self, log_processor: Any) -> Any:
        train = self._train_loop if isinstance(self._train_loop, dict) else {}
        with building("log_processor"):
            return super().build_log_processor(
                dict(log_processor) if "by_epoch" in log_processor or _in_epochs(train)
                else dict(log_processor, by_epoch=False))  # fmt: skip

    def build_visualizer(self, visualizer: Any = None) -> Any:
        if visualizer is None or isinstance(visualizer, dict):
            visualizer = additions.visualizer(visualizer, self.cfg.get("vis_backends"))
        with building("visualizer"):
            built = super().build_visualizer(visualizer)
        for backend in built._vis_backends.values():
            _guard(backend, self)
        return built

    def register_hooks(self, default_hooks: Any = None, custom_hooks: Any = None) -> None:
        train = self._train_loop if isinstance(self._train_loop, dict) else {}
        custom = additions.custom_hooks(
            custom_hooks,
            title=self.cfg.get("title", ""),
            max_iters=train.get("max_iters", 0),
            panels=bool(self._train_dataloader and self._val_dataloader),
        )
        with building("default_hooks"):
            default = additions.default_hooks(default_hooks)
            self.register_default_hooks(default)
        with building("custom_hooks"):
            self.register_custom_hooks(custom)

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """mmengine's, but a hook that only shows something cannot end a run: it is left out from
        there on, with a line."""
        for hook in list(self._hooks):
            if not hasattr(hook, fn_name):
                continue
            if not _only_shows(hook):
                getattr(hook, fn_name)(self, **kwargs)
                continue
            try:
                getattr(hook, fn_name)(self, **kwargs)
            except Exception as error:
                self._hooks.remove(hook)
                self.logger.warning("left out", exc_info=error)
                words = " ".join(str(error).split())
                self.tell(f"{type(hook).__name__} is left out from here on, the run goes on: "
                          f"{type(error).__name__}: {words}")  # fmt: skip

    def train(self) -> torch.nn.Module:
        """mmengine's.

        Raises:
            ConfigError: a batch of one image under a norm that has one value an image.
        """
        try:
            return super().train()
        except ValueError as error:
            if not str(error).startswith("Expected more than 1 value per channel"):
                raise
            raise ConfigError(
                "a batch of one image, but a norm of the network has one value an image: set "
                "train_dataloader.batch_size to 2 or more; if only the last batch of an epoch is "
                "that small, train_dataloader.drop_last=True"
            ) from error

    # ---- processes

    def setup_env(self, env_cfg: dict) -> None:
        """Without a GPU the processes meet through gloo; mmengine would ask for a CUDA device."""
        if self.distributed and not torch.cuda.is_available():
            if not torch.distributed.is_initialized():
                _name_processes(self.launcher)
                seconds = timeout((env_cfg.get("dist_cfg") or {}).get("timeout"))
                torch.distributed.init_process_group(
                    "gloo", timeout=datetime.timedelta(seconds=seconds)
                )
        elif self.distributed:
            given = env_cfg.get("dist_cfg") or {}
            given = dict(given, timeout=timeout(given.get("timeout")))
            env_cfg = dict(env_cfg, dist_cfg=given)
        super().setup_env(env_cfg)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: torch.nn.Module) -> Any:
        if self.distributed and not torch.cuda.is_available() and model_wrapper_cfg is None:
            # mmengine names a CUDA device for DDP; on the CPU there must be none.
            model_wrapper_cfg = dict(
                type="MMDistributedDataParallel", device_ids=None, broadcast_buffers=False
            )
        return super().wrap_model(model_wrapper_cfg, model)


def _only_shows(hook: Hook) -> bool:
    return isinstance(hook, (LoggerHook, SegVisualizationHook)) or getattr(
        hook, "only_shows", False
    )


def _of_labels(loop: Any, kind: str) -> Any:
    """mmengine's loop without scores of the image's size (:mod:`core.engine.evaluating`)."""
    if isinstance(loop, dict) and loop.get("type", f"{kind}Loop") == f"{kind}Loop":
        return dict(loop, type=f"Label{kind}Loop")
    return loop


def _in_epochs(train_cfg: dict) -> bool:
    return train_cfg.get("type") == "EpochBasedTrainLoop" or bool(train_cfg.get("by_epoch"))


def _guard(backend: Any, runner: HLRunner) -> None:
    """In place: a backend that fails, such as a tracker whose server is away, is left out from
    there on. One whose package is missing is not: that is told before anything is trained."""

    def guarded(name: str, method: Callable) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            if getattr(backend, "failed", False):
                return None
            try:
                return method(*args, **kwargs)
            except ImportError:
                raise
            except Exception as error:
                backend.failed = True
                words = " ".join(str(error).split())
                runner.tell(f"{type(backend).__name__} is left out from here on, the run goes on: "
                            f"{type(error).__name__}: {words}")  # fmt: skip
                return None

        return call

    for name in ("add_config", "add_graph", "add_image", "add_scalar", "add_scalars", "close"):
        if hasattr(backend, name):
            setattr(backend, name, guarded(name, getattr(backend, name)))


def _name_processes(launcher: str) -> None:
    """The variables by which torch knows the processes, from those of srun or mpirun."""
    names = dict(slurm=("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
                 mpi=("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
                      "OMPI_COMM_WORLD_LOCAL_RANK"))  # fmt: skip
    for ours, theirs in zip(("RANK", "WORLD_SIZE", "LOCAL_RANK"), names.get(launcher, ()),
                            strict=False):  # fmt: skip
        os.environ[ours] = os.environ[theirs]
    if launcher == "slurm" and "MASTER_ADDR" not in os.environ:
        try:
            nodes = subprocess.run(
                ["scontrol", "show", "hostname", os.environ["SLURM_NODELIST"]],
                capture_output=True, text=True, check=True)  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            raise ConfigError(f"--launcher slurm: scontrol does not say which machines there are "
                              f"({error}); set MASTER_ADDR") from error  # fmt: skip
        os.environ["MASTER_ADDR"] = nodes.stdout.split()[0]
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29500")
