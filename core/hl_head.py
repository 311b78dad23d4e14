"""The hardness-level (HL) branch: what gives D of Eq. 1, beside a decode head.

``faithful``  a copy of the decode head with one output channel, on detached features: the paper's,
              "for the sake of simplicity"
``lite``      a 3x3 convolution to 64 channels, norm, ReLU and a 1x1 convolution to one, on the
              detached input of the decode head's classifier (``conv_seg``; of a cascade the last
              stage's): the context is the decode head's own, and no second head is run

Neither has a gradient beyond its own weights.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Size, Tensor, nn

HEADS = ("faithful", "lite")
RUNTIME = ("channels_last", "stream", "compile")
CHANNELS = 64
STRIDE = 8  # of D in a lite branch, where its input is finer


def hl_head_config(decode_head: dict) -> dict:
    """Config of the faithful branch: ``decode_head`` with one output channel.

    The loss of the copy is never called (:class:`core.hardness.HardnessLoss` is); ``threshold``
    only silences mmseg's warning.
    """
    head = copy.deepcopy(decode_head)
    head.update(num_classes=1, threshold=0.5)
    head.update(loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True))
    head.pop("out_channels", None)
    head.pop("sampler", None)
    return head


class LiteHead(BaseModule):
    """See the module.

    Args:
        in_channels: of the classifier's input.
        norm_cfg: the decode head's.
    """

    def __init__(self, in_channels: int, norm_cfg: dict | None) -> None:
        # As mmseg begins a classifier.
        super().__init__(dict(type="Normal", std=0.01, override=dict(name="conv_seg")))
        self.conv = ConvModule(in_channels, CHANNELS, 3, padding=1, norm_cfg=norm_cfg)
        self.conv_seg = nn.Conv2d(CHANNELS, 1, 1)

    def forward(self, seen: Tensor, size: Size) -> Tensor:
        """D, (N, 1, h, w), from the classifier's input (N, in_channels, h', w') on images of
        ``size`` (H, W): averaged to 1/8 of the image where it is finer, else of its own size."""
        factor = max(1, STRIDE * seen.shape[-1] // size[-1])
        if factor > 1:
            seen = F.avg_pool2d(seen, factor, ceil_mode=True)
        return self.conv_seg(self.conv(seen))


def classifier_channels(decode_head: nn.Module) -> int | None:
    """Channels of the input of ``conv_seg``; None where there is no such convolution."""
    classifier = getattr(decode_head, "conv_seg", None)
    convs = [m for m in classifier.modules() if isinstance(m, nn.Conv2d)] if classifier else []
    return convs[0].in_channels if convs else None


def lite_head(decode_head: nn.Module) -> LiteHead:
    """The lite branch of a decode head.

    Raises:
        ValueError: it has no ``conv_seg``.
    """
    channels = classifier_channels(decode_head)
    if channels is None:
        name = type(decode_head).__name__
        raise ValueError(f"{name} has no conv_seg, whose input a lite HL branch reads: take "
                         "head=faithful")  # fmt: skip
    return LiteHead(channels, decode_head.norm_cfg)


@dataclasses.dataclass
class Branch:
    """How the branch is made and run.

    Attributes:
        head: one of :data:`HEADS`.
        every: the branch learns in every so many steps, from a gradient that is so many times as
            large: under SGD its dose (:mod:`core.dose`) stays; under Adam, where that cancels, it
            is less. In between its gradient is 0; momentum and weight decay go on.
        runtime: of :data:`RUNTIME`: ``channels_last`` weights; the branch on a CUDA ``stream`` of
            its own; the branch through torch's ``compile``. None changes a result but for rounding.

    Raises:
        ValueError: an unknown word, or ``every`` is no whole number from 1.
    """

    head: str = "faithful"
    every: int = 1
    runtime: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise ValueError(f"head must be one of {', '.join(HEADS)}; got {self.head!r}")
        number = isinstance(self.every, (int, float)) and not isinstance(self.every, bool)
        if not number or self.every < 1 or self.every != int(self.every):
            raise ValueError(f"every must be a whole number >= 1, got {self.every!r}")
        self.every = int(self.every)
        self.runtime = [self.runtime] if isinstance(self.runtime, str) else list(self.runtime)
        for word in self.runtime:
            if word not in RUNTIME:
                raise ValueError(f"hl_runtime must be some of {', '.join(RUNTIME)}; got {word!r}")
        self._stream = self._ready = None
        self._is_laid_out = False

    @classmethod
    def of(cls, hl: Mapping[str, Any], runtime: Sequence[str] = ()) -> tuple[Branch, dict]:
        """From ``model.hl`` of a config; and what of it is the loss's."""
        own = {key: hl[key] for key in ("head", "every") if key in hl}
        return cls(**own, runtime=runtime), {k: v for k, v in hl.items() if k not in own}

    def prepare(self, module: nn.Module) -> None:
        """Once, the branch being built."""
        if self.every > 1:  # with the weights, so that a resumed run goes on with it
            module.register_buffer("steps", torch.zeros((), dtype=torch.long))
        if "compile" in self.runtime:
            for part in module if isinstance(module, nn.ModuleList) else [module]:
                part.compile()

    def mark(self) -> None:
        """The features are there: from here on a branch on a stream of its own may run."""
        if "stream" in self.runtime and torch.cuda.is_available():
            self._stream = self._stream or torch.cuda.Stream()
            self._ready = torch.cuda.current_stream().record_event()

    def step(self, module: nn.Module, run: Callable[[], Tensor]) -> Tensor:
        """``run()``, which gives D, in a training step."""
        if "channels_last" in self.runtime and not self._is_laid_out:
            # Not before: random numbers fill a weight in the order of its memory.
            module.to(memory_format=torch.channels_last)
            self._is_laid_out = True
        if self.every == 1:
            return self._aside(run)
        learns = int(module.steps) % self.every == 0
        module.steps += 1
        if learns:
            out = self._aside(run)
            return out + (self.every - 1) * (out - out.detach())
        with torch.no_grad():
            out = self._aside(run)
        # 0, with the graph that DDP waits for.
        return out + 0 * sum(p.sum() for p in module.parameters())

    def _aside(self, run: Callable[[], Tensor]) -> Tensor:
        if self._stream is None:
            return run()
        self._stream.wait_event(self._ready)
        if self.head == "lite":  # it reads what the decode head has just made
            self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            out = run()
        torch.cuda.current_stream().wait_stream(self._stream)
        out.record_stream(torch.cuda.current_stream())
        return out


@contextlib.contextmanager
def classifier_input(decode_head: nn.Module) -> Iterator[list[Tensor]]:
    """A list that holds what ``conv_seg`` read, (N, C, h, w), after each run of the head inside."""
    seen: list[Tensor] = []
    hook = decode_head.conv_seg.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    try:
        yield seen
    finally:
        hook.remove()


def detach(features: Any) -> Any:
    """The same tensor, or (nested) list or tuple of tensors, cut from the graph."""
    if isinstance(features, Tensor):
        return features.detach()
    return type(features)(detach(feature) for feature in features)
