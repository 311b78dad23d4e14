"""Predict pictures with a trained checkpoint, or write its network as a graph.

    python fully_supervised/predict.py work_dirs/…/iter_40000.pth street.jpg folder --out DIR
    python fully_supervised/predict.py work_dirs/…/iter_40000.pth --export model.onnx

Below DIR, by the picture's name and in its size: labels/ (PNG of class ids in the classes'
colours), overlays/ and, of a network with an HL branch, hardness/ (16-bit PNG: value / 65535 is
sigmoid(D) of Eq. 1) and hardness-color/. A file is called as it is, one of a folder by its place
there; predictions.json says which picture has which name, legend.png which colour which class. DIR
is new, empty, or of the same command, and lies in no folder that is read.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

try:
    from core.engine import cli
    from core.errors import ConfigError, PictureError
    from data.errors import DataError
    from data.pictures import check_outside
    from fully_supervised.seeing import inputs
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; set up with: source setup.sh") from error

SUFFIXES = (".onnx", ".pt2")


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.script_parser(__doc__)
    inputs.add_checkpoint_flags(parser, "checkpoint")
    inputs.add_image_flags(parser)
    parser.add_argument("--out", type=cli.folder, help="folder to write to")
    parser.add_argument("--no-hl", action="store_true", help="do not run the HL branch")
    parser.add_argument("--export", type=Path, metavar="FILE", help="write the network as a graph "
                        "instead: FILE.onnx, or FILE.pt2 of torch.export")  # fmt: skip
    args = parser.parse_args(argv)
    if args.export:
        if args.export.suffix not in SUFFIXES:
            raise ConfigError(f"--export {args.export}: its ending says what is written: "
                              f"{' or '.join(SUFFIXES)}")  # fmt: skip
        if args.images or args.data or args.out:
            raise ConfigError("--export writes the network and predicts nothing: leave images, "
                              "--data and --out out")  # fmt: skip
    elif not args.out:
        raise ConfigError("name a folder for what is predicted: --out DIR")
    else:
        check_outside(args.out, args.images)

    from core.predict import load

    predictor = load(args.checkpoint, config=args.config, trust=args.trust_imports,
                     device="cpu" if args.export else args.device)  # fmt: skip
    if args.export:
        from core.deploy import export_graph

        done = export_graph(predictor, args.export)
        for line in done.notes:
            cli.note(line)
        print(f"{done.path}: images (N, 3, H, W) float32, RGB, 0-255 -> seg_logits (N, "
              f"{predictor.model.out_channels}, H, W); off the network by {done.difference:.1g} "
              "of the largest logit")  # fmt: skip
        return

    from fully_supervised.predicting import write_predictions

    images = inputs.images_of(args, predictor)
    command = cli.command_of(__file__, argv)
    kinds, failed = write_predictions(predictor, images, Path(args.out), command,
                                      hardness=not args.no_hl)  # fmt: skip
    written = len(images) - len(failed)
    print(f"{args.out}: {', '.join(kinds)} of {written} picture{'s' * (written != 1)}; "
          "legend.png: the classes' colours",
          file=sys.stderr)  # fmt: skip
    if failed:
        raise PictureError(f"{len(failed)} of {len(images)} pictures could not be predicted; they "
                           "are named above, the others are written")  # fmt: skip


if __name__ == "__main__":
    cli.main_line(main, DataError)
