"""The config that a checkpoint carries, read as data: it names what is known here, and no more.

mmengine takes ``type="os.system"`` for a class and calls it, imports what ``custom_imports`` lists,
and executes a config's text. A checkpoint may come from a stranger.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry

from core import mmfixes
from core.configs import import_custom, imports_of, parse_config
from core.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]
# Packages whose registries a name may be asked of, as in ``mmpretrain.ConvNeXt``.
SCOPES = ("mmseg", "mmengine", "mmcv", "mmpretrain")
# Keys whose value names a class.
_NAMES = ("type", "constructor", "default_scope", "_scope_")
# Below it ``type`` is a choice of a model's own, and nothing is built of it.
_OWN = "model.settings."
# What is read as weights comes through a reader that runs nothing; other addresses do not.
_WEIGHTS = ("checkpoint", "load_from", "pretrained")
_ADDRESS = re.compile(r"[a-z0-9+.-]+://", re.IGNORECASE)
_LONGEST = 5_000_000  # characters of a text; ours have some 10,000


def config_of(
    meta: Mapping[str, Any], path: str | Path, trust: Sequence[str] = ()
) -> Config | None:
    """The config in a checkpoint's ``meta``, its modules imported; None if there is none.

    Args:
        path: of the checkpoint, for the message.
        trust: modules that the config may import beside those of this project.

    Raises:
        ConfigError: it is more than assignments of plain values, imports another module, or names
            something that is in no registry.
    """
    text = meta.get("cfg")
    if not text:
        return None
    if not isinstance(text, str) or len(text) > _LONGEST:
        raise ConfigError(f"{path}: its config is no text; name one with --config where there is "
                          "such a flag, or take another checkpoint")  # fmt: skip
    try:
        cfg = parse_config(text)
        names = imports_of(cfg)
    except ConfigError as error:
        raise ConfigError(f"{path}: its {error}") from error
    except Exception as error:  # nested without end, keys that Config takes for its own, ...
        words = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{path}: its config cannot be read ({words[:200]})") from error
    if not isinstance(cfg.get("model"), Mapping):
        raise ConfigError(f"{path}: its config has no model; take another checkpoint")
    for name in names:
        if not isinstance(name, str) or not (_is_ours(name) or name in trust):
            raise ConfigError(f"{path}: its config imports {name!r}, no module of this project: "
                              "if you trust it, --trust-imports with its name")  # fmt: skip
    import_custom(cfg)
    for key, value in _texts(cfg._cfg_dict, ""):
        last = key.rpartition(".")[2]
        if last == "class_weight" or (_ADDRESS.match(value) and last not in _WEIGHTS):
            raise ConfigError(f"{path}: its config has {key}={value!r}, a file that would be read "
                              "in mmengine's way, which may run code from it; take another "
                              "checkpoint, or write the values out")  # fmt: skip
    for key, value in _named(cfg._cfg_dict, ""):
        if not key.startswith(_OWN) and not _is_known(key, value):
            raise ConfigError(f"{path}: its config names {key}={value!r}, which is in no registry "
                              "of mmseg, mmengine or this project; if a module of yours registers "
                              "it: --trust-imports with its name")  # fmt: skip
    return cfg


def _is_ours(name: str) -> bool:
    """Whether a module lies in this checkout, below one of its packages."""
    if not re.fullmatch(r"[a-z_0-9]+(\.[a-z_0-9]+)+", name):
        return False
    place = ROOT.joinpath(*name.split("."))
    there = place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()
    package = name.partition(".")[0]
    if not there or package in ("tests", "benchmarks"):
        return False
    found = find_spec(package)
    return found is not None and Path(found.origin or "").parent == ROOT / package


def _named(node: Any, above: str) -> Iterator[tuple[str, Any]]:
    """What names a class, with its dotted key."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key in _NAMES:
                yield f"{above}{key}", value
            yield from _named(value, f"{above}{key}.")
    elif isinstance(node, list | tuple):
        for i, value in enumerate(node):
            yield from _named(value, f"{above}{i}.")


def _texts(node: Any, above: str) -> Iterator[tuple[str, str]]:
    """Every text at any depth, with its dotted key."""
    if isinstance(node, str):
        yield above, node
    parts = node.items() if isinstance(node, Mapping) else ()
    parts = enumerate(node) if isinstance(node, list | tuple) else parts
    for key, value in parts:
        yield from _texts(value, f"{above}.{key}".lstrip("."))


def _is_known(key: str, value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, str):
        return isinstance(value, Mapping | list | tuple)  # a key of that name, with types below it
    if key.rpartition(".")[2] in ("default_scope", "_scope_"):
        return value in SCOPES
    scope, dot, name = value.rpartition(".")
    if not name.isidentifier() or (dot and scope not in SCOPES):
        return False
    scopes = [scope] if dot else [scope for scope in SCOPES if scope != "mmpretrain"]
    return any(name in registry for scope in scopes for registry in _registries(scope))


def _registries(scope: str) -> Iterator[set[str]]:
    """Names in each registry of a package."""
    mmfixes.install()
    try:
        module = import_module(f"{scope}.registry" if scope != "mmcv" else "mmengine.registry")
    except ImportError:  # an optional package
        return
    for registry in vars(module).values():
        if isinstance(registry, Registry):
            registry.import_from_location()
            yield registry.module_dict.keys()
