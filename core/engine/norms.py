"""Batch statistics of several processes, made those of one network."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor, nn


@HOOKS.register_module()
class SameStatisticsHook(Hook):
    """After each step, before it is saved, all processes have the mean of their running statistics.

    Norms that are not synchronised, as on CPUs, else keep those of their own images: what is
    saved, and what each process validates, would be different networks.
    """

    priority = "HIGH"  # before whatever looks at the weights

    def before_train(self, runner: Runner) -> None:
        self._statistics = [
            tensor
            for module in runner.model.modules()
            if not isinstance(module, nn.SyncBatchNorm)
            for tensor in (
                getattr(module, "running_mean", None),
                getattr(module, "running_var", None),
            )
            if isinstance(tensor, Tensor)
        ]

    def after_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        if not self._statistics:
            return
        flat = torch.cat([x.detach().flatten().double() for x in self._statistics])
        all_reduce(flat, op="mean")
        means = flat.split([x.numel() for x in self._statistics])
        for statistic, mean in zip(self._statistics, means, strict=True):
            statistic.copy_(mean.view_as(statistic))
