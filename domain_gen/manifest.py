"""``experiments.yaml``; sources and targets on disk, and what their folders are called."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from core.batch import Batch, training_note
from core.configs import config_revision, load_config
from core.engine.launch import Launch
from core.errors import ConfigError
from data import domains, registry
from data.domains import Domain
from data.errors import DataError
from data.roots import Roots

HERE = Path(__file__).resolve().parent
RUNS = Path("work_dirs", "domain_gen")


@cache
def read() -> dict[str, Any]:
    """The file as it is."""
    return yaml.safe_load((HERE / "experiments.yaml").read_text())


def settings_of(source: str, config: str | None = None) -> dict[str, Any]:
    """``config``, ``max_iters`` (None: the config's own), ``gpus`` that its batch size is for
    (None: any number), ``seeds``, ``targets`` and ``options`` of arms for a source; ``revision`` of
    a config that is named, which may change from one call to the next.

    With another ``config`` than ``experiments.yaml`` has, its iterations are the config's own; and
    its batch size is for any number of GPUs, unless the config is one of ours.

    Raises:
        ConfigError: the source is not in ``experiments.yaml`` and no ``config`` is given.
    """
    known = dict(read()["sources"].get(source, {}))
    if config is not None and config != known.get("config"):
        known.update(config=config, max_iters=None)
        if config_path(config) == config:
            known.update(gpus=None)
    if "config" not in known:
        raise ConfigError(f"experiments.yaml has no network for {source}: give --config")
    known["revision"] = config_revision(load_config(config_path(config))) if config else None
    return dict(max_iters=None, gpus=None, seeds=[0], targets=[], options={}) | known


def note(known: Mapping[str, Any], launcher: str, asked: int | None) -> str:
    """What a dry run says of a training.

    Args:
        known: from :func:`settings_of`.
        launcher: how it will be started, on ``GPUS`` GPUs.
        asked: iterations in the place of the config's.
    """
    if known["gpus"] is None:
        length = f"{asked:,} iterations" if asked else "the iterations of its config"
        return f"{length}; batch and learning rate as config and data set have them"
    cfg = load_config(config_path(known["config"]))
    optimizer, whole = cfg.optim_wrapper.optimizer, cfg.train_cfg.max_iters
    processes = Launch.from_environment(launcher).processes
    # The network's config and GTAV's have the same number of images; the latter would be slow.
    batch = Batch.of(cfg.train_dataloader.batch_size, known["gpus"], processes, optimizer.type)
    said = training_note(batch, whole, optimizer.lr)
    said = f"cut to {asked:,} iterations; whole: {said}" if asked else said
    return f"{said}; authors' hours: n/a"


def config_path(name: str) -> str:
    """A config by path or ``mmseg::…``, or one of ours by the name of its file."""
    ours = HERE / "configs" / f"{name}.py"
    return str(ours) if ours.is_file() else name


def find_source(name: str | None, roots: Roots) -> Domain:
    """The source; without a name GTAV where it is there, else the embedded scenes.

    Raises:
        DataError: no such domain.
    """
    if name is None:
        there = roots.of("gtav") or Path(registry.get("gtav").default_root).is_dir()
        name = "gtav" if there else "streets:game"
    return domains.parse(name)


def locate(domain: Domain, roots: Roots) -> Path:
    """The folder of a domain's data set.

    Raises:
        DataError: it is not there.
    """
    return registry.locate(domain.dataset, roots.of(domain.dataset))


def find_targets(
    targets: Sequence[Domain], roots: Roots
) -> tuple[dict[Domain, Path], dict[Domain, str]]:
    """The targets that are there with their folders, and the others with the reason."""
    found, missing = {}, {}
    for target in targets:
        try:
            found[target] = locate(target, roots)
        except DataError as error:
            missing[target] = str(error)
    return found, missing


def slug(name: str) -> str:
    """A domain's name as that of a folder."""
    return re.sub(r"\W+", "-", name)


def target_dir(work_dir: Path, target: Domain) -> Path:
    """Where the evaluation of a run on a target lies."""
    return work_dir / "targets" / slug(target.name)
