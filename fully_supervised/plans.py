"""What a call of ``run_all.sh`` asks for: tables, rows, sweeps, other data sets; and the list."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.arms import Arm, with_released
from core.engine.cli import note
from core.engine.launch import Launch
from core.engine.sweep import Run, arms_of
from core.errors import ConfigError
from data import registry
from data.roots import Roots
from fully_supervised import manifest

RUNS = Path("work_dirs", "fully_supervised")
OWN = "own"  # the data set of a config that is no row
CHECKOUT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Plan:
    """The runs behind one table of ours; ``name`` is its folder below that of the runs."""

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
    own = [name for name in args.only or () if manifest.model(name).is_own]
    if own and chosen:
        raise ConfigError(f"{own[0]} is a config of your own, and no row of a table: leave --table "
                          "and --sweep out, --arms names arms")  # fmt: skip
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
            {name: with_released(figures) for name, figures in table.rows.items()},
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
    found = {data or _data_of(manifest.model(name)) for name in names}
    # Published figures of another data set would mislead.
    published: dict[str, dict[str, float]] = {}
    for table in manifest.tables().values():
        for name, figures in table.rows.items():
            if data in (None, manifest.model(name).data):
                published[name] = {**with_released(figures), **published.get(name, {})}
    where = "-".join(sorted(found))
    if found == {OWN}:  # a folder for each choice of configs
        where = "-".join([OWN, *dict.fromkeys(manifest.model(name).name for name in names)])
    swept = manifest.read()["data"].get(data, {}).get("sweeps", {}).get(_sweep(args))
    if swept and not args.arms:
        note(f"on {data} alpha is varied by the dose that it gives, as its schedule is short")
        arms = swept
    title = f"Pixel-hardness learning on {', '.join(sorted(found)).replace(OWN, 'own data')}"
    return Plan(where, title, _runs(args, names, arms), published)


def _sweep(args: argparse.Namespace) -> str | None:
    """The option that is varied, by ``--sweep`` or by the table that is asked for."""
    return args.sweep or (_table(args.table[0]).sweep if args.table else None)


def _table(name: str) -> manifest.Table:
    if name not in manifest.tables():
        raise ConfigError(f"unknown table {name!r}, there are: {', '.join(manifest.tables())}")
    return manifest.tables()[name]


def _runs(args: argparse.Namespace, names: Sequence[str], arms: Sequence[str]) -> list[Run]:
    """Seed by seed, so that a call that is cut has whole comparisons."""
    runs: dict[int, list[Run]] = {}
    gpus = Launch.from_environment(args.launcher).processes
    for name in names:
        model = manifest.model(name)
        revision = model.revision
        data = args.data or _data_of(model)
        known = manifest.read()["data"].get(data, {})
        seeds = known.get("seeds", [model.seed or 0])
        for seed in args.seeds if args.seeds is not None else seeds:
            for arm in arms_of(args, arms, known.get("options")):
                if not model.takes(arm):
                    if args.arms:
                        only = ", ".join(model.arms)
                        raise ConfigError(f"{name} can only be trained as {only}; not as {arm}")
                    continue
                # Of another data set than the row's own: two rows may share the last part.
                own = model.data in (None, data)
                place = model.name.rpartition("/")[2] if own else model.name.replace("/", "-")
                run = Run(
                    label=model.name,
                    network=model.name,
                    group=data,
                    arm=arm,
                    seed=seed,
                    work_dir=Path(args.out or RUNS, data, place, f"{arm.folder}-seed{seed}"),
                    asked=args.max_iters or known.get("max_iters"),
                    title=model.title,
                    flags=_flags(args, model, data, arm, seed),
                    config=revision,
                    note=_note(model, data, arm, args.max_iters or known.get("max_iters"), gpus),
                )
                runs.setdefault(seed, []).append(run)
    return [run for seed in runs for run in runs[seed]]


def _data_of(model: manifest.Model) -> str:
    return OWN if model.is_own else model.data or "streets"


def _flags(
    args: argparse.Namespace, model: manifest.Model, data: str, arm: Arm, seed: int
) -> tuple[str, ...]:
    """What ``train.py`` is told beyond arm, seed and place."""
    # The seed that a config of the user's sets gives way to the one that is asked for, by name.
    of_seed = () if model.seed in (None, seed) else ("--cfg-options", f"randomness.seed={seed}")
    if data == OWN:
        return (model.base, *Roots.parse(args.data_root).flags(), *of_seed)
    root = root_of(args, data)
    of_data = ("--data", data) if data != model.data else ()
    weights = manifest.read()["class_weights"].get(data)
    counted = weights and arm.weighting == "balanced"
    of_arm = ("--class-weights", str(CHECKOUT / weights)) if counted else ()
    name = model.base if model.is_own else model.name
    return (name, *of_data, "--data-root", root, *of_arm, *of_seed)


def _note(model: manifest.Model, data: str, arm: Arm, asked: int | None, gpus: int) -> str:
    """What a dry run says of a run."""
    if data == model.data and model.name in manifest.costs():
        cost = manifest.costs()[model.name]
        return f"{cost.told(model, gpus, asked)}; {cost.authors(model, arm)}"
    iterations = f"{asked:,} iterations" if asked else "the iterations of its config"
    return f"{iterations}; batch and learning rate as config and data set have them"


def root_of(args: argparse.Namespace, data: str) -> str:
    """Where a data set lies, by ``--data-root`` or by default."""
    return Roots.parse(args.data_root).of(data) or str(registry.get(data).default_root)


def print_list() -> None:
    """Every row of every table with its published figures, and what it trains: as published, or
    as scaled for ``GPUS``."""
    rows = 0
    gpus = Launch.from_environment().processes if "GPUS" in os.environ else None
    for table in manifest.tables().values():
        print(f"\n--table {table.name}: {table.title}")
        for name, figures in table.rows.items():
            model = manifest.model(name)
            needs = f" (needs {', '.join(model.missing)})" if model.missing else ""
            print(f"  {name:<34} {model.title}{needs}")
            cost = manifest.costs()[name]
            print(f"    {cost.told(model, gpus)}")
            for arm in table.arms:
                if not model.takes(Arm.parse(arm)):
                    continue
                figure = f"{figures[arm]:.2f}" if arm in figures else "-"
                compared = arm in figures and arm != "baseline"
                gain = f"{figures[arm] - figures['baseline']:+.2f}" if compared else ""
                print(
                    f"    {arm:<20} {figure:>6} {gain:>6}   {cost.authors(model, Arm.parse(arm))}"
                )
                rows += 1
    of_tables = {name for table in manifest.tables().values() for name in table.rows}
    others = [name for name in manifest.models() if name not in of_tables]
    print(f"\n{rows} rows, {len(of_tables)} models; on any data set: {', '.join(others)}")
