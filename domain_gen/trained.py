"""A checkpoint, and what is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from core.configs import load_config
from core.engine.checkpoint import checkpoints_in, load_checkpoint
from core.errors import ConfigError
from core.segmentors import HL_HEAD
from core.trust import config_of
from data import registry
from domain_gen.manifest import config_path


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
    network: str
    arm: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.source} {self.arm} seed {self.seed}"


def read_trained(path: Path, config: str | None = None, trust: Sequence[str] = ()) -> Trained:
    """A checkpoint, or the last one of a work_dir.

    Args:
        path: file or folder.
        config: config of its network, for a checkpoint that carries none.
        trust: see :func:`core.trust.config_of`.

    Raises:
        CheckpointError: missing or damaged.
        ConfigError: nothing says what network it is of; or what says it cannot be trusted.
    """
    if path.is_dir():
        found = checkpoints_in(path)
        if not found:
            raise ConfigError(f"{path}: holds no iter_N.pth; is the training finished?")
        path = found[0]
    checkpoint = load_checkpoint(path)
    meta = checkpoint["meta"]
    cfg = load_config(config_path(config)) if config else config_of(meta, path, trust)
    if cfg is None:
        raise ConfigError(f"{path}: carries no config: name that of its network with --config")
    known = cfg.get("experiment") or {}
    has_hl = any(key.startswith(f"{HL_HEAD}.") for key in checkpoint["state_dict"])
    dataset = meta.get("dataset_meta") or {}
    return Trained(
        path=path,
        cfg=cfg,
        classes=tuple(dataset.get("classes") or registry.get("cityscapes").classes),
        source=known.get("source", "unknown"),
        network=known.get("network") or known.get("model") or path.parent.name,
        arm=known.get("arm", "hl" if has_hl else "baseline"),
        seed=known.get("seed", meta.get("seed") or 0),
    )
