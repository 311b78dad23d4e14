"""Values from outside, such as those of a JSON file, checked against type hints."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
_LARGEST = 2**63  # of whole numbers: larger ones overflow where they are computed with


class Misfit(ValueError):
    """``key: why`` of a value that is not of its type."""


def finite(value: Any) -> float | None:
    """``value`` as a finite float, else None: JSON files carry nulls and NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # a whole number of hundreds of digits
        return None


def fit(hint: Any, value: Any, key: str = "") -> Any:
    """``value`` as ``hint`` says it is: lists as tuples, dicts as dataclasses, all else as it is.

    Args:
        hint: a dataclass, ``str``, ``int``, ``float``, ``bool``, ``Any``, ``list[X]``,
            ``Mapping[str, X]``, ``tuple[X, ...]``, ``tuple[X, Y]`` or ``X | None``. A float is
            finite; where it may be None, NaN and infinity are None.
        key: what the value is called.

    Raises:
        Misfit: it is of another type, or a field is missing or unknown; names its key.
    """
    if hint is Any:
        return value
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        (inner,) = (arg for arg in args if arg is not types.NoneType)
        if value is None or (inner is float and isinstance(value, float) and not _finite(value)):
            return None
        return fit(inner, value, key)
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint, value, key)
    if origin is tuple and args[-1] is not ...:
        found = _listed(value, key)
        if len(found) != len(args):
            raise _misfit(key, f"has {len(found)} values in the place of {len(args)}")
        pairs = zip(args, found, strict=True)
        return tuple(fit(arg, x, _join(key, i)) for i, (arg, x) in enumerate(pairs))
    if origin in (tuple, list):
        return origin(fit(args[0], x, _join(key, i)) for i, x in enumerate(_listed(value, key)))
    if origin is not None:  # a mapping
        return {k: fit(args[1], x, _join(key, k)) for k, x in _mapped(value, key).items()}
    if not _is(hint, value):
        raise _misfit(key, f"is {_shown(value)}, no {_WORDS[hint].removeprefix('a ')}")
    return value


def _dataclass(hint: Any, value: Any, key: str) -> Any:
    kinds = typing.get_type_hints(hint)
    content = _mapped(value, key)
    for field in dataclasses.fields(hint):
        bare = (field.default, field.default_factory) == (dataclasses.MISSING,) * 2
        if bare and field.name not in content:
            raise _misfit(_join(key, field.name), "is missing")
    if unknown := content.keys() - kinds.keys():
        raise _misfit(_join(key, min(unknown)), "is unknown")
    return hint(**{k: fit(kinds[k], x, _join(key, k)) for k, x in content.items()})


def _is(kind: type, value: Any) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and _finite(value)
    if kind is int:
        return type(value) is int and abs(value) < _LARGEST
    return type(value) is kind


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _listed(value: Any, key: str) -> list | tuple:
    if not isinstance(value, list | tuple):
        raise _misfit(key, f"is {_shown(value)}, no list")
    return value


def _mapped(value: Any, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(k, str) for k in value):
        raise _misfit(key, f"is {_shown(value)}, no mapping")
    return value


def _join(key: str, part: object) -> str:
    return f"{key}.{part}" if key else str(part)


def _shown(value: Any) -> str:
    """A value, short and on one line."""
    if isinstance(value, list | tuple | Mapping):
        return "a mapping" if isinstance(value, Mapping) else "a list"
    text = ascii(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _misfit(key: str, why: str) -> Misfit:
    return Misfit(f"{ascii(key)[1:-1]} {why}" if key else f"it {why}")
