"""The settings of a run: one YAML file with the names of the published one, typed.

A file may name a ``base`` beside it and says only what differs. An unknown key, a wrong type or a
value out of range is refused in one line.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from reprlib import repr  # a few aliases of YAML can stand for gigabytes of text
from typing import Any

import yaml

from core.arms import KINDS
from core.errors import ConfigError
from core.hardness import IGNORED, NORMALIZE, WEIGHTING
from semi_supervised.u2pl.augment import AUGMENTATIONS


@dataclass(frozen=True)
class Crop:
    size: tuple[int, int]  # height, width


@dataclass(frozen=True)
class Train:
    crop: Crop
    flip: bool = True
    rand_resize: tuple[float, float] = (0.5, 2.0)  # half of the images shrink, half grow


@dataclass(frozen=True)
class Dataset:
    type: str  # a name of data/registry.py
    train: Train
    # Labeled images a process, and as many unlabeled ones; with 1 there is no other to mix with.
    batch_size: int = 2
    workers: int = 2
    test_size: tuple[int, int] = (0, 0)  # see configs/cityscapes.yaml
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class OptimizerKwargs:
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 0.0005


@dataclass(frozen=True)
class Optimizer:
    type: str = "SGD"
    kwargs: OptimizerKwargs = field(default_factory=OptimizerKwargs)


@dataclass(frozen=True)
class SchedulerKwargs:
    power: float = 0.9


@dataclass(frozen=True)
class LrScheduler:
    mode: str = "poly"
    kwargs: SchedulerKwargs = field(default_factory=SchedulerKwargs)


@dataclass(frozen=True)
class Unsupervised:
    drop_percent: float = 80  # percentile of the entropy that is kept at the start
    apply_aug: str = "cutmix"  # cutmix, classmix, cutout or none
    aug_prob: float = 0.5
    loss_weight: float = 1.0


@dataclass(frozen=True)
class Contrastive:
    negative_high_entropy: bool = True  # false: any unlabeled pixel may be a negative
    low_rank: int = 3
    high_rank: int = 20
    current_class_threshold: float = 0.3  # of an anchor's p(c)
    current_class_negative_threshold: float = 1.0
    low_entropy_threshold: float = 20  # percent of the pixels that are reliable, and unreliable
    num_negatives: int = 50
    num_queries: int = 256
    temperature: float = 0.5
    loss_weight: float = 1.0
    memory_size: int = 30_000
    memory_size_first: int = 50_000  # class 0


@dataclass(frozen=True)
class Trainer:
    epochs: int = 200  # passes over the unlabeled images
    max_iters: int = 0  # iterations of any arm; 0: those of the epochs, as published
    sup_only_epoch: int = 0
    evaluations: int = 20  # each with a checkpoint at least; the released code: one an epoch
    optimizer: Optimizer = field(default_factory=Optimizer)
    lr_scheduler: LrScheduler = field(default_factory=LrScheduler)
    unsupervised: Unsupervised = field(default_factory=Unsupervised)
    contrastive: Contrastive = field(default_factory=Contrastive)


@dataclass(frozen=True)
class CriterionKwargs:
    thresh: float = 0.7
    min_kept: int = 100_000  # pixels of PUBLISHED_BATCH images; in proportion of others


# Labeled images of a process in the published runs.
PUBLISHED_BATCH = 2


@dataclass(frozen=True)
class Criterion:
    type: str = "ohem"  # or ce
    kwargs: CriterionKwargs = field(default_factory=CriterionKwargs)

    def kept(self, images: int) -> int:
        """The least number of pixels that OHEM keeps of so many images: the published share."""
        return round(self.kwargs.min_kept * images / PUBLISHED_BATCH)


@dataclass(frozen=True)
class AuxLoss:
    loss_weight: float = 0.4


@dataclass(frozen=True)
class Net:
    config: str  # mmseg config of the network: a file beside this one, or mmseg::folder/file.py
    rep_planes: int = 256  # length of a representation
    ema_decay: float = 0.99
    aux_loss: AuxLoss = field(default_factory=AuxLoss)


@dataclass(frozen=True)
class HL:
    """Arguments of :class:`core.hardness.HardnessLoss` and :class:`core.hl_head.Branch`."""

    c: float = 0.1
    alpha: float | str = 0.01  # or auto, auto@DOSE
    normalize: str = "image"
    ignored: str = "exclude"
    head: str = "faithful"  # or lite
    every: float = 1
    weighting: str = "hl"


@dataclass(frozen=True)
class AsReleased:
    """Accidents of the released code, to be repeated where true. See the modules named."""

    negatives_of_own_class: bool = False  # contrastive.py
    one_hot_on_first_image: bool = False  # contrastive.py
    shifted_class_list: bool = False  # contrastive.py
    teacher_is_student_first_epoch: bool = False  # segmentor.py
    pseudo_labels_on_padding: bool = False  # pairs.py
    padding_is_class_0: bool = False  # of labeled images; pairs.py


@dataclass(frozen=True)
class Settings:
    dataset: Dataset
    net: Net
    trainer: Trainer = field(default_factory=Trainer)
    criterion: Criterion = field(default_factory=Criterion)
    hl: HL = field(default_factory=HL)
    as_released: AsReleased = field(default_factory=AsReleased)

    def __post_init__(self) -> None:
        for names, check in ((_ONE_OF, _one_of), (_WITHIN, _within)):
            for name, allowed in names.items():
                check(name, attrgetter(name)(self), allowed)
        for name in _POSITIVE:
            _positive(name, attrgetter(name)(self))
        for name in ("alpha", "head", "every"):
            option, value = KINDS["hl"].options[name], getattr(self.hl, name)
            if not option.allowed(float(value) if isinstance(value, int) else value):
                raise ConfigError(f"hl.{name} must be {option.range}; got {value}")
        _within("trainer.sup_only_epoch", self.trainer.sup_only_epoch, (0, self.trainer.epochs))
        low, high = self.dataset.train.rand_resize
        if low > high:
            raise ConfigError(f"dataset.train.rand_resize must be [low, high]; got [{low}, {high}]")


_ONE_OF = {
    "criterion.type": ("ohem", "ce"),
    "trainer.optimizer.type": ("SGD",),
    "trainer.lr_scheduler.mode": ("poly",),
    "trainer.unsupervised.apply_aug": (*AUGMENTATIONS, "none"),
    "hl.weighting": WEIGHTING,
    "hl.normalize": NORMALIZE,
    "hl.ignored": IGNORED,
}
_WITHIN = {  # how ranks and the number of classes go together: contrastive.py
    "dataset.train.crop.size": (3, 100_000),  # a box of half of the image, and more to choose from
    "dataset.train.rand_resize": (0, 100),
    "dataset.batch_size": (1, math.inf),
    "dataset.workers": (0, math.inf),
    "dataset.test_size": (0, math.inf),
    "dataset.mean": (0, 255),
    "trainer.epochs": (1, 10**9),
    "trainer.max_iters": (0, 10**9),
    "trainer.evaluations": (1, math.inf),
    "trainer.optimizer.kwargs.momentum": (0, 1),
    "trainer.optimizer.kwargs.weight_decay": (0, math.inf),
    "trainer.lr_scheduler.kwargs.power": (0, math.inf),
    "trainer.unsupervised.drop_percent": (0, 100),
    "trainer.unsupervised.aug_prob": (0, 1),
    "trainer.unsupervised.loss_weight": (0, math.inf),
    "trainer.contrastive.low_rank": (0, math.inf),
    "trainer.contrastive.current_class_threshold": (0, 1),
    "trainer.contrastive.current_class_negative_threshold": (0, 1),
    "trainer.contrastive.low_entropy_threshold": (0, 100),
    "trainer.contrastive.num_negatives": (1, 10**6),
    "trainer.contrastive.num_queries": (1, 10**6),
    "trainer.contrastive.loss_weight": (0, math.inf),
    "trainer.contrastive.memory_size": (1, 10**7),
    "trainer.contrastive.memory_size_first": (1, 10**7),
    "criterion.kwargs.thresh": (0, 1),
    "criterion.kwargs.min_kept": (0, math.inf),
    "net.rep_planes": (1, 100_000),
    "net.ema_decay": (0, 1),
    "net.aux_loss.loss_weight": (0, math.inf),
}
_POSITIVE = (
    "dataset.train.rand_resize",
    "dataset.std",
    "trainer.optimizer.kwargs.lr",
    "trainer.contrastive.temperature",
    "hl.c",
)


def load_settings(path: str | Path, overrides: list[str] | None = None) -> Settings:
    """Settings of a YAML file, with ``a.b.c=value`` overrides; values are read as YAML.

    ``net.config`` comes back as a path that can be opened, or as ``mmseg::…``.

    Raises:
        ConfigError: no such file, no YAML, an unknown key, a wrong type, a value out of range.
    """
    values = _read(Path(path))
    for override in overrides or []:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"{override!r}: an override is KEY=VALUE, e.g. trainer.epochs=100")
        nested = _parse(text, override)
        for name in reversed(key.split(".")):
            nested = {name: nested}
        _merge(values, nested)
    return from_dict(Settings, values, "", str(path))


def from_dict(cls: type, values: Any, where: str = "", source: str = "settings") -> Any:
    """``cls`` (a dataclass above) from nested dicts.

    Raises:
        ConfigError: see :func:`load_settings`.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{source}: {where or 'the file'} must be a mapping, got {repr(values)}")
    types = typing.get_type_hints(cls)
    for key in values:
        if key not in types:
            near = difflib.get_close_matches(str(key), types, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(types)}"
            raise ConfigError(f"{source}: unknown key {_join(where, key)}; {hint}")
    for f in dataclasses.fields(cls):
        missing = f.default is f.default_factory is dataclasses.MISSING
        if missing and f.name not in values:
            raise ConfigError(f"{source}: {_join(where, f.name)} is missing")
    made = {k: _typed(types[k], v, _join(where, k), source) for k, v in values.items()}
    try:
        return cls(**made)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None


