"""Train U²PL with hardness-weighted labeled images; or U²PL; or the labeled images alone.

python semi_supervised/train_u2pl_hl.py --split 1/8
python semi_supervised/train_u2pl_hl.py --split 1/8 --no-hl
python semi_supervised/train_u2pl_hl.py --split 1/8 --sup-only
The last one prints the table of all three. At once: bash semi_supervised/run_all.sh --splits 1/8
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

try:
    from core.configs import merge_options
    from core.engine import cli
    from core.engine.launch import world_size
    from core.errors import ConfigError
    from core.result import Result
    from data import registry, splits
    from data.errors import DataError
    from data.roots import Roots, add_root_flag
    from semi_supervised import manifest
    from semi_supervised.table import table
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; set up with: source setup.sh") from error


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    asked = cli.read_arm(args)
    cli.check_twice(args)
    for key in args.cfg_options:
        if key.startswith(("model.hl", "model.student")):
            raise ConfigError(f"{key} is not of this track: give options with --options c=0.5")
    check_choice(args)
    # What takes seconds to import comes after all that can be refused at once.
    from core.engine.fork import place_of
    from core.engine.prepare import prepare, seed_of
    from core.engine.run import train
    from data.checked import with_checked_samples
    from semi_supervised.u2pl.arms import arm_and_settings
    from semi_supervised.u2pl.build import build_config, fit_alpha
    from semi_supervised.u2pl.settings import PUBLISHED_BATCH, load_settings

    path = args.config or manifest.HERE / "configs" / f"{args.data or 'streets'}.yaml"
    arm, settings = arm_and_settings(load_settings(path, args.set), asked, args.set)
    data = settings.dataset.type
    batch, criterion = settings.dataset.batch_size, settings.criterion
    if criterion.type == "ohem" and batch != PUBLISHED_BATCH:
        cli.note(f"OHEM keeps at least {criterion.kept(batch):,} pixels of the {batch} labeled "
                 f"images of a process: criterion.kwargs.min_kept, {criterion.kwargs.min_kept:,}, "
                 f"is of {PUBLISHED_BATCH}")  # fmt: skip
    if args.data not in (None, data):
        raise ConfigError(
            f"--data is {args.data}, but the settings say dataset.type={data}: "
            "leave one of the two out"
        )
    root = registry.locate(data, Roots.parse(args.data_root).of(data), labeled=False)
    split, name = find_split(args, data, root)

    seed = args.seed if args.seed is not None else args.cfg_options.get("randomness.seed", 0)
    place = manifest.run_dir(manifest.RUNS / data, name, arm.folder, seed)
    work_dir = args.work_dir or args.cfg_options.get("work_dir") or place
    work_dir, start = place_of(work_dir, fork=args.fork, resume=args.resume)
    cfg = build_config(
        settings, split, root, work_dir, arm, weights_file=args.class_weights,
        hardness=args.hardness, pretrained=not args.no_pretrained, max_iters=args.max_iters,
        world_size=world_size(args.launcher))  # fmt: skip
    merge_options(cfg, args.cfg_options)
    fit_alpha(cfg, arm)
    seed = seed_of(cfg, args.seed)
    title = f"{name} {arm} seed {seed}"
    cfg = prepare(cfg, work_dir=work_dir, title=title, seed=seed, amp=args.amp,
                  launcher=args.launcher, resume=args.resume, load_from=start,
                  verbose=args.verbose)  # fmt: skip
    counts = dict(labeled=len(split.labeled), unlabeled=len(split.unlabeled))
    facts = {**counts, "as_released": [k for k, on in vars(settings.as_released).items() if on]}
    if data == "cityscapes":
        facts["published_split"] = manifest.published_split(split.labeled)
    run = Result("semi_supervised", Path(settings.net.config).stem, name, str(arm), seed,
                 title=f"{name}: {counts['labeled']} of {sum(counts.values())} images labeled",
                 data=data, asked=cli.asked_iterations(args), facts=facts,
                 command=cli.command_of(__file__, argv))  # fmt: skip
    if run := train(cfg, run, reading=with_checked_samples):
        print(f"{title}: mIoU {100 * run.metrics.miou:.2f} % after the last iteration, "
              f"{100 * run.metrics.best_miou:.2f} % at best{run.map_outcome}, "
              f"{work_dir}/result.json")  # fmt: skip
        if not args.work_dir:  # the rows that are there by now
            from core.report import write_report

            out = manifest.RUNS / data
            print(write_report(out, **table(out, data), command=run.command).markdown)


def check_choice(args: argparse.Namespace) -> None:
    """What can be refused before the data are looked for.

    Raises:
        ConfigError: no choice of images, or two; two numbers of iterations.
    """
    lists = args.labeled_list, args.unlabeled_list
    if bool(args.split) == any(lists) or (any(lists) and not all(lists)):
        raise ConfigError("give --split 1/8, or both --labeled-list and --unlabeled-list")
    asked = {pair.partition("=")[2] for pair in args.set if pair.startswith("trainer.max_iters=")}
    if args.max_iters and asked - {str(args.max_iters)}:
        raise ConfigError(f"--max-iters is {args.max_iters}, but --set says trainer.max_iters="
                          f"{asked.pop()}: leave one of the two out")  # fmt: skip


def find_split(args: argparse.Namespace, data: str, root: Path) -> tuple[splits.Split, str]:
    """The images, and what the report calls the split."""
    lists = args.labeled_list, args.unlabeled_list
    if all(lists):
        if args.split_seed or args.split_order != "random":
            raise ConfigError("--split-seed and --split-order are of --split: the lists say which")
        split = splits.read_lists(data, root, *lists)
        name = f"{len(split.labeled)} of {len(split.labeled) + len(split.unlabeled)}"
        return split, args.split_name or (f"{name} as released" if args.as_released else name)
    if args.split_name:
        raise ConfigError("--split-name is of --labeled-list and --unlabeled-list: leave it out")
    split = splits.partition(data, root, args.split, seed=args.split_seed,
                             balanced=args.split_order == "balanced")  # fmt: skip
    return split, manifest.split_name(args.split, args, args.as_released)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = cli.script_parser(__doc__)
    parser.add_argument("--split", metavar="1/8", help="part of the images that is labeled")
    manifest.add_order_flags(parser)
    parser.add_argument("--labeled-list", type=Path, metavar="FILE",
                        help="list of the labeled images, such as a published one; both lists "
                        "are given in the place of --split")  # fmt: skip
    parser.add_argument("--unlabeled-list", type=Path, metavar="FILE",
                        help="list of the unlabeled images")  # fmt: skip
    parser.add_argument("--split-name", metavar="NAME",
                        help="what reports and folders call the lists [N of M]")  # fmt: skip
    cli.add_weighting_flags(parser, default="hl", sup_only=True)
    parser.add_argument("--data", help="data set with a file in configs/ [streets]")
    add_root_flag(parser)
    parser.add_argument("--config", help="settings [configs/DATA.yaml]")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
                        help="override settings, e.g. trainer.epochs=100")  # fmt: skip
    cli.add_run_flags(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.main_line(main, DataError)
