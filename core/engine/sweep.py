"""Many trainings and what follows from them: planned, skipped where finished, run, reported once.

A track says which runs there are, where their data lie and what the report shows; all else is here.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.arms import KINDS, Arm
from core.engine.cli import AS_RELEASED, note, positive, seed
from core.engine.launch import Launch
from core.engine.pool import Job, run_jobs
from core.errors import ConfigError, DamagedResult, ResultError
from core.result import Failed, Result, damaged, finished

# Settings that leave what is trained as it is.
_IDLE = re.compile(r"default_hooks\.|vis|log_|env_cfg\.|\w+_dataloader\.(num|persistent)_workers")
_REMEDY = "name another --out, or delete that folder"
# Flags, and settings, that every run of a sweep has.
_SAID = {"--seed": "--seeds", "--max-iters": "--max-iters", "--work-dir": "--out",
         "train_cfg.max_iters": "--max-iters", "randomness.seed": "--seeds"}  # fmt: skip
# Which arm a training is of, is said once.
_ARM_FLAGS = {"--weighting", "--hl", "--no-hl", "--sup-only", "--options", "--hl-options"}


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        label: what its lines of progress begin with, before arm and seed.
        network, group, title: as in :class:`core.result.Result`.
        work_dir: where it goes.
        asked: iterations, None: those of its config.
        flags: of the training script, beyond those that every run has.
        config: revision of a config that may change from one call to the next.
        note: what a dry run says of it above its command.
    """

    label: str
    network: str
    group: str
    arm: Arm
    seed: int
    work_dir: Path
    asked: int | None = None
    title: str = ""
    flags: tuple[str, ...] = field(default=(), compare=False)
    config: str | None = None
    note: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        return f"{self.label} {self.arm} seed {self.seed}"

    @property
    def arguments(self) -> tuple[str, ...]:
        """Of the training script."""
        iters = ("--max-iters", str(self.asked)) if self.asked else ()
        return (*self.flags, *self.arm.flags, "--seed", str(self.seed), *iters,
                "--work-dir", str(self.work_dir), "--resume")  # fmt: skip

    def result(self) -> Result | None:
        """What it left, if it is finished.

        Raises:
            DamagedResult: what lies there is not what a run leaves.
            ResultError: what lies there is of another training.
        """
        found = finished(self.work_dir, self.asked, self.arm, self.network)
        if found is None:
            return None
        if self.config and found.facts.get("config", self.config) != self.config:
            raise ResultError(f"{self.work_dir} is of the config as it was before it was changed: "
                              f"{_REMEDY}")  # fmt: skip
        return found

    def failed(self, error: str) -> Failed:
        """What a table says of it if it did not end well."""
        return Failed(self.network, self.group, str(self.arm), self.seed, error, self.title)


@dataclass(frozen=True)
class Evaluation:
    """What follows a training: arguments of another script."""

    script: str
    arguments: tuple[str, ...]
    work_dir: Path


def add_sweep_flags(parser: argparse.ArgumentParser, out: str, without: Sequence[str]) -> None:
    """The flags of every ``run_all.sh``.

    Args:
        out: where runs and report go by default, in words.
        without: kinds of arms that the track does not have.
    """
    kinds = [name for name in KINDS if name not in without]

    def arm(text: str) -> Arm:
        try:
            made = Arm.parse(text)
        except ConfigError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
        if made.kind.name not in kinds:
            raise argparse.ArgumentTypeError(
                f"{text}: is no arm of this track, there are: {', '.join(kinds)}"
            )
        return made

    parser.add_argument("--arms", nargs="+", type=arm, metavar="ARM",
                        help=f"some of: {', '.join(kinds)}; with options as one text: "
                        "'hl c=0.5 alpha=1' [as experiments.yaml has it: with alpha=auto where "
                        "rows are made for a laptop]")  # fmt: skip
    parser.add_argument("--as-released", action="store_true", help=AS_RELEASED)
    parser.add_argument("--hardness", metavar="DIR", help="maps of the arm collected")
    parser.add_argument("--seeds", nargs="+", type=seed, help="[as experiments.yaml has it]")
    parser.add_argument("--max-iters", type=positive, metavar="N",
                        help="train N iterations; the schedule shrinks with it")  # fmt: skip
    parser.add_argument("--out", help=f"folder of runs and reports [{out}]")
    parser.add_argument("--jobs", type=positive, metavar="N",
                        help="trainings side by side [GPU: 1, CPU: the cores]")  # fmt: skip
    parser.add_argument("--launcher", choices=["pytorch", "slurm"], default="pytorch",
                        help="how GPUS processes are started: torchrun or srun")  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="print the commands, run nothing")
    parser.add_argument("--train-args", default="", metavar="'...'",
                        help="further flags for the training script, e.g. '--amp --verbose'"
                        )  # fmt: skip


def arms_of(
    args: argparse.Namespace, names: Iterable[str], options: Mapping[str, str] | None = None
) -> list[Arm]:
    """The arms that the flags ask for; ``names``, with further ``options``, where they name none.

    Raises:
        CannotConvert: ``--as-released`` beside an option that says otherwise.
    """
    arms = args.arms or [Arm.parse(name).with_defaults(options or {}) for name in names]
    return [arm.as_released() if args.as_released else arm for arm in arms]


