"""Train or test a prepared config, and leave what a report needs: ``result.json`` and pictures."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmcv
import mmengine
import mmseg
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_main_process
from torch.utils.data import DataLoader

import core.engine.metrics
import core.engine.watching  # noqa: F401  (both register what core.engine.additions names)
from core import result
from core.dose import given
from core.engine.checkpoint import checkpoints_in, iteration_of, load_checkpoint, weights_revision
from core.engine.cli import note
from core.engine.measuring import MOST, load_weights, measure
from core.engine.panels import Pictures
from core.engine.resuming import unwrapped
from core.engine.runner import HLRunner
from core.engine.saving import ResumableCheckpointHook
from core.engine.stopping import alone
from core.errors import ConfigError
from core.measures import PUBLISHED_DOSE
from core.result import Cost, Part, Result, Strength, Weights
from core.segmentors import HL_HEAD
from core.typed import Misfit, fit

Reading = Callable[[Config], Config]


@alone
def train(
    cfg: Config, run: Result, *, pictures: int = 4, reading: Reading | None = None
) -> Result | None:
    """Train ``cfg`` (from :func:`core.engine.prepare.prepare`) to its end.

    Writes ``result.json`` (metrics of the last iteration and the best mIoU, curves, cost, code,
    weights) and ``pictures/`` into the work_dir.

    Args:
        run: what the report calls this run: network, group, arm, seed, ...
        pictures: number of validation images to draw.
        reading: see :meth:`core.engine.runner.HLRunner.from_cfg`.

    Returns:
        What was written to ``result.json``; None on other processes than the first.

    Raises:
        ConfigError: the work_dir holds checkpoints and ``cfg.resume`` is off.
    """
    result.this_code()  # that of the start, whatever is checked out meanwhile
    work_dir = Path(cfg.work_dir)
    found = checkpoints_in(work_dir)
    if found and not cfg.resume:
        raise ConfigError(
            f"{work_dir} holds checkpoints up to {found[0].name}: go on with --resume, if this is "
            "the same run; else name another --work-dir, or begin from those weights with --fork"
        )
    runner = HLRunner.from_cfg(cfg, reading)
    runner.named = dict(arm=run.arm, data=run.data)
    if cfg.get("train_dataloader") is None or cfg.get("train_cfg") is None:
        raise ConfigError("the config has no train_dataloader, or no train_cfg: nothing to train")
    run = dataclasses.replace(run, strength=given(cfg))
    _tell_dose(runner, run.strength)
    runner.train()
    if start := runner.identity["load_from"]:
        run = dataclasses.replace(run, facts=dict(run.facts, load_from=start))
    done = runner.iter
    if "max_epochs" in cfg.train_cfg or done < runner.max_iters:
        length = len(runner.train_dataloader)
        run = dataclasses.replace(run, strength=given(cfg, length, done))
        _tell_dose(runner, run.strength)
    if done < runner.max_iters:  # a hook of the config has stopped it
        run = dataclasses.replace(run, facts=dict(run.facts, stopped_early=True))
        hook = next(h for h in runner.hooks if isinstance(h, ResumableCheckpointHook))
        hook.save_now(runner, done)
    # The first process reads the log and all do as it says: validation is a common effort.
    logged = [read_metrics(runner.work_dir, done)]
    broadcast_object_list(logged)
    metrics = logged[0]
    if not metrics and cfg.get("val_dataloader"):  # none was due at the last iteration
        metrics = {key: float(value) for key, value in runner.val_loop.run().items()}
    if not is_main_process():
        return None
    curves = read_curves(work_dir)
    found = [metrics["mIoU"] / 100] if metrics else []
    best = max([*found, *(value for _, value in curves.get("mIoU", []))], default=None)
    params = sum(p.numel() for p in runner.model.parameters() if p.requires_grad)
    cost = runner.message_hub.runtime_info.get("cost") or {}
    run = dataclasses.replace(
        run,
        iterations=done,
        metrics=dataclasses.replace(run.metrics, best_miou=best),
        cost=Cost(**cost, num_params=params),
        weights=_last_weights(runner),
        curves=curves,
    )
    loader = runner.val_dataloader if metrics else runner.train_dataloader
    return _finish(runner, loader, metrics, run, pictures if metrics else 0)


def evaluate(
    cfg: Config,
    checkpoint: str | Path,
    run: Result,
    *,
    pictures: int = 4,
    reading: Reading | None = None,
) -> Result | None:
    """Test a checkpoint and leave ``result.json`` and ``pictures/`` in the work_dir, as
    :func:`train` does.

    Args:
        cfg: from :func:`core.engine.prepare.prepare`; its test loader is what is evaluated on.
        checkpoint: of ours, or exported.
        run: what the report calls this run: network, group, arm, seed, ...; dose of the training.
        pictures: number of images to draw.
        reading: see :meth:`core.engine.runner.HLRunner.from_cfg`.

    Raises:
        CheckpointError: the file is missing or damaged.
        ConfigError: its weights do not fit the config's model.
    """
    result.this_code()
    runner, weights = _load(cfg, checkpoint, reading)
    metrics = {key: float(value) for key, value in runner.test().items()}
    if not is_main_process():
        return None
    run = dataclasses.replace(run, weights=weights)
    return _finish(runner, runner.test_dataloader, metrics, run, pictures)


def _finish(
    runner: HLRunner, loader: DataLoader, metrics: dict, run: Result, pictures: int
) -> Result:
    """Metrics on a data set, in percent, as ``result.json`` with shares, what is measured beside
    them, and pictures of it."""
    work_dir, dataset = Path(runner.work_dir), loader.dataset
    miou = metrics["mIoU"] / 100 if metrics else None  # none without validation
    strength, parts = _measured(runner, loader) if metrics else (None, {})
    if run.strength and strength:
        of_training = dict(dose=run.strength.dose, published=run.strength.published)
        strength = dataclasses.replace(strength, **of_training)
    stems = _draw(runner, dataset, work_dir / "pictures", pictures)
    iou = {k.removeprefix("IoU/"): _share(v) for k, v in metrics.items() if k.startswith("IoU/")}
    more = {k: metrics[k] for k in ("mDice", "mFscore") if k in metrics}
    run = dataclasses.replace(
        run,
        metrics=dataclasses.replace(run.metrics, miou=miou, iou=iou, more=more, parts=parts),
        strength=strength or run.strength,
        code=dataclasses.replace(result.this_code(), stack=versions()),
        device=device_name(),
        date=datetime.date.today().isoformat(),
        classes=tuple(map(str, dataset.metainfo.get("classes") or ())),
        palette=_palette(dataset.metainfo.get("palette")),
        pictures=tuple(stems),
    )
    result.write(run, work_dir)
    return run


def _tell_dose(runner: HLRunner, given: Strength | None) -> None:
    if not given or given.dose is None:
        return
    beside = f"a dose of {given.dose:.3g}, published: {given.published:.2g}"
    if given.published == PUBLISHED_DOSE["Adam"]:
        runner.tell(f"alpha cancels under this optimizer: its rates alone give the HL branch "
                    f"{beside}"
                    "; custom_keys.hl_head.lr_mult gives it others")  # fmt: skip
        return
    told = f"alpha {given.alpha:.4g} gives the HL branch {beside}"
    if given.alpha > 1:
        told += ("; so short a schedule needs an alpha above all that the paper tried (the "
                 "branch's loss is below 0, and may outweigh the rest)")  # fmt: skip
    if (runner.cfg.get("optim_wrapper") or {}).get("clip_grad"):
        told += "; clip_grad may cut it, and the segmentation head's steps with it"
    runner.tell(told)


def _measured(runner: HLRunner, loader: DataLoader) -> tuple[Strength | None, dict[str, Part]]:
    """Strength of the map and parts of the pixels; a run is no worse without them."""
    if (images := len(loader.dataset)) > MOST:
        runner.tell(f"strength of the map and parts of the pixels: of {MOST} of {images:,} images")
    try:
        return measure(runner.model, loader.dataset, MOST, workers=loader.num_workers)
    except Exception as error:
        runner.logger.warning("not measured", exc_info=error)
        words = " ".join(str(error).split())
        runner.tell("strength of the map and parts of the pixels are not measured: "
                    f"{type(error).__name__}: {words}")  # fmt: skip
        return None, {}


def _draw(runner: HLRunner, dataset: Any, folder: Path, count: int) -> list[str]:
    """Stems of the pictures; a run is no worse without them."""
    try:
        return Pictures(dataset, runner.model).save(folder, count) if count else []
    except Exception as error:
        runner.logger.warning("no pictures", exc_info=error)
        runner.tell(f"no pictures are drawn: {type(error).__name__}: {error}")
        return []


def _last_weights(runner: HLRunner) -> Weights:
    """Of the checkpoint of the last iteration, which hooks may have given other weights than the
    model's (those that were validated): the model gets them. Of the model where none was saved."""
    found = checkpoints_in(runner.work_dir)
    last = [path for path in found if iteration_of(path) == runner.iter]
    if last:
        state, file = load_checkpoint(last[0])["state_dict"], last[0].name
        unwrapped(runner.model).load_state_dict(state, strict=False)
    else:
        state, file = unwrapped(runner.model).state_dict(), None
    return Weights(file, runner.iter, _revision(state))


