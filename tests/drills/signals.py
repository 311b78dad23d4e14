"""Stop signals: to a training, to its whole group, to ``run_all``. One line, the right exit code, a
checkpoint to go on from, nothing left alive."""

from __future__ import annotations

import random
import signal
from functools import partial
from pathlib import Path

from drills.kills import compare
from drills.process import Case, Done, Fault, Skipped, Started, must_end, run
from drills.world import TRAIN, World

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_ALL = "fully_supervised/run_all.py"


def cases(world: World, rng: random.Random) -> list[Case]:
    found = []
    for number in _SIGNALS:
        name = number.name
        for group in (False, True):
            to = "the group" if group else "the process"
            for workers in (0, 2):
                found.append(Case("signal, training", f"{name} to {to}, {workers} workers", partial(
                    _training, world, number, group, workers)))  # fmt: skip
        found.append(Case("signal, start-up", f"{name} in start-up", partial(
            _start_up, world, number)))  # fmt: skip
        found.append(Case("signal, run_all", f"{name} to run_all", partial(
            _run_all, world, number)))  # fmt: skip
    rng.shuffle(found)
    return found


def must_stop(done: Done, number: int) -> None:
    """128 + the signal, and no more than a line of what was done.

    Raises:
        Fault: otherwise.
    """
    if "Traceback" in done.err:
        raise Fault(f"a traceback: {done.err.strip().splitlines()[-1][:200]}")
    if done.code != 128 + number:
        last = (done.err.strip().splitlines() or ["nothing said"])[-1][:200]
        raise Fault(f"exit code {done.code}, wanted {128 + number}: {last}")


def _training(world: World, number: int, group: bool, workers: int, folder: Path) -> None:
    options = [f"train_dataloader.num_workers={workers}", "train_cfg.val_interval=4",
               f"train_dataloader.persistent_workers={workers > 0}"]  # fmt: skip
    arguments = partial(world.train, folder / "work", "--max-iters", 400)
    process = Started(TRAIN, arguments("--cfg-options", *options), folder)
    _send(process, folder / "work", number, group)
    must_stop(process.finish(), number)
    if not process.all_dead():
        raise Fault("something is alive after its end")
    if not list((folder / "work").glob("iter_*.pth")):
        raise Fault("no checkpoint is left")


def _send(process: Started, work_dir: Path, number: int, group: bool) -> None:
    if not process.wait_for(lambda: list(work_dir.rglob("iter_*.pth")), 240):
        raise Skipped("no checkpoint in four minutes, or the training has ended before")
    process.send(number, group)


def _start_up(world: World, number: int, folder: Path) -> None:
    """Before the first step nothing is there to be saved."""
    whole = folder / "whole"
    must_end(run(TRAIN, *world.train(whole), folder=folder / "first"))
    process = Started(TRAIN, world.train(folder / "work"), folder)
    process.wait_for((folder / "work").exists)
    process.send(number)
    must_stop(process.finish(), number)
    resume = ["--resume"]
    must_end(run(TRAIN, *world.train(folder / "work", *resume), folder=folder / "again"))
    compare(whole, folder / "work", 8)


def _run_all(world: World, number: int, folder: Path) -> None:
    arguments = ["--only", world.config, "--arms", "baseline", "--seeds", 0, "--max-iters", 3000,
                 "--out", folder / "out", "--jobs", 1, "--train-args",
                 "--cfg-options default_hooks.checkpoint.interval=50"]  # fmt: skip
    process = Started(_ALL, arguments, folder)
    _send(process, folder / "out", number, group=False)
    must_stop(process.finish(), number)
    if not process.all_dead(10):
        raise Fault("the training goes on")
