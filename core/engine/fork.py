"""``--fork``: a new run, in a folder of its own, from the weights of one that is there."""

from __future__ import annotations

import itertools
from pathlib import Path

from core.engine.checkpoint import checkpoints_in, latest_checkpoint
from core.engine.cli import note
from core.errors import ConfigError
from core.files import write_atomically
from core.signals import is_first_process

NAME = "forked_from.txt"


def place_of(work_dir: str | Path, *, fork: bool, resume: bool) -> tuple[Path, str | None]:
    """The folder of a run, and the checkpoint that it begins from.

    A fork of ``W`` lies in ``W-fork``, or ``W-fork-2``, ... where that holds checkpoints; ``W``
    stays as it is. What a fork began from is noted there, for one that is cut before its first
    checkpoint.

    Raises:
        CheckpointError: no checkpoint there is whole.
        ConfigError: there is nothing to fork, or the run is to be resumed, too.
    """
    work_dir = Path(work_dir)
    if not fork:
        begun = work_dir / NAME
        if resume and begun.is_file() and not checkpoints_in(work_dir):
            return work_dir, begun.read_text().strip()
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
    if is_first_process():
        write_atomically(f"{found[0]}\n".encode(), place / NAME)
    return place, str(found[0])
