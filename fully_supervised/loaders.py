"""The loaders of a run: the config's own, or those of one of our data sets in their place."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from core.configs import data_roots, load_config, set_data, set_data_root
from core.engine.cli import note
from core.errors import ConfigError
from data import registry
from data.roots import Roots


def fit_data(cfg: Config, name: str | None, roots: Roots, own: str | None = None) -> Config:
    """``cfg`` on a data set that is there.

    With ``name``, loaders, transforms, metric and number of classes are those of the data set.
    Without, the config keeps its own loaders, and reads where they say. Only where the folder that
    they name is not there, or ``roots`` name another, what lies below the config's ``data_root`` is
    looked for elsewhere: a Cityscapes config finds ``data/raw/cityscapes`` by itself.

    Args:
        own: the data set that the config's loaders are of, where that is known.

    Raises:
        DataError: unknown name, or the data set is not where it should be.
        ConfigError: the config's own data set is not there.
    """
    if name is not None:
        entry = registry.get(name)
        before = cfg.model.get("test_cfg")
        cfg = set_data(cfg, load_config(entry.config), len(entry.classes))
        if before and before != cfg.model.test_cfg:
            note(f"the config's model.test_cfg {dict(before)} is of its own data set; on {name} it "
                 f"is {dict(cfg.model.test_cfg)}")  # fmt: skip
    if name or own:
        set_data_root(cfg, registry.locate(name or own, roots.of(name or own)))
    else:
        _find_own(cfg, roots)
    return cfg


def data_of(name: str, roots: Roots) -> Config:
    """The loaders of one of our data sets, without a model.

    Raises:
        DataError: unknown name, or the data set is not where it should be.
    """
    cfg = load_config(registry.get(name).config)
    set_data_root(cfg, registry.locate(name, roots.of(name)))
    return cfg


def data_name(cfg: Config) -> str:
    """What a report calls the data set of a config's own loaders: its class."""
    dataset = (cfg.get("train_dataloader") or {}).get("dataset") or {}
    while isinstance(dataset.get("dataset"), dict):  # what a wrapper wraps
        dataset = dataset["dataset"]
    parts = dataset.get("datasets") or [dataset]
    return " + ".join(dict.fromkeys(str(part.get("type", "own data")) for part in parts))


def _find_own(cfg: Config, roots: Roots) -> None:
    """In place: the folder of a config's own data set, if it is not where the config says."""
    used = data_roots(cfg)
    wanted = cfg.get("data_root")
    if wanted not in used:  # a variable that no loader reads
        wanted = used.pop() if len(used) == 1 else None
    known = Path(wanted).name if wanted else None
    named = roots.of(known) if known in registry.DATASETS else roots.of("")
    if named is None and roots.folders:
        raise ConfigError(
            f"--data-root {' '.join(f'{k}={v}' for k, v in roots.folders.items())}: the config "
            f"reads {data_name(cfg)} of its own; give the folder alone: --data-root DIR"
        )
    if named is None and (wanted is None or Path(wanted).is_dir()):
        return  # every loader says itself where it reads
    if known in registry.DATASETS:
        set_data_root(cfg, registry.locate(known, named))
    elif named is not None and Path(named).is_dir():
        set_data_root(cfg, named)
    else:
        raise ConfigError(
            f"the config's data set is not at {named or wanted}: name its folder with --data-root, "
            "or train on the embedded one with --data streets"
        )