def _typed(kind: Any, value: Any, where: str, source: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return from_dict(kind, value, where, source)
    if typing.get_origin(kind) is tuple:
        kinds = typing.get_args(kind)
        if not isinstance(value, (list, tuple)) or len(value) != len(kinds):
            raise ConfigError(f"{source}: {where} must be {len(kinds)} values, got {repr(value)}")
        return tuple(_typed(k, v, where, source) for k, v in zip(kinds, value, strict=True))
    if (
        kind in (float, float | str)
        and isinstance(value, (int, str))
        and not isinstance(value, bool)
    ):
        try:
            return float(value)  # YAML reads 1e-3 as text
        except (ValueError, OverflowError):
            pass
    if type(value) not in (typing.get_args(kind) or (kind,)):
        raise ConfigError(
            f"{source}: {where} must be {getattr(kind, '__name__', kind)}, got {repr(value)}"
        )
    return value


def _read(path: Path, seen: tuple[Path, ...] = ()) -> dict:
    """A YAML file merged over its ``base``."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such settings file")
    if path.resolve() in seen:
        raise ConfigError(f"{path}: is its own base")
    try:
        values = yaml.safe_load(path.read_text())
    # ValueError: no UTF-8, or the 45th of a month; RecursionError: brackets in brackets
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must be a mapping")
    net = values.get("net")
    config = net.get("config") if isinstance(net, dict) else None
    if isinstance(config, str) and not config.startswith("mmseg::"):
        net["config"] = str(path.parent / config)
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise ConfigError(f"{path}: base must be the name of a file, got {repr(base)}")
    merged = _read(path.parent / base, (*seen, path.resolve()))
    _merge(merged, values)
    return merged


def _merge(into: dict, values: dict) -> None:
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _parse(text: str, override: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{override!r}: the value is not YAML") from error


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else str(key)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")


def _within(name: str, value: Any, limits: tuple[float, float]) -> None:
    """A number, or every one of a tuple; NaN and infinity are in no range."""
    low, high = limits
    if not all(low <= x <= high and x < math.inf for x in _numbers(value)):
        bound = f"{low} or more" if high == math.inf else f"from {low} to {high}"
        raise ConfigError(f"{name} must be {bound}; got {value}")


def _positive(name: str, value: Any) -> None:
    if not all(0 < x < math.inf for x in _numbers(value)):
        raise ConfigError(f"{name} must be > 0; got {value}")


def _numbers(value: Any) -> tuple:
    return value if isinstance(value, tuple) else (value,)
