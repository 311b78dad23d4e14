"""Numbers as text. A true minus sign: a hyphen reads as a dash beside figures."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from core.report.stats import Stat

NONE = "–"  # an en dash: nothing was measured here
Show = Callable[[float | None], str]
# Of a name from outside: what steers a terminal, turns the direction of text, or is no UTF-8.
_ODD = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Text without control characters: ``\\x1b`` as it is written in Python."""
    return _ODD.sub(lambda found: ascii(found[0])[1:-1], text)


def percent(value: float | None) -> str:
    """0 to 1 as percent with two decimals."""
    return NONE if value is None else f"{100 * value:.2f}"


def points(value: float | None) -> str:
    """A difference of 0-to-1 values as signed percentage points."""
    # Adding zero turns the -0.0 that rounding can leave into 0.0.
    return NONE if value is None else f"{round(100 * value, 2) + 0.0:+.2f}".replace("-", "−")


def times(value: float | None) -> str:
    """A ratio."""
    return NONE if value is None else f"{value:.2f}×"


def digits(value: float | None) -> str:
    """Three significant digits, without an exponent."""
    if value is None:
        return NONE
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if value > 0 else "0"


def brief(value: float | None) -> str:
    """The same without zeros at its end."""
    text = digits(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def brief_two(value: float) -> str:
    """Two significant digits, for what is known no better: 21, 1.2."""
    return f"{value:.2g}"


def whole(value: float | None) -> str:
    """A whole number with its thousands set apart."""
    return NONE if value is None else f"{value:,.0f}"


def mean(stat: Stat | None) -> float | None:
    """The mean of what was measured, if it was."""
    return stat.mean if stat else None


def plain(value: float | None) -> str:
    """A number with two decimals."""
    return NONE if value is None else f"{value:.2f}".replace("-", "−")


def spread(stat: Stat | None) -> str:
    """``± std`` of shares, "" for one seed."""
    return "" if stat is None or stat.std is None else f"± {percent(stat.std)}"


def bounds(stat: Stat | None, show: Show = points) -> str:
    """``[low, high]`` of the 95 % interval, "" for one seed."""
    if stat is None or stat.interval is None:
        return ""
    return f"[{', '.join(map(show, stat.interval))}]"


def with_std(stat: Stat | None, show: Show = percent) -> str:
    """``mean ± std``, or the mean alone for one seed."""
    return f"{show(mean(stat))} {spread(stat)}".rstrip()


def with_interval(stat: Stat | None, show: Show = points) -> str:
    """``mean [low, high]``, or the mean alone for one seed."""
    return f"{show(mean(stat))} {bounds(stat, show)}".rstrip()
