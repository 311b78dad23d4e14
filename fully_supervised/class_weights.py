"""Class weights of the balanced cross-entropy, counted in the training labels of a data set.

python fully_supervised/class_weights.py --data camvid --data-root DIR --out camvid_weights.json
python fully_supervised/class_weights.py my_config.py
"""

import json
from collections.abc import Sequence

try:
    from core.configs import load_config
    from core.engine import cli
    from core.files import write_atomically
    from data.errors import DataError
    from data.roots import Roots, add_root_flag
    from fully_supervised.loaders import data_of, fit_data
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; set up with: source setup.sh") from error


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.script_parser(__doc__)
    parser.add_argument("config", nargs="?", help="config whose training labels are counted")
    parser.add_argument("--data", help="a data set of data/registry.py in its place")
    add_root_flag(parser)
    parser.add_argument("--out", help="JSON file for --class-weights of train.py")
    args = parser.parse_args(argv)
    if not (args.config or args.data):
        parser.error("give a config or --data")
    roots = Roots.parse(args.data_root)
    if args.config:
        cfg = fit_data(load_config(args.config), args.data, roots)
    else:
        cfg = data_of(args.data, roots)

    from core.rivals.class_weights import balanced, class_pixels
    from data.checked import with_checked_samples

    classes, pixels = class_pixels(with_checked_samples(cfg))
    weights = balanced(pixels)
    for name, count, weight in zip(classes, pixels, weights, strict=True):
        print(f"{name:<24} {100 * count / pixels.sum():8.4f} %  {weight:8.4f}")
    if args.out:
        content = dict(
            classes=classes,
            pixels=pixels.tolist(),
            formula="1 / ln(1.02 + p), mean 1",
            class_weight=weights,
        )
        write_atomically(json.dumps(content, indent=1).encode(), args.out)
        print(f"written: {args.out}")


if __name__ == "__main__":
    cli.main_line(main, DataError)
