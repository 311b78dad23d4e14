"""Evaluate a checkpoint, of HL or exported, per class and mean.

python fully_supervised/test.py CONFIG work_dirs/x/iter_40000.pth [--data streets]
"""

import sys
from collections.abc import Sequence
from pathlib import Path

try:
    from core.configs import load_config, merge_options, without_pretrained
    from core.engine import cli
    from data.errors import DataError
    from data.roots import Roots, add_root_flag
    from fully_supervised.loaders import fit_data
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; set up with: source setup.sh") from error


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.script_parser(__doc__)
    parser.add_argument("config", help="config file, or mmseg::folder/file.py")
    parser.add_argument("checkpoint", help="file written by train.py or core.export")
    parser.add_argument(
        "--data", help="a data set of data/registry.py in the place of the config's"
    )
    add_root_flag(parser)
    cli.add_test_flags(parser)
    parser.set_defaults(work_dir=None)
    args = parser.parse_args(argv)
    checkpoint = Path(args.checkpoint)
    work_dir = args.work_dir or Path("work_dirs/test", checkpoint.absolute().parent.name,
                                     checkpoint.stem)  # fmt: skip
    cfg = fit_data(load_config(args.config), args.data, Roots.parse(args.data_root))
    merge_options(cfg, args.cfg_options)
    without_pretrained(cfg)  # the checkpoint holds the weights

    from core.engine.prepare import prepare
    from core.engine.run import test
    from data.checked import with_checked_samples

    cfg = prepare(cfg, work_dir=work_dir, title="test", launcher=args.launcher,
                  verbose=args.verbose)  # fmt: skip
    for name, value in test(cfg, args.checkpoint, with_checked_samples).items():
        print(f"{name.removeprefix('IoU/'):<20}{value:6.2f}")
    print(f"log: {work_dir}", file=sys.stderr)


if __name__ == "__main__":
    cli.main_line(main, DataError)
