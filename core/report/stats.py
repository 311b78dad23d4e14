"""A quantity over the seeds of an arm: mean, spread, 95 % interval."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from scipy.special import stdtrit

from core.result import Entry, finite

LEVEL = 0.95
_LARGEST = 1e100  # of what has a mean: no quantity of a run comes near, and its square is finite


@dataclass(frozen=True)
class Stat:
    """Mean over seeds.

    Attributes:
        std: sample standard deviation, ``None`` for one seed.
        half_width: of Student's 95 % interval of the mean, ``None`` for one seed.
    """

    mean: float
    std: float | None
    n: int
    by_seed: dict[int, float]
    half_width: float | None

    @classmethod
    def of(cls, by_seed: Mapping[int, float]) -> Stat | None:
        """Statistics of one value per seed; ``None`` if there is no seed."""
        if not by_seed:
            return None
        values, n = list(by_seed.values()), len(by_seed)
        std = statistics.stdev(values) if n > 1 else None
        # The quantile of Student's t; scipy.stats has it too, and takes a second to import.
        half = None if std is None else float(stdtrit(n - 1, (1 + LEVEL) / 2)) * std / n**0.5
        return cls(statistics.fmean(values), std, n, dict(by_seed), half)

    @classmethod
    def over(cls, entries: Iterable[Entry], value: Callable[[Entry], float | None]) -> Stat | None:
        """The same of finished runs; those without a value, or with none that is finite, do not
        count."""
        found = {entry.run.seed: finite(value(entry)) for entry in entries}
        return cls.of({s: x for s, x in found.items() if x is not None and abs(x) < _LARGEST})

    @classmethod
    def paired(cls, ours: Stat | None, theirs: Stat | None) -> Stat | None:
        """``ours - theirs`` seed by seed, over the seeds that both have."""
        if ours is None or theirs is None:
            return None
        common = [seed for seed in ours.by_seed if seed in theirs.by_seed]
        return cls.of({seed: ours.by_seed[seed] - theirs.by_seed[seed] for seed in common})

    @property
    def interval(self) -> tuple[float, float] | None:
        """Low and high end, ``None`` for one seed."""
        if self.half_width is None:
            return None
        return self.mean - self.half_width, self.mean + self.half_width

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the interval; never, where there is none."""
        return self.half_width is not None and abs(self.mean) > self.half_width
