"""What a model makes of images, and what is measured of it beside the metrics: the strength of its
hardness map, and how parts of the pixels are predicted."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from core.analysis.parts import PartMeter, is_valid
from core.analysis.strength import StrengthMeter
from core.engine.metrics import map_prediction
from core.engine.resuming import unwrapped
from core.engine.sampling import same_random_state
from core.engine.stopping import start_worker
from core.errors import ConfigError
from core.measures import Part, Strength
from core.segmentors import HL_HEAD

MOST = 500  # images that a run is measured on at its end


class Seen(NamedTuple):
    """An image and what a model makes of it, at the size of the label.

    ``label`` and ``pred``, (H, W) int64, are classes of the data set; ``seg_logits`` (C, H, W) are
    of the model's; ``scores`` (H, W) is ``sigmoid(D)``, 0-1, None without an HL branch.
    """

    label: Tensor
    pred: Tensor
    seg_logits: Tensor
    scores: Tensor | None


def has_map(model: nn.Module) -> bool:
    """Whether a segmentor, not wrapped, has an HL branch that was trained."""
    return getattr(model, "predict_scores", None) is not None


def load_weights(model: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Give a segmentor the weights of a checkpoint; one without an HL branch, as an exported one,
    has no map then.

    Raises:
        ConfigError: they are not those of such a segmentor.
    """
    own = model.state_dict()
    wrong = [key for key in own.keys() ^ state.keys() if not key.startswith(f"{HL_HEAD}.")]
    wrong += [key for key in own.keys() & state.keys() if own[key].shape != state[key].shape]
    if wrong:
        raise ConfigError(
            f"{path} does not fit the config: {len(wrong)} tensors differ, e.g. {min(wrong)}"
        )
    model.load_state_dict(state, strict=False)
    if has_map(model) and not any(key.startswith(f"{HL_HEAD}.") for key in state):
        model.predict_scores = None  # the branch knows nothing


@contextmanager
def looking(model: nn.Module) -> Iterator[None]:
    """The model in eval mode and without gradients; it and the generators come out as they went
    in."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), same_random_state():
            yield
    finally:
        model.train(training)


def see(model: nn.Module, batch: dict, metainfo: Mapping) -> Seen:
    """One image as validation sees it; to be called while :func:`looking`.

    Args:
        model: a segmentor, not wrapped.
        batch: ``inputs`` and ``data_samples``, lists of one, from a data set in test mode.
        metainfo: of the data set.
    """
    data = model.data_preprocessor(batch, False)
    result = model.predict(data["inputs"], data["data_samples"])[0]
    pred = result.pred_sem_seg.data[0].long()  # floats from a head with one channel
    scores = None
    if has_map(model):
        height, width = batch["inputs"][0].shape[-2:]  # padded to the right and below
        scores = model.predict_scores(data["inputs"])[..., :height, :width]
        scores = model.hl_loss.resize(scores, pred.shape)[0, 0]
    return Seen(
        label=result.gt_sem_seg.data[0].long(),
        pred=map_prediction(pred, metainfo),
        seg_logits=result.seg_logits.data,
        scores=scores,
    )


def spread(length: int, count: int) -> list[int]:
    """``count`` of so many indices, from the first to the last; all, if there are fewer."""
    return np.unique(np.linspace(0, length - 1, count).round().astype(int)).tolist()


def measure(
    model: nn.Module, dataset: Dataset, count: int, *, workers: int = 0, parts: bool = True
) -> tuple[Strength | None, dict[str, Part]]:
    """The strength of a model's hardness map, and how it predicts parts of the pixels.

    Args:
        model: a segmentor, wrapped or not.
        dataset: an mmseg data set in test mode.
        count: images, spread over the data set, that are looked at.
        workers: processes that load them.
        parts: whether to measure these.

    Returns:
        The strength without a dose, None where there is no map or where the cross-entropy cannot
        be told since the model has one channel or other classes than the data set; and the parts.
    """
    model = unwrapped(model)
    metainfo = dataset.metainfo
    classes = metainfo["classes"]
    of_parts = PartMeter(classes, ignore_index := ignore_index_of(model))
    same_classes = metainfo.get("prediction_map") is None
    of_map = StrengthMeter(model.hl_loss.c) if has_map(model) and same_classes else None
    loader = DataLoader(
        dataset,
        sampler=spread(len(dataset), count),
        num_workers=workers,
        collate_fn=pseudo_collate,
        worker_init_fn=functools.partial(start_worker, None, os.getpid()),
    )
    with looking(model):
        for batch in loader:
            seen = see(model, batch, metainfo)
            if parts:
                of_parts.add(seen.label.cpu().numpy(), seen.pred.cpu().numpy())
            if of_map and len(seen.seg_logits) == len(classes) > 1:
                of_map.add(*_hardness(seen, ignore_index))
    found = of_map.result() if of_map else {}
    strength = Strength(**found, alpha=model.hl_loss.alpha) if found.get("images") else None
    measured = of_parts.result() if parts else {}
    return strength, {name: Part(**figures) for name, figures in measured.items()}


def _hardness(seen: Seen, ignore_index: int) -> tuple[np.ndarray, ...]:
    """Scores, cross-entropy (without class weights), wrong and valid pixels, each (H, W)."""
    valid = is_valid(seen.label, len(seen.seg_logits), ignore_index)
    label = seen.label.where(valid, -1)[None]
    logits = seen.seg_logits.float()[None]
    loss = F.cross_entropy(logits, label, ignore_index=-1, reduction="none")[0]
    found = seen.scores, loss, seen.pred != seen.label, valid
    return tuple(tensor.cpu().numpy() for tensor in found)


def ignore_index_of(model: nn.Module) -> int:
    head = getattr(model, "decode_head", model)
    return (head[-1] if isinstance(head, nn.ModuleList) else head).ignore_index


@HOOKS.register_module()
class StrengthHook(Hook):
    """After each validation the strength of the hardness map, as scalars ``hl_gain``,
    ``hl_contrast``, ``hl_auc`` and ``hl_rank``.

    Args:
        images: number of validation images that it is measured on, always the same.
    """

    priority = "ABOVE_NORMAL"  # before hooks that put back the weights that were not validated
    only_shows = True

    def __init__(self, images: int = 20) -> None:
        self.images = images

    def after_val_epoch(self, runner: Runner, metrics: dict[str, Any] | None = None) -> None:
        if not is_main_process() or not has_map(unwrapped(runner.model)):
            return
        dataset = runner.val_dataloader.dataset
        strength, _ = measure(runner.model, dataset, self.images, parts=False)
        if strength is not None:
            runner.visualizer.add_scalars(scalars(strength), step=runner.iter)


def scalars(strength: Strength, names: Sequence[str] = ("gain", "contrast", "auc", "rank")) -> dict:
    """As they are logged, without those that cannot be told."""
    found = {f"hl_{name}": getattr(strength, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}
