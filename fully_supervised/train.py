"""Train any mmsegmentation config, plain or with hardness-level (HL) learning.

python fully_supervised/train.py mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-769x769.py --hl
torchrun --nproc_per_node 4 fully_supervised/train.py CONFIG --hl --launcher pytorch
"""

import argparse
from pathlib import Path

try:
    from core.convert import to_hl
    from core.engine.cli import add_run_flags, main_line
    from core.engine.configs import load_config, prepare, scale_schedule, without_pretrained
    from core.engine.run import train
    from data.errors import DataError
    from fully_supervised.datasets import fit_data
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; set up with: source setup.sh") from error


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="config file, or mmseg::folder/file.py")
    parser.add_argument("--hl", action="store_true", help="the same as --weighting hl")
    parser.add_argument("--weighting", choices=["ce", "ce-scaled", "hl"], default="ce",
                        help="pixel weights: none, none at HL's loss scale, HL [ce]")  # fmt: skip
    parser.add_argument("--hl-options", nargs="+", default=[], metavar="KEY=VALUE",
                        help="c=0.1 alpha=0.01 normalize=image|batch "
                        "ignored=exclude|include")  # fmt: skip
    parser.add_argument(
        "--data", help="a data set of data/registry.py in the place of the config's"
    )
    parser.add_argument("--data-root", help="where the data set lies")
    parser.add_argument("--model-name", help="what the report calls the model [config's file name]")
    add_run_flags(parser)
    args = parser.parse_args()

    weighting = "hl" if args.hl else args.weighting
    cfg = load_config(args.config)
    cfg = fit_data(cfg, args.data, args.data_root)
    cfg.merge_from_dict(args.cfg_options)
    if args.max_iters:
        scale_schedule(cfg, args.max_iters)
    if args.no_pretrained:
        without_pretrained(cfg)
    if weighting != "ce":
        cfg = to_hl(cfg, weighting=weighting, **parse_options(args.hl_options))

    arm = "baseline" if weighting == "ce" else weighting
    model = args.model_name or Path(args.config).stem
    work_dir = args.work_dir or Path("work_dirs", f"{model}-{arm}-seed{args.seed}")
    title = f"{model} {arm} seed {args.seed}"
    cfg = prepare(cfg, work_dir=work_dir, title=title, seed=args.seed, amp=args.amp,
                  launcher=args.launcher, resume=args.resume, verbose=args.verbose)  # fmt: skip
    result = train(cfg, track="fully_supervised", data=args.data or cfg.dataset_type, model=model,
                   arm=arm, seed=args.seed)  # fmt: skip
    if result:
        print(f"{title}: mIoU {100 * result['mIoU']:.2f} %, {work_dir}/result.json")


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
