"""What a run of ours has beyond its config, put beside the config's own when mmengine builds it.

The config stays as it was written, in the work_dir and in checkpoints, so that plain mmseg opens
it. Each function takes a part of a config and returns the part that is built; what it cannot keep
it refuses by name.
"""

from __future__ import annotations

import copy
import inspect
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import CheckpointHook
from mmseg.evaluation import IoUMetric
from mmseg.registry import DATA_SAMPLERS, METRICS

from core.configs import walk
from core.errors import ConfigError

BACKENDS = ("LocalVisBackend", "TensorboardVisBackend")
_METRICS = ("mIoU", "mDice", "mFscore")  # of mmseg's IoUMetric
HOOKS = ("FiniteLossHook", "CostHook", "ProgressHook", "StopHook")
SHORT = 10  # iterations of a training that draws and measures nothing on the way
_SEEDED = {"InfiniteSampler": "PositionSampler", "DefaultSampler": "EpochPositionSampler"}
# Of mmengine's CheckpointHook: where it writes, and how the files are called, is ours to know.
_FIXED = ("filename_tmpl", "out_dir", "backend_args", "file_client_args")


def training_loader(given: dict) -> dict:
    """A loader whose samples a resume repeats."""
    given = copy.deepcopy(given)
    sampler = given.get("sampler")
    dataset = given.get("dataset")
    if not isinstance(dataset, dict) or not isinstance(sampler, dict):
        return given  # mmengine says what is wrong with it
    sampler["type"] = kind = _SEEDED.get(sampler.get("type"), sampler.get("type"))
    cls = DATA_SAMPLERS.get(kind) if isinstance(kind, str) else kind
    if getattr(cls, "gives_positions", False):
        given["dataset"] = dict(type="SeededDataset", dataset=given["dataset"])
    return given


def evaluator(given: Any) -> Any:
    """The config's metrics, and mIoU with the IoU of each class, which every report needs.

    Raises:
        ConfigError: a metric is of depth maps.
    """
    given = copy.deepcopy(given)
    found = []

    def change(node: dict) -> None:
        kind = node.get("type")
        cls = METRICS.get(kind) if isinstance(kind, str) else kind
        if kind == "DepthMetric":
            raise ConfigError("its evaluator is DepthMetric: this is for segmentation, not depth")
        if isinstance(cls, type) and issubclass(cls, IoUMetric):
            if not node.get("prefix"):  # which would name mIoU otherwise
                found.append(kind)
            metrics = node.get("iou_metrics", ["mIoU"])
            metrics = [metrics] if isinstance(metrics, str) else list(metrics)
            if unknown := set(metrics) - set(_METRICS):
                raise ConfigError(f"its evaluator's iou_metrics name {unknown.pop()!r}, there are: "
                                  f"{', '.join(_METRICS)}")  # fmt: skip
            node["iou_metrics"] = metrics if "mIoU" in metrics else [*metrics, "mIoU"]
            if cls is IoUMetric:
                node["type"] = "ClassIoUMetric"

    walk(given, change)
    if found:
        return given
    ours = dict(type="ClassIoUMetric", iou_metrics=["mIoU"])
    if isinstance(given, dict) and "metrics" in given:
        own = given["metrics"]
        return dict(given, metrics=[*(own if isinstance(own, list) else [own]), ours])
    return [*(given if isinstance(given, list) else [given]), ours]


def default_hooks(given: dict | None) -> dict:
    """mmengine's hooks as the config sets them; checkpoints are written by ours, in the config's
    intervals or as :mod:`core.schedule` says, logs are by iteration.

    Raises:
        ConfigError: the config asks for no checkpoints, for another hook in that place, or for a
            place or names that a resume would not find.
    """
    hooks = dict(given or {})
    saving = hooks.get("checkpoint", {})
    if saving is None:
        raise ConfigError("default_hooks.checkpoint=None: a run saves, so that it can go on; "
                          "leave that out, or set its interval")  # fmt: skip
    saving = dict(saving)
    kind = saving.pop("type", "CheckpointHook")
    if kind not in ("CheckpointHook", "ResumableCheckpointHook"):
        raise ConfigError(f"default_hooks.checkpoint.type={kind}: a run saves with a hook of its "
                          "own there; register yours under custom_hooks")  # fmt: skip
    for key in _FIXED:
        if saving.pop(key, None) is not None:
            raise ConfigError(f"default_hooks.checkpoint.{key}: a run writes iter_N.pth into its "
                              "work_dir, where --resume looks; leave it out")  # fmt: skip
    known = {*inspect.signature(CheckpointHook.__init__).parameters, "priority", "_scope_"}
    if unknown := sorted(saving.keys() - known):
        raise ConfigError(f"default_hooks.checkpoint.{unknown[0]}: no setting of CheckpointHook")
    hooks["checkpoint"] = dict(saving, type="ResumableCheckpointHook")
    if "logger" not in hooks:
        hooks["logger"] = dict(type="LoggerHook", interval=50)
    if hooks["logger"] and hooks["logger"].get("type") == "LoggerHook":
        hooks["logger"] = dict(hooks["logger"], log_metric_by_epoch=False)
    return hooks


def custom_hooks(given: list | None, *, title: str, max_iters: int, panels: bool) -> list:
    """The config's hooks, and ours: the guard against NaN, cost, progress, stop signals, panels,
    strength of the map; with several processes also one that keeps their statistics the same."""
    ours = [dict(type=name) for name in HOOKS]
    ours[HOOKS.index("ProgressHook")]["title"] = title
    if get_world_size() > 1:
        ours.append(dict(type="SameStatisticsHook"))
    if panels and max_iters >= SHORT:
        ours.append(dict(type="PanelHook", interval=min(500, max(1, max_iters // 3))))
    if panels and not 0 < max_iters < SHORT:  # 0: it counts epochs
        ours.append(dict(type="StrengthHook"))
    return [*(given or []), *ours]


def visualizer(given: dict | None, backends: list | None) -> dict:
    """The config's visualizer and backends, with scalars in a file and in TensorBoard beside."""
    given = dict(given or dict(type="SegLocalVisualizer", name="visualizer"))
    found = list(given.get("vis_backends") or [])
    for backend in [*(backends or []), *(dict(type=name) for name in BACKENDS)]:
        if backend["type"] not in [other["type"] for other in found]:
            found.append(backend)
    return dict(given, vis_backends=found)
