"""What the numbers of a table say, in sentences, and what they cannot say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.measures import FLAT
from core.report.rows import Row
from core.report.stats import Stat
from core.report.strength import is_flat
from core.report.summary import Table
from core.report.words import Show, bounds, brief, brief_two, mean, percent, plain, points
from core.result import Code

ENOUGH = 3  # seeds: with fewer an interval is too wide to tell anything
PAPER_ITERATIONS = 40_000  # of the shortest schedule in its tables
_NUMBERS = "No One Two Three Four Five Six Seven Eight Nine Ten".split()


def findings(table: Table) -> dict[str, list[str]]:
    """What the numbers say about HL and its rivals, sentence by sentence, by subject.

    A difference counts as seen only if there are three seeds and the 95 % interval of the per-seed
    differences excludes 0. Scale-matched CE is compared too: HL enlarges the loss, hence the step,
    and that arm enlarges it by the same factor without a map. Of training on the labeled images
    alone it is only said how far the baseline is above it. Where a map was nearly flat, it is said
    that the comparison cannot tell.
    """
    said: dict[str, list[str]] = {}
    for subject, rows in table.subjects.items():
        arms = {str(row.arm): row for row in rows}
        base, sup_only = arms.get("baseline"), arms.get("sup-only")
        scaled = arms.get(table.leading("ce-scaled"))
        sentences = [
            compare(row.name, row.delta_baseline, table.baseline)
            for row in rows
            if row.arm.kind.is_rival and base
        ]
        for hl in (row for row in rows if row.arm.kind.name == "hl"):
            sentences.append(compare(hl.name, hl.delta_baseline, table.baseline))
            if scaled:
                sentences.append(compare(hl.name, hl.delta_scaled, "scale-matched CE"))
        if base and sup_only:
            gain = Stat.paired(base.miou, sup_only.miou)
            sentences.append(compare(base.name, gain, sup_only.name))
        sentences += _of_maps(rows)
        if sentences:
            said[subject] = sentences
    return said


def compare(name: str, delta: Stat | None, other: str) -> str:
    """A sentence on a difference of mIoU, paired by seed."""
    if delta is None:
        return f"No seed has both {name} and {other}, so the two cannot be compared."
    side = "above" if delta.mean > 0 else "below"
    size = f"by {percent(abs(delta.mean))} points"
    if delta.n == 1:
        if points(delta.mean) == "+0.00":
            return f"{name} equals {other} on the one seed that both have."
        return (
            f"{name} is {side} {other} {size} on the one seed that both have, which cannot tell a "
            "difference from chance."
        )
    over = f"{bounds(delta)} over {delta.n} seeds"
    if delta.n < ENOUGH:
        return (
            f"{name} and {other} differ by {points(delta.mean)} points {over}: fewer than three "
            "seeds cannot tell a difference from chance."
        )
    if not delta.excludes_zero:
        return (
            f"{name} and {other} differ by {points(delta.mean)} points {over}: the 95 % interval "
            "holds 0, so no difference is seen."
        )
    return f"{name} is {side} {other} {size} {over}."


def _of_maps(rows: Sequence[Row]) -> list[str]:
    """How strong the maps were: a number, or that it cannot be told what they do."""
    strong, flat = [], []
    for row in (row for row in rows if row.arm.kind.has_map):
        gain, dose, paper = (mean(row.strength.get(k)) for k in ("gain", "dose", "published"))
        figures = [f"hl_gain {plain(gain)}"]
        if dose is not None and paper is not None:
            figures += [f"dose {brief(dose)}, published: {brief_two(paper)}"]
        if is_flat(row):
            flat.append(f"{row.name} ({', '.join(figures)})")
        elif gain is not None:
            strong.append(f"hl_gain of {row.name}: {plain(gain)}.")
    if not flat:
        return strong
    whose = f"The map{'s' * (len(flat) > 1)} of {', '.join(flat)}"
    return [
        *strong,
        f"{whose} {'were' if len(flat) > 1 else 'was'} nearly flat: the comparison cannot tell "
        "what hardness does.",
    ]


@dataclass(frozen=True)
class Scope:
    """What decides how much a comparison can show.

    Attributes:
        data: names of the data sets that were trained on.
        seeds: fewest over the subjects, of those that the compared arms have in common.
        iterations: fewest, ``None`` where it was not told.
        has_hl: whether an arm with a hardness map is compared.
        doses, gains: of the arms with a map, a mean each; a dose beside the published one.
    """

    data: Sequence[str]
    seeds: int
    iterations: int | None = None
    has_hl: bool = True
    doses: Sequence[tuple[float, float]] = ()
    gains: Sequence[float] = ()


def scope_of(table: Table) -> Scope | None:
    """Of the finished runs, ``None`` where nothing is compared."""
    of_hl = [row for row in table.rows if row.arm.kind.has_map]
    compared = of_hl or [row for row in table.rows if row.arm.kind.name not in
                         ("baseline", "sup-only")]  # fmt: skip
    deltas = [row.delta_baseline or row.delta_scaled for row in compared]
    seeds = [delta.n for delta in deltas if delta]
    if not seeds:
        return None
    iterations = [e.run.iterations for e in table.runs if e.run.iterations]
    return Scope(
        data=list(dict.fromkeys(e.run.data for e in table.runs if e.run.data)),
        seeds=min(seeds),
        iterations=min(iterations, default=None),
        has_hl=any(row.arm.kind.has_map for row in compared),
        doses=[
            (row.strength["dose"].mean, row.strength["published"].mean)
            for row in of_hl
            if row.strength.keys() >= {"dose", "published"} and row.strength["published"].mean > 0
        ],
        gains=[row.strength["gain"].mean for row in of_hl if "gain" in row.strength],
    )


def reach(scope: Scope | None) -> str:
    """What a comparison can and cannot show, in one line; "" where nothing is compared.

    Example: ``Three seeds on camvid, 800 iterations, at the published dose, the map at work
    (hl_gain 1.90): a difference whose interval excludes 0 is more than chance here; the
    paper's shortest schedule is 50 times as long.``
    """
    if scope is None:
        return ""
    number = _NUMBERS[scope.seeds] if scope.seeds < len(_NUMBERS) else str(scope.seeds)
    setting = f"{number} seed{'s' * (scope.seeds != 1)}"
    setting += f" on {' and '.join(scope.data)}" if scope.data else ""
    parts = [setting]
    if scope.iterations:
        parts.append(f"{scope.iterations:,} iterations")
    parts += [_at_dose(scope.doses)] if scope.doses else []
    flat = [gain for gain in scope.gains if gain < FLAT]
    if scope.has_hl:
        parts.append(_map(scope.gains, flat))
    few = scope.seeds < ENOUGH
    if flat and len(flat) == len(scope.gains):
        verdict = "this cannot tell what hardness does"
        verdict += ", nor, with fewer than three seeds, a difference from chance" if few else ""
    elif few:
        verdict = "fewer than three seeds cannot tell a difference from chance"
    else:
        verdict = "a difference whose interval excludes 0 is more than chance here"
        verdict += ", but tells nothing of hardness where the map is flat" if flat else ""
    limits = []
    if any(name.startswith("streets") for name in scope.data):
        limits.append("drawn scenes show that the software works, not that the method does")
    if scope.iterations and PAPER_ITERATIONS >= 2 * scope.iterations:
        times = PAPER_ITERATIONS / scope.iterations
        limits.append(f"the paper's shortest schedule is {times:,.0f} times as long")
    return "; ".join([f"{', '.join(parts)}: {verdict}", *limits]) + "."


def _at_dose(doses: Sequence[tuple[float, float]]) -> str:
    """SGD and Adam have published doses of their own, which one table can hold."""
    ratios = [dose / published for dose, published in doses]
    if all(0.8 <= ratio <= 1.25 for ratio in ratios):
        return "at the published dose"
    if len({published for _, published in doses}) > 1:
        return f"at {_range(ratios, brief)} times the published dose"
    told = brief_two(doses[0][1])
    return f"at dose {_range([dose for dose, _ in doses], brief)} (published: {told})"


def _map(gains: Sequence[float], flat: Sequence[float]) -> str:
    if not gains:
        return "the strength of the map not measured"
    state = "at work" if not flat else "nearly flat"
    state += " in part" if flat and len(flat) < len(gains) else ""
    return f"the map {state} (hl_gain {_range(gains, plain)})"


def _range(values: Sequence[float], show: Show) -> str:
    ends = dict.fromkeys(show(x) for x in (min(values), max(values)))
    return " to ".join(ends)


def warnings(table: Table) -> list[str]:
    """What makes runs of one subject incomparable, a sentence each."""
    return [
        f"The runs of {subject} differ in {name}: {', '.join(values)}."
        for subject, name, values in table.unlike
    ]


def not_measured(table: Table) -> list[tuple[str, str]]:
    """Of each run that failed what it is, and why."""
    return [
        (f"{entry.subject}, {table.names[entry.run.arm]}, seed {entry.run.seed}", error)
        for entry, error in table.failed
    ]


def code(table: Table) -> list[str]:
    """Versions and revisions of ours that the runs were made with."""
    found = dict.fromkeys(run_code(entry.run.code) for entry in table.runs)
    return [text for text in found if text]


def run_code(code: Code) -> str:
    """``0.5.0 (1a2b3c4d5e6f)``; "" for a run of version 0.4 or before, which did not tell."""
    if not code.version:
        return ""
    return f"{code.version} ({code.revision})" if code.revision else code.version
