"""What an arm takes in a training step, and HL at inference; measured on random images."""

from __future__ import annotations

import copy
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.registry import MODELS, OPTIMIZERS
from mmseg.structures import SegDataSample
from mmseg.utils import register_all_modules
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from core.arms import Arm
from core.configs import fit_norm, import_custom, parse_config, without_pretrained
from core.convert import decode_heads
from core.engine.cli import main_line
from core.engine.measuring import looking
from core.errors import ConfigError
from core.fused_heads import set_impl
from core.mmfixes import unformatted
from core.segmentors import HL_HEAD
from core.weighting import with_weighting

ROOT = Path(__file__).resolve().parents[2]
WARMUP = 3  # steps before those that are timed


@dataclass(frozen=True)
class Setting:
    """A batch of so many random images (H, W), and how many steps on it are timed."""

    size: tuple[int, int]
    batch: int
    steps: int


@dataclass(frozen=True)
class Training:
    """Of one arm in one process.

    ``seconds``: median of forward, backward and update. ``mib``: on a GPU the largest allocation;
    on the CPU the growth of the largest resident size over that of the model before its first
    step. ``params``: of the whole model, the HL branch included.
    """

    seconds: float
    mib: float
    params: int
    device: str


@dataclass(frozen=True)
class Inference:
    """A model trained with HL for one step, beside the plain model with its weights, the HL branch
    left out.

    Attributes:
        params, plain_params: of the two; ``branch_params`` of the HL branch alone.
        flops, plain_flops: floating-point operations for one image.
        operators: that the first executes; ``same_operators``: the plain one executes the same, on
            tensors of the same shapes, in the same order.
        same_outputs: logits equal bit by bit.
        seconds: median of the plain one.
        ratios: of the times of the two, measured in turn.
    """

    params: int
    plain_params: int
    branch_params: int
    flops: int
    plain_flops: int
    operators: int
    same_operators: bool
    same_outputs: bool
    seconds: float
    ratios: tuple[float, ...]

    @property
    def is_free(self) -> bool:
        """Whether HL costs nothing here, its weights apart, which an export drops."""
        return (self.params - self.branch_params == self.plain_params
                and self.flops == self.plain_flops
                and self.same_operators and self.same_outputs)  # fmt: skip


def training(cfg: Config, arm: Arm, setting: Setting) -> Training:
    """Cost of a training step, in this process, under the config's own optimizer.

    Raises:
        CannotConvert: the config has no such arm.
    """
    clock = _clock()
    model = model_of(cfg, arm)
    step = stepper(cfg, model, loss_of(cfg, model, setting))
    before = _resident_kib()
    for _ in range(WARMUP):
        step()
    seconds = [_seconds(step, clock) for _ in range(setting.steps)]
    if torch.cuda.is_available():
        mib = torch.cuda.max_memory_allocated() / 2**20
    else:
        mib = (_resident_kib() - before) / 2**10
    return Training(statistics.median(seconds), mib, _count(model), device_name())


def inference(cfg: Config, setting: Setting) -> Inference:
    """What HL takes at inference, in this process: a model is trained with HL for a step; without
    its branch its weights go, all of them, into the config's plain model.

    Raises:
        CannotConvert: the config has no HL version.
    """
    clock = _clock()
    model = model_of(cfg, Arm.parse("hl"))
    stepper(cfg, model, loss_of(cfg, model, setting))()
    state = {k: v for k, v in model.state_dict().items() if not k.startswith(f"{HL_HEAD}.")}
    plain = model_of(cfg, Arm.parse("baseline"))
    plain.load_state_dict(state, strict=True)
    return compare(model, plain, setting, clock)


def compare(
    model: nn.Module, plain: nn.Module, setting: Setting, clock: Callable[[], float]
) -> Inference:
    """Two models side by side on one random image, in eval mode and in their mode of inference."""
    device = next(plain.parameters()).device
    images = torch.randn(1, 3, *setting.size, device=device)
    meta = dict(img_shape=setting.size, ori_shape=setting.size, pad_shape=setting.size,
                padding_size=[0] * 4)  # fmt: skip

    def run(of: nn.Module) -> Tensor:
        return of.inference(images, [dict(meta)])

    with looking(model), looking(plain):
        same = torch.equal(run(model), run(plain))  # and nothing is done for the first time below
        flops, names = zip(*((_flops(run, of), _operators(run, of)) for of in (model, plain)),
                           strict=True)  # fmt: skip
        pairs = [
            (_seconds(lambda: run(model), clock), _seconds(lambda: run(plain), clock))
            for _ in range(3 * setting.steps)
        ]
    return Inference(
        params=_count(model),
        plain_params=_count(plain),
        branch_params=_count(getattr(model, HL_HEAD)),
        flops=flops[0],
        plain_flops=flops[1],
        operators=len(names[0]),
        same_operators=names[0] == names[1],
        same_outputs=same,
        seconds=statistics.median(second for _, second in pairs),
        ratios=tuple(first / second for first, second in pairs),
    )


