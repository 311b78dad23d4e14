"""What makes a run: its identity, which lies in its checkpoints, so that a resume can compare.

Two runs of one identity end in the same weights and the same curves. A difference is refused by
name; what leaves the past of a run as it was, is told.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from core import result

# The parts of a config that are trained and measured by; all else shows, stores or starts.
_PARTS = ("model", "train_dataloader", "val_dataloader.dataset", "val_evaluator", "optim_wrapper",
          "auto_scale_lr", "param_scheduler", "train_cfg", "custom_hooks", "randomness",
          "experiment")  # fmt: skip
# At any depth: how samples are brought and where their files lie (which ones these are is told by
# the files themselves), and when the run is looked at.
_IDLE = {"_scope_", "backend_args", "file_client_args", "num_workers", "persistent_workers",
         "pin_memory", "prefetch_factor", "workers"}  # fmt: skip
_PLACES = {"ann_file", "data_prefix", "data_root"}  # of a data set, not of a transform
_LOOKS = {"dynamic_intervals", "val_begin", "val_interval"}
_BY_VALIDATION = ("ReduceOnPlateau", "EarlyStopping")  # what acts on what is seen then
_FILES = ("checkpoint", "load_from", "pretrained")  # wherever they lie
_LENGTHS = ("train_cfg.max_iters", "train_cfg.max_epochs")
_FORK = "or begin a new run from these weights: --fork in the place of --resume"
_SHOWN = 80  # characters of a value

Differences = dict[str, tuple[Any, Any]]


def identity(
    cfg: Config, datasets: Mapping[str, Any], *, processes: int, by_length: bool, **named: str
) -> dict[str, Any]:
    """Plain values that tell runs apart.

    Args:
        cfg: of the run, prepared.
        datasets: as built, by name, such as ``training`` and ``validation``.
        processes: that train together.
        by_length: whether a step depends on how many there will be, learning rates aside.
        named: what a person calls the run by, such as ``arm`` and ``data``.
    """
    settings: dict[str, Any] = {}
    for part in _PARTS:
        value: Any = cfg
        for key in part.split("."):
            value = (value or {}).get(key)
        settings |= _flat(value, part)
    if not any(name in str(value) for value in settings.values() for name in _BY_VALIDATION):
        settings = {k: v for k, v in settings.items() if k.rpartition(".")[2] not in _LOOKS}
    images: dict[str, str] = {}
    for name, dataset in datasets.items():
        images |= _images(dataset, name)
    code = result.this_code()
    return dict(
        named=named,
        settings=settings,
        images=images,
        by_length=by_length,
        processes=processes,
        load_from=cfg.get("load_from") and str(cfg.load_from),
        code=dict(version=code.version, revision=code.revision, torch=str(torch.__version__)),
    )


def compare(then: Mapping[str, Any], now: Mapping[str, Any], done: int) -> tuple[str, list[str]]:
    """A checkpoint's run and this one.

    Args:
        then, now: from :func:`identity`.
        done: iterations, or epochs where these are counted, that the checkpoint has behind it.

    Returns:
        Why the one cannot go on as the other, "" if it can; and what a person is to be told then.
    """
    differ = _differences(then["settings"], now["settings"])
    told: list[str] = []
    for key in _LENGTHS:
        if key not in differ:
            continue
        was, asked = differ.pop(key)
        rates = {k: pair for k, pair in differ.items() if k.startswith("param_scheduler")}
        if not isinstance(asked, int) or asked < done:
            return f"{key} was {was}, now {asked}, and {done} are done; ask for more, {_FORK}", []
        if rates or then["by_length"]:
            why = _words(dict(list(rates.items())[:1])) or "its steps go by the length of the run"
            return (f"{key} was {was}, now {asked}: a training of {asked} would have had other "
                    f"steps until here ({why}); ask for {was}, {_FORK}"), []  # fmt: skip
        told.append(f"{key} was {was}, now {asked}: exact, no step until here depends on it")
    _leave_equal_batches(differ, then, now)
    hooks = {k: differ.pop(k) for k in list(differ) if k.startswith("custom_hooks.")}
    if hooks:
        told.append(f"{_words(hooks)}: from here on")
    images = _differences(then["images"], now["images"])
    differ |= {f"{name} images": pair for name, pair in images.items()}
    begins = [run["load_from"] and os.path.basename(run["load_from"]) for run in (then, now)]
    if begins[1] not in (None, begins[0]):
        differ["load_from"] = then["load_from"], now["load_from"]
    named = _differences(then["named"], now["named"])
    if not differ or any(_kind(old) != _kind(new) for old, new in named.values()):
        differ = named | differ  # says more than the settings that follow from it
    if differ:
        return f"{_words(differ)}; go on with what it was, {_FORK}", []
    if then["code"] != now["code"]:
        told.append(f"{_words(_differences(then['code'], now['code']))}: what is trained from here "
                    "on may not be, bit by bit, what it would have been")  # fmt: skip
    return "", told


def _leave_equal_batches(differ: Differences, then: Mapping, now: Mapping) -> None:
    """In place: another number of processes is told elsewhere; a step's images stay as many."""
    key = "train_dataloader.batch_size"
    if key in differ and then["processes"] != now["processes"]:
        was, asked = differ[key]
        if was * then["processes"] == asked * now["processes"]:
            del differ[key]


