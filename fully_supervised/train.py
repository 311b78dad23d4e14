"""Train any mmsegmentation config or row of the paper's tables, plain or weighted pixel by pixel.

python fully_supervised/train.py mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-769x769.py --hl
python fully_supervised/train.py cityscapes/upernet_r18 --weighting ohem
torchrun --nproc_per_node 4 fully_supervised/train.py CONFIG --hl --launcher pytorch
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

try:
    from core.batch import fit_batch
    from core.configs import config_revision, load_config, merge_options, without_pretrained
    from core.engine import cli
    from core.engine.launch import world_size
    from core.result import Metrics, Result
    from core.schedule import scale_schedule
    from data import registry
    from data.errors import DataError
    from data.roots import Roots, add_root_flag
    from fully_supervised import manifest
    from fully_supervised.loaders import data_name, fit_data
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; set up with: source setup.sh") from error


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    asked = cli.read_arm(args)
    cli.check_twice(args)
    row = manifest.models().get(args.config)
    own = row.data if row else None
    cfg = row.config() if row else load_config(args.config)
    given = {} if row else dict(config=config_revision(cfg))
    # What takes seconds to import comes after all that can be refused at once.
    from core.engine.fork import place_of
    from core.engine.prepare import prepare, seed_of
    from core.engine.run import train
    from core.rivals import class_weights
    from core.weighting import arm_of_config, with_weighting
    from data.checked import with_checked_samples

    cfg = fit_data(cfg, args.data, Roots.parse(args.data_root), own)
    data = args.data or own or data_name(cfg)
    facts = fit_batch(cfg, row.gpus, world_size(args.launcher)) if data == own else given
    merge_options(cfg, args.cfg_options)
    if "batch_size" in facts:
        facts["batch_size"] = cfg.train_dataloader.batch_size * world_size(args.launcher)
    if args.max_iters:
        scale_schedule(cfg, args.max_iters)
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
    network = args.model_name or (row.name if row else Path(args.config).stem)
    title = f"{network} {arm} seed {seed}"
    default = Path("work_dirs", title.replace("/", "-").replace(" ", "-"))
    work_dir = args.work_dir or cfg.get("work_dir") or default
    work_dir, start = place_of(work_dir, fork=args.fork, resume=args.resume)
    cfg = prepare(cfg, work_dir=work_dir, title=title, seed=seed, amp=args.amp,
                  launcher=args.launcher, resume=args.resume, load_from=start,
                  verbose=args.verbose)  # fmt: skip
    run = Result("fully_supervised", network, data, str(arm), seed, data=data,
                 asked=cli.asked_iterations(args), facts=facts,
                 metrics=Metrics(foreground=registry.foreground(data)),
                 command=cli.command_of(__file__, argv))  # fmt: skip
    if run := train(cfg, run, reading=with_checked_samples):
        print(f"{title}: {run.outcome}, {work_dir}/result.json")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = cli.script_parser(__doc__)
    parser.add_argument("config", help="config file, mmseg::folder/file.py, or a row of "
                        "experiments.yaml, such as cityscapes/upernet_r18")  # fmt: skip
    cli.add_weighting_flags(parser, default="baseline")
    parser.add_argument(
        "--data", help="a data set of data/registry.py in the place of the config's"
    )
    add_root_flag(parser)
    parser.add_argument("--model-name", help="what the report calls the model [config's file name]")
    cli.add_run_flags(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.main_line(main, DataError)