def _revision(state: dict) -> str:
    """Of the weights that predict: an exported checkpoint has that of its training."""
    return weights_revision({k: v for k, v in state.items() if not k.startswith(f"{HL_HEAD}.")})


def test(cfg: Config, checkpoint: str | Path, reading: Reading | None = None) -> dict[str, float]:
    """Metrics of a checkpoint on the test loader, in percent.

    Raises:
        CheckpointError: the file is missing or damaged.
        ConfigError: its weights do not fit the config's model.
    """
    return load_runner(cfg, checkpoint, reading).test()


def load_runner(cfg: Config, checkpoint: str | Path, reading: Reading | None = None) -> HLRunner:
    """The runner of a config with the weights of a checkpoint.

    Raises:
        CheckpointError: the file is missing or damaged.
        ConfigError: its weights do not fit the config's model.
    """
    return _load(cfg, checkpoint, reading)[0]


def _load(cfg: Config, checkpoint: str | Path, reading: Reading | None) -> tuple[HLRunner, Weights]:
    if cfg.get("test_dataloader") is None or cfg.get("test_evaluator") is None:
        raise ConfigError("the config has no test_dataloader, or no test_evaluator: nothing to "
                          "test on")  # fmt: skip
    content = load_checkpoint(checkpoint)
    state = content["state_dict"]
    runner = HLRunner.from_cfg(cfg, reading)
    model = unwrapped(runner.model)
    if any(
        key.startswith(("teacher.", "student.")) for key in state.keys() - model.state_dict().keys()
    ):
        raise ConfigError(
            f"{checkpoint} holds a teacher and a student: test what core.export makes of it, "
            f"python -m core.export {checkpoint} plain.pth"
        )
    load_weights(model, state, checkpoint)
    runner._has_loaded = True
    iteration = (content.get("meta") or {}).get("iter")
    return runner, Weights(Path(checkpoint).name, iteration, _revision(state))


