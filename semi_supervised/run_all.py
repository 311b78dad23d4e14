"""SupOnly, U²PL and U²PL + HL over splits and seeds; ends with the table and the page.

What is finished is skipped, what was cut goes on: the same command again.

    bash semi_supervised/run_all.sh                                     # the embedded data set
    bash semi_supervised/run_all.sh --data camvid --data-root DIR
    GPUS=4 bash semi_supervised/run_all.sh --data cityscapes --data-root DIR --lists DIR
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.engine import cli
from core.engine.sweep import Run, add_sweep_flags, sweep
from data import registry
from data.errors import DataError
from data.roots import Roots, add_root_flag
from semi_supervised import manifest
from semi_supervised.plans import plan
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


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = cli.script_parser(__doc__)
    parser.add_argument("--data", default="streets", help="data set [streets, the embedded one]")
    add_root_flag(parser)
    parser.add_argument("--splits", nargs="+", metavar="1/8", help="parts that are labeled; with "
                        "--lists: some of its folders")  # fmt: skip
    parser.add_argument("--lists", type=Path, metavar="DIR", help="published lists in the place of "
                        "parts: DIR/186/labeled.txt, DIR/186/unlabeled.txt and so on")  # fmt: skip
    add_sweep_flags(parser, str(manifest.RUNS / "DATA"), without=["ohem"])
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.main_line(main, DataError)
