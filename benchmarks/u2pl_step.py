"""U²PL's unsupervised and contrastive losses, ours against the released algorithm, as a ratio.

    python benchmarks/u2pl_step.py [--size 129] [--repeats 5] [--device cuda]

Both get the same tensors: 19 classes, 256 values a representation, 2 + 2 images, full banks, and
compute forward and backward. The reference is the transcription that the tests compare with.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
import torch.nn.functional as F

from semi_supervised.u2pl.contrastive import ContrastiveLoss, Pixels
from semi_supervised.u2pl.losses import (
    entropy,
    kept_percent,
    split_by_entropy,
    unsupervised_loss,
)
from semi_supervised.u2pl.settings import AsReleased, Contrastive

CLASSES, DIM = 19, 256
PROGRESS = 0.25  # of the training: 85 % of the unlabeled pixels are kept, 15 % reliable
RELEASED = AsReleased(
    negatives_of_own_class=True, one_hot_on_first_image=True, shifted_class_list=True
)


def published() -> ModuleType:
    """The transcription, by its path: ``tests`` is no package of ours to import."""
    path = Path(__file__).parents[1] / "tests" / "semi_supervised" / "published_u2pl.py"
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

    def enlarge(x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, (large, large), mode="bilinear", align_corners=True)

    label = enlarge(smooth).argmax(1)
    label[:, :8] = 255
    out = dict(
        rep=noise(4, DIM, size, size),
        rep_teacher=noise(4, DIM, size, size),
        teacher=teacher,
        teacher_u=enlarge(teacher[2:]),
        student_u=enlarge(student[2:]),
        label=label,
    )
    return {name: x.to(device) for name, x in out.items()}


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
    student_u = data["student_u"].detach().requires_grad_()
    label_u = data["label"][2:]
    with torch.no_grad():
        split = split_by_entropy(
            entropy(data["teacher_u"]),
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
    total = unsupervised_loss(student_u, label_u, split.kept) + loss(pixels)
    total.backward()
    return total.detach()


def published_step(
    data: dict[str, torch.Tensor], queues: list, loss: ContrastiveLoss, module: ModuleType
) -> torch.Tensor:
    """Both losses as the released code computes them."""
    rep = data["rep"].detach().requires_grad_()
    student_u = data["student_u"].detach().requires_grad_()
    label_l, label_u = data["label"][:2], data["label"][2:]
    prob = data["teacher"].softmax(1)
    alpha = loss.settings.low_entropy_threshold * (1 - PROGRESS)
    masks = module.masks_of(
        label_l, label_u, data["teacher_u"], alpha, rep.shape[2:], CLASSES, False
    )
    total = module.unsupervised(
        student_u, label_u, data["teacher_u"], kept_percent(80, PROGRESS)
    ) + module.contrastive(
        rep, data["rep_teacher"], prob[:2], prob[2:], masks, queues, loss.bank.sizes, loss.settings
    )
    total.backward()
    return total.detach()


def seconds(step: Callable[[], torch.Tensor], repeats: int) -> float:
    """Median of ``repeats`` calls, after one that does not count."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=129, help="of a representation [129]")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()

    data = tensors(args.size, args.device)
    module = published()
    results = {}
    for name, as_released in (("released code's definitions", RELEASED), ("paper's", AsReleased())):
        torch.manual_seed(0)
        loss = ContrastiveLoss(Contrastive(), CLASSES, DIM, as_released).to(args.device)
        queues = full_banks(loss)
        if as_released is RELEASED and args.device == "cpu":
            torch.manual_seed(1)
            theirs = published_step(data, queues, loss, module)
            torch.manual_seed(1)
            ours = our_step(data, loss)
            print(f"loss: released algorithm {theirs:.6f}, ours {ours:.6f}")
            results["released algorithm"] = seconds(
                lambda q=queues, x=loss: published_step(data, q, x, module), args.repeats
            )
        results[f"ours, {name}"] = seconds(lambda x=loss: our_step(data, x), args.repeats)
    first = next(iter(results.values()))
    threads = torch.get_num_threads()
    print(f"{args.size}x{args.size}, {args.device}, {threads} threads, median of {args.repeats}")
    for name, value in results.items():
        print(f"{name:<36}{value * 1000:9.1f} ms   {first / value:5.1f} x")


if __name__ == "__main__":
    main()
