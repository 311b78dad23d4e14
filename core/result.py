"""What a run leaves: ``result.json``, a typed and versioned record.

A run is the training of a network in an arm (:mod:`core.arms`) from a seed, or the evaluation of
one on another data set. Shares are 0 to 1. What is finished, evaluated or to be made anew is
decided by what the record says (iterations, revision of the weights), never by the times of files.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from core import __version__
from core.arms import Arm
from core.errors import CannotConvert, DamagedResult, ResultError
from core.files import write_atomically
from core.measures import FLAT, Cost, Metrics, Part, Strength
from core.typed import Misfit, finite, fit

__all__ = ["Code", "Cost", "Entry", "Failed", "Metrics", "Part", "Result", "Strength", "Weights",
           "damaged", "finished", "finite", "read", "read_each", "this_code", "write"]  # fmt: skip

NAME = "result.json"
FORMAT = 2
ROOT = Path(__file__).resolve().parents[1]
# Of what tables read among the facts.
FACTS = {"source": str, "published_split": str | None, "as_released": list[str],
         "batch_size": float, "published_batch_size": float, "lr_factor": float,
         "lr_rule": str}  # fmt: skip


@dataclass(frozen=True)
class Code:
    """What ran: our version and git revision, the versions of the stack.

    ``revision`` ends in ``-dirty`` where files differed from it; None where there is no git.
    """

    version: str = ""
    revision: str | None = None
    stack: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Weights:
    """The checkpoint that was evaluated: its file name, iteration and revision
    (:func:`core.engine.checkpoint.weights_revision`)."""

    file: str | None = None
    iteration: int | None = None
    revision: str | None = None


@dataclass(frozen=True)
class Result:
    """A finished run.

    Attributes:
        track: ``fully_supervised``, ``semi_supervised`` or ``domain_gen``.
        network: name of what was trained.
        group: what it is compared within: a data set, a split, or the domain it is evaluated on.
        arm: as :class:`core.arms.Arm` writes it.
        seed: of weights and samples.
        title: ``group`` for readers, "" if it speaks for itself.
        data: name of the data set that it was trained on.
        iterations: that were trained, None for an evaluation.
        asked: iterations that were asked for, None: those of the config.
        strength: of the hardness map, None where there is none.
        curves: ``[[iteration, value], ...]`` of what was logged, by name; None: not finite.
        classes, palette: names, and RGB 0-255, by id.
        pictures: stems of the pictures in ``pictures/``.
        facts: of the track: ``source``, ``labeled``, ``unlabeled``, ``batch_size``,
            ``published_batch_size``, ``lr_factor``, ...
    """

    track: str
    network: str
    group: str
    arm: str
    seed: int
    title: str = ""
    data: str = ""
    iterations: int | None = None
    asked: int | None = None
    metrics: Metrics = field(default_factory=Metrics)
    strength: Strength | None = None
    cost: Cost = field(default_factory=Cost)
    code: Code = field(default_factory=Code)
    weights: Weights = field(default_factory=Weights)
    curves: Mapping[str, list[list[float | None]]] = field(default_factory=dict)
    command: str = ""
    device: str = ""
    date: str = ""
    classes: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()
    pictures: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def score(self) -> float | None:
        """What it is compared by, 0 to 1; None if that is not a number."""
        return self.metrics.score

    @property
    def outcome(self) -> str:
        """In words: its mIoU in percent."""
        if self.metrics.miou is None:
            return "no mIoU, since the config has no validation"
        more = "".join(f", {name} {value:.2f} %" for name, value in self.metrics.more.items()
                       if value is not None)  # fmt: skip
        return f"mIoU {100 * self.metrics.miou:.2f} %{more}{self.map_outcome}"

    @property
    def map_outcome(self) -> str:
        """In words: how strong its hardness map is, "" if it has none."""
        gain = self.strength and self.strength.gain
        if not gain:
            return ""
        return f", hl_gain {gain:.2f}" + " (the map is nearly flat)" * (gain < FLAT)


@dataclass(frozen=True)
class Failed:
    """A run that was started and did not end well; ``error`` is one line."""

    network: str
    group: str
    arm: str
    seed: int
    error: str
    title: str = ""
    track: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


class Entry(NamedTuple):
    """A run and its place in a table.

    Attributes:
        subject: runs with the same are compared: a network, a split, a domain.
        title: its heading.
        run: what it left.
        folder: where it lies, with its ``pictures/``; None if it left none.
    """

    subject: str
    title: str
    run: Result | Failed
    folder: Path | None = None


def write(result: Result, work_dir: str | Path) -> None:
    """Leave ``result.json`` in a work_dir.

    Raises:
        WriteError: it cannot be written.
    """
    content = dict(format=FORMAT) | dataclasses.asdict(result)
    write_atomically(json.dumps(content, indent=1).encode(), Path(work_dir) / NAME)


def read(work_dir: str | Path) -> Result | None:
    """The result in a work_dir, None if there is none; those of version 0.4 and before, too.

    Raises:
        DamagedResult: it is not what a run leaves; names file and key.
        ResultError: it is of a later version.
    """
    path = Path(work_dir) / NAME
    if not path.is_file():
        return None
    try:
        content = fit(Mapping[str, Any], json.loads(path.read_text("utf-8")))
        version = fit(int, content.pop("format", 1), "format")
        if version > FORMAT:
            raise ResultError(f"{path}: is of a later version ({version}); update this checkout")
        return _checked(content if version == FORMAT else _from_first_format(content))
    except ResultError:
        raise
    except Misfit as error:
        why = str(error)
    except KeyError as error:
        why = f"{error.args[0]} is missing"
    except UnicodeDecodeError:
        why = "no UTF-8"
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        why = " ".join(str(error).split())
    raise damaged(work_dir, why)


def damaged(work_dir: str | Path, why: str) -> DamagedResult:
    """The error of a result that is not what a run leaves."""
    return DamagedResult(
        f"{Path(work_dir) / NAME}: damaged ({why}); the command that made it makes it anew from "
        "the last checkpoint"
    )


def read_each(work_dirs: Iterable[Path]) -> tuple[list[tuple[Result, Path]], list[str]]:
    """The results that are there, with their folders; and a line for each that is damaged.

    Raises:
        ResultError: one is of a later version.
    """
    found, lost = [], []
    for folder in work_dirs:
        try:
            if run := read(folder):
                found.append((run, folder))
        except DamagedResult as error:
            lost.append(str(error))
    return found, lost


def finished(
    work_dir: str | Path, asked: int | None, arm: Arm | None = None, network: str = ""
) -> Result | None:
    """The result of a work_dir if it is what is asked for, None if there is none.

    Args:
        asked: iterations; None: the whole schedule of the config.
        arm: of whose kind it must be, with its options; more may have been set otherwise.
        network: name of what must have been trained, "" if any.

    Raises:
        DamagedResult: it is not what a run leaves.
        ResultError: it is of another number of iterations, arm or network.
    """
    result = read(work_dir)
    if result is None:
        return None
    where = Path(work_dir) / NAME
    remedy = "name another --out, or delete that folder"
    if asked and result.iterations != asked and not result.facts.get("stopped_early"):
        raise ResultError(
            f"{where} is of {result.iterations} iterations, now {asked} are asked: {remedy}"
        )
    if not asked and result.asked:
        raise ResultError(
            f"{where} is of a short training (--max-iters {result.asked}), now the whole schedule "
            f"is asked: {remedy}"
        )
    found = Arm.parse(result.arm)
    same = arm is None or found.kind == arm.kind
    if not same or (arm and any(found.options.get(k) != v for k, v in arm.options.items())):
        raise ResultError(f"{where} is of the arm {result.arm!r}, now {arm} is asked: {remedy}")
    if network and result.network not in ("", network):
        raise ResultError(f"{where} is of {result.network}, now {network} is asked: {remedy}")
    return result


@functools.cache
def this_code() -> Code:
    """Our version and git revision."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True,
                              timeout=10, check=True)  # fmt: skip
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != ROOT:
            return Code(__version__)  # installed below somebody else's repository
        dirty = "-dirty" if git("status", "--porcelain", "--untracked-files=no") else ""
        return Code(__version__, git("rev-parse", "--short=12", "HEAD") + dirty)
    except (OSError, subprocess.SubprocessError):
        return Code(__version__)


