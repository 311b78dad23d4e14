"""U²PL's unsupervised and contrastive losses against the released algorithm; and a whole step.

    python benchmarks/u2pl_step.py [--size 129] [--repeats 5] [--device cuda]
    python benchmarks/u2pl_step.py --quick

Losses: both get the same tensors, 19 classes, 256 values a representation, 2 + 2 images, full
banks, and compute forward and backward from the logits of the networks; the released code enlarges
them to the label's size first. The reference is the transcription that the tests compare with.
The whole step: forward of student and teacher, all losses, backward, of a small network, beside
plain training of the labeled images alone.
"""

from __future__ import annotations

import argparse
import importlib.util
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from benchmarks.common import report, turns
from core import fused
from core.engine.cli import main_line, positive
from core.engine.costs import set_up
from semi_supervised.u2pl.contrastive import ContrastiveLoss, Pixels
from semi_supervised.u2pl.losses import kept_percent, split_by_entropy, unsupervised_loss
from semi_supervised.u2pl.settings import AsReleased, Contrastive, load_settings

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "semi_supervised" / "configs"
CLASSES, DIM = 19, 256
PROGRESS = 0.25  # of the training: 85 % of the unlabeled pixels are kept, 15 % reliable
RELEASED = AsReleased(
    negatives_of_own_class=True, one_hot_on_first_image=True, shifted_class_list=True
)


