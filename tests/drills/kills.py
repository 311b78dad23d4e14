"""SIGKILL at chosen and at random moments, then ``--resume``: the end must be that of a run that
nothing disturbed, bit by bit."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from drills.process import Case, Fault, Skipped, Started, children, must_end, must_refuse, run
from drills.world import GTAV, TRAIN, U2PL, World

# Of result.json: what tells when and how it was made, not what came out.
_OF_THE_START = ("command", "date", "cost", "code")
_WHOLE: dict[str, Path] = {}  # work_dir of the undisturbed run of each track


def cases(world: World, rng: random.Random) -> list[Case]:
    tracks = {
        "baseline": (TRAIN, lambda w, *more: world.train(w, "--no-hl", *more)[:1]
                     + world.train(w, "--no-hl", *more)[2:], 8),
        "hl": (TRAIN, world.train, 8),
        "u2pl-hl": (U2PL, partial(_split, world), 8),
        "domain": (GTAV, world.domain, 6),
    }  # fmt: skip
    found = []
    for track, (script, arguments, last) in tracks.items():
        job = (track, script, arguments, last, world.configs.parent)
        for moment in MOMENTS:
            found.append(
                Case(f"kill, {track}", f"{track}, {moment}", partial(_drill, job, [moment]))
            )
        for i in range(4):
            times = [round(rng.uniform(0.05, 4), 2) for _ in range(1 + i % 2)]
            named = " and ".join(f"{t} s" for t in times)
            found.append(Case(f"kill, {track}", f"{track}, after {named}",
                              partial(_drill, job, times)))  # fmt: skip
        twice = rng.sample(list(MOMENTS), 2)
        found.append(Case(f"kill, {track}", f"{track}, {twice[0]} then {twice[1]}",
                          partial(_drill, job, twice)))  # fmt: skip
    found.append(Case("kill, loader worker", "loader worker", partial(_worker, world)))
    rng.shuffle(found)
    return found


def _split(world: World, work_dir: Path, *more: object) -> list[object]:
    return world.u2pl(work_dir, "--split", "1/2", *more)


def _drill(job: tuple, moments: list, folder: Path) -> None:
    """Kill at each moment in turn, go on, compare."""
    _, script, arguments, last, _ = job
    whole = _undisturbed(job)
    work_dir = folder / "work"
    for moment in moments:
        resume = ["--resume"] if work_dir.exists() else []
        before = None if isinstance(moment, float) else MOMENTS[moment]
        process = Started(script, arguments(work_dir, *resume), folder, before)
        if isinstance(moment, float):
            process.wait_for(process.ended, moment)
            process.send(signal.SIGKILL, group=True)
        done = process.finish()
        if before and done.code != -signal.SIGKILL:
            raise Fault(f"the moment {moment!r} never came: exit code {done.code}")
    resume = ["--resume"] if work_dir.exists() else []
    must_end(run(script, *arguments(work_dir, *resume), folder=folder))
    compare(whole, work_dir, last)
    left = [p.name for p in work_dir.glob(".*.tmp")]
    if left:
        raise Fault(f"{left[0]} stays behind")


def _undisturbed(job: tuple) -> Path:
    track, script, arguments, _, shared = job
    if track not in _WHOLE:
        place = shared / "whole" / track
        place.parent.mkdir(exist_ok=True)
        must_end(run(script, *arguments(place / "work"), folder=place))
        _WHOLE[track] = place / "work"
    return _WHOLE[track]


def compare(whole: Path, work_dir: Path, last: int) -> None:
    """Weights and banks, optimizer, schedule, ``result.json`` with its curves.

    Raises:
        Fault: something differs.
    """
    first, second = (
        torch.load(f / f"iter_{last}.pth", weights_only=True) for f in (whole, work_dir)
    )
    for part in ("state_dict", "optimizer", "param_schedulers"):
        wrong = list(_differ(first[part], second[part], part))
        if wrong:
            raise Fault(f"{len(wrong)} values of the checkpoint differ: {wrong[0]}")
    results = [json.loads((f / "result.json").read_text()) for f in (whole, work_dir)]
    for result in results:
        for key in _OF_THE_START:
            result.pop(key, None)
    wrong = list(_differ(*results, "result.json"))
    if wrong:
        raise Fault(f"{len(wrong)} values differ: {wrong[0]}")


def _differ(a: Any, b: Any, where: str) -> Iterator[str]:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        if not torch.equal(a, b):
            yield where
    elif isinstance(a, dict) and isinstance(b, dict):
        for key in sorted({*a, *b}, key=str):
            if key in a and key in b:
                yield from _differ(a[key], b[key], f"{where}.{key}")
            else:
                yield f"{where}.{key} only in one"
    elif isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) and len(a) == len(b):
        for i, pair in enumerate(zip(a, b, strict=True)):
            yield from _differ(*pair, f"{where}.{i}")
    elif not (a == b or (a != a and b != b)):
        yield f"{where}: {a!r:.60} and {b!r:.60}"


def _die(*_: object, **__: object) -> None:
    os.killpg(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def _at(owner: Any, name: str, count: int, *, after: bool = False, half: bool = False,
        when: Callable[..., bool] = lambda *_: True) -> None:  # fmt: skip
    """Die at the ``count``-th call of a function for which ``when`` is true."""
    function, seen = getattr(owner, name), [0]

    def call(*args: object, **kwargs: object) -> object:
        chosen = when(*args)
        seen[0] += chosen
        if chosen and seen[0] == count:
            if half:
                os.truncate(args[0], os.path.getsize(args[0]) // 2)
            if after:
                function(*args, **kwargs)
            _die()
        return function(*args, **kwargs)

    setattr(owner, name, call)


def _is_checkpoint(_: object, target: object, *__: object) -> bool:
    return Path(str(target)).name.startswith("iter_")


def _in_start_up() -> None:
    from mmengine.runner import Runner

    _at(Runner, "build_train_loop", 1)


def _in_step() -> None:
    from mmengine.optim import OptimWrapper

    _at(OptimWrapper, "update_params", 4)


def _in_validation(count: int) -> None:
    from mmengine.evaluator import Evaluator

    _at(Evaluator, "process", count)


def _at_end() -> None:
    import core.result

    _at(core.result, "write", 1)


def _in_export() -> None:
    _at(os, "replace", 1, when=lambda _, target: Path(str(target)).name == "result.json")


MOMENTS: dict[str, Callable[[], None]] = {
    "with half of a first checkpoint": partial(_at, os, "replace", 1, half=True,
                                               when=_is_checkpoint),
    "with half of a second checkpoint": partial(_at, os, "replace", 2, half=True,
                                                when=_is_checkpoint),
    "between rename and prune": partial(_at, os, "replace", 3, after=True, when=_is_checkpoint),
    "at start-up": _in_start_up,
    "in a step": _in_step,
    "in a validation": partial(_in_validation, 2),
    "in the second validation": partial(_in_validation, 3),
    "before the pictures and result.json": _at_end,
    "as result.json is written": _in_export,
}  # fmt: skip


def _worker(world: World, folder: Path) -> None:
    """A worker of the loader is killed: one line, and the run goes on from there."""
    options = ["train_dataloader.num_workers=2", "train_dataloader.persistent_workers=True"]
    arguments = world.train(folder / "work", "--max-iters", 2000, "--cfg-options", *options,
                            "train_cfg.val_interval=10000")  # fmt: skip
    process = Started(TRAIN, arguments, folder)
    if not process.wait_for(lambda: list((folder / "work").glob("iter_*.pth"))):
        raise Skipped("the training has ended before")
    workers = children(process.pid)
    if not workers:
        process.send(signal.SIGKILL, group=True)
        raise Fault("there is no worker to kill")
    os.kill(workers[0], signal.SIGKILL)
    must_refuse(process.finish(), "worker")
    if not process.all_dead():
        raise Fault("something is alive after its end")
