"""Evaluation in ours and in mmseg's own way: time and the largest float array, at the same figures.

    python benchmarks/evaluation.py             # 1024x2048, 19 classes, as Cityscapes
    python benchmarks/evaluation.py --quick     # smaller images

A small network on made-up images, through ``predict`` and ``IoUMetric``, in turn; ratios of
medians. It ends with an error if the figures differ in any digit.
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.evaluation import IoUMetric
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.common import report, turns
from core.engine.cli import main_line, positive
from core.engine.costs import set_up
from core.engine.evaluating import labels_only
from core.errors import ConfigError

SIZES = {False: (1024, 2048), True: (256, 512)}


class Largest(TorchDispatchMode):
    """Bytes of the largest float tensor that is made."""

    bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(x, torch.Tensor) and x.is_floating_point():
                self.bytes = max(self.bytes, x.numel() * x.element_size())
        return out


def network(classes: int) -> torch.nn.Module:
    """A strided stem, so that the scores, not the network, are what takes time."""
    backbone = dict(type="mmseg.ResNetV1c", depth=18, base_channels=8, stem_channels=8,
                    norm_cfg=dict(type="BN"), num_stages=1, strides=(2,), dilations=(1,),
                    out_indices=(0,))  # fmt: skip
    head = dict(type="mmseg.FCNHead", in_channels=8, in_index=0, channels=8, num_convs=1,
                num_classes=classes, norm_cfg=dict(type="BN"),
                loss_decode=dict(type="mmseg.CrossEntropyLoss"))  # fmt: skip
    config = dict(type="mmseg.EncoderDecoder", backbone=backbone, decode_head=head)
    return MODELS.build(ConfigDict(config, test_cfg=dict(mode="whole"))).eval()


def evaluate(model: torch.nn.Module, images: list, labels: list, *, ours: bool) -> dict[str, float]:
    """mIoU and the rest, over all images."""
    size = tuple(images[0].shape[2:])
    classes = model.num_classes
    metric = IoUMetric()
    metric.dataset_meta = dict(classes=[str(i) for i in range(classes)])
    meta = dict(ori_shape=size, img_shape=size, pad_shape=size)
    for image, label in zip(images, labels, strict=True):
        sample = SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=meta)
        with torch.no_grad(), labels_only(model) if ours else contextlib.nullcontext():
            found = model.predict(image, [sample])
        metric.process({}, [x.to_dict() for x in found])
    return metric.evaluate(len(images))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--classes", type=positive, default=19)
    parser.add_argument("--images", type=positive, default=2)
    parser.add_argument("--repeats", type=positive, default=3)
    parser.add_argument("--quick", action="store_true", help="images of 256x512")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/benchmarks/evaluation.json"))
    args = parser.parse_args()
    set_up()
    size = SIZES[args.quick]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = network(args.classes).to(device)
    images = [torch.randn(1, 3, *size, device=device) for _ in range(args.images)]
    labels = [torch.randint(0, args.classes, (1, *size), device=device) for _ in images]
    acts = {
        name: lambda ours=ours: evaluate(model, images, labels, ours=ours)
        for name, ours in (("mmseg", False), ("ours", True))
    }
    figures, largest = {}, {}
    for name, act in acts.items():
        with Largest() as seen:
            figures[name] = act()
        largest[name] = seen.bytes
    if figures["mmseg"] != figures["ours"]:
        raise ConfigError(f"the figures differ: {figures}")
    seconds = turns(acts, args.repeats)
    rows = [
        {
            "evaluation": name,
            "s per image": seconds[name] / len(images),
            "time": seconds[name] / seconds["mmseg"],
            "largest float array, MB": largest[name] / 1e6,
            "mIoU": float(figures[name]["mIoU"]),
        }
        for name in acts
    ]
    report("Evaluation", rows, args.out, size=f"{size[1]}x{size[0]}", classes=args.classes)


if __name__ == "__main__":
    main_line(main)
