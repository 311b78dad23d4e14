"""Configs of this track: a network on a source, a trained network on a target."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config

from core.engine.checkpoint import checkpoints_in, load_checkpoint
from core.engine.configs import ConfigError, load_config, parse_config, set_data, set_data_root
from core.segmentors import HL_HEAD
from data import domains, registry
from data.domains import Domain
from data.errors import DataError

HERE = Path(__file__).resolve().parent


def manifest() -> dict[str, Any]:
    """``experiments.yaml``."""
    return yaml.safe_load((HERE / "experiments.yaml").read_text())


def settings_of(source: str, config: str | None = None) -> dict[str, Any]:
    """``config``, ``max_iters`` (None: the config's own), ``seeds`` and ``targets`` for a source.

    With another ``config`` than ``experiments.yaml`` has, its iterations are the config's own.

    Raises:
        ConfigError: the source is not in ``experiments.yaml`` and no ``config`` is given.
    """
    known = dict(manifest()["sources"].get(source, {}))
    if config is not None and config != known.get("config"):
        known.update(config=config, max_iters=None)
    if "config" not in known:
        raise ConfigError(f"experiments.yaml has no network for {source}: give --config")
    return dict(max_iters=None, seeds=[0], targets=[]) | known


def config_path(name: str) -> str:
    """A config by path or ``mmseg::…``, or one of ours by the name of its file."""
    ours = HERE / "configs" / f"{name}.py"
    return str(ours) if ours.is_file() else name


def parse_roots(pairs: Sequence[str]) -> dict[str, str]:
    """``["cityscapes=/data/cityscapes"]`` as a dict.

    Raises:
        ConfigError: not of that form, or no data set of that name.
    """
    roots = dict(pair.partition("=")[::2] for pair in pairs)
    for name, root in roots.items():
        if not root:
            raise ConfigError(f"--data-root {name}: give NAME=DIR, such as cityscapes={name}")
        registry.get(name)
    return roots


def find_source(name: str | None, roots: Mapping[str, str]) -> tuple[Domain, Path]:
    """The source and its folder; without a name GTAV where it is there, else the embedded scenes.

    Raises:
        DataError: no such domain, or its data set is not there.
    """
    if name is None:
        gtav = registry.get("gtav")
        there = "gtav" in roots or Path(gtav.default_root).is_dir()
        name = "gtav" if there else "streets:game"
    source = domains.parse(name)
    return source, registry.locate(source.dataset, roots.get(source.dataset))


def find_targets(
    names: Sequence[str], roots: Mapping[str, str]
) -> tuple[dict[Domain, Path], dict[Domain, str]]:
    """The targets that are there with their folders, and the others with the reason.

    Raises:
        DataError: no domain of that name.
    """
    found, missing = {}, {}
    for target in map(domains.parse, names):
        try:
            found[target] = registry.locate(target.dataset, roots.get(target.dataset))
        except DataError as error:
            missing[target] = str(error)
    return found, missing


def source_config(cfg: Config, source: Domain, root: Path) -> Config:
    """``cfg`` trained on ``source``, and validated on it alone: the targets stay unseen."""
    data = load_config(source.entry.config)
    data.train_dataloader.dataset.update(source.train)
    data.val_dataloader.dataset.update(source.val)
    data.test_dataloader = data.val_dataloader
    cfg = set_data(cfg, data, len(source.entry.classes))
    set_data_root(cfg, root)
    cfg.model.test_cfg = dict(mode="whole")
    return cfg


@dataclass(frozen=True)
class Trained:
    """A checkpoint and what is known of it.

    Attributes:
        cfg: the config that it was trained with.
        classes: names of the classes that it tells apart.
    """

    path: Path
    cfg: Config
    classes: tuple[str, ...]
    source: str
    model: str
    arm: str
    seed: int
    iteration: int | None

    @property
    def name(self) -> str:
        return f"{self.source} {self.arm} seed {self.seed}"


def read_trained(path: Path, config: str | None = None) -> Trained:
    """A checkpoint, or the last one of a work_dir.

    Args:
        path: file or folder.
        config: config of its network, for a checkpoint that carries none.

    Raises:
        CheckpointError: missing or damaged.
        ConfigError: nothing says what network it is of.
    """
    if path.is_dir():
        found = checkpoints_in(path)
        if not found:
            raise ConfigError(f"{path}: holds no iter_N.pth; is the training finished?")
        path = found[0]
    checkpoint = load_checkpoint(path)
    meta = checkpoint.get("meta") or {}
    if config is not None:
        cfg = load_config(config_path(config))
    elif meta.get("cfg"):
        cfg = parse_config(meta["cfg"])
    else:
        raise ConfigError(f"{path}: carries no config: name that of its network with --config")
    known = cfg.get("experiment") or {}
    has_hl = any(key.startswith(f"{HL_HEAD}.") for key in checkpoint["state_dict"])
    dataset = meta.get("dataset_meta") or {}
    return Trained(
        path=path,
        cfg=cfg,
        classes=tuple(dataset.get("classes") or registry.get("cityscapes").classes),
        source=known.get("source", "unknown"),
        model=known.get("model", path.parent.name),
        arm=known.get("arm", "hl" if has_hl else "baseline"),
        seed=known.get("seed", meta.get("seed") or 0),
        iteration=meta.get("iter"),
    )


def target_config(trained: Trained, target: Domain, root: Path) -> Config:
    """The network of a checkpoint on a target, whole images.

    Raises:
        DataError: the target's classes are not the network's, and there is no mapping.
    """
    data = load_config(target.entry.config)
    dataset = data.test_dataloader.dataset
    dataset.update(target.val)
    if target.size is not None:
        dataset.pipeline = resized(dataset.pipeline, target.size)
    mapping = domains.prediction_map(trained.classes, target.entry.classes)
    if mapping is not None:
        dataset.metainfo = dict(classes=target.entry.classes, prediction_map=mapping)
    model = trained.cfg.model
    model.pretrained = None
    model.test_cfg = dict(mode="whole")
    imports = [
        *(trained.cfg.get("custom_imports") or dict(imports=[]))["imports"],
        *(data.get("custom_imports") or dict(imports=[]))["imports"],
    ]
    cfg = Config(
        dict(
            model=model,
            custom_imports=dict(imports=imports, allow_failed_imports=False),
            test_dataloader=data.test_dataloader,
            test_evaluator=data.test_evaluator,
            test_cfg=dict(type="TestLoop"),
            # mmengine keeps one visualizer of a name a process; each evaluation has its own folder.
            visualizer=dict(type="SegLocalVisualizer", name=f"{trained.path} {target.name}"),
        )
    )
    set_data_root(cfg, root)
    return cfg


def resized(pipeline: Sequence[dict], size: tuple[int, int] | str) -> list[dict]:
    """A test pipeline that fits images into (width, height), or leaves them as they are ("full");
    labels keep their size."""
    steps = [step for step in pipeline if step["type"] != "Resize"]
    if size != "full":
        loaded = [step["type"] for step in steps].index("LoadImageFromFile")
        steps.insert(loaded + 1, dict(type="Resize", scale=size, keep_ratio=True))
    return steps


def slug(name: str) -> str:
    """A domain's name as that of a folder."""
    return re.sub(r"\W+", "-", name)
