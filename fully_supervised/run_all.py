"""The paper's tables, and ours: every row in every arm over seeds; ends with tables and pages.

What is finished is skipped, what was cut goes on: the same command again.

    bash fully_supervised/run_all.sh                                     # the embedded data set
    bash fully_supervised/run_all.sh --data camvid --data-root DIR
    bash fully_supervised/run_all.sh --list                              # every row there is
    GPUS=4 bash fully_supervised/run_all.sh --table 2 --data-root cityscapes=DIR
    GPUS=4 bash fully_supervised/run_all.sh --only cityscapes/upernet_r18 --sweep c
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.engine.cli import add_launch_flags, main_line
from core.engine.configs import ConfigError
from core.engine.pool import Job, Launch, run_jobs
from core.engine.run import read_result
from core.report import write_report
from data import registry
from data.errors import DataError
from fully_supervised import manifest
from fully_supervised.manifest import Model

HERE = Path(__file__).resolve().parent
RUNS = Path("work_dirs", "fully_supervised")


@dataclass(frozen=True)
class Run:
    """One training: what it is called, where it goes, how it is started."""

    model: Model
    data: str
    arm: str
    seed: int
    max_iters: int | None
    work_dir: Path

    @property
    def name(self) -> str:
        return f"{self.model.name} {self.arm} seed {self.seed}"

    def command(self, args: argparse.Namespace, launch: Launch) -> list[str]:
        weighting, *options = self.arm.split()
        weighting = "ce" if weighting == "baseline" else weighting
        weights = manifest.read()["class_weights"].get(self.data)
        return [*launch.command(HERE / "train.py"), self.model.name, "--weighting", weighting,
                *(["--options", *options] if options else []),
                *(["--class-weights", str(HERE.parent / weights)]
                  if weights and weighting == "balanced" else []),
                *(["--data", self.data] if self.data != self.model.data else []),
                "--data-root", root_of(args, self.data), "--seed", str(self.seed),
                *(["--max-iters", str(self.max_iters)] if self.max_iters else []),
                "--work-dir", str(self.work_dir), "--resume",
                *shlex.split(args.train_args)]  # fmt: skip

    def result(self) -> dict | None:
        """What the finished run left, None if it is not finished."""
        result = read_result(self.work_dir, self.max_iters)
        return result and dict(result, title=self.model.title)


@dataclass(frozen=True)
class Plan:
    """The runs behind one table of ours; its folder below that of the runs."""

    name: str
    title: str
    runs: list[Run] = field(default_factory=list)
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def plans(args: argparse.Namespace) -> list[Plan]:
    """What a call asks for.

    Raises:
        ConfigError: an unknown table or row, or no list for the data set.
    """
    if args.table:
        chosen = [_table(name) for name in args.table]
    elif args.sweep:
        chosen = [t for t in manifest.tables().values() if t.sweep == args.sweep]
    else:
        chosen = []
    if not chosen or args.data or (args.sweep and args.only):
        arms = chosen[0].arms if chosen else tuple(manifest.read()["arms"])
        return [_plan_of_models(args, arms)]
    if args.only:
        known = {name for table in chosen for name in table.rows}
        for name in args.only:
            if manifest.model(name).name not in known:
                raise ConfigError(f"row {name} is not in table {', '.join(t.name for t in chosen)}")
    return [
        Plan(
            f"table-{table.name}",
            f"Table {table.name}: {table.title}" if table.name.isdigit() else table.title,
            _runs(args, [n for n in table.rows if not args.only or n in args.only], table.arms),
            table.rows,
        )
        for table in chosen
        if not args.only or table.rows.keys() & set(args.only)
    ]


def _plan_of_models(args: argparse.Namespace, arms: Sequence[str]) -> Plan:
    """Models by name, or those that a data set has in the manifest."""
    data = args.data or (None if args.only else "streets")
    names = args.only or manifest.read()["data"].get(data, {}).get("models")
    if not names:
        raise ConfigError(f"experiments.yaml has no list for {data!r}: name models with --only")
    found = {data or manifest.model(name).data or "streets" for name in names}
    runs = _runs(args, names, arms)
    # Published figures of another data set would mislead.
    published: dict[str, dict[str, float]] = {}
    for table in manifest.tables().values():
        for name, figures in table.rows.items():
            if data in (None, manifest.model(name).data):
                published[name] = {**figures, **published.get(name, {})}
    where = "-".join(sorted(found))
    return Plan(where, f"Pixel-hardness learning on {', '.join(sorted(found))}", runs, published)


def _table(name: str) -> manifest.Table:
    if name not in manifest.tables():
        raise ConfigError(f"unknown table {name!r}, there are: {', '.join(manifest.tables())}")
    return manifest.tables()[name]


def _runs(args: argparse.Namespace, names: Sequence[str], arms: Sequence[str]) -> list[Run]:
    """Seed by seed, so that a call that is cut has whole comparisons."""
    runs: dict[int, list[Run]] = {}
    for name in names:
        model = manifest.model(name)
        data = args.data or model.data or "streets"
        known = manifest.read()["data"].get(data, {})
        for seed in args.seeds if args.seeds is not None else known.get("seeds", [0]):
            for arm in args.arms or arms:
                folder = f"{arm.replace(' ', '-')}-seed{seed}"
                work_dir = Path(args.out) / data / name.rpartition("/")[2] / folder
                iters = args.max_iters or known.get("max_iters")
                runs.setdefault(seed, []).append(Run(model, data, arm, seed, iters, work_dir))
    return [run for seed in runs for run in runs[seed]]


def root_of(args: argparse.Namespace, data: str) -> str:
    """Where a data set lies: ``--data-root DIR`` (of all), ``NAME=DIR``, or its default."""
    named = dict(text.split("=", 1) for text in args.data_root if "=" in text)
    bare = next((text for text in args.data_root if "=" not in text), None)
    return named.get(data) or bare or str(registry.get(data).default_root)


def print_list() -> None:
    """Every row of every table with its published figures."""
    rows = 0
    for table in manifest.tables().values():
        print(f"\n--table {table.name}: {table.title}")
        for name, figures in table.rows.items():
            model = manifest.model(name)
            print(f"  {name:<34} {model.title}" + (
                f" (needs {', '.join(model.missing)})" if model.missing else ""))  # fmt: skip
            for arm in table.arms:
                figure = f"{figures[arm]:.2f}" if arm in figures else "-"
                gain = f"{figures[arm] - figures['baseline']:+.2f}" if (
                    arm in figures and arm != "baseline") else ""  # fmt: skip
                print(f"    {arm:<20} {figure:>6} {gain:>6}")
                rows += 1
    of_tables = {name for table in manifest.tables().values() for name in table.rows}
    others = [name for name in manifest.models() if name not in of_tables]
    print(f"\n{rows} rows, {len(of_tables)} models; on any data set: {', '.join(others)}")


def main() -> None:
    args = parse_args()
    if args.list:
        print_list()
        return
    todo = plans(args)
    runs = list({run.work_dir: run for plan in todo for run in plan.runs}.values())
    launch = Launch.from_environment(args.launcher)
    commands = {run: run.command(args, launch) for run in runs if run.result() is None}
    if args.dry_run:
        for run in runs:
            print(shlex.join(commands[run]) if run in commands else f"# finished: {run.work_dir}")
        return

    for data in dict.fromkeys(run.data for run in runs):  # a missing one is told once, at the start
        registry.locate(data, root_of(args, data))
    jobs = [Job(run.name, run.work_dir, tuple(command)) for run, command in commands.items()]
    if jobs:
        print(f"{len(jobs)} of {len(runs)} runs to do", file=sys.stderr)
    errors = run_jobs(jobs, args.jobs or launch.at_once)
    if launch.is_first:
        for plan in todo:
            write(plan, errors, Path(args.out) / plan.name)
    sys.exit(1 if errors else 0)


def write(plan: Plan, errors: Mapping[str, str], out: Path) -> None:
    """The table and the page of a plan."""
    results = [
        dict(model=r.model.name, title=r.model.title, arm=r.arm, seed=r.seed, error=errors[r.name])
        if r.name in errors else r.result() for r in plan.runs]  # fmt: skip
    command = shlex.join(["bash", "fully_supervised/run_all.sh", *sys.argv[1:]])
    report = write_report(out, results, [r.work_dir for r in plan.runs], title=plan.title,
                          command=command, published=plan.published,
                          notes=batch_notes(results))  # fmt: skip
    print(report.markdown)
    print(f"page: {report.paths['html']}")


def batch_notes(results: Sequence[Mapping]) -> list[str]:
    """A sentence for each model that was trained with another batch than the published one."""
    notes = {}
    for result in results:
        if result.get("lr_factor", 1) != 1:
            notes[result["model"]] = (
                f"{result['title']}: batch {result['batch_size']} in the place of the published "
                f"{result['published_batch_size']}; learning rate × {result['lr_factor']:g}, "
                f"{result['max_iters']:,} iterations (linear scaling)."
            )
    return list(notes.values())


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", action="store_true", help="print every row and its figures")
    parser.add_argument("--table", nargs="+", metavar="N", help="2 to 8, fig5, beyond")
    parser.add_argument("--only", nargs="+", metavar="ROW", help="rows of --list, by name")
    parser.add_argument("--sweep", choices=["c", "alpha"], help="the arms of Table 7 or 8")
    parser.add_argument("--data", help="train on this data set, whatever the rows are of "
                        "[that of the rows; without rows: streets, the embedded one]")  # fmt: skip
    parser.add_argument("--data-root", nargs="+", default=[], metavar="[NAME=]DIR",
                        help="where data sets lie [data/raw/NAME]")  # fmt: skip
    parser.add_argument("--arms", nargs="+", metavar="ARM", help="baseline, balanced, ohem, focal, "
                        "ce-scaled, hl, 'hl c=0.5 alpha=1' [those of the table]")  # fmt: skip
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--max-iters", type=int)
    parser.add_argument("--out", default=str(RUNS), help=f"folder of runs and reports [{RUNS}]")
    add_launch_flags(parser)
    parser.add_argument("--train-args", default="", metavar="'...'",
                        help="further flags for train.py, e.g. '--amp --verbose'; a single one "
                        "with an equals sign: --train-args=--amp")  # fmt: skip
    return parser.parse_args()


if __name__ == "__main__":
    main_line(main, DataError)
