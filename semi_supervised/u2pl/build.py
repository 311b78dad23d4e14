"""Settings, a split and a data set on disk -> the mmengine config of a run."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

from mmengine.config import Config

from core.arms import Arm
from core.configs import (
    add_import,
    load_config,
    set_data,
    set_data_root,
    walk,
    without_pretrained,
)
from core.convert import why_not
from core.dose import alpha_for
from core.engine.checkpoint import checkpoints_in
from core.errors import CannotConvert, ConfigError
from core.rivals import class_weights
from core.schedule import save_often
from core.weighting import with_weighting
from data import registry
from data.checked import with_checked_samples
from data.splits import Split
from semi_supervised.u2pl.settings import Settings

IMPORTS = ("semi_supervised.u2pl.pairs", "semi_supervised.u2pl.segmentor")


def build_config(
    settings: Settings,
    split: Split,
    root: Path,
    work_dir: Path,
    arm: Arm,
    *,
    weights_file: str | None = None,
    hardness: str | None = None,
    pretrained: bool = True,
    max_iters: int | None = None,
    world_size: int = 1,
) -> Config:
    """What :func:`core.engine.prepare.prepare` takes.

    Args:
        root: folder of the data set.
        work_dir: the split's two lists are written there; mmseg reads them.
        arm: how the main head's loss on the labeled images is weighted; ``sup-only``: those alone.
        weights_file: of ``balanced``: class weights [counted in the labeled images].
        hardness: of ``collected``: the folder of the maps.
        max_iters: in the place of the settings'. If both are 0 or None: ``epochs`` passes over the
            unlabeled images, or over the labeled ones if ``sup_only``, as published.
        world_size: number of processes, each with ``batch_size`` images of either kind.

    Raises:
        CannotConvert: the arm is none of U²PL.
        ConfigError: fewer images of a kind than a batch takes, or too few for BatchNorm; a network
            that U²PL cannot train; checkpoints of a run on other images in the work_dir.
    """
    sup_only = arm.kind.name == "sup-only"
    entry = registry.get(settings.dataset.type)
    data = load_config(entry.config)
    network = load_config(settings.net.config)
    _check_network(settings.net.config, network.get("model"))
    cfg = set_data(network, data, len(entry.classes))
    for module in IMPORTS:
        add_import(cfg, module)
    if not pretrained:
        without_pretrained(cfg)

    batch = settings.dataset.batch_size * world_size
    if batch < 2:
        raise ConfigError(
            "dataset.batch_size is 1 on one device, but a step takes two labeled images or more: "
            "BatchNorm of pooled features has one value an image"
        )
    for name, images in (("labeled", split.labeled), ("unlabeled", split.unlabeled)):
        if len(images) < batch and not (sup_only and name == "unlabeled"):
            raise ConfigError(
                f"{len(images)} {name} images, but a batch takes {batch}: choose a larger part "
                "with --split, or a smaller dataset.batch_size"
            )
    trainer = settings.trainer
    max_iters = max_iters or trainer.max_iters
    if not max_iters:
        shares = [math.ceil(len(x) / world_size) for x in (split.labeled, split.unlabeled)]
        batch_size = settings.dataset.batch_size
        per_epoch = math.ceil(shares[0] / batch_size) if sup_only else shares[1] // batch_size
        max_iters = trainer.epochs * per_epoch
    cfg.train_cfg = dict(
        type="IterBasedTrainLoop",
        max_iters=max_iters,
        val_interval=max(1, max_iters // trainer.evaluations),
    )
    factors = cfg.get("optim_wrapper", {}).get("paramwise_cfg")  # of the network's config
    cfg.optim_wrapper = dict(
        type="OptimWrapper",
        optimizer=dict(type=trainer.optimizer.type, **dataclasses.asdict(trainer.optimizer.kwargs)),
        **(dict(paramwise_cfg=factors) if factors else {}),
    )
    cfg.param_scheduler = [
        dict(
            type="PolyLR",
            power=trainer.lr_scheduler.kwargs.power,
            eta_min=0,
            end=max_iters,
            by_epoch=False,
        )
    ]
    cfg.model.data_preprocessor.update(
        mean=settings.dataset.mean,
        std=settings.dataset.std,
        size=settings.dataset.train.crop.size,
    )
    set_data_root(cfg, root)
    save_often(cfg)
    if any(settings.dataset.test_size):
        _fit_test_images(cfg, settings.dataset.test_size)
    labeled, unlabeled = _datasets(cfg, settings, split, work_dir)
    student = None
    if arm.weighting != "ce":
        labeled, student = _weighted(cfg, labeled, arm, weights_file, hardness)
    _set_loader(cfg, settings, labeled, None if sup_only else unlabeled)
    _set_model(cfg, settings, student, sup_only)
    return cfg


def fit_alpha(cfg: Config, arm: Arm) -> None:
    """In place: ``alpha=auto`` by the rates and the schedule that ``cfg`` has by now."""
    if isinstance(arm.settings.get("alpha"), str):
        cfg.model.student.hl.alpha = alpha_for(cfg, arm.settings["alpha"])


def _weighted(
    cfg: Config, labeled: dict, arm: Arm, weights_file: str | None, hardness: str | None
) -> tuple[dict, dict]:
    """The labeled images and the student's network of an arm."""
    if arm.weighting == "ohem":
        raise CannotConvert(
            "ohem: it is U²PL's own loss of the labeled images (criterion.type), so the baseline; "
            "without it: --no-hl --set criterion.type=ce"
        )
    alone = Config(dict(model=cfg.model, data_root=cfg.data_root, crop_size=cfg.crop_size,
                        train_dataloader=dict(dataset=labeled), train_cfg=cfg.train_cfg,
                        optim_wrapper=cfg.optim_wrapper, param_scheduler=cfg.param_scheduler,
                        custom_imports=cfg.custom_imports))  # fmt: skip
    weights = (
        class_weights.of(with_checked_samples(alone), weights_file)
        if arm.weighting == "balanced"
        else None
    )
    alone = with_weighting(alone, arm, class_weight=weights, hardness=hardness)
    cfg.custom_imports, cfg.optim_wrapper = alone.custom_imports, alone.optim_wrapper
    return alone.train_dataloader.dataset, alone.model


