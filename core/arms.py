"""The arms of a comparison: how the pixels of a training's loss are weighted, in one table.

An arm is what flags, folders, results and reports call a way of training: a name of
:data:`KINDS` and, behind it, options: ``hl``, ``hl c=0.5 alpha=1``. Imports nothing heavy, since
flags are read with it.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from core.errors import CannotConvert

Value = float | str


@dataclass(frozen=True)
class Option:
    """A number within bounds, or one of some words.

    Attributes:
        default: where it is not given; None: worked out from the config.
        allowed: whether a value is in range.
        range: what that means, in words.
    """

    default: Value | None
    allowed: Callable[[Value], bool]
    range: str


def _number(default: float | None, allowed: Callable[[float], bool], words: str) -> Option:
    def check(value: Value) -> bool:
        return isinstance(value, float) and math.isfinite(value) and allowed(value)

    return Option(default, check, words)


def _words(*words: str) -> Option:
    return Option(words[0], lambda value: value in words, f"one of {', '.join(words)}")


# alpha by the dose that it gives (core.dose): the published one, or another.
_AUTO = re.compile(r"auto(?:@(\d+(?:\.\d+)?))?")


def auto_dose(alpha: Value, published: float) -> float | None:
    """The dose that ``alpha=auto`` (``published``) or ``alpha=auto@DOSE`` asks for, None where
    ``alpha`` is none of these."""
    found = _AUTO.fullmatch(alpha) if isinstance(alpha, str) else None
    return found and (float(found[1]) if found[1] else published)


def _is_alpha(value: Value) -> bool:
    if isinstance(value, str):
        return bool(_AUTO.fullmatch(value))
    return isinstance(value, float) and math.isfinite(value) and value >= 0


# Those of core.hardness.HardnessLoss, with its defaults: a test holds them together.
_C = _number(0.1, lambda x: x > 0, "> 0: Eq. 1 divides by the sum of sigmoid + c")
_MAP = {"c": _C, "normalize": _words("image", "batch"), "ignored": _words("exclude", "include")}
_ALPHA = Option(0.01, _is_alpha, ">= 0, auto (the published dose) or auto@DOSE")
# Those of core.hl_head.Branch.
HL_HEADS = ("faithful", "lite")
_BRANCH = {
    "head": _words(*HL_HEADS),
    "every": _number(1.0, lambda x: x >= 1 and x.is_integer(), "a whole number >= 1"),
}
_HL = {"c": _C, "alpha": _ALPHA, **_MAP, **_BRANCH}


@dataclass(frozen=True)
class Kind:
    """A row of the table.

    Attributes:
        name: in flags, folders and results.
        title: in reports, unless a track has a name of its own for it.
        colors: on a light and on a dark page.
        options: by name.
        weighting: what ``--weighting`` calls it.
        released: options as the authors' released code has them, for ``--as-released``.
        has_map: whether a hardness map weights the pixels: it is compared with scale-matched CE.
        is_rival: whether reports say how it compares with the baseline.
    """

    name: str
    title: str
    colors: tuple[str, str]
    options: Mapping[str, Option] = field(default_factory=dict)
    released: Mapping[str, str] = field(default_factory=dict)
    weighting: str = ""
    has_map: bool = False
    is_rival: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "weighting", self.weighting or self.name)


# The authors' code: one sum over the batch of a process, ignored pixels in it.
_MAP_RELEASED = {"normalize": "batch", "ignored": "include"}

# In the order of the tables.
KINDS = {
    kind.name: kind
    for kind in (
        Kind("sup-only", "SupOnly", ("#7a1f2f", "#c04545"), weighting="ce"),
        Kind("baseline", "Baseline (CE)", ("#70757c", "#a3a9b1"), weighting="ce"),
        Kind(
            "balanced",
            "Balanced CE",
            ("#2e7d4f", "#6cc08f"),
            {"reduction": _words("pixels", "weights")},
            {"reduction": "pixels"},
            is_rival=True,
        ),
        Kind(
            "ohem",
            "OHEM",
            ("#8a5a9e", "#c39bd6"),
            {
                "thresh": _number(0.7, lambda x: 0 < x <= 1, "a probability, 0 < thresh <= 1"),
                "min_kept": _number(None, lambda x: x >= 2, "a number of pixels, >= 2"),
            },
            is_rival=True,
        ),
        Kind(
            "focal",
            "Focal loss",
            ("#b0563f", "#e0896f"),
            {"gamma": _number(2.0, lambda x: x >= 0, ">= 0")},
            is_rival=True,
        ),
        Kind("ce-scaled", "Scale-matched CE", ("#d98300", "#f0a63a"), _HL, _MAP_RELEASED),
        Kind(
            "collected",
            "Collected HL",
            ("#008b8b", "#4fd1d1"),
            _MAP,
            _MAP_RELEASED,
            has_map=True,
            is_rival=True,
        ),
        Kind("hl", "+HL", ("#0066ad", "#5cb3ec"), _HL, _MAP_RELEASED, has_map=True),
    )
}
# What --weighting takes.
WEIGHTINGS = tuple(dict.fromkeys(kind.weighting for kind in KINDS.values()))
# Colours of arms with options, light and dark, in the order in which they come.
VARIANTS = (
    ("#7fb2d6", "#b9dcf5"),
    ("#00406b", "#3d86c2"),
    ("#4aa59d", "#86d8d0"),
    ("#8f7fc2", "#b9adea"),
    ("#5a6b00", "#b4c64a"),
)


@dataclass(frozen=True)
class Arm:
    """A kind with options that are in range; ``str`` and :meth:`parse` are inverse.

    Raises:
        CannotConvert: an unknown kind or option, or a value out of range; in one line.
    """

    kind: Kind
    options: Mapping[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.options.items():
            if name not in self.kind.options:
                has = f"it has {', '.join(self.kind.options)}" if self.kind.options else (
                    "it has none")  # fmt: skip
                raise CannotConvert(f"{self.kind.name} has no option {name!r}; {has}")
            option = self.kind.options[name]
            if not option.allowed(value):
                raise CannotConvert(f"{self.kind.name}: {name} must be {option.range}; got {value}")

    def __hash__(self) -> int:
        return hash(str(self))

    @classmethod
    def parse(cls, text: str) -> Arm:
        """``"hl c=0.5 alpha=1"``; ``ce`` is another word for ``baseline``."""
        name, *pairs = text.split() or [""]
        return cls.of(name, pairs)

    @classmethod
    def of(cls, name: str, pairs: Iterable[str] = ()) -> Arm:
        """An arm from its name and ``KEY=VALUE`` pairs.

        Raises:
            CannotConvert: see above; or an option that is given twice with two values.
        """
        kind = KINDS.get("baseline" if name == "ce" else name)
        if kind is None:
            near = difflib.get_close_matches(name, KINDS, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise CannotConvert(f"unknown arm {name!r}, there are: {', '.join(KINDS)}{hint}")
        options: dict[str, Value] = {}
        for pair in pairs:
            key, equals, text = pair.partition("=")
            if not (key and equals and text):
                raise CannotConvert(f"{pair!r}: an option of {name} is KEY=VALUE, such as c=0.5")
            value = _value(text)
            if key in options and options[key] != value:
                raise CannotConvert(
                    f"{name}: {key} is given twice: {_text(options[key])} and {text}"
                )
            options[key] = value
        order = [*kind.options, *options]  # equal arms have one text; unknown ones are refused
        return cls(kind, {key: options[key] for key in dict.fromkeys(order) if key in options})

    def __str__(self) -> str:
        return " ".join([self.kind.name, *self.pairs])

    @property
    def pairs(self) -> list[str]:
        """The options as ``KEY=VALUE``."""
        return [f"{name}={_text(value)}" for name, value in self.options.items()]

    @property
    def folder(self) -> str:
        """Its name as part of that of a folder: ``hl-c=0.5``."""
        return str(self).replace(" ", "-")

    @property
    def weighting(self) -> str:
        """What ``--weighting`` calls it."""
        return self.kind.weighting

    @property
    def settings(self) -> dict[str, Value | None]:
        """All options, those that are not given with their defaults."""
        return {name: o.default for name, o in self.kind.options.items()} | dict(self.options)

    def with_defaults(self, options: Mapping[str, str]) -> Arm:
        """The arm with further options, where its kind has them and it does not say otherwise."""
        further = {k: v for k, v in options.items() if k in self.kind.options}
        pairs = [f"{k}={v}" for k, v in further.items() if k not in self.options]
        return Arm.of(self.kind.name, [*self.pairs, *pairs])

    @property
    def flags(self) -> list[str]:
        """The flags of a training script."""
        if self.kind.name == "sup-only":
            return ["--sup-only"]
        return ["--weighting", self.weighting, *(["--options", *self.pairs] if self.pairs else [])]

    def as_released(self) -> Arm:
        """The arm as the authors' released code computes it: where that is not the default, its
        options say so.

        Raises:
            CannotConvert: an option says otherwise.
        """
        options = dict(self.options)
        for name, value in self.kind.released.items():
            own = options.get(name, value)
            if own != value:
                raise CannotConvert(
                    f"--as-released makes {self.kind.name} {name}={value}, but {name}={own} is "
                    "given: leave one of the two out"
                )
            if value != self.kind.options[name].default:
                options[name] = value
        return Arm.of(self.kind.name, Arm(self.kind, options).pairs)

    def title(self, names: Mapping[str, str] | None = None) -> str:
        """As readers see it; ``names`` of kinds come before those of :data:`KINDS`."""
        name = (names or {}).get(self.kind.name, self.kind.title)
        return ", ".join([name, " ".join(self.pairs)]) if self.pairs else name


@dataclass(frozen=True)
class Asked:
    """What flags say of an arm: a name, ``KEY=VALUE`` options, both or neither; and whether it is
    :meth:`Arm.as_released`."""

    name: str | None = None
    pairs: tuple[str, ...] = ()
    as_released: bool = False

    def arm(self, default: str, pairs: Iterable[str] = ()) -> Arm:
        """The arm, ``default`` where none is named, with further options.

        Raises:
            CannotConvert: see :class:`Arm`.
        """
        arm = Arm.of(self.name or default, [*self.pairs, *pairs])
        return arm.as_released() if self.as_released else arm


def with_released(figures: Mapping[str, float]) -> dict[str, float]:
    """Published figures by arm; also under the name that an arm has with ``--as-released``."""
    return {str(Arm.parse(arm).as_released()): x for arm, x in figures.items()} | dict(figures)


def _value(text: str) -> Value:
    try:
        return float(text)
    except ValueError:
        return text


def _text(value: Value) -> str:
    if not isinstance(value, float):
        return value
    return str(int(value)) if value.is_integer() else repr(value)
