"""The data set of a run: the config's own, or one of ours in its place."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from core.engine.configs import ConfigError, load_config, set_data, set_data_root
from data import registry


def fit_data(
    cfg: Config, name: str | None = None, root: str | None = None, own: str | None = None
) -> Config:
    """``cfg`` on a data set that is there.

    With ``name``, loaders, transforms, metric and number of classes are those of the data set.
    Without, the config keeps its own loaders: of the data set ``own``, where that is known, else of
    the folder that they name; ``root`` moves it, and a Cityscapes config finds
    ``data/raw/cityscapes`` by itself.

    Raises:
        DataError: unknown name, or the data set is not where it should be.
        ConfigError: the config's own data set is not there.
    """
    if name is not None:
        entry = registry.get(name)
        data = load_config(entry.config)
        found = registry.locate(name, root)
        cfg = set_data(cfg, data, len(entry.classes))
    else:
        found = registry.locate(own, root) if own else _own_root(cfg, root)

    set_data_root(cfg, found)
    return cfg


def data_of(name: str, root: str | None = None) -> Config:
    """The loaders of one of our data sets, without a model.

    Raises:
        DataError: unknown name, or the data set is not where it should be.
    """
    cfg = load_config(registry.get(name).config)
    set_data_root(cfg, registry.locate(name, root))
    return cfg


def _own_root(cfg: Config, root: str | None) -> Path:
    """Where the data set that the config itself names lies."""
    wanted = cfg.get("data_root") or ""
    if root is None and Path(wanted).is_dir() and wanted:
        return Path(wanted)
    for entry in registry.DATASETS.values():
        if entry.name == Path(wanted).name:
            return registry.locate(entry.name, root)
    if root is not None and Path(root).is_dir():
        return Path(root)
    raise ConfigError(
        f"the config's data set is not at {root or wanted or 'any data_root'}: name its folder "
        "with --data-root, or train on the embedded one with --data streets"
    )
