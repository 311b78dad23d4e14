"""A published batch on another number of GPUs: images of each, learning rate and iterations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from core.schedule import ADAPTIVE, scale_schedule

RULES = {
    "linear": "linear scaling, Goyal et al. 2017",
    "square root": "square-root scaling, Malladi et al. 2022",
}


@dataclass(frozen=True)
class Batch:
    """What becomes of a published batch.

    A GPU gets as many images as published, fewer where more GPUs share the same batch. Where the
    batch of all becomes another, the iterations are divided by its ratio: as many images are seen.
    The learning rate of SGD is multiplied by the ratio. That of Adam and AdamW by its square root:
    their steps are of the same size whatever the batch, so that what has to be kept is the noise
    of many steps, which falls with the root.

    Attributes:
        each: images of a GPU.
        size, published: of all GPUs.
        rule: of :data:`RULES`.
    """

    each: int
    size: int
    published: int
    rule: str

    @classmethod
    def of(cls, each: int, published_gpus: int, gpus: int, optimizer: str) -> Batch:
        """``each`` images on each of ``published_gpus``, on ``gpus``."""
        published = each * published_gpus
        each = max(1, min(each, published // gpus))
        rule = "square root" if optimizer in ADAPTIVE else "linear"
        return cls(each, each * gpus, published, rule)

    @property
    def ratio(self) -> float:
        return self.size / self.published

    @property
    def lr_factor(self) -> float:
        return self.ratio if self.rule == "linear" else math.sqrt(self.ratio)

    def iterations(self, published: int) -> int:
        return round(published / self.ratio)


def fit_batch(cfg: Config, published_gpus: int, gpus: int) -> dict[str, Any]:
    """In place: batch size, learning rate and schedule of a config made for ``published_gpus``
    GPUs, for ``gpus``: see :class:`Batch`.

    Returns:
        ``batch_size`` (of all GPUs), ``published_batch_size``, ``lr_factor``, ``lr_rule``.
    """
    optimizer = cfg.optim_wrapper.optimizer
    batch = Batch.of(cfg.train_dataloader.batch_size, published_gpus, gpus, optimizer.type)
    cfg.train_dataloader.batch_size = batch.each
    if batch.ratio != 1:
        optimizer.lr *= batch.lr_factor
        scale_schedule(cfg, batch.iterations(cfg.train_cfg.max_iters))
    return dict(batch_size=batch.size, published_batch_size=batch.published,
                lr_factor=batch.lr_factor, lr_rule=batch.rule)  # fmt: skip


def batch_note(title: str, facts: Mapping[str, Any], iterations: int) -> str | None:
    """A sentence on a training with another batch than the published one, None if it had that.

    Args:
        facts: as :func:`fit_batch` gives them, or nothing.
    """
    if facts.get("lr_factor", 1) == 1:
        return None
    rule = facts.get("lr_rule", "linear")  # what there was before version 0.6
    return (
        f"{title}: batch {facts['batch_size']} in the place of the published "
        f"{facts['published_batch_size']}; learning rate × {facts['lr_factor']:.4g}, "
        f"{iterations:,} iterations ({RULES.get(rule, rule)})."
    )


def training_note(batch: Batch, iterations: int, lr: float) -> str:
    """Iterations, batch and learning rate as they will be.

    Args:
        iterations, lr: published.
    """
    said = f"{batch.iterations(iterations):,} iterations, batch {batch.size}"
    said += f", lr {lr * batch.lr_factor:.4g}"
    if batch.ratio == 1:
        return said
    published = f"{iterations:,} of {batch.published}, lr {lr:g}"
    return f"{said} (published: {published}; {RULES[batch.rule]})"
