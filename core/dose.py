"""How much training the HL branch gets: its *dose*, and the alpha that gives the published one.

To first order, SGD moves the branch's weights by alpha times the sum of the gradients of L_h
(Eq. 2), each times the learning rate of its step, and momentum repeats each 1 / (1 - momentum)
times. So what a schedule gives the branch is measured by

    dose = alpha * sum over the steps of lr * (1 - dampening) / (1 - momentum)

with the rate of the branch's own parameter group. Table 8 of the paper is a sweep of it: at 2.1 it
finds +0.1 points in the mean of three backbones, at 21 and above +1.1. A short training at the
published alpha lies far below, and leaves the map flat.

Adam, AdamW and their kin divide a gradient by its size and take the same step whatever alpha is: it
cancels, and the dose is the sum of the rates alone, which cannot be set beside that of SGD.

The published dose is that of PSPNet on Cityscapes, which Table 8 varies, and under Adam that of
Table 11; the paper's longer schedules give 42 to 170.

Limits: it is first order, and of many steps, over which momentum builds up. Gradients shrink as the
map settles; weight decay, clipped gradients and scheduled momentum are passed over. Steps, not
iterations, count where gradients are gathered (``accumulative_counts``). Of other optimizers, of
rates that follow a metric or the number of processes (``auto_scale_lr``) no dose is told.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope
from torch import nn

from core.arms import Value, auto_dose
from core.errors import CannotConvert
from core.measures import PUBLISHED_DOSE, Strength
from core.schedule import ADAPTIVE, schedulers

PAPER_ALPHA = 0.01


@dataclass(frozen=True)
class Dose:
    """Of a schedule.

    Attributes:
        rates: the sum of the branch's learning rates over the steps; under SGD times
            (1 - dampening) / (1 - momentum).
        cancels: alpha makes no difference (Adam and its like).
    """

    rates: float
    cancels: bool

    @property
    def published(self) -> float:
        """The dose of the paper's trainings under this kind of optimizer."""
        return PUBLISHED_DOSE["Adam" if self.cancels else "SGD"]

    def at(self, alpha: float) -> float:
        """The dose that ``alpha`` gives."""
        return self.rates if self.cancels else alpha * self.rates


def dose_of(cfg: Config, epoch_length: int | None = None, done: int | None = None) -> Dose:
    """The dose of a config's schedule.

    The optimizer and the schedulers are built as a run builds them, on a stand-in for the branch,
    and stepped through the schedule: a second for 100,000 iterations.

    Args:
        cfg: a whole config; factors of ``paramwise_cfg`` are those of ``hl_head.conv_seg``.
        epoch_length: iterations of an epoch.
        done: iterations, of a training that was stopped early.

    Raises:
        CannotConvert: it cannot be told, and why.
    """
    wrapper, loop = cfg.get("optim_wrapper") or {}, cfg.get("train_cfg") or {}
    options = wrapper.get("optimizer") or {}
    kind = options.get("type")
    kind = getattr(kind, "__name__", str(kind)).rpartition(".")[2]
    if kind not in ("SGD", *ADAPTIVE):
        raise CannotConvert(f"the optimizer is {kind}, of which no dose is known, only of SGD and "
                            f"{', '.join(ADAPTIVE)}")  # fmt: skip
    if (cfg.get("auto_scale_lr") or {}).get("enable"):
        raise CannotConvert("auto_scale_lr changes the rates when the run begins")
    epochs = loop.get("max_epochs")
    steps = loop.get("max_iters") or (epochs and epoch_length and epochs * epoch_length)
    if not steps:
        raise CannotConvert("the schedule is not in iterations (train_cfg.max_iters)")
    if kind == "SGD" and not 0 <= options.get("momentum", 0) < 1:
        raise CannotConvert(f"optimizer.momentum is {options.momentum}, not from 0 to 1")
    try:
        with _silent(), DefaultScope.overwrite_default_scope("mmseg"):
            rates = _sum_of_rates(cfg, wrapper, steps, epoch_length, done or steps)
    except Exception as error:
        words = " ".join(str(error).split())
        raise CannotConvert(f"optimizer or schedule cannot be followed: {words}") from error
    if kind == "SGD":
        rates *= (1 - options.get("dampening", 0)) / (1 - options.get("momentum", 0))
    return Dose(rates, kind != "SGD")


