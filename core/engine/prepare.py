"""A config -> the config of a run of ours, step by step; what is changed is named in it."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from mmengine.config import Config

from core import mmfixes
from core.configs import changes, fit_norm, import_custom, walk
from core.engine.launch import world_size
from core.errors import ConfigError

BACKENDS = ("LocalVisBackend", "TensorboardVisBackend")


def prepare(
    cfg: Config,
    *,
    work_dir: str | Path,
    title: str = "",
    seed: int | None = None,
    amp: bool = False,
    launcher: str = "none",
    resume: bool = False,
    verbose: bool = False,
) -> Config:
    """A copy of ``cfg`` with all that every run of ours has: see :mod:`core.engine`.

    ``changed_by_engine`` of the result names every setting of ``cfg`` that is another one now, old
    and new value; what ``cfg`` sets and a run of ours does not need otherwise is kept.

    Args:
        seed: of weights and samples; None: ``cfg.randomness.seed``, or 0.
        title: begins the lines of progress.
        launcher: how the processes were started.

    Raises:
        ConfigError: ``amp`` without a GPU; a ``seed`` beside another one in ``cfg``; a custom
            import that fails.
    """
    given = cfg
    cfg = mmfixes.unformatted(cfg)
    _import(cfg)
    _name(cfg, work_dir, launcher, resume, verbose)
    cfg.randomness = dict(cfg.get("randomness") or {}, seed=seed_of(cfg, seed))
    _fit_machine(cfg, amp)
    _read_samples(cfg)
    _measure(cfg)
    _save(cfg)
    _watch(cfg, title)
    found = {key: pair for key, pair in changes(given, cfg).items() if pair[0] is not None}
    cfg.changed_by_engine = [f"{key}: {old!r} -> {new!r}" for key, (old, new) in found.items()]
    return cfg


def _import(cfg: Config) -> None:
    """mmseg, and what the config asks for: mmengine does it for files only."""
    import_custom(cfg)
    cfg.default_scope = "mmseg"


def _name(cfg: Config, work_dir: str | Path, launcher: str, resume: bool, verbose: bool) -> None:
    cfg.work_dir, cfg.verbose = str(work_dir), verbose
    cfg.launcher = launcher  # of this start, whatever the one before was
    cfg.resume = resume or bool(cfg.get("resume"))
    os.environ.setdefault("LOCAL_RANK", "0")


def seed_of(cfg: Config, seed: int | None) -> int:
    """``seed``, or that of the config, or 0.

    Raises:
        ConfigError: both are there and differ.
    """
    own = (cfg.get("randomness") or {}).get("seed")
    if None not in (seed, own) and seed != own:
        raise ConfigError(
            f"--seed is {seed}, but the config says randomness.seed={own}: leave one of the two "
            f"out, or override it: --cfg-options randomness.seed={seed}"
        )
    return next((value for value in (seed, own) if value is not None), 0)


def _fit_machine(cfg: Config, amp: bool) -> None:
    """Normalisation, communication and precision for the devices that are here."""
    gpu = torch.cuda.is_available()
    fit_norm(cfg, synchronized=world_size(cfg.launcher) > 1 and gpu)
    cfg.setdefault("env_cfg", {})
    if not gpu:
        cfg.env_cfg["dist_cfg"] = dict(backend="gloo")
    if amp and not gpu:
        raise ConfigError("--amp needs a GPU, none is here; leave it out")
    wrapper = cfg.get("optim_wrapper")
    if amp:
        wrapper.update(type="AmpOptimWrapper", loss_scale="dynamic")
    elif not gpu and wrapper and wrapper.get("type") == "AmpOptimWrapper":
        wrapper.type = "OptimWrapper"  # a config that asks for mixed precision itself
        for key in ("loss_scale", "dtype", "use_fsdp"):
            wrapper.pop(key, None)


def _read_samples(cfg: Config) -> None:
    """Samples that a resume repeats."""
    loader = cfg.get("train_dataloader")
    if loader and loader.sampler.type == "InfiniteSampler":
        loader.sampler = dict(loader.sampler, type="PositionSampler")
        loader.dataset = dict(type="SeededDataset", dataset=loader.dataset)


def _measure(cfg: Config) -> None:
    def change(node: dict) -> None:
        if node.get("type") == "IoUMetric":
            node["type"] = "ClassIoUMetric"

    for key in ("val_evaluator", "test_evaluator"):
        walk(cfg.get(key), change)


def _save(cfg: Config) -> None:
    """Our checkpoint hook in the place of mmengine's, whose other settings stay."""
    hooks = cfg.setdefault("default_hooks", {})
    old = dict(hooks.get("checkpoint") or {})
    for key in ("type", "by_epoch", "backend_args"):
        old.pop(key, None)
    interval = cfg.train_cfg.get("val_interval", 1000) if cfg.get("train_dataloader") else 1000
    old.setdefault("interval", interval)
    old.setdefault("max_keep_ckpts", 2)
    hooks["checkpoint"] = dict(old, type="ResumableCheckpointHook")


def _watch(cfg: Config, title: str) -> None:
    """Logs by iteration, cost, progress, stop signals, panels; beside what the config has."""
    logger = cfg.default_hooks.setdefault("logger", dict(type="LoggerHook", interval=50))
    logger["log_metric_by_epoch"] = False
    cfg.log_processor = dict(cfg.get("log_processor") or {}, by_epoch=False)
    ours = [
        dict(type="FiniteLossHook"),
        dict(type="CostHook"),
        dict(type="ProgressHook", title=title),
        dict(type="StopHook"),
    ]
    if cfg.get("train_dataloader") and cfg.get("val_dataloader"):
        third = cfg.train_cfg.get("max_iters", 0) // 3
        ours.append(dict(type="PanelHook", interval=min(500, max(1, third))))
    # The config of a checkpoint has been through here before.
    names = {hook["type"] for hook in ours}
    own = [hook for hook in cfg.get("custom_hooks") or [] if hook["type"] not in names]
    cfg.custom_hooks = [*own, *ours]
    visualizer = dict(cfg.get("visualizer") or dict(type="SegLocalVisualizer", name="visualizer"))
    own = list(visualizer.get("vis_backends") or cfg.get("vis_backends") or [])
    missing = [name for name in BACKENDS if name not in [backend["type"] for backend in own]]
    cfg.vis_backends = [*own, *(dict(type=name) for name in missing)]
    cfg.visualizer = dict(visualizer, vis_backends=cfg.vis_backends)
