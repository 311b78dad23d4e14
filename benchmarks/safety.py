"""What safe checkpoints cost: saving, loading and a training step, as ratios to doing without.

    python benchmarks/safety.py                          # PSPNet-R18, 100 MB with its optimizer
    python benchmarks/safety.py --model deeplabv3plus_r101 --rounds 3

*save*: a checkpoint written as a training does it, without and with what was added: the seal over
its bytes (``core/seal.py``), the look whether its weights are finite, the run's identity.
*load*: ``torch.load`` of its weights only, and the same after the seal was compared.
*resume*: what a resume reads of the file; it was read twice before, once to look whether it is
whole.
*step*: a training of small images on the CPU or the GPU; the seconds that the guards take in it
(finite losses, locks, stop signals, the batch kept for replay), over those of the rest.

Each pair is measured in turn, several times, files from the page cache; the least seconds of each
count.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

MODELS = {
    "pspnet_r18": "mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-769x769.py",
    "pspnet_r101": "mmseg::pspnet/pspnet_r101-d8_4xb2-40k_cityscapes-769x769.py",
    "deeplabv3plus_r101": "mmseg::deeplabv3plus/deeplabv3plus_r101-d8_4xb2-40k_cityscapes-769x769.py",  # noqa: E501
}

GUARDS = ("FiniteLossHook", "StopHook", "SameStatisticsHook")


def least(functions: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of each, in turn."""
    seconds = dict.fromkeys(functions, float("inf"))
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds


def files(model: Any, path: Path, rounds: int) -> dict[str, tuple[float, float]]:
    """Seconds without and with what keeps files whole, of saving, loading and resuming."""
    import torch
    from mmengine.runner.checkpoint import save_checkpoint

    from core.engine import checkpoint as files
    from core.engine.finite import not_finite_in

    content = files.load_checkpoint(path)
    plain, whole = path.with_name("plain.pth"), path.with_name("whole.pth")

    def save_whole() -> None:
        not_finite_in(model)
        save_checkpoint(content, str(whole), backend_args=dict(backend="atomic"))

    def save_plain() -> None:
        with mock.patch.object(files, "sealed", lambda data: [data]):
            save_checkpoint(content, str(plain), backend_args=dict(backend="atomic"))

    def load_plain() -> None:
        torch.load(plain, map_location="cpu", weights_only=True)

    def load_whole() -> None:
        files.load_checkpoint(whole)

    saved = least(dict(plain=save_plain, whole=save_whole), rounds)
    loaded = least(dict(plain=load_plain, whole=load_whole), rounds)
    return dict(
        save=(saved["plain"], saved["whole"]),
        load=(loaded["plain"], loaded["whole"]),
        resume=(2 * loaded["plain"], loaded["whole"]),
    )


def trained(model: str, folder: Path, crop: int, steps: int) -> tuple[Any, Path, float]:
    """A short training: its runner, its checkpoint, a step over what it is without the guards."""
    import torch
    from mmengine.runner import Runner
    from mmengine.structures import PixelData
    from mmseg.registry import DATASETS
    from mmseg.structures import SegDataSample
    from torch.utils.data import Dataset

    import core.engine.run  # noqa: F401  (registers the hooks)
    from core.configs import load_config, without_pretrained
    from core.convert import to_hl
    from core.engine.prepare import prepare
    from core.engine.runner import HLRunner

    @DATASETS.register_module(force=True)
    class RandomImages(Dataset):
        def full_init(self) -> None:
            """Nothing is read."""

        def __len__(self) -> int:
            return 8

        def __getitem__(self, index: int) -> dict:
            label = PixelData(data=torch.randint(0, 19, (1, crop, crop)))
            sample = SegDataSample(gt_sem_seg=label, metainfo=dict(img_shape=(crop, crop)))
            return dict(inputs=torch.randint(0, 255, (3, crop, crop)).byte(), data_samples=sample)

    cfg = load_config(MODELS[model])
    without_pretrained(cfg)
    cfg.train_dataloader = dict(batch_size=2, num_workers=0, dataset=dict(type="RandomImages"),
                                sampler=dict(type="InfiniteSampler"))  # fmt: skip
    for key in ("val_dataloader", "val_cfg", "val_evaluator", "test_dataloader", "test_cfg",
                "test_evaluator"):  # fmt: skip
        cfg[key] = None
    cfg.model.data_preprocessor.size = (crop, crop)
    cfg.train_cfg.max_iters = steps
    cfg.default_hooks.checkpoint.interval = steps
    cfg = prepare(to_hl(cfg), work_dir=folder, title="safety", seed=0)
    runner = HLRunner.from_cfg(cfg)

    steps_of: list[tuple[float, float]] = []
    begin = guards = 0.0

    def call_hook(self: HLRunner, name: str, **kwargs: object) -> None:
        nonlocal begin, guards
        if name == "before_train_iter":
            begin, guards = time.perf_counter(), 0.0
        for hook in [hook for hook in self.hooks if hasattr(hook, name)]:
            start = time.perf_counter()
            getattr(hook, name)(self, **kwargs)
            if type(hook).__name__ in GUARDS:
                guards += time.perf_counter() - start
        if name == "after_train_iter":
            steps_of.append((time.perf_counter() - begin, guards))

    with mock.patch.object(HLRunner, "call_hook", call_hook):
        Runner.train(runner)
    middle = steps_of[3:-1]  # without the first steps, and the last, which saves
    whole, guards = (statistics.median(column) for column in zip(*middle, strict=True))
    return runner, folder / f"iter_{steps}.pth", whole / (whole - guards)


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--model", choices=MODELS, default="pspnet_r18")
    parser.add_argument("--crop", type=int, default=256, help="pixels")
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runner, path, step = trained(args.model, Path(folder, "run"), args.crop, args.steps)
        print(f"{args.model}, checkpoint of {path.stat().st_size / 1e6:.0f} MB")
        for name, (without, given) in files(runner.model, path, args.rounds).items():
            print(
                f"{name:<8}{given / without:5.2f}   {1000 * without:.0f} -> {1000 * given:.0f} ms"
            )
        print(f"{'step':<8}{step:6.3f}")


if __name__ == "__main__":
    main()
