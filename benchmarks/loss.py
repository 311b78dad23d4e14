"""The loss alone, from low-resolution logits: time, and bytes kept for the backward pass.

    python benchmarks/loss.py                  # 19 and 150 classes, crops of 512 and 769
    python benchmarks/loss.py --quick
    python benchmarks/loss.py --compile        # beside torch.compile, which needs a C++ compiler

Forward and backward, logits at 1/8 of the crop, 5 % of the pixels ignored; arms in turn, ratios of
medians. Plain mmseg: resize, cross-entropy and accuracy of ``BaseDecodeHead.loss_by_feat``. What is
kept is counted by autograd's hooks: as often as it is saved (mmseg saves its log-softmax twice),
and each storage once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead
from mmseg.models.losses import accuracy
from mmseg.structures import SegDataSample
from torch import Tensor

from benchmarks.common import kept_bytes, report, threads, turns
from core.engine.cli import main_line, positive
from core.fused_heads import set_impl
from core.hardness import HardnessLoss

BATCH = 2
Batch = tuple[Tensor, Tensor, Tensor]
Act = Callable[[Batch], Tensor]


def batch(classes: int, crop: int, align_corners: bool, device: str) -> Batch:
    """Logits, HL logits and labels, made up."""
    generator = torch.Generator().manual_seed(0)
    small = (crop - 1) // 8 + 1 if align_corners else crop // 8
    seg, hl = (torch.randn(BATCH, n, small, small, generator=generator) * 3 for n in (classes, 1))
    label = torch.randint(0, classes, (BATCH, crop, crop), generator=generator)
    label[torch.rand(label.shape, generator=generator) < 0.05] = 255
    return seg.to(device).requires_grad_(), hl.to(device).requires_grad_(), label.to(device)


def arms(classes: int, align_corners: bool, with_compile: bool) -> dict[str, Act]:
    """By name, from a batch to the sum of the losses; plain mmseg first."""

    def head(impl: str) -> FCNHead:
        one = FCNHead(num_convs=0, in_channels=classes, channels=classes, num_classes=classes,
                      concat_input=False, align_corners=align_corners)  # fmt: skip
        set_impl(one, impl)
        return one

    def ce(one: FCNHead, of: Batch) -> Tensor:
        samples = [SegDataSample(gt_sem_seg=PixelData(data=x[None])) for x in of[2]]
        return one.loss_by_feat(of[0], samples)["loss_ce"]

    def hl(impl: str) -> Act:
        loss = HardnessLoss(align_corners=align_corners, impl=impl)
        return lambda of: loss(*of).total

    def functional(seg: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        large = F.interpolate(seg, label.shape[1:], mode="bilinear", align_corners=align_corners)
        loss = F.cross_entropy(large, label, ignore_index=255, reduction="none").mean()
        return loss, accuracy(large, label, ignore_index=255)

    out = {
        "plain mmseg": partial(ce, head("eager")),
        "fused CE": partial(ce, head("fused")),
        "eager HL": hl("eager"),
        "fused HL": hl("fused"),
    }
    if with_compile:
        compiled_ce = torch.compile(functional)
        out["torch.compile of CE"] = lambda of: compiled_ce(of[0], of[2])[0]
        out["torch.compile of HL"] = torch.compile(hl("eager"))
    return out


def step(act: Act, of: Batch) -> None:
    of[0].grad = of[1].grad = None
    act(of).backward()


def measure(classes: int, crop: int, args: argparse.Namespace) -> list[dict]:
    """A row for each arm."""
    align_corners = crop % 8 == 1
    of = batch(classes, crop, align_corners, args.device)
    acts = arms(classes, align_corners, args.compile)
    seconds = turns({name: partial(step, act, of) for name, act in acts.items()}, args.repeats)
    kept = {name: kept_bytes(partial(act, of)) for name, act in acts.items()}
    plain = "plain mmseg"
    return [
        {
            "classes": classes,
            "crop": crop,
            "loss": name,
            "ms": 1000 * seconds[name],
            "time": seconds[name] / seconds[plain],
            "kept MB": kept[name].saved / 1e6,
            "kept": kept[name].saved / kept[plain].saved,
            "kept, each storage once": kept[name].once / kept[plain].once,
        }
        for name in acts
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=positive, default=7)
    parser.add_argument("--compile", action="store_true", help="torch.compile beside the others")
    parser.add_argument("--quick", action="store_true", help="19 classes at 512 alone")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/benchmarks/loss.json"))
    args = parser.parse_args()
    threads(1)
    settings = [(19, 512)] if args.quick else [(c, n) for c in (19, 150) for n in (512, 769)]
    rows = [row for classes, crop in settings for row in measure(classes, crop, args)]
    report("Loss alone", rows, args.out, device=args.device, batch=BATCH, repeats=args.repeats)


if __name__ == "__main__":
    main_line(main)
