"""Hooks that break a run at a chosen step."""

from collections.abc import Callable

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.visualization import Visualizer
from mmseg.registry import HOOKS
from mmseg.visualization import SegLocalVisualizer


class Killed(BaseException):
    """Stands for a process that is gone."""


@HOOKS.register_module()
class KillHook(Hook):
    """Dies right after the step, and its checkpoint if one was due."""

    priority = "LOWEST"

    def __init__(self, step: int) -> None:
        self.step = step

    def after_train_iter(self, runner, *_, **__) -> None:
        if runner.iter + 1 == self.step:
            raise Killed


@HOOKS.register_module()
class PoisonHook(Hook):
    """Makes one weight NaN before a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def before_train_iter(self, runner, *_, **__) -> None:
        if runner.iter + 1 == self.step:
            with torch.no_grad():
                next(runner.model.parameters()).fill_(float("nan"))


@pytest.fixture
def killed() -> type[BaseException]:
    """What KillHook raises."""
    return Killed


@pytest.fixture
def fresh_mmengine() -> Callable[[], None]:
    """mmengine keeps one logger, message hub and visualizer a process; a run of ours is a process.
    To be called before each further run in a test."""

    def clear() -> None:
        for manager in (MMLogger, MessageHub, Visualizer, SegLocalVisualizer):
            manager._instance_dict.clear()

    return clear
