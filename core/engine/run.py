"""Train or test a prepared config, and leave what a report needs: ``result.json`` and pictures."""

from __future__ import annotations

import datetime
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import mmcv
import mmengine
import mmseg
import torch
from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.model import is_model_wrapper

import core.engine.hooks
import core.engine.metrics  # noqa: F401  (both register what prepare() names)
from core.engine.checkpoint import checkpoints_in, load_checkpoint, write_atomically
from core.engine.configs import ConfigError
from core.engine.pictures import Pictures
from core.engine.runner import HLRunner
from core.segmentors import HL_HEAD

RESULT = "result.json"


def train(cfg: Config, *, pictures: int = 4, **labels: Any) -> dict[str, Any]:
    """Train ``cfg`` (from :func:`core.engine.configs.prepare`) to its end.

    Writes ``result.json`` (metrics of the last iteration and the best mIoU, curves, cost,
    versions) and ``pictures/`` into the work_dir.

    Args:
        pictures: number of validation images to draw.
        labels: what the report calls this run: model, arm, seed, ...

    Returns:
        What was written to ``result.json``; {} on other processes than the first.

    Raises:
        ConfigError: the work_dir holds checkpoints and ``cfg.resume`` is off.
    """
    work_dir = Path(cfg.work_dir)
    found = checkpoints_in(work_dir)
    if found and not cfg.resume:
        raise ConfigError(
            f"{work_dir} holds checkpoints up to {found[0].name}: go on with --resume, or name "
            "another --work-dir"
        )
    runner = HLRunner.from_cfg(cfg)
    runner.train()
    # The first process reads the log and all do as it says: validation is a common effort.
    logged = [read_metrics(runner.work_dir, runner.max_iters)]
    broadcast_object_list(logged)
    metrics = logged[0]
    if not metrics:  # cut in the last validation, or none was due
        metrics = {key: float(value) for key, value in runner.val_loop.run().items()}
    if not is_main_process():
        return {}
    curves = read_curves(work_dir)
    best = max([metrics["mIoU"] / 100, *(value for _, value in curves.get("mIoU", []))])
    return _write_result(
        runner,
        runner.val_dataloader.dataset,
        metrics,
        pictures,
        dict(
            labels,
            max_iters=runner.max_iters,
            best_mIoU=best,
            **(runner.message_hub.runtime_info.get("cost") or {}),
            num_params=sum(p.numel() for p in runner.model.parameters() if p.requires_grad),
            curves=curves,
        ),
    )


def evaluate(
    cfg: Config, checkpoint: str | Path, *, pictures: int = 4, **labels: Any
) -> dict[str, Any]:
    """Test a checkpoint and leave ``result.json`` and ``pictures/`` in the work_dir, as
    :func:`train` does.

    Args:
        cfg: from :func:`core.engine.configs.prepare`; its test loader is what is evaluated on.
        checkpoint: of ours, or exported.
        pictures: number of images to draw.
        labels: what the report calls this run: model, arm, seed, ...

    Raises:
        CheckpointError: the file is missing or damaged.
        ConfigError: its weights do not fit the config's model.
    """
    runner = load_runner(cfg, checkpoint)
    metrics = {key: float(value) for key, value in runner.test().items()}
    if not is_main_process():
        return {}
    return _write_result(runner, runner.test_dataloader.dataset, metrics, pictures, labels)


def _write_result(
    runner: HLRunner, dataset: Any, metrics: dict, pictures: int, labels: dict
) -> dict[str, Any]:
    """Metrics on a data set, in percent, as ``result.json`` with shares, and pictures of it."""
    work_dir = Path(runner.work_dir)
    result = dict(
        labels,
        mIoU=metrics["mIoU"] / 100,
        IoU={k.removeprefix("IoU/"): _share(v) for k, v in metrics.items() if k.startswith("IoU/")},
        device=device_name(),
        command=shlex.join([Path(sys.executable).name, *sys.argv]),
        date=datetime.date.today().isoformat(),
        versions=versions(),
        classes=list(dataset.metainfo["classes"]),
        palette=dataset.metainfo["palette"],
        pictures=Pictures(dataset, runner.model).save(work_dir / "pictures", pictures),
    )
    write_atomically(json.dumps(result, indent=1).encode(), work_dir / RESULT)
    return result


def read_result(work_dir: Path, max_iters: int | None = None) -> dict[str, Any] | None:
    """What the finished run of a work_dir left, None if it is not finished.

    Raises:
        ConfigError: it is of another number of iterations than ``max_iters``.
    """
    path = work_dir / RESULT
    if not path.is_file():
        return None
    result = json.loads(path.read_text())
    if max_iters and result["max_iters"] != max_iters:
        raise ConfigError(
            f"{path} is of {result['max_iters']} iterations, now {max_iters} are asked: "
            "name another --out, or delete that folder"
        )
    return result


def test(cfg: Config, checkpoint: str | Path) -> dict[str, float]:
    """Metrics of a checkpoint on the test loader, in percent.

    Raises:
        CheckpointError: the file is missing or damaged.
        ConfigError: its weights do not fit the config's model.
    """
    return load_runner(cfg, checkpoint).test()


def load_runner(cfg: Config, checkpoint: str | Path) -> HLRunner:
    """The runner of a config with the weights of a checkpoint."""
    state = load_checkpoint(checkpoint)["state_dict"]
    runner = HLRunner.from_cfg(cfg)
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    own = model.state_dict()
    # An exported checkpoint has no HL branch, and none is needed to test.
    wrong = [key for key in own.keys() ^ state.keys() if not key.startswith(f"{HL_HEAD}.")]
    wrong += [key for key in own.keys() & state.keys() if own[key].shape != state[key].shape]
    if wrong:
        raise ConfigError(
            f"{checkpoint} does not fit the config: {len(wrong)} tensors differ, e.g. {min(wrong)}"
        )
    model.load_state_dict(state, strict=False)
    runner._has_loaded = True
    return runner


def read_metrics(work_dir: str | Path, step: int) -> dict[str, float]:
    """Validation metrics logged at ``step``, {} if there are none."""
    entries = [e for e in _scalars(Path(work_dir)) if e.get("step") == step and "mIoU" in e]
    return entries[-1] if entries else {}


def read_curves(work_dir: Path) -> dict[str, list[list[float]]]:
    """Logged scalars as ``{name: [[iteration, value], ...]}``, over all launches of a run.

    mIoU is 0-1, as in the rest of ``result.json``. A stretch that was trained twice, after a kill,
    counts once: the later launch's.
    """
    curves: dict[str, dict[int, float]] = {}
    for entry in _scalars(work_dir):
        for key, value in entry.items():
            name = key.split(".")[-1] if key.startswith("decode.") else key
            if name in ("step", "iter", "time", "data_time", "memory") or name.startswith("IoU/"):
                continue
            if isinstance(value, (int, float)):
                curves.setdefault(name, {})[entry["step"]] = value / (100 if name == "mIoU" else 1)
    return {name: sorted([step, value] for step, value in c.items()) for name, c in curves.items()}


def _scalars(work_dir: Path) -> list[dict]:
    """mmengine's scalar log of all launches, in time order."""
    entries = []
    for path in sorted(work_dir.glob("*/vis_data/scalars.json")):
        for line in path.read_text().splitlines():
            try:
                entries.append(json.loads(line))
            except json.JSONDecodeError:
                continue  # the line that a kill cut
    return entries


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
