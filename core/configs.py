"""mmseg configs: read, and edited for another data set, schedule or machine."""

from __future__ import annotations

import ast
import copy
import difflib
import hashlib
import inspect
import json
import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.utils import import_modules_from_strings

from core import mmfixes
from core.errors import ConfigError, UserError

# Where modules that a checkpoint's config imports have moved to since version 0.4.
_MOVED = (
    (re.compile(r"\bcore\.(focal|collected)\b"), r"core.rivals.\1"),
    (re.compile(r"\bdata\.\w+_dataset\b"), "data.sets.mmseg_datasets"),
)


# Settings that mmengine reads without their being an argument of its Runner.
_FREE = ("vis_backends", "model_wrapper_cfg", "compile", "activation_checkpointing",
         "efficient_conv_bn_eval", "crop_size", "tta_model", "tta_pipeline",
         "loss_impl")  # fmt: skip
# What a config holds as dicts, if at all.
_SECTIONS = ("model", "train_dataloader", "val_dataloader", "test_dataloader", "train_cfg",
             "val_cfg", "test_cfg", "default_hooks", "randomness")  # fmt: skip
# What configs held that versions before 0.6 wrote into checkpoints, and what stood there before.
_WRAPPERS = ("CheckedDataset", "SeededDataset")
_HOOKS = ("FiniteLossHook", "CostHook", "ProgressHook", "StopHook", "PanelHook")
_OURS = {
    "PositionSampler": "InfiniteSampler",
    "ClassIoUMetric": "IoUMetric",
    "ResumableCheckpointHook": "CheckpointHook",
}


def load_config(name: str | Path) -> Config:
    """A config by path, or one shipped with mmseg by ``mmseg::folder/file.py``.

    Raises:
        ConfigError: no such config, with the names that come near; or it cannot be read, whatever
            it raises.
    """
    name = str(name)
    if name.startswith("mmseg::"):
        # mmengine's get_config wants the model index to know a config; most are there, not all.
        path = mmseg_configs() / name.removeprefix("mmseg::")
        if not path.is_file():
            names = sorted(p.name for p in path.parent.glob("*.py"))
            near = difflib.get_close_matches(path.name, names, 3) or names[:5]
            hint = f"; in that folder: {', '.join(near)}, …" if near else ""
            raise ConfigError(f"{name}: mmseg ships no such config{hint}")
    else:
        path = Path(name)
        if not path.is_file():
            raise ConfigError(f"{name}: no such config file; mmseg's own are mmseg::…")
    try:
        cfg = _from_file(path)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # a config is a program of its author
        words = " ".join(str(error).split())
        raise ConfigError(f"{name}: cannot be read: {type(error).__name__}: {words}") from error
    for key in _SECTIONS:
        if not isinstance(cfg.get(key), dict | None):
            raise ConfigError(f"{name}: {key} is a {type(cfg[key]).__name__}; give dict(…)")
    return cfg


def merge_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """In place: ``--cfg-options``, ``{"model.decode_head.channels": 64}``.

    Raises:
        ConfigError: a key that leads nowhere, that nothing reads, or that is a mere variable of
            the config.
    """
    from mmengine.runner import Runner  # takes seconds

    settings = {*inspect.signature(Runner.__init__).parameters, "custom_imports", *_FREE}
    for key, value in options.items():
        first = key.partition(".")[0]
        if first == "data_root":
            raise ConfigError("--cfg-options data_root: a loader has taken it already; give "
                              "--data-root DIR")  # fmt: skip
        if first in cfg and first not in settings:
            raise ConfigError(
                f"--cfg-options {key}: {first} is a variable of the config, which has taken its "
                "value already; give the setting that is made of it, such as "
                "optim_wrapper.optimizer.lr"
            )
        if first not in settings:
            near = difflib.get_close_matches(first, settings, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"--cfg-options {key}: there is no setting {first}{hint}")
        try:
            cfg.merge_from_dict({key: value})
        except Exception as error:
            words = " ".join(str(error).split())
            raise ConfigError(f"--cfg-options {key}={value}: {words}") from error


def _from_file(path: Path) -> Config:
    """``Config.fromfile``, with the modules that it imports under the names that they have now."""
    cfg = Config.fromfile(path, import_custom_modules=False)
    _name_types(cfg)
    if names := [*map(moved, imports_of(cfg))]:
        cfg.custom_imports = dict(cfg.custom_imports, imports=names)
        import_custom(cfg)
    return cfg


def _name_types(cfg: Config) -> None:
    """In place: registered classes, which mmengine's new kind of config names as such, by their
    names, as all that reads a config here knows them."""

    def change(node: dict) -> None:
        cls = node.get("type")
        if isinstance(cls, type):
            mmfixes.install()
            node["type"] = _registered_name(cls) or cls

    walk(cfg._cfg_dict, change)


