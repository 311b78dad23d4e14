"""Reading mmseg configs and fitting them to this machine and to a run."""

from __future__ import annotations

import ast
import copy
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmengine.config.utils as mmengine_config
import torch
from mmengine.config import Config
from mmengine.utils import import_modules_from_strings
from yapf.yapflib import yapf_api

# The fork is installed under another name than mmengine looks for when it reads `mmseg::...`.
mmengine_config.MODULE2PACKAGE["mmseg"] = "onedl-mmsegmentation"


# A run writes its config out five times, and once a checkpoint; yapf takes seconds each time.
_format_code = yapf_api.FormatCode


@functools.lru_cache(maxsize=8)
def _formatted(text: str, options: tuple, style: tuple) -> tuple:
    return _format_code(text, style_config=dict(style), **dict(options))


def _format_once(text: str, style_config: dict, **options: Any) -> tuple:
    return _formatted(text, tuple(options.items()), tuple(style_config.items()))


yapf_api.FormatCode = _format_once  # where mmengine's Config.pretty_text looks it up


class ConfigError(ValueError):
    """A config that cannot be read or run; one line."""


def load_config(name: str | Path) -> Config:
    """A config by path, or one shipped with mmseg by ``mmseg::folder/file.py``.

    Raises:
        ConfigError: no such config, with the names that come near.
    """
    name = str(name)
    try:
        if not name.startswith("mmseg::"):
            if not Path(name).is_file():
                raise ConfigError(f"{name}: no such config file; mmseg's own are mmseg::…")
            return Config.fromfile(name)
        # mmengine's get_config wants the model index to know a config; most are there, not all.
        path = mmseg_configs() / name.removeprefix("mmseg::")
        if not path.is_file():
            near = sorted(p.name for p in path.parent.glob("*.py"))[:5]
            hint = f"; in that folder: {', '.join(near)}, …" if near else ""
            raise ConfigError(f"{name}: mmseg ships no such config{hint}")
        return Config.fromfile(path)
    except (SyntaxError, KeyError, FileNotFoundError) as error:
        raise ConfigError(f"{name}: cannot be read: {error}") from error


def parse_config(text: str) -> Config:
    """The config that ``Config.pretty_text`` wrote, without running it as Python.

    A checkpoint carries its config as text; mmengine's own reader executes what it is given.

    Raises:
        ConfigError: the text is more than assignments of plain values.
    """
    try:
        content = {}
        for statement in ast.parse(text).body:
            if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
                raise ValueError(f"line {statement.lineno} is no assignment")
            content[statement.targets[0].id] = _plain(statement.value)
    except (SyntaxError, ValueError, AttributeError) as error:
        raise ConfigError(f"config text cannot be read: {error}") from error
    return Config(content)


