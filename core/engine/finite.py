"""Losses and weights that are not finite end a run; the batches that led there are kept.

To replay one, with the run's config and the checkpoint that the error names::

    saved = torch.load("not_finite_400.pth", weights_only=True)  # iteration, seed, rank, batches
    runner = core.engine.run.load_runner(cfg, "iter_390.pth")
    runner.model.train()
    for item in saved["batches"]:  # the last is of the step that was not finite
        data = runner.model.data_preprocessor(replay(item["batch"]), True)
        print(item["iteration"], runner.model(**data, mode="loss"))
"""

from __future__ import annotations

import collections
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement, PixelData
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample

from core.engine.checkpoint import checkpoints_in, to_bytes
from core.engine.resuming import unwrapped
from core.errors import NotFinite, WriteError
from core.files import write_atomically

_SAMPLE = "data_sample"  # in the place of a SegDataSample: its fields and metainfo


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Ends a run whose loss is NaN or infinite before that step is saved.

    The batches of the last two steps are kept for :meth:`stop`: weights may break a step before
    the loss shows it.

    Raises:
        NotFinite: with the last good checkpoint, and the file of the batches.
    """

    priority = "VERY_HIGH"  # before the checkpoint: the last good one stays the last

    def __init__(self) -> None:
        self._batches: collections.deque = collections.deque(maxlen=2)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        self._batches.append((runner.iter + 1, data_batch))
        loss = float(torch.as_tensor((outputs or {}).get("loss", 0.0)).detach())
        if not math.isfinite(loss):
            self.stop(runner, f"the loss is {loss}", runner.iter + 1)

    def stop(self, runner: Runner, fault: str, step: int) -> None:
        """Keep the batches, and end the run."""
        last = checkpoints_in(runner.work_dir)
        good = f"the last good checkpoint is {last[0]}" if last else "none was saved yet"
        kept = ""
        if self._batches:
            rank = f"_rank{get_rank()}" if get_world_size() > 1 else ""
            path = Path(runner.work_dir, f"not_finite_{step}{rank}.pth")
            kept = f"; the last batches are in {path}"
            try:
                write_atomically(to_bytes(self._content(runner, step)), path)
            except WriteError as error:
                kept = f"; the last batches could not be kept ({error})"
        raise NotFinite(f"{fault} at iteration {step}; {good}{kept}; a smaller "
                        "optim_wrapper.optimizer.lr may help")  # fmt: skip

    def _content(self, runner: Runner, step: int) -> dict:
        batches = [dict(iteration=i, batch=_plain(batch)) for i, batch in self._batches]
        return dict(iteration=step, seed=runner.seed, rank=get_rank(), batches=batches)


def stop_run(runner: Runner, fault: str, step: int) -> None:
    """End a run as :class:`FiniteLossHook` does.

    Raises:
        NotFinite: always.
    """
    hook = next((h for h in runner.hooks if isinstance(h, FiniteLossHook)), FiniteLossHook())
    hook.stop(runner, fault, step)


def not_finite_in(model: torch.nn.Module) -> str | None:
    """Name of a tensor of a model's state that holds NaN or infinity, None if there is none.

    Costs one wait for the device, however many tensors there are.
    """
    state = {
        key: value.detach()
        for key, value in unwrapped(model).state_dict().items()
        if isinstance(value, torch.Tensor) and value.is_floating_point() and value.numel()
    }
    if not state:
        return None
    if torch.nn.utils.get_total_norm([*state.values()]).isfinite():
        return None
    # A sum of squares overflows, too, where every value is finite.
    return next((key for key, value in state.items() if not value.isfinite().all()), None)


def replay(saved: Any) -> Any:
    """A batch of the file as the loader gave it."""
    if isinstance(saved, dict) and _SAMPLE in saved:
        sample = SegDataSample(metainfo=saved["metainfo"])
        for name, data in saved[_SAMPLE].items():
            setattr(sample, name, PixelData(data=data))
        return sample
    if isinstance(saved, dict):
        return {key: replay(value) for key, value in saved.items()}
    return [replay(item) for item in saved] if isinstance(saved, list) else saved


def _plain(value: Any) -> Any:
    """Tensors and plain values, which the safe load takes; what is neither as text."""
    if isinstance(value, BaseDataElement):
        fields = {name: _plain(data.data) for name, data in value.items()
                  if isinstance(data, PixelData) and "data" in data}  # fmt: skip
        return {_SAMPLE: fields, "metainfo": _plain(dict(value.metainfo_items()))}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