def _kind(value: Any) -> str:
    """``hl`` of ``hl c=0.5``: the options of an arm are named as settings."""
    return str(value).partition(" ")[0]


def _differences(then: Mapping, now: Mapping) -> Differences:
    keys = dict.fromkeys([*then, *now])
    return {k: (then.get(k), now.get(k)) for k in keys if then.get(k) != now.get(k)}


def _words(differ: Differences) -> str:
    """The first difference, and how many more there are."""
    if not differ:
        return ""
    key, (was, now) = next(iter(differ.items()))
    more = f" (and {len(differ) - 1} more)" if len(differ) > 1 else ""
    return f"{key} was {_short(was)}, now {_short(now)}{more}"


def _short(value: Any) -> str:
    text = "unset" if value is None else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _flat(value: Any, key: str) -> dict[str, Any]:
    """Plain values by dotted key, lists by their index."""
    if value is None:
        return {}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping) and value:
        idle = _IDLE if ".pipeline." in key else _IDLE | _PLACES
        parts = [(str(k), v) for k, v in value.items() if str(k) not in idle]
    elif isinstance(value, list | tuple) and any(
        isinstance(v, Mapping | list | tuple) for v in value
    ):
        parts = [(str(i), v) for i, v in enumerate(value)]
    else:
        if key.endswith("norm_cfg.type") and value == "SyncBN":
            value = "BN"  # the same, on one device
        elif key.rpartition(".")[2] in _FILES and isinstance(value, str):
            value = os.path.basename(value)
        plain = type(value) in (bool, int, float, str) and value == value  # NaN is not
        return {key: value if plain else _text(value)}
    found: dict[str, Any] = {}
    for name, part in parts:
        found |= _flat(part, f"{key}.{name}")
    return found


def _text(value: Any) -> str:
    if callable(value):
        value = getattr(value, "func", value)  # a partial's, whose address would change
        name = getattr(value, "__qualname__", type(value).__qualname__)
        return f"{getattr(value, '__module__', '')}.{name}"
    return str(list(value)) if isinstance(value, list | tuple) else str(value)


def _images(dataset: Any, name: str) -> dict[str, str]:
    """Of each data set inside, how many images it has, and a sum over their names and sizes."""
    parts = vars(dataset) if dataset is not None else {}
    inner = {key: parts[key] for key in ("dataset", "labeled", "unlabeled") if key in parts}
    inner |= {str(i): part for i, part in enumerate(parts.get("datasets") or [])}
    found: dict[str, str] = {}
    for key, part in inner.items():
        found |= _images(part, name if key == "dataset" else f"{name} {key}")
    if inner or not hasattr(dataset, "get_data_info"):
        return found
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    digest = hashlib.sha256()
    for key in ("img_path", "seg_map_path"):
        for path in _below([str(info[key]) for info in infos if info.get(key)]):
            digest.update(path.encode(errors="surrogateescape"))
    return {name: f"{len(infos)} ({digest.hexdigest()[:8]})"}


def _below(paths: list[str]) -> Iterator[str]:
    """Each below the folder that all lie in, which may be moved, with its size in bytes."""
    paths = [os.path.abspath(path) for path in paths]
    folder = os.path.commonpath(map(os.path.dirname, paths)) if paths else ""
    for path in paths:
        size = os.path.getsize(path) if os.path.isfile(path) else -1  # no file: on a server
        yield f"{os.path.relpath(path, folder)} {size}\n"
