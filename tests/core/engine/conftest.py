"""A hook that breaks a run at a chosen step."""

import torch
from mmengine.hooks import Hook
from mmseg.registry import HOOKS


@HOOKS.register_module()
class PoisonHook(Hook):
    """Makes one weight NaN before a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def before_train_iter(self, runner, *_, **__) -> None:
        if runner.iter + 1 == self.step:
            with torch.no_grad():
                next(runner.model.parameters()).fill_(float("nan"))