def _registered_name(cls: type) -> str | None:
    from mmseg import registry

    for found in vars(registry).values():
        if isinstance(found, Registry) and found.get(cls.__name__) is cls:
            return cls.__name__
    return None


def import_custom(cfg: Config) -> None:
    """Import what ``custom_imports`` names, mmseg before it.

    Raises:
        ConfigError: a module cannot be imported, and the config does not allow that.
    """
    mmfixes.install()
    if names := imports_of(cfg):
        allowed = cfg.custom_imports.get("allow_failed_imports", False)
        try:
            import_modules_from_strings(names, allow_failed_imports=allowed)
        except ImportError as error:
            raise ConfigError(f"custom_imports: {' '.join(str(error).split())}") from error


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
    cfg = Config(content)
    if cfg.get("custom_imports"):
        cfg.custom_imports = dict(cfg.custom_imports, imports=[*map(moved, imports_of(cfg))])
    _unwrap(cfg)
    return cfg


def _unwrap(cfg: Config) -> None:
    """In place: without what versions before 0.6 put into a config for a run."""

    def change(node: dict) -> None:
        if node.get("type") in _OURS:
            node["type"] = _OURS[node["type"]]
        dataset = node.get("dataset")
        while isinstance(dataset, dict) and dataset.get("type") in _WRAPPERS:
            dataset = node["dataset"] = dataset["dataset"]

    walk(cfg._cfg_dict, change)
    if "custom_hooks" in cfg:
        cfg.custom_hooks = [h for h in cfg.custom_hooks or [] if h.get("type") not in _HOOKS]


def moved(module: str) -> str:
    """Where a module of ours is now that had another name in version 0.4."""
    for old, new in _MOVED:
        module = old.sub(new, module)
    return module


def imports_of(cfg: Config) -> list[str]:
    """The modules of ``custom_imports``, which is a list, one name or nothing."""
    names = (cfg.get("custom_imports") or {}).get("imports") or []
    return [names] if isinstance(names, str) else list(names)


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
    return Path(find_spec("mmseg").origin).parent / ".mim" / "configs"  # importing it takes seconds


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
    """In place: SyncBN stays on several GPUs, and is BN on one device, at every depth."""

    def change(node: dict) -> None:
        for key, value in node.items():
            if key.endswith("norm_cfg") and isinstance(value, dict):
                if value.get("type") == "SyncBN":
                    value["type"] = "BN"

    if not synchronized:
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
    old = cfg.get("custom_imports") or dict(allow_failed_imports=False)
    names = imports_of(cfg)
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

    for name in imports_of(data):
        add_import(cfg, name)
    for part in ("decode_head", "auxiliary_head"):
        walk(cfg.model.get(part), change)
    cfg.model.setdefault("data_preprocessor", dict(type="SegDataPreProcessor"))
    cfg.model.data_preprocessor["size"] = tuple(data.crop_size)
    cfg.model.test_cfg = data.get("model_test_cfg", dict(mode="whole"))
    return cfg


def data_roots(cfg: Config) -> set[str]:
    """The folders that the loaders say they read from."""
    loaders = [cfg.get(key) for key in ("train_dataloader", "val_dataloader", "test_dataloader")]
    roots: set[str] = set()
    walk(loaders, lambda node: roots.add(node.get("data_root") or ""))
    return roots - {""}


def set_data_root(cfg: Config, root: str | Path) -> None:
    """In place: the loaders read from ``root``.

    Where they read from several folders, those that read from the config's ``data_root`` do: a
    data set with a root of its own keeps it.

    Raises:
        ConfigError: they read from several, and none from the config's ``data_root``.
    """
    loaders = [cfg.get(key) for key in ("train_dataloader", "val_dataloader", "test_dataloader")]
    roots = data_roots(cfg)
    several = len(roots) > 1
    old = cfg.get("data_root")
    if several and old not in roots:
        raise ConfigError(
            f"--data-root {root}: the config's loaders read from {' and '.join(sorted(roots))}, "
            "which one is meant cannot be told; set data_root in the loaders"
        )

    def change(node: dict) -> None:
        if node.get("data_root") and (not several or node["data_root"] == old):
            node["data_root"] = str(root)

    cfg.data_root = str(root)
    walk(loaders, change)


def config_revision(cfg: Config) -> str:
    """16 hex digits that tell configs apart."""
    content = json.dumps(cfg.to_dict(), sort_keys=True, default=repr)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def changes(before: Config, after: Config) -> dict[str, tuple[Any, Any]]:
    """What differs between two configs: old and new value by dotted key, None where it is absent.

    Lists are compared as a whole.
    """
    old, new = _flat(before.to_dict()), _flat(after.to_dict())
    keys = dict.fromkeys([*old, *new])
    return {k: (old.get(k), new.get(k)) for k in keys if old.get(k) != new.get(k)}


def _flat(node: dict, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, dict) and value:
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