def _check_network(name: str, model: dict | None) -> None:
    """U²PL computes one cross-entropy a head, itself, from what the head's ``forward`` gives."""
    kind = (model or {}).get("type")
    if kind != "EncoderDecoder" or not isinstance(model.get("decode_head"), dict):
        raise ConfigError(
            f"{name}: model.type is {kind!r}; U²PL trains an EncoderDecoder with one decode_head"
        )
    aux = model.get("auxiliary_head") or []
    classes = model.decode_head.get("num_classes")
    for where, heads in (("decode_head", [model.decode_head]), ("auxiliary_head", aux)):
        for head in heads if isinstance(heads, (list, tuple)) else [heads]:
            reason = why_not(head)
            if head.get("num_classes") != classes:
                reason = f"num_classes is {head.get('num_classes')}, decode_head's is {classes}"
            if reason:
                raise ConfigError(f"{name}: {where} ({head.type}): {reason}")


def _set_model(cfg: Config, settings: Settings, student: dict | None, sup_only: bool) -> None:
    segmentor = cfg.model
    cfg.model = dict(
        type="U2PL",
        segmentor=segmentor,
        settings=dataclasses.asdict(settings),
        student=student,
        sup_only=sup_only,
        data_preprocessor=dict(segmentor.data_preprocessor, type="PairPreProcessor"),
    )
    if settings.as_released.padding_is_class_0:
        cfg.model.data_preprocessor["labeled_pad_val"] = 0
    if not sup_only:
        cfg.custom_hooks = [*(cfg.get("custom_hooks") or []), dict(type="TeacherHook")]


def _datasets(cfg: Config, settings: Settings, split: Split, work_dir: Path) -> tuple[dict, dict]:
    """The data config's training images in the published transforms, by the lists of the split."""
    source = cfg.train_dataloader.dataset
    scale = next(t["scale"] for t in source.pipeline if t["type"] == "RandomResize")
    labeled_list, unlabeled_list = (str(path.resolve()) for path in _write(split, work_dir))
    labeled = dict(
        source, ann_file=labeled_list, pipeline=pipeline(settings, scale, "LoadAnnotations")
    )
    unlabeled = dict(
        source,
        ann_file=unlabeled_list,
        pipeline=pipeline(settings, scale, "NoAnnotations"),
        data_prefix=dict(img_path=source.data_prefix.img_path),  # no label is looked for
    )
    return labeled, unlabeled


def _fit_test_images(cfg: Config, size: tuple[int, int]) -> None:
    """In place: validation images are fitted into (width, height)."""

    def change(step: dict) -> None:
        if step.get("type") == "Resize":
            step["scale"] = size

    walk([cfg.val_dataloader, cfg.test_dataloader], change)


def _set_loader(cfg: Config, settings: Settings, labeled: dict, unlabeled: dict | None) -> None:
    """Pairs of labeled and unlabeled images, or labeled ones alone."""
    if unlabeled is None:
        dataset, sampler = labeled, "InfiniteSampler"
    else:
        dataset = dict(type="PairDataset", labeled=labeled, unlabeled=unlabeled)
        sampler = "PairSampler"
    cfg.train_dataloader = dict(
        batch_size=settings.dataset.batch_size,
        num_workers=settings.dataset.workers,
        persistent_workers=settings.dataset.workers > 0,
        sampler=dict(type=sampler, shuffle=True),
        dataset=dataset,
    )


def _write(split: Split, work_dir: Path) -> tuple[Path, Path]:
    """The two lists, unless a run on other images is to go on in ``work_dir``."""
    for name, images in (("labeled", split.labeled), ("unlabeled", split.unlabeled)):
        path, text = Path(work_dir, f"{name}.txt"), "".join(f"{image}\n" for image in images)
        other = path.is_file() and path.read_bytes() != text.encode()
        if other and checkpoints_in(work_dir):
            raise ConfigError(
                f"{work_dir}: its run used other {name} images ({path.name}): name another "
                "--work-dir, or begin a new run from its weights: --fork in the place of --resume"
            )
    return split.write(work_dir)


def pipeline(settings: Settings, scale: tuple[int, int], load: str) -> list[dict]:
    """The published transforms: half of the images are shrunk and half enlarged, within
    ``rand_resize``; a crop, a flip. ``load`` names the transform that gives the label."""
    train = settings.dataset.train
    low, high = train.rand_resize
    resizes = [
        [dict(type="RandomResize", scale=scale, ratio_range=part, keep_ratio=True)]
        for part in ((low, min(1.0, high)), (max(1.0, low), high))
        if part[0] <= part[1]
    ]
    flip = [dict(type="RandomFlip", prob=0.5)] if train.flip else []
    return [
        dict(type="LoadImageFromFile"),
        dict(type=load),
        dict(type="RandomChoice", transforms=resizes) if len(resizes) == 2 else resizes[0][0],
        dict(type="RandomCrop", crop_size=tuple(train.crop.size)),
        *flip,
        dict(type="PackSegInputs"),
    ]
