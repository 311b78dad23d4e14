"""Train U²PL with hardness-weighted labeled images; or U²PL; or the labeled images alone.

python semi_supervised/train_u2pl_hl.py --split 1/8
python semi_supervised/train_u2pl_hl.py --split 1/8 --no-hl
python semi_supervised/train_u2pl_hl.py --split 1/8 --sup-only
The last one prints the table of all three. At once: bash semi_supervised/run_all.sh --splits 1/8
"""

import argparse
from pathlib import Path

try:
    from core.engine.cli import add_run_flags, main_line
    from core.engine.configs import ConfigError, prepare, world_size
    from core.engine.run import train
    from data import registry, splits
    from data.errors import DataError
    from semi_supervised.run_all import add_order_flags, run_dir, split_name, write_table
    from semi_supervised.u2pl.build import build_config
    from semi_supervised.u2pl.settings import Settings, load_settings
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; set up with: source setup.sh") from error

CONFIGS = Path(__file__).resolve().parent / "configs"


def main() -> None:
    args = parse_args()
    settings = load_settings(args.config or CONFIGS / f"{args.data or 'streets'}.yaml", args.set)
    if args.data not in (None, settings.dataset.type):
        raise ConfigError(
            f"--data is {args.data}, but the settings say dataset.type={settings.dataset.type}: "
            "leave one of the two out"
        )
    root = registry.locate(settings.dataset.type, args.data_root, labeled=False)
    split, model = find_split(args, settings, root)

    arm = "sup-only" if args.sup_only else "baseline" if args.no_hl else settings.hl.weighting
    out = Path("work_dirs", "semi_supervised", settings.dataset.type)
    work_dir = args.work_dir or run_dir(out, model, arm, args.seed)
    cfg = build_config(
        settings, split, root, Path(work_dir), hl=not (args.no_hl or args.sup_only),
        sup_only=args.sup_only, pretrained=not args.no_pretrained, max_iters=args.max_iters,
        world_size=world_size(args.launcher))  # fmt: skip
    cfg.merge_from_dict(args.cfg_options)
    title = f"{model} {arm} seed {args.seed}"
    cfg = prepare(cfg, work_dir=work_dir, title=title, seed=args.seed, amp=args.amp,
                  launcher=args.launcher, resume=args.resume, verbose=args.verbose)  # fmt: skip
    result = train(cfg, track="semi_supervised", data=settings.dataset.type, model=model, arm=arm,
                   seed=args.seed, labeled=len(split.labeled),
                   unlabeled=len(split.unlabeled))  # fmt: skip
    if result:
        print(
            f"{title}: mIoU {100 * result['mIoU']:.2f} % after the last iteration, "
            f"{100 * result['best_mIoU']:.2f} % at best, {work_dir}/result.json"
        )
        if not args.work_dir:  # the rows that are there by now
            print(write_table(out, settings.dataset.type, result["command"]).markdown)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--split", metavar="1/8", help="part of the images that is labeled")
    add_order_flags(parser)
    parser.add_argument("--labeled-list", type=Path, metavar="FILE",
                        help="list of the labeled images, such as a published one; both lists "
                        "are given in the place of --split")  # fmt: skip
    parser.add_argument("--unlabeled-list", type=Path, metavar="FILE",
                        help="list of the unlabeled images")  # fmt: skip
    arms = parser.add_mutually_exclusive_group()
    arms.add_argument("--no-hl", action="store_true", help="U²PL as it is")
    arms.add_argument("--sup-only", action="store_true", help="labeled images alone, no HL")
    parser.add_argument("--data", help="data set with a file in configs/ [streets]")
    parser.add_argument("--data-root", help="where it lies [data/raw/NAME]")
    parser.add_argument("--config", help="settings [configs/DATA.yaml]")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
                        help="override settings, e.g. trainer.epochs=100")  # fmt: skip
    add_run_flags(parser)
    return parser.parse_args()


def find_split(
    args: argparse.Namespace, settings: Settings, root: Path
) -> tuple[splits.Split, str]:
    """The images, and what the report calls the split."""
    name, lists = settings.dataset.type, (args.labeled_list, args.unlabeled_list)
    if all(lists) and not args.split:
        split = splits.read_lists(name, root, *lists)
        return split, f"{len(split.labeled)} of {len(split.labeled) + len(split.unlabeled)}"
    if not args.split or any(lists):
        raise ConfigError("give --split 1/8, or both --labeled-list and --unlabeled-list")
    split = splits.partition(name, root, args.split, seed=args.split_seed,
                             balanced=args.split_order == "balanced")  # fmt: skip
    return split, split_name(args.split, args)


if __name__ == "__main__":
    main_line(main, DataError)
