"""Write the hardness of every training image, as a trained HL model sees it, for other models.

python fully_supervised/collect_hardness.py work_dirs/…/iter_40000.pth --out hardness
python fully_supervised/train.py CONFIG --weighting collected --hardness hardness
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

try:
    import torch
    from mmengine.config import Config
    from rich.console import Console
    from rich.progress import track

    from core.collected import MapError, decode, encode, map_path
    from core.engine.checkpoint import load_checkpoint, write_atomically
    from core.engine.cli import main_line
    from core.engine.configs import (
        ConfigError,
        parse_config,
        prepare,
        set_data_root,
        without_pretrained,
    )
    from core.engine.run import load_runner
    from data.errors import DataError
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; set up with: source setup.sh") from error


def training_images(cfg: Config) -> Config:
    """``cfg`` with its training images, as they are prepared for inference, as test set."""
    pipeline = _unwrapped(cfg.test_dataloader.dataset).pipeline
    train = _unwrapped(cfg.train_dataloader.dataset)
    cfg.test_dataloader.dataset = dict(train, pipeline=pipeline)
    return cfg


def _unwrapped(dataset: dict) -> dict:
    """The config of the data set itself, of one that the engine has wrapped."""
    while "pipeline" not in dataset:
        dataset = dataset.dataset
    return dataset


def collect(cfg: Config, checkpoint: Path, out: Path) -> int:
    """Write a map for every training image that has none; the number written.

    Args:
        cfg: from :func:`training_images`, prepared.
        checkpoint: of a model with an HL branch.
        out: folder of the maps.

    Raises:
        ConfigError: the model has no HL branch.
    """
    runner = load_runner(cfg, checkpoint)
    model, dataset = runner.model, runner.test_dataloader.dataset
    if not hasattr(model, "predict_scores"):
        raise ConfigError(f"{checkpoint}: its model has no HL branch to collect from")
    model.eval()
    written = 0
    for index in track(range(len(dataset)), "collecting", console=Console(stderr=True),
                       transient=True):  # fmt: skip
        path = map_path(out, cfg.data_root, dataset.get_data_info(index)["img_path"])
        if _is_whole(path):
            continue
        sample = dataset[index]
        batch = dict(inputs=[sample["inputs"]], data_samples=[sample["data_samples"]])
        data = model.data_preprocessor(batch, False)
        height, width = sample["inputs"].shape[-2:]
        scores = model.predict_scores(data["inputs"])[..., :height, :width]
        size = sample["data_samples"].ori_shape
        scores = torch.nn.functional.interpolate(scores, size=size, mode="bilinear")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(encode(scores[0, 0]), path)
        written += 1
    return written


def _is_whole(path: Path) -> bool:
    try:
        decode(path)
    except MapError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="of a training with HL")
    parser.add_argument("--out", type=Path, required=True, help="folder of the maps")
    parser.add_argument("--data-root", help="where the data set lies [where it lay in training]")
    args = parser.parse_args()

    meta = load_checkpoint(args.checkpoint).get("meta") or {}
    if not meta.get("cfg"):
        raise ConfigError(f"{args.checkpoint}: carries no config; take one that train.py wrote")
    cfg = training_images(parse_config(meta["cfg"]))
    if args.data_root:
        set_data_root(cfg, args.data_root)
    if not Path(cfg.data_root).is_dir():
        raise ConfigError(f"{cfg.data_root}: no such folder; name it with --data-root")
    without_pretrained(cfg)
    cfg = prepare(cfg, work_dir=args.out / ".log", title="collecting")
    written = collect(cfg, args.checkpoint, args.out)
    print(f"{args.out}: {written} maps written, the others were there", file=sys.stderr)


if __name__ == "__main__":
    main_line(main, DataError)