def _checked(content: Mapping[str, Any]) -> Result:
    """A result from what ``dataclasses.asdict`` made of it, every value checked.

    Raises:
        Misfit: a value is not what a run leaves.
    """
    run = fit(Result, content)
    shares = dict(miou=run.metrics.miou, best_miou=run.metrics.best_miou)
    shares |= {f"iou.{name}": value for name, value in run.metrics.iou.items()}
    for key, value in shares.items():
        if value is not None and not 0 <= value <= 1:
            raise Misfit(f"metrics.{ascii(key)[1:-1]} is {value}, no share")
    for name, curve in run.curves.items():
        if any(len(point) != 2 for point in curve):
            raise Misfit(f"curves.{ascii(name)[1:-1]} has points of other than two numbers")
    for key, kind in FACTS.items():
        if key in run.facts:
            fit(kind, run.facts[key], f"facts.{key}")
    if "lr_factor" in run.facts:
        for key in ("batch_size", "published_batch_size"):
            fit(float, run.facts.get(key), f"facts.{key}")
        fit(int, run.iterations, "iterations")
    try:
        return dataclasses.replace(run, arm=str(Arm.parse(run.arm)))
    except CannotConvert as error:
        raise Misfit(f"arm: {error}") from error


def _from_first_format(old: dict[str, Any]) -> dict[str, Any]:
    """A result of version 0.4, whose ``model`` was the network, the split or the domain."""
    track, model = old["track"], old["model"]
    network, group, title = model, old.get("data", ""), old.get("title", "")
    if track == "semi_supervised":
        network, group = "", model
        title = f"{model}: {old['labeled']} of {old['labeled'] + old['unlabeled']} images labeled"
    elif track == "domain_gen" and "network" in old:  # an evaluation on a target
        network, group = old["network"], model
    elif track == "domain_gen":
        group, title = old["source"], f"{old['data']} (its own validation images)"
    short = re.search(r"--max-iters[ =](\d+)", old.get("command", ""))
    facts = ("source", "labeled", "unlabeled", "batch_size", "published_batch_size", "lr_factor")
    return dict(
        track=track,
        network=network,
        group=group,
        arm=old["arm"],
        seed=old["seed"],
        title=title,
        data=old.get("data", ""),
        iterations=old.get("max_iters"),
        asked=int(short[1]) if short else None,
        metrics=dict(
            miou=old["mIoU"],
            iou=old["IoU"],
            best_miou=old.get("best_mIoU"),
            foreground=old.get("foreground"),
        ),
        cost={key: old.get(key) for key in ("seconds_per_iter", "peak_memory_mib", "num_params")},
        code=dict(stack=old.get("versions", {})),
        weights=dict(file=old.get("weights"), iteration=old.get("iteration")),
        curves=old.get("curves", {}),
        command=old.get("command", ""),
        device=old.get("device", ""),
        date=old.get("date", ""),
        classes=old.get("classes", ()),
        palette=old.get("palette", ()),
        pictures=old.get("pictures", ()),
        facts={key: old[key] for key in facts if key in old},
    )
