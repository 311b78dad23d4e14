"""Write the hardness of every training image, as a trained HL model sees it, for other models.

python fully_supervised/collect_hardness.py work_dirs/…/iter_40000.pth --out hardness
python fully_supervised/train.py CONFIG --weighting collected --hardness hardness
"""

import sys
from collections.abc import Sequence
from pathlib import Path

try:
    from core.configs import set_data_root, without_pretrained
    from core.engine import cli
    from core.errors import ConfigError
    from data.errors import DataError
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; set up with: source setup.sh") from error


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.script_parser(__doc__)
    parser.add_argument("checkpoint", type=Path, help="of a training with HL")
    parser.add_argument("--out", type=Path, required=True, help="folder of the maps")
    parser.add_argument("--data-root", help="where the data set lies [where it lay in training]")
    cli.add_trust_flag(parser)
    args = parser.parse_args(argv)

    from core.engine.checkpoint import load_checkpoint
    from core.engine.prepare import prepare
    from core.trust import config_of
    from data.checked import with_checked_samples
    from fully_supervised.collecting import collect, training_images

    meta = load_checkpoint(args.checkpoint)["meta"]
    cfg = config_of(meta, args.checkpoint, args.trust_imports)
    if cfg is None:
        raise ConfigError(f"{args.checkpoint}: carries no config; take one that train.py wrote")
    cfg = training_images(cfg, args.checkpoint)
    if args.data_root:
        set_data_root(cfg, args.data_root)
    if not Path(cfg.data_root).is_dir():
        raise ConfigError(f"{cfg.data_root}: no such folder; name it with --data-root")
    without_pretrained(cfg)
    cfg = prepare(cfg, work_dir=args.out / ".log", title="collecting")
    written = collect(cfg, args.checkpoint, args.out, with_checked_samples)
    print(f"{args.out}: {written} maps written, the others were there", file=sys.stderr)


if __name__ == "__main__":
    cli.main_line(main, DataError)