def read_metrics(work_dir: str | Path, step: int) -> dict[str, float]:
    """Validation metrics logged at ``step``, {} if there are none."""
    entries = [e for e in _scalars(Path(work_dir))[0] if e["step"] == step and "mIoU" in e]
    return entries[-1] if entries else {}


def read_curves(work_dir: Path) -> dict[str, list[list[float]]]:
    """Logged scalars as ``{name: [[iteration, value], ...]}``, over all launches of a run; those
    that are finite. Damaged lines are told.

    mIoU is 0-1, as in the rest of ``result.json``. A stretch that was trained twice, after a kill,
    counts once: the later launch's.
    """
    entries, damaged = _scalars(work_dir)
    for path, count in damaged.items():
        note(f"{path}: {count} damaged line{'s' * (count > 1)}: what of them is no number is in no "
             "curve")  # fmt: skip
    curves: dict[str, dict[int, float]] = {}
    for entry in entries:
        for key, value in entry.items():
            name = key.split(".")[-1] if key.startswith("decode.") else key
            if name in ("step", "iter", "time", "data_time", "memory") or name.startswith("IoU/"):
                continue
            if math.isfinite(value):
                curves.setdefault(name, {})[entry["step"]] = value / (100 if name == "mIoU" else 1)
    return {name: sorted([step, value] for step, value in c.items()) for name, c in curves.items()}


def _scalars(work_dir: Path) -> tuple[list[dict[str, float]], dict[Path, int]]:
    """mmengine's scalar log of all launches, in time order, what is a number of it; and by file
    how many lines are damaged, beside the last one if a kill has cut it."""
    entries, damaged = [], {}
    for path in filter(Path.is_file, sorted(work_dir.glob("*/vis_data/scalars.json"))):
        lines = path.read_bytes().splitlines()
        for i, line in enumerate(lines, start=1):
            entry, is_whole = _entry(line)
            entries += [entry] if entry else []
            if not is_whole and (entry or i < len(lines)):
                damaged[path] = damaged.get(path, 0) + 1
    return entries, damaged


def _entry(line: bytes) -> tuple[dict[str, float] | None, bool]:
    """The numbers of a line, and whether it holds nothing else; None without a step."""
    try:
        content = json.loads(line)
        step = fit(int, content["step"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None, False
    numbers = {key: value for key, value in content.items() if _is_scalar(key, value)}
    return numbers | dict(step=step), len(numbers) == len(content)


def _is_scalar(key: str, value: Any) -> bool:
    """Whether it is a number or not finite, which is logged; percent are 0 to 100."""
    try:
        number = fit(float | None, value)
    except Misfit:
        return False
    if number is None:
        return value is not None
    return 0 <= number <= 100 if key == "mIoU" or key.startswith("IoU/") else True


def _palette(given: Any) -> tuple[tuple[int, int, int], ...]:
    """A data set's colours as plain numbers; none, and no legend, where they are no 8-bit RGB."""
    try:
        colors = np.asarray([] if given is None else given)
    except ValueError:  # of different lengths
        return ()
    fine = colors.ndim == 2 and colors.shape[1] == 3 and colors.dtype.kind in "iu"
    if not fine or colors.min() < 0 or colors.max() > 255:
        return ()
    return tuple(map(tuple, colors.tolist()))


def _share(percent: float) -> float | None:
    return None if percent != percent else percent / 100


def device_name() -> str:
    """The device that trains, as a report names it."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} of {os.cpu_count()} threads"


def versions() -> dict[str, str]:
    """Versions of the stack."""
    packages = dict(torch=torch, mmengine=mmengine, mmcv=mmcv, mmsegmentation=mmseg)
    return {name: package.__version__ for name, package in packages.items()}
