"""The arm that flags and settings ask for together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from core.arms import KINDS, Arm, Asked
from core.errors import ConfigError
from core.hardness import WEIGHTING
from semi_supervised.u2pl.settings import HL, AsReleased, Settings


def arm_and_settings(
    settings: Settings, asked: Asked, overrides: Sequence[str] = ()
) -> tuple[Arm, Settings]:
    """The arm that flags and settings ask for together, and the settings with its options.

    Args:
        asked: what the flags say.
        overrides: of ``settings``, as ``--set`` takes them: what is named there is asked for, also
            where it is the default.

    Raises:
        ConfigError: both give an option, with different values; ``--as-released`` beside an
            accident that is set to false.
    """
    if asked.as_released:
        settings = dataclasses.replace(settings, as_released=_all_accidents(settings, overrides))
    named = {text.partition("=")[0].removeprefix("hl.") for text in overrides}
    default = vars(HL())
    own = {k: v for k, v in vars(settings.hl).items() if v != default[k] or k in named}
    weighting = own.pop("weighting", None)
    name = asked.name or weighting or default["weighting"]
    if weighting not in (None, name):
        raise ConfigError(
            f"the flags say {name}, the settings say hl.weighting={weighting}: leave one out"
        )
    # Those of a file say how HL is trained, where it is; the baseline has none of them.
    arm = asked.arm(name, [f"{k}={v}" for k, v in own.items() if k in KINDS[name].options])
    if name in WEIGHTING:
        settings = dataclasses.replace(settings, hl=HL(**arm.settings, weighting=name))
    return arm, settings


def _all_accidents(settings: Settings, overrides: Sequence[str]) -> AsReleased:
    for text in overrides:
        part, _, name = text.partition("=")[0].partition(".")
        if part == "as_released" and getattr(settings.as_released, name, None) is False:
            raise ConfigError(
                f"--as-released repeats every accident, --set says {text}: leave one of the two out"
            )
    return AsReleased(**dict.fromkeys(vars(settings.as_released), True))
