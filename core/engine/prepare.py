"""A config -> the config of a run of ours; what is changed is declared here, and named in it."""

from __future__ import annotations

import math
import numbers
import os
from pathlib import Path

import torch
from mmengine.config import Config

from core import mmfixes
from core.configs import changes, fit_norm, import_custom, walk
from core.engine.cli import SEEDS, note
from core.engine.launch import world_size
from core.errors import ConfigError

# All that prepare() changes of a config, by dotted key; what else a run has is no part of it
# (core.engine.additions). Patterns of fnmatch, which pass dots.
DECLARED = (
    "changed_by_engine*",
    "custom_imports.imports*",  # modules that have moved
    "default_scope",
    "launcher",
    "load_from",  # a fork
    "model.*norm_cfg.type",  # SyncBN on several GPUs, BN on one device
    "optim_wrapper.dtype",  # mixed precision: --amp, or none without a GPU
    "optim_wrapper.loss_scale",
    "optim_wrapper.type",
    "optim_wrapper.use_fsdp",
    "randomness.seed",
    "resume",
    "title",
    "verbose",
    "work_dir",
)

# Of torch's optimizers; of betas each.
_NUMBERS = ("lr", "momentum", "weight_decay", "dampening", "eps", "alpha", "rho", "betas")


def prepare(
    cfg: Config,
    *,
    work_dir: str | Path,
    title: str = "",
    seed: int | None = None,
    amp: bool = False,
    launcher: str = "none",
    resume: bool = False,
    load_from: str | None = None,
    verbose: bool = False,
) -> Config:
    """A copy of ``cfg`` for this start of a run on this machine.

    Only the keys of :data:`DECLARED` change. ``changed_by_engine`` of the result names every
    setting of ``cfg`` that is another one now, old and new value.

    Args:
        seed: of weights and samples; None: ``cfg.randomness.seed``, or 0.
        title: begins the lines of progress.
        launcher: how the processes were started.
        load_from: checkpoint of a fork; None: ``cfg.load_from``.

    Raises:
        ConfigError: no model; ``amp`` without a GPU; a ``seed`` out of range or beside another one
            in ``cfg``; weights to begin with beside others in ``cfg``; a custom import that fails;
            a setting of the optimizer that is no finite number; class weights that are not one
            for each class.
    """
    given = cfg
    if not isinstance(cfg.get("model"), dict) or "type" not in cfg.model:
        raise ConfigError("the config has no model (model=dict(type=…))")
    cfg = mmfixes.unformatted(cfg)
    _import(cfg)
    cfg.title = title
    _name(cfg, work_dir, launcher, resume, verbose)
    if load_from:
        if cfg.get("load_from"):
            raise ConfigError(f"--fork begins with {load_from}, but load_from says "
                              f"{cfg.load_from}: leave one of the two out")  # fmt: skip
        cfg.load_from = load_from
    cfg.randomness = dict(cfg.get("randomness") or {}, seed=seed_of(cfg, seed))
    _check_optimizer(cfg)
    _check_class_weights(cfg)
    _fit_machine(cfg, amp)
    _tell_odd_padding(cfg)
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
        ConfigError: both are there and differ; or it is out of range.
    """
    own = (cfg.get("randomness") or {}).get("seed")
    if own is not None and (not isinstance(own, int) or own not in SEEDS):
        raise ConfigError(f"randomness.seed={own!r}: give a whole number, 0 to {SEEDS[-1]}")
    if None not in (seed, own) and seed != own:
        raise ConfigError(
            f"--seed is {seed}, but the config says randomness.seed={own}: leave one of the two "
            f"out, or override it: --cfg-options randomness.seed={seed}"
        )
    return next((value for value in (seed, own) if value is not None), 0)


def _check_optimizer(cfg: Config) -> None:
    """What torch takes as it comes, and multiplies the weights by."""

    def check(node: dict, where: str) -> None:
        for key, value in node.items():
            name = f"{where}.{key}"
            if isinstance(value, dict):
                check(value, name)
            for x in value if isinstance(value, (list, tuple)) else [value]:
                odd = isinstance(x, float) and not math.isfinite(x) and key != "norm_type"
                if odd or (key in _NUMBERS and not _is_number(x)):
                    raise ConfigError(f"{name}={value!r}: give a finite number")

    wrapper = cfg.get("optim_wrapper")
    if isinstance(wrapper, dict):
        check(wrapper, "optim_wrapper")


def _is_number(x: object) -> bool:
    return isinstance(x, numbers.Real) and not isinstance(x, bool)  # NumPy's are


def _check_class_weights(cfg: Config) -> None:
    """Lists of them; a file's are mmseg's to read."""

    def change(node: dict) -> None:
        losses, classes = node.get("loss_decode"), node.get("num_classes")
        for loss in losses if isinstance(losses, (list, tuple)) else [losses]:
            weight = loss.get("class_weight") if isinstance(loss, dict) else None
            if not isinstance(weight, (list, tuple)) or not classes:
                continue
            # A head with a list of losses may have one that counts otherwise.
            if losses is loss and len(weight) != (node.get("out_channels") or classes):
                raise ConfigError(
                    f"{node.get('type')}.loss_decode.class_weight: {len(weight)} class weights "
                    f"for {classes} classes; give one for each"
                )
            if not all(_is_number(x) and 0 <= x < math.inf for x in weight):
                raise ConfigError(f"{node.get('type')}.loss_decode.class_weight={weight}: give "
                                  "numbers >= 0")  # fmt: skip

    walk(cfg.model, change)


def _tell_odd_padding(cfg: Config) -> None:
    """An image smaller than the crop is padded, and its label with ``seg_pad_val``."""
    head = cfg.model.get("decode_head")
    head = head[-1] if isinstance(head, (list, tuple)) and head else head
    padding = cfg.model.get("data_preprocessor")
    if not isinstance(head, dict) or not isinstance(padding, dict) or "size" not in padding:
        return
    ignored, value = head.get("ignore_index", 255), padding.get("seg_pad_val", 255)
    if ignored != value and cfg.get("train_dataloader"):
        note(
            f"labels of images smaller than the crop are padded with {value} (model."
            f"data_preprocessor.seg_pad_val), but decode_head ignores {ignored}: set it to that"
        )


def _fit_machine(cfg: Config, amp: bool) -> None:
    """Normalisation, communication and precision for the devices that are here."""
    gpu = torch.cuda.is_available()
    fit_norm(cfg, synchronized=world_size(cfg.launcher) > 1 and gpu)
    if amp and not gpu:
        raise ConfigError("--amp needs a GPU, none is here; leave it out")
    wrapper = cfg.get("optim_wrapper")
    if amp:
        wrapper.type = "AmpOptimWrapper"
        wrapper.setdefault("loss_scale", "dynamic")
    elif not gpu and wrapper and wrapper.get("type") == "AmpOptimWrapper":
        note("mixed precision needs a GPU, none is here: optim_wrapper is an OptimWrapper")
        wrapper.type = "OptimWrapper"
        for key in ("loss_scale", "dtype", "use_fsdp"):
            wrapper.pop(key, None)
