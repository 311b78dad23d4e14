"""What a call of ``run_all.sh`` asks for, and what a dry run says of it."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

import yaml

from core.engine.launch import Launch
from core.engine.sweep import Run, arms_of
from core.errors import ConfigError
from data.splits import parse_fraction
from semi_supervised import manifest


def plan(args: argparse.Namespace, root: str, out: Path) -> list[Run]:
    """Seed by seed, so that a call that is cut has whole comparisons.

    Raises:
        ConfigError: no parts are known or given; no lists where they should be.
        DataError: a part is no 1/N.
    """
    known = manifest.read()["data"].get(args.data, {})
    if not (known or args.splits or args.lists):
        raise ConfigError(f"experiments.yaml has no list for {args.data!r}: give --splits")
    for split in args.splits or () if not args.lists else ():
        parse_fraction(split)
    further = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    manifest.add_order_flags(further)
    further.add_argument("--set", nargs="+", action="extend", default=[])
    order, _ = further.parse_known_args(shlex.split(args.train_args))
    parts = _lists(args) if args.lists else {
        manifest.split_name(split, order, args.as_released): ("--split", split)
        for split in args.splits or known["splits"]
    }  # fmt: skip
    note = _note(args, order.set)
    flags = ("--data", args.data, "--data-root", root)
    flags += ("--as-released",) if args.as_released else ()
    return [
        Run(name, "", name, arm, seed, manifest.run_dir(out, name, arm.folder, seed),
            args.max_iters, flags=(*images, *flags), note=note)
        for seed in (args.seeds if args.seeds is not None else known.get("seeds", [0]))
        for name, images in parts.items()
        for arm in arms_of(args, manifest.read()["arms"], known.get("options"))
    ]  # fmt: skip


def _lists(args: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    """The flags of each pair of lists, by the name of the split."""
    found = manifest.lists_in(args.lists)
    for name in args.splits or ():
        if name not in found:
            raise ConfigError(
                f"--splits {name}: no such folder in --lists {args.lists}, there are: "
                f"{', '.join(found)}"
            )
    parts = {}
    for name in args.splits or found:
        labeled, unlabeled = found[name]
        called = f"{name} as released" if args.as_released else name
        parts[called] = ("--labeled-list", str(labeled), "--unlabeled-list", str(unlabeled),
                         "--split-name", called)  # fmt: skip
    return parts


def _note(args: argparse.Namespace, overrides: list[str]) -> str:
    """Iterations, batch and learning rate by the settings; read here without their checks, which
    import what takes seconds."""
    path = manifest.HERE / "configs" / f"{args.data}.yaml"
    if not path.is_file():
        return "by the settings that --config names"
    said = _read(path)
    for text in overrides:
        key, _, value = text.partition("=")
        said[key] = yaml.safe_load(value)
    each, gpus = said["dataset.batch_size"], Launch.from_environment(args.launcher).processes
    iterations = args.max_iters or said["trainer.max_iters"]
    length = f"{iterations:,} iterations" if iterations else (
        f"{said['trainer.epochs']} passes over the unlabeled images")  # fmt: skip
    return (
        f"{length}, batch {each * gpus} labeled and {each * gpus} unlabeled, "
        f"lr {said['trainer.optimizer.kwargs.lr']}; published: 16 and 16, lr 0.01; authors' hours: "
        "n/a"
    )


def _read(path: Path) -> dict[str, Any]:
    """A settings file over its base, with dotted keys."""

    def flat(node: Any, prefix: str = "") -> dict[str, Any]:
        if not isinstance(node, dict):
            return {prefix[:-1]: node}
        return {k: v for key, x in node.items() for k, v in flat(x, f"{prefix}{key}.").items()}

    values = yaml.safe_load(path.read_text())
    base = values.pop("base", None)
    return (_read(path.parent / base) if base else {}) | flat(values)
