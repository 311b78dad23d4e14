"""Evaluate a checkpoint, of HL or exported, per class and mean.

python fully_supervised/test.py CONFIG work_dirs/x/iter_40000.pth [--data streets]
"""

import argparse

try:
    from core.engine.cli import add_test_flags, main_line
    from core.engine.configs import load_config, prepare, without_pretrained
    from core.engine.run import test
    from data.errors import DataError
    from fully_supervised.datasets import fit_data
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; set up with: source setup.sh") from error


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="config file, or mmseg::folder/file.py")
    parser.add_argument("checkpoint", help="file written by train.py or core.export")
    parser.add_argument(
        "--data", help="a data set of data/registry.py in the place of the config's"
    )
    parser.add_argument("--data-root", help="where the data set lies")
    add_test_flags(parser)
    args = parser.parse_args()

    cfg = fit_data(load_config(args.config), args.data, args.data_root)
    cfg.merge_from_dict(args.cfg_options)
    without_pretrained(cfg)  # the checkpoint holds the weights
    cfg = prepare(cfg, work_dir=args.work_dir, launcher=args.launcher, verbose=args.verbose)
    metrics = test(cfg, args.checkpoint)
    for name, value in metrics.items():
        print(f"{name.removeprefix('IoU/'):<20}{value:6.2f}")


if __name__ == "__main__":
    main_line(main, DataError)
