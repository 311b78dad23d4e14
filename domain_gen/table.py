"""The table of runs on their source and on targets: what ``core.report.write_report`` takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core import result
from core.arms import with_released
from core.batch import batch_note
from core.engine.cli import note
from core.errors import ConfigError, DamagedResult
from core.result import Entry, Failed, Result
from data import domains
from data.domains import Domain
from domain_gen import manifest


def is_evaluated(work_dir: Path, target: Domain) -> bool:
    """Whether there is a result on a target, and it is of the weights that this training left.

    Raises:
        DamagedResult: that of the training is; one on the target is told and is none.
    """
    own = result.read(work_dir)
    try:
        there = result.read(manifest.target_dir(work_dir, target))
    except DamagedResult as error:
        note(str(error))
        return False
    return bool(own and there) and _same_weights(own, there)


def _same_weights(own: Result, there: Result) -> bool:
    """By their revision; by the iteration, where one is of version 0.4, which told no more."""
    if own.weights.revision and there.weights.revision:
        return own.weights.revision == there.weights.revision
    return own.iterations == there.weights.iteration


def table(
    work_dirs: Sequence[Path],
    targets: Sequence[Domain],
    missing: Mapping[Domain, str],
    failed: Sequence[Failed] = (),
) -> dict[str, Any]:
    """Runs on their source, where they left a result, and on the targets; damaged results are
    notes.

    Raises:
        ConfigError: there is none, or the same one twice.
    """
    found, damaged = [], []
    for folder in work_dirs:
        of_folder, lost = _results(folder, targets)
        found, damaged = found + of_folder, damaged + lost
    if not found and not failed:
        among = f"no run to show among {', '.join(map(str, work_dirs))}"
        raise ConfigError("; ".join([among, *damaged]))
    found.sort(key=lambda pair: pair[0].group != pair[0].facts["source"])  # the source first
    keys = [(run.group, run.network, run.facts["source"], run.arm, run.seed) for run, _ in found]
    for key in keys:
        if keys.count(key) > 1:
            raise ConfigError(f"two results for {', '.join(map(str, key))}: give one of a training")
    # Networks or sources that are compared stand in the name of a row.
    sources = [run.facts["source"] for run, _ in found] or [f.group for f in failed]
    sources = list(dict.fromkeys(sources))
    networks = {run.network for run, _ in found}
    entries, published = [], {}
    for run, folder in found:
        told = [run.facts["source"]] * (len(sources) > 1) + [run.network] * (len(networks) > 1)
        row, title = (", ".join([name, *told]) for name in (run.group, run.title))
        entries.append(Entry(row, title, run, folder))
        if run.facts["source"] == "gtav":
            figures = manifest.read()["published"].get(run.network, {})
            published[row] = with_released(figures.get(run.group, {}))
    batches = [batch_note(run.title, run.facts, run.iterations) for run, _ in found]
    titles = [domains.DOMAINS[name].title if name in domains.DOMAINS else name for name in sources]
    return dict(
        entries=[*entries, *(Entry(f.group, f.title or f.group, f) for f in failed)],
        title=f"Trained on {', '.join(titles)}, evaluated elsewhere",
        notes=[
            *dict.fromkeys(filter(None, batches)),
            *(f"{target.title}: not evaluated: {r}" for target, r in missing.items()),
            *damaged,
        ],
        published=published,
        group="Domain",
    )


def _results(
    work_dir: Path, targets: Sequence[Domain]
) -> tuple[list[tuple[Result, Path]], list[str]]:
    """Results of a run and their folders; and a line for each that is damaged."""
    found, damaged = result.read_each(manifest.target_dir(work_dir, target) for target in targets)
    owns, of_training = result.read_each([work_dir])
    damaged = of_training + damaged
    for run, place in found:
        if "source" not in run.facts:
            damaged.append(f"{place / result.NAME}: tells no source, so it is no evaluation of "
                           "this track: delete it, and evaluate again")  # fmt: skip
    found = [pair for pair in found if "source" in pair[0].facts]
    for own, _ in owns:
        if own.track != "domain_gen" or "source" not in own.facts:
            continue
        # What a training says is of the weights that it left, and of no earlier ones.
        if all(_same_weights(own, run) for run, _ in found):
            # Pictures are of the targets; the source's stay in its folder.
            found.insert(0, (dataclasses.replace(own, pictures=()), work_dir))
    return found, damaged
