"""How a run goes on: from the latest whole checkpoint of its work_dir, if that is of this run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from mmengine.dist import broadcast_object_list
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmengine.runner.checkpoint import CheckpointLoader

from core.engine.checkpoint import checkpoints_in, latest_checkpoint, weights_of
from core.engine.identity import compare, identity
from core.errors import CheckpointError, ConfigError, UserError
from core.segmentors import HL_HEAD


class ResumingRunner(Runner):
    """``Runner`` that knows what it resumes.

    Attributes:
        named: what a person calls the run by, for :func:`core.engine.identity.identity`.
        identity: what makes the run; its checkpoints hold it, under ``run``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.named: dict[str, str] = {}
        self.identity: dict[str, Any] = {}
        self._read: dict[str, dict] = {}
        super().__init__(*args, **kwargs)

    def tell(self, line: str) -> None:
        """A line for the person at the terminal, and for the log."""
        self.logger.info(line)
        if self.rank == 0:
            print(line, file=sys.stderr, flush=True)

    def dump_config(self) -> None:
        """Into the work_dir; on resume only when it is known that the run may go on."""
        if self.identity or not self._resume:
            super().dump_config()

    def _init_model_weights(self) -> None:
        """Not of a run that goes on: all weights are in its checkpoint, and the files that it began
        with may be gone."""
        if not (self._resume and checkpoints_in(self.work_dir)):
            super()._init_model_weights()

    def load_or_resume(self) -> None:
        """Resume from the latest whole checkpoint of the work_dir, if it is of this run; a damaged
        one is named and skipped. Without one ``load_from`` gives the weights to begin with.

        Raises:
            ConfigError: the checkpoint is of another run; the message names what differs.
        """
        if self._has_loaded:
            return
        loops = dict(training=self._train_loop, validation=self._val_loop)
        datasets = {name: getattr(getattr(loop, "dataloader", None), "dataset", None)
                    for name, loop in loops.items()}  # fmt: skip
        by_length = getattr(unwrapped(self.model), "goes_by_length", False)
        self.identity = identity(self.cfg, datasets, processes=self.world_size,
                                 by_length=by_length, **self.named)  # fmt: skip
        resumed = self._agreed(self._to_resume) if self._resume else None
        if self._resume:
            self.dump_config()
        if resumed:
            self.resume(resumed)
        elif self._load_from is not None:
            self._resume = False  # the weights of another run, not its state
            self.load_checkpoint(self._load_from)

    def _agreed(self, decide: Callable[[], str | None]) -> str | None:
        """What the first process decides, or raises, all do."""
        answer: list[Any] = [None]
        if self.rank == 0:
            try:
                answer = [decide()]
            except UserError as error:
                answer = [error]
        broadcast_object_list(answer)
        if isinstance(answer[0], UserError):
            raise answer[0]
        return answer[0]

    def _to_resume(self) -> str | None:
        """The latest whole checkpoint, if it is of this run."""
        found = latest_checkpoint(self.work_dir, self.tell)
        if found is None:
            return None
        path, checkpoint = found
        then = checkpoint.get("run")
        if _is_identity(then, self.identity):
            epochs = isinstance(self.train_loop, EpochBasedTrainLoop)
            done = checkpoint["meta"]["epoch" if epochs else "iter"]
            reason, told = compare(then, self.identity, done)
            if reason:
                raise ConfigError(f"{path} is of another run: {reason}")
            for line in told:
                self.tell(f"{path}: {line}")
            self.identity["load_from"] = then["load_from"]  # where it began
        else:
            self.tell(f"{path}: another version wrote it, which does not say what run it is of: "
                      "only the network is compared")  # fmt: skip
        self._read = {str(path): checkpoint}  # once is enough
        return str(path)

    def resume(self, filename: str, **kwargs: Any) -> None:
        kwargs["map_location"] = "cpu"  # the GPU holds the model already
        try:
            super().resume(filename, **kwargs)
        except UserError:
            raise
        except Exception as error:  # half of it may be loaded: no other one is tried
            words = " ".join(str(error).split())
            raise CheckpointError(
                f"{filename}: its training state does not fit ({type(error).__name__}: {words}); "
                "move it away to go on from the one before"
            ) from error

    def load_checkpoint(self, filename: str, map_location: Any = "cpu", **_: Any) -> dict:
        """The tensors of a file that fit the model; to go on with a run, all must.

        Raises:
            CheckpointError: the file is missing, damaged, or holds no weights.
            ConfigError: none fits, or, on resume, not all.
        """
        checkpoint = self._read.pop(filename, None)
        if checkpoint is None:
            checkpoint = CheckpointLoader.load_checkpoint(filename, map_location)
        if isinstance(checkpoint.get("meta"), dict):
            checkpoint["meta"].pop("config", None)  # mmengine would run it as Python
        state = weights_of(checkpoint)
        if state is None:
            raise CheckpointError(f"{filename}: holds no weights (state_dict)")
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        model = unwrapped(self.model)
        state = {key.removeprefix("module."): value for key, value in state.items()}
        own = model.state_dict()
        fits = {k: v for k, v in state.items()
                if k in own and getattr(v, "shape", None) == own[k].shape}  # fmt: skip
        # A memory bank grows, and takes what it had grown to: only keys are compared on resume.
        if not fits or (self._resume and own.keys() != state.keys()):
            odd = sorted((own.keys() ^ state.keys()) or own.keys())
            raise ConfigError(
                f"{filename}: is of another network: {len(fits)} of {len(own)} tensors fit, and "
                f"not {odd[0]}"
            )
        if not self._resume:
            self._tell_what_fits(filename, state.keys(), fits.keys(), own.keys())
        try:
            model.load_state_dict(state if self._resume else fits, strict=self._resume)
        except RuntimeError as error:
            words = " ".join(str(error).split())
            raise ConfigError(f"{filename}: is of another network: {words}") from error
        self._has_loaded = True
        return checkpoint

    def _tell_what_fits(self, filename: str, state: Any, fits: Any, own: Any) -> None:
        left = [key for key in state if key not in fits]
        new = [key for key in own if key not in fits and not key.startswith(f"{HL_HEAD}.")]
        line = f"load_from {filename}: {len(fits)} tensors"
        if left:
            line += f"; {len(left)} of the file fit nowhere, e.g. {left[0]}"
        if new:
            line += f"; {len(new)} of the network begin at random, e.g. {new[0]}"
        self.tell(line)


def _is_identity(value: Any, like: dict) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == like.keys()
        and all(isinstance(value[key], type(like[key])) for key in like if key != "load_from")
    )


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """The model itself, of one that several processes train."""
    return model.module if is_model_wrapper(model) else model