def _plain(node: ast.expr) -> Any:
    """The value of a literal, calls of ``dict`` and the floats inf and nan included."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "dict":
        content = {keyword.arg: _plain(keyword.value) for keyword in node.keywords}
        for mapping in node.args:  # how keys are written that are no names
            content.update(_plain(mapping))
        return content
    if isinstance(node, ast.Dict):
        return {_plain(k): _plain(v) for k, v in zip(node.keys, node.values, strict=True)}
    if isinstance(node, ast.List):
        return [_plain(item) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_plain(item) for item in node.elts)
    if isinstance(node, ast.Name) and node.id in ("inf", "nan"):
        return float(node.id)
    return ast.literal_eval(node)


def mmseg_configs() -> Path:
    """Folder of the configs that mmseg ships."""
    import mmseg

    return Path(mmseg.__file__).parent / ".mim" / "configs"


def walk(node: Any, change: Callable[[dict], None]) -> None:
    """Call ``change`` on every dict below ``node``, the node itself included."""
    if isinstance(node, dict):
        change(node)
        for value in list(node.values()):
            walk(value, change)
    elif isinstance(node, (list, tuple)):
        for value in node:
            walk(value, change)


def fit_norm(cfg: Config, *, synchronized: bool) -> None:
    """In place: SyncBN on several GPUs, BN on one device or the CPU, at every depth."""
    old, new = ("BN", "SyncBN") if synchronized else ("SyncBN", "BN")

    def change(node: dict) -> None:
        for key, value in node.items():
            if key.endswith("norm_cfg") and isinstance(value, dict) and value.get("type") == old:
                value["type"] = new

    walk(cfg.model, change)


def without_pretrained(cfg: Config) -> None:
    """In place: no pretrained weights, wherever a config names them."""

    def change(node: dict) -> None:
        if node.get("pretrained"):
            node["pretrained"] = None
        init = node.get("init_cfg")
        if isinstance(init, dict) and init.get("type") == "Pretrained":
            node["init_cfg"] = None
        elif isinstance(init, list):
            node["init_cfg"] = [x for x in init if x.get("type") != "Pretrained"] or None

    walk(cfg.model, change)


def add_import(cfg: Config, module: str) -> None:
    """In place: a config that is dumped and read again imports ``module`` by itself."""
    old = cfg.get("custom_imports") or dict(imports=[], allow_failed_imports=False)
    names = [old["imports"]] if isinstance(old["imports"], str) else list(old["imports"])
    if module not in names:
        cfg.custom_imports = dict(old, imports=[*names, module])


def set_data(cfg: Config, data: Config, num_classes: int) -> Config:
    """``cfg`` with its data set, transforms, loaders and metric replaced by those of ``data``.

    Heads get ``num_classes``; class weights of another data set are dropped; the data
    preprocessor pads to the new crop; inference is of the whole image unless ``data`` names a
    ``model_test_cfg``. Batch size comes with the data.
    """
    cfg = copy.deepcopy(cfg)
    keys = ("train_dataloader", "val_dataloader", "test_dataloader", "val_evaluator",
            "test_evaluator", "train_pipeline", "test_pipeline", "crop_size", "dataset_type",
            "data_root", "tta_pipeline", "img_ratios")  # fmt: skip
    for key in keys:
        cfg.pop(key, None)
    for key in keys:
        if key in data:
            cfg[key] = copy.deepcopy(data[key])

    def change(node: dict) -> None:
        if "num_classes" in node:
            node["num_classes"] = num_classes
        if node.get("class_weight"):
            node["class_weight"] = None

    for name in (data.get("custom_imports") or dict(imports=[]))["imports"]:
        add_import(cfg, name)
    for part in ("decode_head", "auxiliary_head"):
        walk(cfg.model.get(part), change)
    cfg.model.setdefault("data_preprocessor", dict(type="SegDataPreProcessor"))
    cfg.model.data_preprocessor["size"] = tuple(data.crop_size)
    cfg.model.test_cfg = data.get("model_test_cfg", dict(mode="whole"))
    return cfg


def set_data_root(cfg: Config, root: str | Path) -> None:
    """In place: every loader reads from ``root``."""

    def change(node: dict) -> None:
        if node.get("data_root"):
            node["data_root"] = str(root)

    cfg.data_root = str(root)
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        walk(cfg.get(loader), change)


def scale_schedule(cfg: Config, max_iters: int) -> None:
    """In place: train ``max_iters`` iterations; warm-up, decay, evaluations and checkpoints keep
    their shares.

    Raises:
        ConfigError: the schedule counts epochs.
    """
    old = cfg.train_cfg.get("max_iters")
    if old is None:
        raise ConfigError("--max-iters needs an iteration-based schedule (train_cfg.max_iters)")
    for scheduler in cfg.get("param_scheduler") or []:
        for key in ("begin", "end", "T_max"):
            if scheduler.get(key) is not None:
                scheduler[key] = round(scheduler[key] * max_iters / old)
        scheduler["end"] = max(scheduler.get("end", max_iters), scheduler.get("begin", 0) + 1)
    checkpoint = (cfg.get("default_hooks") or {}).get("checkpoint") or {}
    for part, key in ((cfg.train_cfg, "val_interval"), (checkpoint, "interval")):
        if part.get(key):
            part[key] = max(1, round(part[key] * max_iters / old))
    cfg.train_cfg.max_iters = max_iters


def world_size(launcher: str) -> int:
    """Number of processes that ``launcher`` (see ``--launcher``) started.

    mmengine sets WORLD_SIZE for all of them only when the Runner is built, from what is read here.
    """
    variables = dict(pytorch="WORLD_SIZE", slurm="SLURM_NTASKS", mpi="OMPI_COMM_WORLD_SIZE")
    return int(os.environ.get(variables[launcher], 1)) if launcher != "none" else 1


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

    Raises:
        ConfigError: ``amp`` without a GPU.
    """
    cfg = copy.deepcopy(cfg)
    cfg.work_dir, cfg.launcher, cfg.resume, cfg.verbose = str(work_dir), launcher, resume, verbose
    if cfg.get("custom_imports"):  # mmengine does it for files only
        import_modules_from_strings(**cfg.custom_imports)
    cfg.default_scope = "mmseg"
    cfg.randomness = dict(seed=None) | dict(cfg.get("randomness") or {})
    if seed is not None:
        cfg.randomness["seed"] = seed
    os.environ.setdefault("LOCAL_RANK", "0")
    fit_norm(cfg, synchronized=world_size(launcher) > 1 and torch.cuda.is_available())
    cfg.setdefault("env_cfg", {})
    if not torch.cuda.is_available():
        cfg.env_cfg["dist_cfg"] = dict(backend="gloo")
    if amp:
        if not torch.cuda.is_available():
            raise ConfigError("--amp needs a GPU, none is here; leave it out")
        cfg.optim_wrapper.update(type="AmpOptimWrapper", loss_scale="dynamic")
    elif not torch.cuda.is_available() and cfg.get("train_dataloader"):
        _without_amp(cfg.optim_wrapper)

    loader = cfg.get("train_dataloader")
    if loader and loader.sampler.type == "InfiniteSampler":
        loader.sampler = dict(loader.sampler, type="PositionSampler")
        loader.dataset = dict(type="SeededDataset", dataset=checked(loader.dataset))
    for key in ("val_dataloader", "test_dataloader"):
        if cfg.get(key):
            cfg[key].dataset = checked(cfg[key].dataset)
    for key in ("val_evaluator", "test_evaluator"):
        walk(cfg.get(key), _class_iou)

    hooks = cfg.setdefault("default_hooks", {})
    # Ours holds what a resume needs; all the rest of an existing hook's settings stay.
    old = dict(hooks.get("checkpoint") or {})
    for key in ("type", "by_epoch", "backend_args"):
        old.pop(key, None)
    old.setdefault("interval", cfg.train_cfg.get("val_interval", 1000) if loader else 1000)
    old.setdefault("max_keep_ckpts", 2)
    hooks["checkpoint"] = dict(old, type="ResumableCheckpointHook")
    hooks.setdefault("logger", dict(type="LoggerHook", interval=50))["log_metric_by_epoch"] = False
    cfg.log_processor = dict(cfg.get("log_processor") or {}, by_epoch=False)
    total = cfg.train_cfg.get("max_iters", 0) if loader else 0
    cfg.custom_hooks = [
        *(cfg.get("custom_hooks") or []),
        dict(type="CostHook"),
        dict(type="ProgressHook", title=title),
        dict(type="StopHook"),
        *([dict(type="PanelHook", interval=min(500, max(1, total // 3)))] if loader else []),
    ]
    cfg.vis_backends = [dict(type="LocalVisBackend"), dict(type="TensorboardVisBackend")]
    cfg.visualizer = dict(
        cfg.get("visualizer") or dict(type="SegLocalVisualizer", name="visualizer"),
        vis_backends=cfg.vis_backends,
    )
    return cfg


def _without_amp(optim_wrapper: dict) -> None:
    """In place: a config that asks for mixed precision itself trains in float32 without a GPU."""
    if optim_wrapper.get("type") == "AmpOptimWrapper":
        optim_wrapper["type"] = "OptimWrapper"
        for key in ("loss_scale", "dtype", "use_fsdp"):
            optim_wrapper.pop(key, None)


def checked(dataset: dict) -> dict:
    """Config of a data set whose damaged files are named when they are read."""
    return dict(type="CheckedDataset", dataset=dataset)


def _class_iou(node: dict) -> None:
    if node.get("type") == "IoUMetric":
        node["type"] = "ClassIoUMetric"
