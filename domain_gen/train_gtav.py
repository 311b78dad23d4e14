"""Train a network on one domain, GTAV or another, with HL or in any other arm.

python domain_gen/train_gtav.py                     # GTAV where it is there, else embedded scenes
python domain_gen/train_gtav.py --no-hl             # the baseline
torchrun --nproc_per_node 4 domain_gen/train_gtav.py --source gtav --launcher pytorch
Then evaluate: python domain_gen/eval_cityscapes.py WORK_DIR; at once: bash domain_gen/run_all.sh
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

try:
    from core.batch import fit_batch
    from core.configs import load_config, merge_options, without_pretrained
    from core.engine import cli
    from core.engine.launch import world_size
    from core.result import Result
    from core.schedule import scale_schedule
    from data import domains
    from data.errors import DataError
    from data.roots import Roots, add_root_flag
    from domain_gen import manifest
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; set up with: source setup.sh") from error


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    asked = cli.read_arm(args)
    cli.check_twice(args)
    roots = Roots.parse(args.data_root)
    source = manifest.find_source(args.source, roots)
    known = manifest.settings_of(source.name, args.config)
    # What takes seconds to import comes after all that can be refused at once.
    from core.engine.fork import place_of
    from core.engine.prepare import prepare, seed_of
    from core.engine.run import train
    from core.rivals import class_weights
    from core.weighting import arm_of_config, with_weighting
    from data.checked import with_checked_samples
    from domain_gen.build import source_config

    root = manifest.locate(source, roots)
    if args.source is None:
        print(f"source: {source.title} ({source.name}); --source names another", file=sys.stderr)
    network = Path(known["config"]).stem
    path = manifest.config_path(known["config"])
    own = path == known["config"] and not path.startswith("mmseg::")
    cfg = source_config(load_config(path), source, root, own=own)
    gpus = known["gpus"]
    facts = fit_batch(cfg, gpus, world_size(args.launcher)) if gpus else {}
    facts |= dict(config=known["revision"]) if args.config else {}
    merge_options(cfg, args.cfg_options)
    iterations = cli.asked_iterations(args) or known["max_iters"]
    if iterations and "train_cfg.max_iters" not in args.cfg_options:
        scale_schedule(cfg, iterations)
    if args.no_pretrained:
        without_pretrained(cfg)
    arm = arm_of_config(cfg, asked, args.default_arm)
    weights = (
        class_weights.of(with_checked_samples(cfg), args.class_weights)
        if arm.weighting == "balanced"
        else None
    )
    cfg = with_weighting(cfg, arm, class_weight=weights, hardness=args.hardness)

    seed = seed_of(cfg, args.seed)
    cfg.experiment = dict(source=source.name, network=network, arm=str(arm), seed=seed)
    default = manifest.RUNS / manifest.slug(source.name) / network / f"{arm.folder}-seed{seed}"
    work_dir = args.work_dir or cfg.get("work_dir") or default
    work_dir, start = place_of(work_dir, fork=args.fork, resume=args.resume)
    title = f"{source.name} {arm} seed {seed}"
    cfg = prepare(cfg, work_dir=work_dir, title=title, seed=seed, amp=args.amp,
                  launcher=args.launcher, resume=args.resume, load_from=start,
                  verbose=args.verbose)  # fmt: skip
    run = Result("domain_gen", network, source.name, str(arm), seed,
                 title=f"{source.title} (its own validation images)", data=source.title,
                 asked=iterations, facts=dict(facts, source=source.name),
                 command=cli.command_of(__file__, argv))  # fmt: skip
    if run := train(cfg, run, reading=with_checked_samples):
        print(f"{title}: {run.outcome} on the source, {work_dir}/result.json"
              f"\nnext: python domain_gen/eval_cityscapes.py {work_dir}")  # fmt: skip


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = cli.script_parser(__doc__)
    parser.add_argument("--source", metavar="NAME[:PART]",
                        help=f"one of: {', '.join(domains.DOMAINS)}")  # fmt: skip
    cli.add_weighting_flags(parser, default="hl")
    parser.add_argument("--config", help="a name in configs/, a file or mmseg::… "
                        "[as experiments.yaml has it for the source]")  # fmt: skip
    add_root_flag(parser)
    cli.add_run_flags(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.main_line(main, DataError)