def device_name() -> str:
    """Where it is measured: a GPU where there is one."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU, 1 thread"


def alone(cfg: Config, arm: Arm | None, setting: Setting) -> Training | Inference:
    """The same in a process of its own, so that none finds the memory of another.

    Args:
        arm: of a training; None: inference.

    Raises:
        ConfigError: it failed; why.
    """
    asked = dict(cfg=unformatted(cfg).pretty_text, arm=arm and str(arm), **asdict(setting))
    # Only this checkout's code, whatever lies in the working directory.
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", "from core.engine.costs import child; child()"],
        env=dict(os.environ, PYTHONPATH=path, PYTHONSAFEPATH="1"),
        input=json.dumps(asked),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"its process ended with {done.returncode}"]
        raise ConfigError(lines[-1].removeprefix("error: "))
    found = json.loads(done.stdout.splitlines()[-1])
    return Training(**found) if arm else Inference(**dict(found, ratios=tuple(found["ratios"])))


def child() -> None:
    """The process of :func:`alone`: what is asked comes on stdin, what is found leaves on stdout,
    its last line."""
    main_line(_child)


def _child() -> None:
    asked = json.load(sys.stdin)
    cfg = parse_config(asked.pop("cfg"))
    arm = asked.pop("arm")
    setting = Setting(**dict(asked, size=tuple(asked["size"])))
    try:
        found = training(cfg, Arm.parse(arm), setting) if arm else inference(cfg, setting)
    except torch.OutOfMemoryError as error:
        raise ConfigError("the GPU's memory is exhausted: take a smaller --crop or --batch"
                          ) from error  # fmt: skip
    print(json.dumps(asdict(found)))


def set_up() -> None:
    """One seed, one thread, no workspaces of cuDNN's autotuning."""
    register_all_modules(init_default_scope=True)
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = False
    torch.set_num_threads(1)


def _clock() -> Callable[[], float]:
    set_up()
    return time.perf_counter if torch.cuda.is_available() else time.process_time


def _seconds(act: Callable[[], Any], clock: Callable[[], float]) -> float:
    start = clock()
    act()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - start


def model_of(cfg: Config, arm: Arm, impl: str = "fused") -> nn.Module:
    """An untrained model of an arm, its losses as a training computes them (``"fused"``) or as
    mmseg does.

    Raises:
        CannotConvert: the config has no such arm.
    """
    cfg = with_weighting(cfg, arm)
    cfg = copy.deepcopy(cfg)
    import_custom(cfg)
    fit_norm(cfg, synchronized=False)
    without_pretrained(cfg)
    model = MODELS.build(cfg.model).to("cuda" if torch.cuda.is_available() else "cpu")
    set_impl(model, impl)
    return model


def loss_of(cfg: Config, model: nn.Module, setting: Setting) -> Callable[[], Tensor]:
    """The forward pass of a training step on one batch of random images, the same each time."""
    device = next(model.parameters()).device
    classes = decode_heads(cfg)[-1].num_classes
    images = torch.randn(setting.batch, 3, *setting.size, device=device)
    labels = torch.randint(0, classes, (setting.batch, 1, *setting.size), device=device)
    meta = dict(img_shape=setting.size)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=x), metainfo=meta) for x in labels]
    model.train()

    return lambda: model.parse_losses(model.loss(images, samples))[0]


def stepper(cfg: Config, model: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    """A training step under the config's own optimizer."""
    optimizer = (cfg.get("optim_wrapper") or {}).get("optimizer") or dict(type="SGD", momentum=0.9)
    optimizer = OPTIMIZERS.build(dict(optimizer, params=model.parameters(), lr=1e-4))

    def step() -> None:
        value = loss()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()

    return step


def _flops(run: Callable[[nn.Module], Tensor], model: nn.Module) -> int:
    with FlopCounterMode(display=False) as counter:
        run(model)
    return counter.get_total_flops()


def _operators(run: Callable[[nn.Module], Tensor], model: nn.Module) -> list[tuple[str, str]]:
    """Name and shapes of all that torch executes, in its order."""
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as seen:
        run(model)
    events = [event for event in seen.events() if event.name.startswith("aten::")]
    events.sort(key=lambda event: event.time_range.start)
    return [(event.name, str(event.input_shapes)) for event in events]


def _count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _resident_kib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**10 if sys.platform == "darwin" else peak
