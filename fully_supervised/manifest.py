"""``experiments.yaml``: the paper's tables, row by row, and the config of each model; and
``costs.yaml``: what a row trains, and what it took the authors."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.machinery import PathFinder
from pathlib import Path

import yaml
from mmengine.config import Config

from core.arms import Arm
from core.batch import Batch, training_note
from core.configs import config_revision, load_config, set_data
from core.errors import ConfigError
from core.schedule import save_often, scale_schedule
from data import registry

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Model:
    """An entry of ``models``; a name with a slash is of that data set."""

    name: str
    title: str
    base: str
    loaders: str | None = None
    max_iters: int | None = None
    gpus: int = 4
    change: Mapping = field(default_factory=dict, compare=False)
    needs: Sequence[str] = field(default=(), compare=False)
    is_own: bool = False
    arms: Sequence[str] = field(default=(), compare=False)

    def takes(self, arm: Arm) -> bool:
        """Whether it can be trained so; ``arms`` says where not every arm is possible."""
        return not self.arms or str(arm) in self.arms

    @property
    def data(self) -> str | None:
        """The data set that the row is of, None for a model that goes with any."""
        data, slash, _ = self.name.partition("/")
        return data if slash else None

    @cached_property
    def _own(self) -> Config | None:
        return load_config(self.base) if self.is_own else None

    @property
    def revision(self) -> str | None:
        """Of a config of the user's, which may change from one call to the next."""
        return config_revision(self._own) if self.is_own else None

    @property
    def seed(self) -> int | None:
        """That a config of the user's sets."""
        return (self._own.get("randomness") or {}).get("seed") if self.is_own else None

    @property
    def missing(self) -> list[str]:
        """What it needs and is not here."""
        return [name for name in self.needs if not _is_here(name)]

    def config(self) -> Config:
        """The whole mmseg config, with the published schedule.

        Raises:
            ConfigError: something that it needs is not here.
        """
        if self.missing:
            raise ConfigError(f"{self.name} needs {' and '.join(self.missing)}, not installed here")
        cfg = load_config(_path(self.base))
        if self.loaders:
            classes = registry.get(self.data).classes
            cfg = set_data(cfg, load_config(_path(self.loaders)), len(classes))
        if self.max_iters:
            scale_schedule(cfg, self.max_iters)
        cfg.merge_from_dict(copy.deepcopy(dict(self.change)))
        _decay_in_warm_up(cfg)
        if not self.is_own:
            save_often(cfg)
        return cfg


@dataclass(frozen=True)
class Cost:
    """An entry of ``costs.yaml``: what a row trains as published, and the authors' logs of it."""

    iterations: int
    batch: int
    optimizer: str
    lr: float
    logs: Mapping[str, Sequence[float | None]] = field(default_factory=dict, compare=False)

    def told(self, model: Model, gpus: int | None = None, asked: int | None = None) -> str:
        """Iterations, batch and rate on so many GPUs [those published].

        Args:
            asked: iterations in the place of the published ones.
        """
        batch = Batch.of(self.batch // model.gpus, model.gpus, gpus or model.gpus, self.optimizer)
        said = training_note(batch, self.iterations, self.lr)
        if asked:
            said = f"cut to {asked:,} iterations; whole: {said}"
        return said

    def authors(self, model: Model, arm: Arm) -> str:
        """Hours and GB of a GPU in the authors' logs."""
        column = {"baseline": 0, "hl": 1, str(Arm.parse("hl").as_released()): 1}.get(str(arm))
        known = self.logs and column is not None and self.logs["seconds"][column] is not None
        if not known:
            return "authors' hours: n/a"
        hours = self.logs["seconds"][column] * self.iterations / 3600
        memory = self.logs["gb"][column]
        return f"authors: {hours:.1f} h on {model.gpus} GPUs, {memory:g} GB each"


@dataclass(frozen=True)
class Table:
    """An entry of ``tables``: models by name with their published mIoU in percent, by arm."""

    name: str
    title: str
    arms: tuple[str, ...]
    rows: Mapping[str, Mapping[str, float]] = field(compare=False)
    sweep: str | None = None


@cache
def read() -> dict:
    """The file as it is."""
    return yaml.safe_load((HERE / "experiments.yaml").read_text())


@cache
def costs() -> dict[str, Cost]:
    """What rows train, by name."""
    entries = yaml.safe_load((HERE / "costs.yaml").read_text())
    return {name: Cost(**entry) for name, entry in entries.items()}


@cache
def models() -> dict[str, Model]:
    """All models by name."""
    return {name: Model(name, **entry) for name, entry in read()["models"].items()}


@cache
def tables() -> dict[str, Table]:
    """All tables by name, in their order."""
    arms = tuple(read()["arms"])
    return {
        name: Table(name, entry["title"], tuple(entry.get("arms", arms)), entry["rows"],
                    entry.get("sweep"))
        for name, entry in read()["tables"].items()
    }  # fmt: skip


def model(name: str) -> Model:
    """The model of that name; a config of the user's by its path, or mmseg's by ``mmseg::…``.

    Raises:
        ConfigError: there is none; the names that come near.
    """
    if name.startswith("mmseg::") or name.endswith((".py", ".json", ".yaml", ".yml")):
        load_config(name)  # refused now, not when it is trained
        stem = Path(name).stem
        return Model(stem, stem, name, is_own=True)
    if name not in models():
        near = difflib.get_close_matches(name, models(), 3) or list(models())[:3]
        raise ConfigError(
            f"unknown row {name!r}; near it: {', '.join(near)}; --list prints them all"
        )
    return models()[name]


def _decay_in_warm_up(cfg: Config) -> None:
    """In place: the decay begins at 0 and is multiplied by the warm-up's factor, as in mmseg 0.x,
    which the authors used; in mmseg 1.x it begins where the warm-up ends."""
    warm_up, *others = cfg.param_scheduler
    for decay in others:
        if warm_up["type"] == "LinearLR" and decay["begin"] == warm_up["end"]:
            decay["begin"] = 0


def _path(name: str) -> str:
    """mmseg's own by name; ours by path, wherever the call comes from."""
    return name if name.startswith("mmseg::") else str(HERE.parent / name)


def _is_here(name: str) -> bool:
    """Whether a module can be found, without importing it or what it lies in."""
    path = None
    for part in name.split("."):
        spec = PathFinder.find_spec(part, path)
        if spec is None:
            return False
        path = spec.submodule_search_locations
    return True