def published() -> ModuleType:
    """The transcription, by its path: ``tests`` is no package of ours to import."""
    path = ROOT / "tests" / "semi_supervised" / "published_u2pl.py"
    spec = importlib.util.spec_from_file_location("published_u2pl", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tensors(size: int, device: str) -> dict[str, torch.Tensor]:
    """A made-up batch with large regions; the teacher's second pass differs by dropout's noise."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    large = 4 * (size - 1) + 1
    smooth = F.interpolate(noise(4, CLASSES, 9, 9), (size, size), mode="bicubic") * 4
    teacher = smooth + noise(4, CLASSES, size, size) * 0.5
    student = smooth + noise(4, CLASSES, size, size)

    label = enlarged(smooth, large).argmax(1)
    label[:, :8] = 255
    out = dict(
        rep=noise(4, DIM, size, size),
        rep_teacher=noise(4, DIM, size, size),
        teacher=teacher,
        student=student,
        label=label,
    )
    return {name: x.to(device) for name, x in out.items()}


def enlarged(x: torch.Tensor, side: int) -> torch.Tensor:
    return F.interpolate(x, (side, side), mode="bilinear", align_corners=True)


def full_banks(loss: ContrastiveLoss) -> list[list[torch.Tensor]]:
    """Fills the bank of ``loss``; the same keys as the released code keeps them."""
    queues = [[torch.randn(size, DIM)] for size in loss.bank.sizes]
    for c, (keys,) in enumerate(queues):
        counts = [len(keys) if i == c else 0 for i in range(CLASSES)]
        loss.bank.enqueue(keys.to(loss.bank.rows.device), torch.arange(len(keys)).to(
            loss.bank.rows.device), counts)  # fmt: skip
    return queues


def our_step(data: dict[str, torch.Tensor], loss: ContrastiveLoss) -> torch.Tensor:
    """Both losses as :class:`semi_supervised.u2pl.segmentor.U2PL` computes them."""
    rep = data["rep"].detach().requires_grad_()
    student_u = data["student"][2:].detach().requires_grad_()
    label_u = data["label"][2:]
    with torch.no_grad():
        split = split_by_entropy(
            fused.entropy(data["teacher"][2:], label_u.shape[1:], align_corners=True),
            label_u,
            kept=kept_percent(80, PROGRESS),
            reliable=loss.settings.low_entropy_threshold * (1 - PROGRESS),
        )
        pixels = Pixels.at_size_of(
            rep,
            data["rep_teacher"],
            data["teacher"].softmax(1),
            data["label"],
            low=split.low,
            high=split.high,
        )
    of_student = unsupervised_loss(student_u, label_u, split.kept, align_corners=True)
    total = of_student + loss(pixels)
    total.backward()
    return total.detach()


def published_step(
    data: dict[str, torch.Tensor], queues: list, loss: ContrastiveLoss, module: ModuleType
) -> torch.Tensor:
    """Both losses as the released code computes them."""
    rep = data["rep"].detach().requires_grad_()
    low = data["student"][2:].detach().requires_grad_()
    side = data["label"].shape[-1]
    student_u, teacher_u = enlarged(low, side), enlarged(data["teacher"][2:], side)
    label_l, label_u = data["label"][:2], data["label"][2:]
    prob = data["teacher"].softmax(1)
    alpha = loss.settings.low_entropy_threshold * (1 - PROGRESS)
    masks = module.masks_of(label_l, label_u, teacher_u, alpha, rep.shape[2:], CLASSES, False)
    total = module.unsupervised(
        student_u, label_u, teacher_u, kept_percent(80, PROGRESS)
    ) + module.contrastive(
        rep, data["rep_teacher"], prob[:2], prob[2:], masks, queues, loss.bank.sizes, loss.settings
    )
    total.backward()
    return total.detach()


def losses(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Ours by both definitions, beside the released algorithm."""
    data = tensors(args.size, args.device)
    module, acts = published(), {}
    for name, as_released in (("released code's definitions", RELEASED), ("paper's", AsReleased())):
        torch.manual_seed(0)
        loss = ContrastiveLoss(Contrastive(), CLASSES, DIM, as_released).to(args.device)
        queues = full_banks(loss)
        if as_released is RELEASED:
            torch.manual_seed(1)
            theirs = published_step(data, queues, loss, module)
            torch.manual_seed(1)
            print(f"loss: released algorithm {theirs:.6f}, ours {our_step(data, loss):.6f}")
            acts["released algorithm"] = lambda q=queues, x=loss: published_step(data, q, x, module)
        acts[f"ours, {name}"] = lambda x=loss: our_step(data, x)
    seconds = turns(acts, args.repeats)
    first = seconds["released algorithm"]
    return [{"what": name, "s": s, "time": s / first, "times as fast": first / s}
            for name, s in seconds.items()]  # fmt: skip


def whole_step(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Forward and backward of a small network: U²PL with HL, and the labeled images alone."""
    from core.configs import load_config
    from core.convert import to_hl
    from semi_supervised.u2pl.segmentor import U2PL

    cfg = load_config(CONFIGS / "deeplabv3plus_r18-w16.py")
    side = 4 * (args.size // 4) + 1
    images = torch.randn(2, 2, 3, side, side, device=args.device)
    classes = cfg.model.decode_head.num_classes
    label = torch.randint(0, classes, (2, 1, side, side), device=args.device)
    samples = [[SegDataSample(gt_sem_seg=PixelData(data=x)) for x in y]
               for y in (label, torch.zeros_like(label))]  # fmt: skip
    labeled, unlabeled = (dict(inputs=x, data_samples=y)
                          for x, y in zip(images, samples, strict=True))  # fmt: skip
    settings = asdict(load_settings(CONFIGS / "cityscapes.yaml"))
    acts = {}
    for name, student, sup_only in (
        ("labeled images alone", None, True),
        ("U²PL", None, False),
        ("U²PL with HL", to_hl(cfg).model, False),
        ("U²PL with lite HL", to_hl(cfg, head="lite").model, False),
    ):
        model = U2PL(cfg.model, settings, student, sup_only).to(args.device).train()
        model.set_progress(50, 100)  # with unlabeled images

        def act(model: U2PL = model, sup_only: bool = sup_only) -> None:
            losses = model.loss(labeled, None if sup_only else unlabeled)
            sum(x for key, x in losses.items() if key.startswith("loss")).backward()
            model.zero_grad(set_to_none=True)

        acts[name] = act
    seconds = turns(acts, args.repeats)
    first = seconds["labeled images alone"]
    return [{"what": name, "s": s, "time": s / first} for name, s in seconds.items()]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=positive, default=129, help="of a representation [129]")
    parser.add_argument("--repeats", type=positive, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="--size 65 --repeats 3")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/benchmarks/u2pl_step.json"))
    args = parser.parse_args()
    if args.quick:
        args.size, args.repeats = 65, 3
    set_up()
    rows = losses(args)
    setting = dict(size=args.size, repeats=args.repeats)
    report("U²PL's losses", rows, args.out, **setting)
    whole = args.out.with_name(f"{args.out.stem}_whole.json")
    report("A whole step, DeepLabV3+-R18 of width 16", whole_step(args), whole, **setting)


if __name__ == "__main__":
    main_line(main)
