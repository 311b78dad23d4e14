"""Folders that cannot be written, a full disk, two runs in one folder, drafts of the dead."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from functools import partial
from pathlib import Path

from drills.kills import MOMENTS, compare
from drills.process import Case, Fault, Skipped, Started, must_end, must_refuse, run
from drills.world import EXPORT, TRAIN, U2PL, World

_NO_PYTHON = 77


def cases(world: World, rng: random.Random) -> list[Case]:
    found = [
        Case("two runs in one folder", f"two runs, {name}", partial(_two, world, more))
        for name, more in (
            ("the same", ()), ("another seed", ("--seed", 4)), ("with --resume", ("--resume",)),
        )
    ]  # fmt: skip
    found += [
        Case("full disk", f"full disk, {size} kB", partial(_full, world, size))
        for size in (8, 40, 200, 700, 1500)
    ]
    found += [
        Case("read-only folder", f"read-only, {name}", partial(_read_only, world, name))
        for name in ("train", "u2pl", "export")
    ]
    found.append(Case("drafts of the dead", "drafts are swept", partial(_swept, world)))
    found.append(Case("drafts of the dead", "drafts of the living stay", partial(_kept, world)))
    rng.shuffle(found)
    return found


def _two(world: World, more: tuple, folder: Path) -> None:
    """The second is refused, and the first does not notice."""
    work_dir = folder / "work"
    long = world.train(work_dir, "--max-iters", 300)
    first = Started(TRAIN, long, folder / "one")
    if not first.wait_for(lambda: list(work_dir.glob("iter_*.pth"))):
        raise Skipped("the first has ended before")
    second = Started(TRAIN, [*long, *more], folder / "two")
    try:
        must_refuse(second.finish(), str(work_dir))
        if first.ended():
            raise Fault("the first has ended")
    finally:
        first.send(signal.SIGKILL, group=True)
        first.finish()


def _full(world: World, size: int, folder: Path) -> None:
    """One line that names the place; after room is made the run ends as if nothing was."""
    small = folder / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "drill", str(small)]
    if subprocess.run(mount, capture_output=True).returncode:
        raise Skipped("a small disk cannot be mounted here")
    try:
        done = run(TRAIN, *world.train(small / "work"), folder=folder / "run")
        if done.code == 0:
            raise Skipped("all of it fits")
        must_refuse(done, "small")
        drafts = [path.name for path in small.rglob(".*.tmp")]
        if drafts:
            raise Fault(f"{drafts[0]} stays behind")
        room = ["mount", "-o", "remount,size=60m", str(small)]
        subprocess.run(room, check=True, capture_output=True)
        must_end(run(TRAIN, *world.train(small / "work", "--resume"), folder=folder / "again"))
        must_end(run(TRAIN, *world.train(folder / "whole"), folder=folder / "whole-run"))
        compare(folder / "whole", small / "work", 8)
    finally:
        subprocess.run(["umount", str(small)], capture_output=True)


def _read_only(world: World, name: str, folder: Path) -> None:
    place = folder / "locked"
    place.mkdir()
    place.chmod(0o555)
    nobody = _become_nobody if os.geteuid() == 0 else None  # root may write anywhere
    if name == "train":
        script, arguments = TRAIN, world.train(place / "work")
    elif name == "u2pl":
        script, arguments = U2PL, world.u2pl(place / "work", "--split", "1/2")
    else:
        must_end(run(TRAIN, *world.train(folder / "work", "--max-iters", 2), folder=folder / "r"))
        script, arguments = EXPORT, [folder / "work/iter_2.pth", place / "x.pth"]
    done = run(script, *arguments, folder=folder / "run", before=nobody)
    place.chmod(0o755)
    if done.code == _NO_PYTHON:
        raise Skipped("an ordinary user may not read this Python")
    must_refuse(done, "locked")


def _become_nobody() -> None:
    os.setgid(65534)
    os.setuid(65534)
    if not os.access(os.__file__, os.R_OK):
        os._exit(_NO_PYTHON)


def _swept(world: World, folder: Path) -> None:
    """What a kill in a write leaves is gone at the next start."""
    arguments = world.train(folder / "work")
    run(TRAIN, *arguments, folder=folder / "one", before=MOMENTS["with half of a first checkpoint"])
    if not list((folder / "work").glob(".*.tmp")):
        raise Fault("the kill has left no draft: nothing is tried")
    must_end(run(TRAIN, *arguments, "--resume", folder=folder / "two"))
    left = [path.name for path in (folder / "work").rglob(".*.tmp")]
    if left:
        raise Fault(f"{left[0]} stays behind")


def _kept(world: World, folder: Path) -> None:
    draft = folder / f"work/.iter_9.pth.{os.getpid()}.tmp"
    draft.parent.mkdir()
    draft.write_bytes(b"half")
    must_end(run(TRAIN, *world.train(folder / "work", "--max-iters", 2), folder=folder / "run"))
    if not draft.exists():
        raise Fault("the draft of a living process is gone")
