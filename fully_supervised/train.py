"""Train any mmsegmentation config or row of the paper's tables, plain or weighted pixel by pixel.

python fully_supervised/train.py mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-769x769.py --hl
python fully_supervised/train.py cityscapes/upernet_r18 --weighting ohem
torchrun --nproc_per_node 4 fully_supervised/train.py CONFIG --hl --launcher pytorch
"""

import argparse
from pathlib import Path

try:
    from core.engine.cli import add_run_flags, main_line
    from core.engine.configs import (
        load_config,
        prepare,
        scale_schedule,
        without_pretrained,
        world_size,
    )
    from core.engine.run import train
    from core.weighting import WEIGHTINGS, with_weighting
    from data import registry
    from data.errors import DataError
    from fully_supervised import manifest
    from fully_supervised.class_weights import balanced, class_pixels, read
    from fully_supervised.datasets import fit_data
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; set up with: source setup.sh") from error


def main() -> None:
    args = parse_args()
    row = manifest.models().get(args.config)
    own = row.data if row else None
    cfg = fit_data(
        row.config() if row else load_config(args.config), args.data, args.data_root, own
    )
    labels = dict(track="fully_supervised", data=args.data or own or cfg.dataset_type)
    if own and labels["data"] == own:
        labels |= manifest.fit_batch(cfg, row.gpus, world_size(args.launcher))
    cfg.merge_from_dict(args.cfg_options)
    if args.max_iters:
        scale_schedule(cfg, args.max_iters)
    if args.no_pretrained:
        without_pretrained(cfg)

    weighting = "hl" if args.hl else args.weighting
    class_weight = None
    if weighting == "balanced":
        path = args.class_weights
        class_weight = read(path) if path else balanced(class_pixels(cfg)[1])
    options = parse_options(args.options)
    cfg = with_weighting(
        cfg, weighting, class_weight=class_weight, hardness=args.hardness, **options
    )

    arm = " ".join(["baseline" if weighting == "ce" else weighting, *args.options])
    model = args.model_name or (row.name if row else Path(args.config).stem)
    title = f"{model} {arm} seed {args.seed}"
    work_dir = args.work_dir or Path("work_dirs", title.replace("/", "-").replace(" ", "-"))
    cfg = prepare(cfg, work_dir=work_dir, title=title, seed=args.seed, amp=args.amp,
                  launcher=args.launcher, resume=args.resume, verbose=args.verbose)  # fmt: skip
    foreground = registry.foreground(labels["data"])
    if foreground:
        labels |= dict(foreground=foreground)
    result = train(cfg, **labels, model=model, arm=arm, seed=args.seed)
    if result:
        print(f"{title}: mIoU {100 * result['mIoU']:.2f} %, {work_dir}/result.json")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="config file, mmseg::folder/file.py, or a row of "
                        "experiments.yaml, such as cityscapes/upernet_r18")  # fmt: skip
    parser.add_argument("--hl", action="store_true", help="the same as --weighting hl")
    parser.add_argument("--weighting", choices=WEIGHTINGS, default="ce",
                        help="how pixels are weighted; ce-scaled: not at all, at HL's loss scale "
                        "[ce]")  # fmt: skip
    parser.add_argument("--options", "--hl-options", nargs="+", default=[], metavar="KEY=VALUE",
                        help="hl and ce-scaled: c=0.1 alpha=0.01 normalize=image|batch "
                        "ignored=exclude|include; ohem: thresh=0.7 min_kept=N; "
                        "focal: gamma=2")  # fmt: skip
    parser.add_argument("--class-weights", metavar="FILE",
                        help="for balanced [counted in the training labels]")  # fmt: skip
    parser.add_argument("--hardness", metavar="DIR", help="for collected: maps that "
                        "collect_hardness.py wrote")  # fmt: skip
    parser.add_argument(
        "--data", help="a data set of data/registry.py in the place of the config's"
    )
    parser.add_argument("--data-root", help="where the data set lies")
    parser.add_argument("--model-name", help="what the report calls the model [config's file name]")
    add_run_flags(parser)
    return parser.parse_args()


def parse_options(pairs: list[str]) -> dict[str, float | str]:
    """``["c=0.1", "normalize=batch"]`` as a dict, numbers as floats."""
    options = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        try:
            options[key] = float(value)
        except ValueError:
            options[key] = value
    return options


if __name__ == "__main__":
    main_line(main, DataError)
