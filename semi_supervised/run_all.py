"""SupOnly, U²PL and U²PL + HL over splits and seeds; ends with the table and the page.

What is finished is skipped, what was cut goes on: the same command again.

    bash semi_supervised/run_all.sh                                     # the embedded data set
    bash semi_supervised/run_all.sh --data camvid --data-root DIR
    GPUS=4 bash semi_supervised/run_all.sh --data cityscapes --data-root /data/cityscapes
"""

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.arms import Arm
from core.engine import cli
from core.engine.sweep import Run, add_sweep_flags, sweep
from core.errors import ConfigError
from data import registry
from data.errors import DataError
from data.roots import Roots, add_root_flag
from semi_supervised import manifest
from semi_supervised.table import table

TRAIN = str(Path(__file__).with_name("train_u2pl_hl.py"))


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    root = Roots.parse(args.data_root).of(args.data) or str(registry.get(args.data).default_root)
    out = Path(args.out or manifest.RUNS / args.data)

    def locate() -> None:
        registry.locate(args.data, root, labeled=False)

    def write(errors: Mapping[Run, str]) -> None:
        from core.report import write_report

        failed = [run.failed(error) for run, error in errors.items()]
        found = table(out, args.data, failed)
        write_report(out, **found, command=cli.command_of(__file__, argv)).tell()

    sweep(args, TRAIN, plan(args, root, out), locate=locate, write=write)


def plan(args: argparse.Namespace, root: str, out: Path) -> list[Run]:
    """Seed by seed, so that a call that is cut has whole comparisons."""
    known = manifest.read()["data"].get(args.data, {})
    if not known and not args.splits:
        raise ConfigError(f"experiments.yaml has no list for {args.data!r}: give --splits")
    further = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    manifest.add_order_flags(further)
    order, _ = further.parse_known_args(shlex.split(args.train_args))
    runs = []
    for seed in args.seeds if args.seeds is not None else known.get("seeds", [0]):
        for split in args.splits or known["splits"]:
            for arm in args.arms or map(Arm.parse, manifest.read()["arms"]):
                name = manifest.split_name(split, order)
                work_dir = manifest.run_dir(out, name, arm.folder, seed)
                flags = ("--split", split, "--data", args.data, "--data-root", root)
                runs.append(Run(name, "", name, arm, seed, work_dir, args.max_iters, flags=flags))
    return runs


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = cli.script_parser(__doc__)
    parser.add_argument("--data", default="streets", help="data set [streets, the embedded one]")
    add_root_flag(parser)
    parser.add_argument("--splits", nargs="+", metavar="1/8", help="parts that are labeled")
    add_sweep_flags(parser, str(manifest.RUNS / "DATA"), without=["ohem"])
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.main_line(main, DataError)
