"""What the drill trains on and with: drawn here, small, the same for the same seed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from data import streets
from drills.process import ROOT

TRAIN, TEST = "fully_supervised/train.py", "fully_supervised/test.py"
U2PL = "semi_supervised/train_u2pl_hl.py"
GTAV, EVALUATE = "domain_gen/train_gtav.py", "domain_gen/eval_cityscapes.py"
PREPARE, EXPORT = "data/prepare.py", "core/export.py"
COLLECT = "fully_supervised/collect_hardness.py"
WEIGHTS = "fully_supervised/class_weights.py"

_MODEL = """
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor", mean=[127.5] * 3, std=[60.0] * 3, bgr_to_rgb=True,
        pad_val=0, seg_pad_val=255, size=(33, 49)),
    backbone=dict(
        type="ResNetV1c", depth=18, base_channels=4, stem_channels=4, strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4), norm_cfg=dict(type="BN"), norm_eval=False),
    decode_head=dict(
        type="FCNHead", in_channels=32, in_index=3, channels=8, num_convs=1, concat_input=False,
        dropout_ratio=0.1, num_classes=CLASSES, norm_cfg=dict(type="BN"), align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0)),
    auxiliary_head=dict(
        type="FCNHead", in_channels=16, in_index=2, channels=4, num_convs=1, concat_input=False,
        dropout_ratio=0.1, num_classes=CLASSES, norm_cfg=dict(type="BN"), align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=0.4)),
    train_cfg=dict(), test_cfg=dict(mode="whole"))
optim_wrapper = dict(
    type="OptimWrapper", optimizer=dict(type="SGD", lr=0.05, momentum=0.9, weight_decay=0.0005))
param_scheduler = [dict(type="PolyLR", power=0.9, begin=0, end=8, eta_min=1e-4, by_epoch=False)]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=8, val_interval=4)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
default_hooks = dict(
    timer=dict(type="IterTimerHook"), logger=dict(type="LoggerHook", interval=1),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=2, max_keep_ckpts=3),
    sampler_seed=dict(type="DistSamplerSeedHook"))
"""

_LOADERS = """
custom_imports = dict(imports=["data.sets.mmseg_datasets"], allow_failed_imports=False)
data_root = ROOT


def _loader(split, batch, pipeline):
    train = split == "train"
    return dict(
        batch_size=batch, num_workers=0, persistent_workers=False,
        sampler=dict(type="InfiniteSampler" if train else "DefaultSampler", shuffle=train),
        dataset=dict(
            type="CamVidDataset", data_root=data_root, pipeline=pipeline,
            data_prefix=dict(img_path=f"images/{split}", seg_map_path=f"labels/{split}")))


train_dataloader = _loader("train", 2, [
    dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"),
    dict(type="RandomResize", scale=(48, 36), ratio_range=(1.0, 1.5), keep_ratio=True),
    dict(type="RandomCrop", crop_size=(33, 49)), dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"), dict(type="PackSegInputs")])
val_dataloader = _loader("val", 1, [
    dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), dict(type="PackSegInputs")])
test_dataloader = val_dataloader
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
"""

_SETTINGS = """
base: {base}
dataset:
  type: camvid
  batch_size: 2
  workers: 0
  train:
    rand_resize: [1.0, 1.5]
    crop: {{size: [33, 49]}}
trainer:
  max_iters: 8
  evaluations: 4
  contrastive: {{num_queries: 16, num_negatives: 5, memory_size: 50, memory_size_first: 70}}
criterion:
  kwargs: {{min_kept: 500}}
net:
  config: net.py
  rep_planes: 8
"""


@dataclass(frozen=True)
class World:
    """Folders that every case may read, and none may change.

    Attributes:
        camvid: six training images and two of validation in CamVid's layout.
        gtav: six streets in GTAV's, four of them for training.
        configs: ``config.py``, ``net.py`` and ``settings.yaml``.
    """

    camvid: Path
    gtav: Path
    configs: Path

    @property
    def config(self) -> Path:
        return self.configs / "config.py"

    def train(self, work_dir: Path, *more: object, data: Path | None = None) -> list[object]:
        """Arguments of the small training with HL."""
        place = ["--data-root", data] if data else []
        return [self.config, "--hl", "--work-dir", work_dir, *place, *more]

    def u2pl(self, work_dir: Path, *more: object, data: Path | None = None) -> list[object]:
        """Arguments of the small training of U²PL."""
        return ["--data", "camvid", "--data-root", data or self.camvid, "--config",
                self.configs / "settings.yaml", "--work-dir", work_dir, *more]  # fmt: skip

    def domain(self, work_dir: Path, *more: object, data: Path | None = None) -> list[object]:
        """Arguments of the small training for domain generalization."""
        return ["--source", "gtav", "--data-root", f"gtav={data or self.gtav}", "--config",
                self.configs / "domain.py", "--work-dir", work_dir, "--max-iters", 6, *more,
                "--cfg-options", "train_dataloader.batch_size=2", *_HERE]  # fmt: skip


_HERE = [
    f"{loader}_dataloader.{key}"
    for loader in ("train", "val")
    for key in ("num_workers=0", "persistent_workers=False")
] + [
    "train_cfg.val_interval=3",
    "default_hooks.checkpoint.interval=2",
    "model.data_preprocessor.size=(33,49)",
    "train_dataloader.dataset.pipeline.2.scale=(96,48)",
    "train_dataloader.dataset.pipeline.3.crop_size=(33,49)",
    "val_dataloader.dataset.pipeline.1.scale=(96,48)",
]


def below(folder: Path) -> World:
    """Where all of it will be."""
    return World(folder / "camvid", folder / "gtav", folder / "configs")


def draw(world: World, seed: int) -> None:
    """All of it."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", 6), ("val", 2)):
        for part in ("images", "labels"):
            (world.camvid / part / split).mkdir(parents=True)
        for i in range(count):
            label = np.kron(rng.integers(0, 12, (3, 4)), np.ones((12, 12))).astype(np.uint8)
            image = (label[..., None] * 20 + rng.integers(0, 30, (36, 48, 3))).astype(np.uint8)
            cv2.imwrite(str(world.camvid / f"images/{split}/{i}.jpg"), image)
            cv2.imwrite(str(world.camvid / f"labels/{split}/{i}.png"), label)
    streets.write_gtav(world.gtav, num_train=4, num_val=2, size=(96, 48), seed=seed, workers=1)
    world.configs.mkdir()
    whole = _MODEL + _LOADERS.replace("ROOT", repr(str(world.camvid)))
    world.config.write_text(whole.replace("CLASSES", "11"))
    # The source brings loaders of its own; the network's config must have some to be replaced.
    (world.configs / "domain.py").write_text(whole.replace("CLASSES", "19"))
    (world.configs / "net.py").write_text(_MODEL.replace("CLASSES", "11"))
    base = ROOT / "semi_supervised/configs/camvid.yaml"
    (world.configs / "settings.yaml").write_text(_SETTINGS.format(base=base))


def copy_of(source: Path, folder: Path, change: Callable[[Path], None] | None = None) -> Path:
    """A data set that a case may damage."""
    target = folder / "data"
    shutil.copytree(source, target, symlinks=True)
    if change:
        change(target)
    return target
