"""Train on one domain alone, plain or with hardness-level (HL) learning: on GTAV where it is there,
else on the embedded street scenes in their game look.

python domain_gen/train_gtav.py
python domain_gen/train_gtav.py --no-hl
python domain_gen/train_gtav.py --source camvid:day --data-root camvid=DIR
torchrun --nproc_per_node 4 domain_gen/train_gtav.py --launcher pytorch
Then: python domain_gen/eval_cityscapes.py WORK_DIR. All at once: bash domain_gen/run_all.sh
"""

import argparse
import sys
from pathlib import Path

try:
    from core.convert import to_hl
    from core.engine.cli import add_run_flags, main_line
    from core.engine.configs import load_config, prepare, scale_schedule, without_pretrained
    from core.engine.run import train
    from data import domains
    from data.errors import DataError
    from domain_gen.build import (
        config_path,
        find_source,
        parse_roots,
        settings_of,
        slug,
        source_config,
    )
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; set up with: source setup.sh") from error


def main() -> None:
    args = parse_args()
    source, root = find_source(args.source, parse_roots(args.data_root))
    if args.source is None:
        print(f"source: {source.title} ({source.name}); --source names another", file=sys.stderr)
    known = settings_of(source.name, args.config)
    arm = "baseline" if args.no_hl else args.weighting
    model = Path(known["config"]).stem
    cfg = source_config(load_config(config_path(known["config"])), source, root)
    cfg.experiment = dict(source=source.name, model=model, arm=arm, seed=args.seed)
    cfg.merge_from_dict(args.cfg_options)
    if max_iters := args.max_iters or known["max_iters"]:
        scale_schedule(cfg, max_iters)
    if args.no_pretrained:
        without_pretrained(cfg)
    if arm != "baseline":
        cfg = to_hl(cfg, weighting=arm)

    work_dir = args.work_dir or Path(
        "work_dirs", "domain_gen", slug(source.name), model, f"{arm}-seed{args.seed}"
    )
    title = f"{source.name} {arm} seed {args.seed}"
    cfg = prepare(cfg, work_dir=work_dir, title=title, seed=args.seed, amp=args.amp,
                  launcher=args.launcher, resume=args.resume, verbose=args.verbose)  # fmt: skip
    result = train(cfg, track="domain_gen", data=source.title, **cfg.experiment)
    if result:
        print(
            f"{title}: mIoU {100 * result['mIoU']:.2f} % on the source, {work_dir}/result.json\n"
            f"next: python domain_gen/eval_cityscapes.py {work_dir}"
        )


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", metavar="NAME[:PART]",
                        help=f"one of: {', '.join(domains.DOMAINS)}")  # fmt: skip
    arms = parser.add_mutually_exclusive_group()
    arms.add_argument("--no-hl", action="store_true", help="the baseline: plain cross-entropy")
    arms.add_argument("--weighting", choices=["hl", "ce-scaled"], default="hl",
                      help="HL, or plain cross-entropy at HL's loss scale [hl]")  # fmt: skip
    parser.add_argument("--config", help="a name in configs/, a file or mmseg::… "
                        "[as experiments.yaml has it for the source]")  # fmt: skip
    parser.add_argument("--data-root", nargs="+", action="extend", default=[], metavar="NAME=DIR",
                        help="where data sets lie [data/raw/NAME]")  # fmt: skip
    add_run_flags(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main_line(main, DataError)