def _sum_of_rates(
    cfg: Config, wrapper: dict, steps: int, epoch_length: int | None, done: int
) -> float:
    stand_in, weight = _stand_in(cfg)
    kept = ("optimizer", "paramwise_cfg", "constructor")
    given = {key: copy.deepcopy(wrapper[key]) for key in kept if key in wrapper}
    optimizer = build_optim_wrapper(stand_in, dict(given, type="OptimWrapper")).optimizer
    group = next(g for g in optimizer.param_groups if any(p is weight for p in g["params"]))
    every = wrapper.get("accumulative_counts", 1)
    built = [_build(s, cfg, optimizer, steps, epoch_length) for s in schedulers(cfg)]
    total = 0.0
    for i in range(1, done + 1):
        if i % every == 0 or i == steps:
            total += group["lr"]
        ends_epoch = bool(epoch_length) and i % epoch_length == 0
        for scheduler in built:
            if not scheduler.by_epoch or ends_epoch:
                scheduler.step()
    return total


def _stand_in(cfg: Config) -> tuple[nn.Module, nn.Parameter]:
    """A model of one weight, ``hl_head.conv_seg``; some constructors ask for a backbone's kind."""
    kind = (cfg.model.get("segmentor") or cfg.model).get("backbone") or {}
    model = nn.Module()
    model.backbone = type(
        str(kind.get("type", "")).rpartition(".")[2] or "None", (nn.Module,), {}
    )()
    model.hl_head = nn.Module()
    model.hl_head.conv_seg = nn.Module()
    model.hl_head.conv_seg.weight = nn.Parameter(torch.zeros(1))  # draws no random number
    return model, model.hl_head.conv_seg.weight


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without what mmengine says of groups and of steps that come without a gradient."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _build(given: dict, cfg: Config, optimizer: Any, steps: int, epoch_length: int | None) -> Any:
    given = copy.deepcopy(given)
    by_epoch = given.get("by_epoch", True)
    given.setdefault("end", cfg.train_cfg.get("max_epochs") if by_epoch else steps)
    return PARAM_SCHEDULERS.build(
        given, default_args=dict(optimizer=optimizer, epoch_length=epoch_length)
    )


def given(cfg: Config, epoch_length: int | None = None, done: int | None = None) -> Strength | None:
    """What a run's config gives its HL branch: alpha and, where it can be told, the dose; None
    where it has no branch. Arguments as of :func:`dose_of`."""
    model = cfg.model.get("student") or cfg.model
    hl = model.get("hl")
    alpha = hl.get("alpha") if isinstance(hl, dict) else None
    if alpha is None:  # maps that another model wrote have none
        return None
    try:
        dose = dose_of(cfg, epoch_length, done)
    except CannotConvert:
        return Strength(alpha=alpha)
    return Strength(alpha=alpha, dose=dose.at(alpha), published=dose.published)


def alpha_for(cfg: Config, alpha: Value) -> float:
    """``alpha`` as a number: ``auto`` and ``auto@DOSE`` give what the dose takes.

    Under Adam and its like, where alpha cancels, ``auto`` is the paper's 0.01.

    Raises:
        CannotConvert: the schedule's dose cannot be told, or no alpha gives the one asked for.
    """
    asked = auto_dose(alpha, PUBLISHED_DOSE["SGD"])
    if asked is None:
        return alpha  # what is no number is refused where it is used
    try:
        dose = dose_of(cfg)
    except CannotConvert as error:
        raise CannotConvert(f"alpha={alpha}: {error}; give alpha a number") from error
    if dose.cancels and alpha == "auto":
        return PAPER_ALPHA
    if dose.cancels:
        raise CannotConvert(f"alpha={alpha}: alpha makes no difference under this optimizer, which "
                            "divides a gradient by its size; give the branch a rate of its own: "
                            "optim_wrapper.paramwise_cfg.custom_keys.hl_head.lr_mult")  # fmt: skip
    if dose.rates <= 0:
        raise CannotConvert(f"alpha={alpha}: the HL branch's learning rate is 0 throughout")
    return float(f"{asked / dose.rates:.4g}")
