"""How much training the HL branch gets: its *dose*, and the alpha that gives the published one.

To first order, SGD moves the branch's weights by alpha times the sum of the gradients of L_h
(Eq. 2), each times the learning rate of its step, and momentum repeats each 1 / (1 - momentum)
times. So what a schedule gives the branch is measured by

    dose = alpha * sum over the steps of lr * (1 - dampening) / (1 - momentum)

with the rate of the branch's own parameter group. Table 8 of the paper is a sweep of it: at 2.1 it
finds +0.1 points in the mean of three backbones, at 21 and above +1.1. A short training at the
published alpha lies far below, and leaves the map flat.

Adam, AdamW and others that divide a gradient by its size take the same step whatever alpha is: it
cancels, and the dose is the sum of the rates alone, which cannot be set beside that of SGD. The
published one is that of Table 11.

Limits: it is first order. Gradients shrink as the map settles; weight decay, clipped gradients,
scheduled momentum and schedules that follow a metric are passed over. Steps, not iterations, count
where gradients are gathered (``accumulative_counts``).
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
from core.schedule import schedulers

PAPER_ALPHA = 0.01
# Those whose step does not grow with the gradient.
_ADAPTIVE = ("Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop",
             "Adafactor", "Lion")  # fmt: skip


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


def dose_of(cfg: Config, epoch_length: int | None = None) -> Dose | None:
    """The dose of a config's schedule, None where it cannot be told: another kind of optimizer, no
    schedule, or one in epochs of unknown length.

    The optimizer and the schedulers are built as a run builds them, on a stand-in for the branch,
    and stepped through the schedule: a second for 100,000 iterations.

    Args:
        cfg: a whole config; factors of ``paramwise_cfg`` are those of ``hl_head.conv_seg``.
        epoch_length: iterations of an epoch.
    """
    wrapper, loop = cfg.get("optim_wrapper") or {}, cfg.get("train_cfg") or {}
    optimizer = (wrapper.get("optimizer") or {}).get("type")
    epochs = loop.get("max_epochs")
    steps = loop.get("max_iters") or (epochs and epoch_length and epochs * epoch_length)
    if not steps or optimizer not in ("SGD", *_ADAPTIVE):
        return None
    try:
        with _silent(), DefaultScope.overwrite_default_scope("mmseg"):
            rates = _sum_of_rates(cfg, wrapper, steps, epoch_length)
    except Exception:  # what is wrong with the config is said where it is built
        return None
    if optimizer == "SGD":
        options = wrapper["optimizer"]
        rates *= (1 - options.get("dampening", 0)) / (1 - options.get("momentum", 0))
    return Dose(rates, optimizer != "SGD")


def _sum_of_rates(cfg: Config, wrapper: dict, steps: int, epoch_length: int | None) -> float:
    stand_in, weight = _stand_in(cfg)
    kept = ("optimizer", "paramwise_cfg", "constructor")
    given = {key: copy.deepcopy(wrapper[key]) for key in kept if key in wrapper}
    optimizer = build_optim_wrapper(stand_in, dict(given, type="OptimWrapper")).optimizer
    group = next(g for g in optimizer.param_groups if any(p is weight for p in g["params"]))
    every = wrapper.get("accumulative_counts", 1)
    built = [_build(s, cfg, optimizer, steps, epoch_length) for s in schedulers(cfg)]
    total = 0.0
    for i in range(1, steps + 1):
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


def given(cfg: Config, epoch_length: int | None = None) -> Strength | None:
    """What a run's config gives its HL branch: alpha and dose; None where it has no branch."""
    model = cfg.model.get("student") or cfg.model
    hl = model.get("hl")
    alpha = hl.get("alpha") if isinstance(hl, dict) else None
    if alpha is None:  # maps that another model wrote have none
        return None
    dose = dose_of(cfg, epoch_length)
    return Strength(alpha=alpha) if dose is None else Strength(
        alpha=alpha, dose=dose.at(alpha), published=dose.published)  # fmt: skip


def alpha_for(cfg: Config, alpha: Value) -> float:
    """``alpha`` as a number: ``auto`` and ``auto@DOSE`` give what the dose takes.

    Under Adam and its like, where alpha cancels, ``auto`` is the paper's 0.01.

    Raises:
        CannotConvert: the schedule's dose cannot be told, or no alpha gives the one asked for.
    """
    asked = auto_dose(alpha, PUBLISHED_DOSE["SGD"])
    if asked is None:
        return alpha  # what is no number is refused where it is used
    dose = dose_of(cfg)
    if dose is None:
        raise CannotConvert(
            f"alpha={alpha} needs SGD or an optimizer such as AdamW, and a schedule in iterations "
            "(train_cfg.max_iters), to know what the HL branch gets: give alpha a number"
        )
    if dose.cancels and alpha == "auto":
        return PAPER_ALPHA
    if dose.cancels:
        raise CannotConvert(f"alpha={alpha}: alpha makes no difference under this optimizer, which "
                            "divides a gradient by its size; give the branch a rate of its own: "
                            "optim_wrapper.paramwise_cfg.custom_keys.hl_head.lr_mult")  # fmt: skip
    if dose.rates <= 0:
        raise CannotConvert(f"alpha={alpha}: the HL branch's learning rate is 0 throughout")
    return float(f"{asked / dose.rates:.4g}")
