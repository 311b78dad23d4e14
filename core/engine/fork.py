"""``--fork``: a new run, in a folder of its own, from the weights of one that is there."""

from __future__ import annotations

import itertools
from pathlib import Path

from core.engine.checkpoint import checkpoints_in, latest_checkpoint
from core.engine.cli import note
from core.errors import ConfigError


def place_of(work_dir: str | Path, *, fork: bool, resume: bool) -> tuple[Path, str | None]:
    """The folder of a run, and the checkpoint that it begins from.

    A fork of ``W`` lies in ``W-fork``, or ``W-fork-2``, ... where that holds checkpoints; ``W``
    stays as it is.

    Raises:
        CheckpointError: no checkpoint there is whole.
        ConfigError: there is nothing to fork, or the run is to be resumed, too.
    """
    work_dir = Path(work_dir)
    if not fork:
        return work_dir, None
    if resume:
        raise ConfigError("--fork begins a new run, --resume goes on with one: give one of them")
    found = latest_checkpoint(work_dir, note)
    if found is None:
        raise ConfigError(f"--fork: {work_dir} holds no whole checkpoint to begin from; name the "
                          "run with --work-dir")  # fmt: skip
    names = itertools.chain(["fork"], (f"fork-{n}" for n in itertools.count(2)))
    folders = (work_dir.with_name(f"{work_dir.name}-{name}") for name in names)
    place = next(folder for folder in folders if not checkpoints_in(folder))
    note(f"a new run in {place}, from the weights of {found[0]}; to go on with it: --work-dir "
         f"{place} --resume")  # fmt: skip
    return place, str(found[0])
