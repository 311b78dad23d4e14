"""A config's schedule, shortened or lengthened as a whole; and when checkpoints are written.

A training of ours writes a checkpoint whenever a validation is due, every :data:`SAVED_EVERY`
iterations, and at its end; an interval that a user's config or ``--cfg-options
default_hooks.checkpoint.interval=N`` sets is kept in its place.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmengine.config import Config

from core.errors import ConfigError

# Optimizers that divide a gradient by its size: their step does not grow with it.
ADAPTIVE = ("Adam", "AdamW", "Adamax", "NAdam", "RAdam")
# Iterations between evaluations of a shortened schedule, at least.
SELDOM = 50
# Iterations between checkpoints, at most: what a kill can cost is minutes on a GPU, and writing one
# is far below 1 % of that.
SAVED_EVERY = 1000


def save_often(cfg: Config) -> None:
    """In place: of a config of ours, checkpoints are written as the module says, whatever the
    network's base config does, and two are enough unless it says otherwise."""
    hooks = cfg.setdefault("default_hooks", {})
    hooks.setdefault("checkpoint", dict(type="CheckpointHook", by_epoch=False))
    hooks["checkpoint"].pop("interval", None)
    hooks["checkpoint"].setdefault("max_keep_ckpts", 2)


def scale_schedule(cfg: Config, max_iters: int) -> None:
    """In place: train ``max_iters`` iterations; warm-up, decay, evaluations and checkpoints keep
    their shares, but none comes more often than every :data:`SELDOM` iterations: a short try is
    evaluated and saved once, at its end.

    Raises:
        ConfigError: the schedule counts epochs.
    """
    old = (cfg.get("train_cfg") or {}).get("max_iters")
    if old is None:
        raise ConfigError(
            "--max-iters needs train_cfg.max_iters; a schedule in epochs is shortened by "
            "--cfg-options train_cfg.max_epochs=N"
        )
    for scheduler in schedulers(cfg):
        _scale(scheduler, max_iters / old)
        end = scheduler.get("end")
        scheduler["end"] = max(max_iters if end is None else end, scheduler.get("begin", 0) + 1)
    checkpoint = (cfg.get("default_hooks") or {}).get("checkpoint") or {}
    seldom = min(max_iters, SELDOM)
    for part, key in ((cfg.train_cfg, "val_interval"), (checkpoint, "interval")):
        if part.get(key, -1) > 0:
            part[key] = max(min(part[key], seldom), round(part[key] * max_iters / old))
    if cfg.train_cfg.get("dynamic_intervals"):
        cfg.train_cfg.dynamic_intervals = [
            tuple(max(1, round(x * max_iters / old)) for x in pair)
            for pair in cfg.train_cfg.dynamic_intervals
        ]
    for part, key in ((cfg.train_cfg, "val_begin"), (checkpoint, "save_begin")):
        if part.get(key):
            part[key] = round(part[key] * max_iters / old)
    cfg.train_cfg.max_iters = max_iters


def _scale(scheduler: dict, factor: float) -> None:
    """In place: the lengths of a scheduler, whatever they are called."""
    for key in ("begin", "end", "T_max", "step_size", "total_steps"):
        if scheduler.get(key) is not None:
            least = 1 if key in ("step_size", "total_steps") else 0
            scheduler[key] = max(least, round(scheduler[key] * factor))
    for key in ("milestones", "periods"):
        if scheduler.get(key) is not None:
            scheduler[key] = [max(1, round(step * factor)) for step in scheduler[key]]
    if str(scheduler.get("type", "")).startswith("Exponential"):
        scheduler["gamma"] = scheduler["gamma"] ** (1 / factor)  # a step


def schedulers(cfg: Config) -> Iterator[dict]:
    """The learning-rate and other schedulers: ``param_scheduler`` is one, a list, or several lists
    by optimizer."""
    node = cfg.get("param_scheduler") or []
    parts = [node] if "type" in node or not isinstance(node, dict) else list(node.values())
    for part in parts:
        yield from part if isinstance(part, (list, tuple)) else [part]
