"""What the hardness maps did: figures over seeds, as a table.

A map that is nearly flat weights all pixels alike: nothing that is measured with it says what
hardness does. How strong it got is to first order a matter of the dose, alpha times the sum of the
branch's learning rates / (1 - momentum).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.measures import FLAT, Strength
from core.report.rows import Row
from core.report.stats import Stat
from core.report.words import brief, brief_two, mean, plain, whole
from core.result import Entry

AUTHORS_GAIN = 2.3  # at the end of the authors' log of PSPNet-R101
FIGURES = ("alpha", "dose", "published", "gain", "contrast", "auc", "rank", "images")
HEAD = [
    "n",
    "images",
    "α used",
    "dose (published)",
    f"hl_gain (authors: about {AUTHORS_GAIN})",
    "hl_contrast",
    "AUC",
    "rank correlation",
]
CAPTION = (
    "Means over n seeds, on that many validation images. Dose: what the training gave the HL "
    "branch, α times the sum of its learning rates / (1 − momentum); under Adam, where α "
    "cancels, the sum of its rates; in brackets that of the paper’s Table 8 at its alpha of 0.01, "
    "under Adam that of its Table 11. "
    "hl_gain: hardness-weighted over plain cross-entropy, 1 for a flat map, under 1.1 nearly so; "
    "the authors’ is of the end of one training, PSPNet-R101. hl_contrast: 99th over "
    "1st percentile of Z (Eq. 1), at most (1 + c) / c. AUC: how often a wrong pixel is rated "
    "harder than a right one, 0.5 by chance. Rank correlation: of hardness and cross-entropy. "
    "Scale-matched CE trains the branch as well, and weights nothing with it."
)


def strengths(entries: Sequence[Entry]) -> dict[str, Stat]:
    """The figures of an arm's runs by field of ``Strength``; those that no run has are left out."""
    found = {name: Stat.over(entries, lambda e, n=name: getattr(e.run.strength, n, None))
             for name in FIGURES}  # fmt: skip
    return {name: stat for name, stat in found.items() if stat}


def is_measured(rows: Iterable[Row]) -> bool:
    """Whether any map was."""
    return any(row.strength for row in rows)


def cells(row: Row) -> list[str]:
    """A row of the table below :data:`HEAD`."""
    of = {name: mean(row.strength.get(name)) for name in FIGURES}
    n = max((stat.n for stat in row.strength.values()), default=0)
    return [
        str(n),
        whole(of["images"]),
        brief(of["alpha"]),
        dose_text(of["dose"], of["published"]),
        plain(of["gain"]),
        _contrast(of["contrast"], row.arm.settings.get("c")),
        plain(of["auc"]),
        plain(of["rank"]),
    ]


def dose_text(dose: float | None, published: float | None) -> str:
    """A dose beside the published one."""
    if dose is None or published is None:
        return brief(dose)
    return f"{brief(dose)} ({brief_two(published)})"


def _contrast(value: float | None, c: object) -> str:
    """With what it can be at most: sigmoid is 0 to 1, so that Z is c to 1 + c."""
    if value is None or not isinstance(c, float):
        return plain(value)
    return f"{plain(value)} of {brief((1 + c) / c)}"


def figures(strength: Strength | None) -> dict[str, float | None]:
    """A run's figures as columns: ``alpha``, ``dose``, ``hl_gain``, ..."""
    plain_names = ("alpha", "dose", "published")
    names = {name: name if name in plain_names else f"hl_{name}" for name in FIGURES}
    names["published"] = "published_dose"
    return {column: getattr(strength, name, None) for name, column in names.items()}


def is_flat(row: Row) -> bool:
    """Whether the map of an arm was nearly flat."""
    gain = mean(row.strength.get("gain"))
    return gain is not None and gain < FLAT