def sweep(
    args: argparse.Namespace,
    script: str,
    runs: Sequence[Run],
    *,
    write: Callable[[Mapping[Run, str]], None],
    locate: Callable[[], None] = lambda: None,
    evaluate: Callable[[Run, bool], Evaluation | None] = lambda run, trained: None,
) -> None:
    """Run what is not finished, one that fails not stopping the others; then write the report.

    On several machines each trains with its part of the processes; the first evaluates and writes.
    With ``--dry-run`` commands are printed, and nothing is read but results.

    Args:
        args: with the flags of :func:`add_sweep_flags`.
        script: path of the training script.
        runs: in the order in which they are trained; equal ones are trained once.
        write: tables and pages; gets the runs that failed, with the reason.
        locate: finds the data, so that what is missing is told before the first training.
        evaluate: what follows a run, given whether it is trained in this call; None if nothing.

    A damaged ``result.json`` is told in one line, and its training taken as not finished.

    Raises:
        SystemExit: with 1, if a run failed; with 130, if a stop signal came.
        ResultError: a folder holds another training than the one that is asked for.
    """
    launch = Launch.from_environment(args.launcher)
    runs = list(dict.fromkeys(runs))
    if len({run.work_dir for run in runs}) < len(runs):
        raise ConfigError("two different trainings would go to one folder: name them one by one")
    if any(run.arm.weighting == "collected" for run in runs) and not args.hardness:
        raise ConfigError("the arm collected needs the folder of its maps: --hardness DIR")
    further = tuple(shlex.split(args.train_args))
    _check_further(further)
    trainings, evaluations = {}, {}
    for run in runs:
        if _finished(run, further) is None:
            maps = ("--hardness", args.hardness) if run.arm.weighting == "collected" else ()
            command = launch.command(script, [*run.arguments, *maps, *further])
            trainings[run] = Job(run.name, run.work_dir, command)
    for run in runs if launch.is_first else ():
        follows = evaluate(run, run in trainings)
        if follows:
            command = launch.here.command(follows.script, follows.arguments)
            evaluations[run] = Job(run.name, follows.work_dir, command)
    if args.dry_run:
        for run in runs:
            job = trainings.get(run)
            if job and run.note:
                print(f"# {run.name}: {run.note}")
            print(shlex.join(job.command) if job else f"# finished: {run.work_dir}")
        for job in evaluations.values():
            print(shlex.join(job.command))
        return

    locate()
    if trainings or evaluations:
        also = f", {len(evaluations)} to evaluate" if evaluations else ""
        print(f"{len(trainings)} of {len(runs)} runs to do{also}", file=sys.stderr)
    at_once = args.jobs or launch.at_once
    errors = run_jobs(list(trainings.values()), at_once)
    todo = [job for job in evaluations.values() if job.name not in errors]
    errors |= run_jobs(todo, at_once)
    if launch.is_first:
        failed = {run: reason for run in runs if (reason := _why_not(run, errors))}
        write(failed)
        errors |= {run.name: reason for run, reason in failed.items()}
    sys.exit(1 if errors else 0)


def _check_further(further: Sequence[str]) -> None:
    """What the sweep says itself, ``--train-args`` do not."""
    words = {word.partition("=")[0] for word in further}
    if named := words & _ARM_FLAGS:
        raise ConfigError(f"--train-args {min(named)}: name arms with --arms, such as 'hl c=0.5'")
    for flag, here in _SAID.items():
        if flag in words:
            raise ConfigError(f"--train-args {flag}: is said by {here} of this command")
    try:
        _settings(further)
    except argparse.ArgumentError as error:
        raise ConfigError(f"--train-args: {error}") from error


def _finished(run: Run, further: Sequence[str]) -> Result | None:
    """What a run left, if it was trained with the settings that are asked for now; None if it is
    not finished, or what it left is damaged.

    Raises:
        ResultError: it is of another training.
    """
    now = _settings([*run.arguments, *further])
    try:
        found = run.result()
        if found is None or not found.command:
            return found
        then = _settings_of(found, run.work_dir)
    except DamagedResult as error:
        note(str(error))
        return None
    if then != now:
        raise ResultError(f"{run.work_dir} was trained with {then or 'no settings'}, now "
                          f"{now or 'none'} are asked by --train-args: {_REMEDY}")  # fmt: skip
    return found


def _settings_of(found: Result, work_dir: Path) -> str:
    try:
        return _settings(shlex.split(found.command))
    except (ValueError, argparse.ArgumentError) as error:  # no command line, or no training's
        raise damaged(work_dir, f"command: {error}") from error


def _settings(command: Sequence[str]) -> str:
    """The flags of a command that make it another training, beside those that a run states.

    Raises:
        argparse.ArgumentError: a flag has no value, or one that it does not take.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False, exit_on_error=False)
    for flag in ("--cfg-options", "--set"):
        parser.add_argument(flag, nargs="+", action="extend", default=[])
    for flag in ("--amp", "--no-pretrained"):
        parser.add_argument(flag, action="store_true")
    known = vars(parser.parse_known_args(command)[0])
    known["cfg_options"] = [pair for pair in known["cfg_options"] if not _IDLE.match(pair)]
    found = {key: sorted(v) if isinstance(v, list) else v for key, v in known.items() if v}
    words = [(f"--{key.replace('_', '-')}", *(v if isinstance(v, list) else ()))
             for key, v in found.items()]  # fmt: skip
    return " ".join(word for group in words for word in group)


def _why_not(run: Run, errors: Mapping[str, str]) -> str | None:
    """Why a run cannot stand in a table, None if it can."""
    if run.name in errors:
        return errors[run.name]
    try:
        return None if run.result() else f"it left no result in {run.work_dir}"
    except ResultError as error:  # flags of --train-args may have made it another training
        return str(error)
