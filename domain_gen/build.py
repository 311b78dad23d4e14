"""Configs of this track: a network on a source, a trained network on a target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from core.configs import imports_of, load_config, set_data, set_data_root
from core.engine.cli import note
from core.schedule import save_often
from data import domains
from data.domains import Domain
from domain_gen.trained import Trained


def source_config(cfg: Config, source: Domain, root: Path, *, own: bool = False) -> Config:
    """``cfg`` trained on ``source``, and validated on it alone: the targets stay unseen.

    Args:
        own: a file of the user's, whose checkpoint interval is kept.
    """
    data = load_config(source.entry.config)
    data.train_dataloader.dataset.update(source.train)
    data.val_dataloader.dataset.update(source.val)
    data.test_dataloader = data.val_dataloader
    mode = cfg.model.get("test_cfg", {}).get("mode", "whole")
    if mode != "whole":
        note(f"the config's model.test_cfg ({mode}) gives way: this track evaluates whole images")
    cfg = set_data(cfg, data, len(source.entry.classes))
    set_data_root(cfg, root)
    cfg.model.test_cfg = dict(mode="whole")
    if not own:
        save_often(cfg)
    return cfg


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
    imports = [*imports_of(trained.cfg), *imports_of(data)]
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
