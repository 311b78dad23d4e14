"""Class weights of the balanced cross-entropy, counted in the training labels of a data set.

python fully_supervised/class_weights.py --data camvid --data-root DIR --out camvid_weights.json
python fully_supervised/class_weights.py my_config.py
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

try:
    from mmengine.config import Config
    from mmengine.utils import import_modules_from_strings
    from mmseg.registry import DATASETS
    from rich.console import Console
    from rich.progress import track

    from core.engine.checkpoint import write_atomically
    from core.engine.cli import main_line
    from core.engine.configs import ConfigError, checked, load_config
    from data.errors import DataError
    from fully_supervised.datasets import data_of, fit_data
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; set up with: source setup.sh") from error


def class_pixels(cfg: Config) -> tuple[list[str], np.ndarray]:
    """Class names and the pixels of each, (C,) int64, over a config's training labels.

    Labels are read as training reads them: mapped, with the zero label taken off where the data set
    says so. Ignored pixels count for no class.

    Raises:
        ConfigError: no class occurs at all.
        core.engine.sampling.SampleError: a label cannot be read.
    """
    if cfg.get("custom_imports"):
        import_modules_from_strings(**cfg.custom_imports)
    labels = cfg.train_dataloader.dataset.copy()
    labels.pipeline = [dict(type="LoadAnnotations"), dict(type="PackSegInputs")]
    dataset = DATASETS.build(dict(checked(labels), _scope_="mmseg"))
    classes = list(dataset.metainfo["classes"])

    def count(index: int) -> np.ndarray:
        label = dataset[index]["data_samples"].gt_sem_seg.data
        return np.bincount(label.ravel(), minlength=256)[: len(classes)]

    pixels = np.zeros(len(classes), np.int64)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding leaves Python's lock
        counts = pool.map(count, range(len(dataset)))
        console = Console(stderr=True)
        for found in track(counts, "class weights", len(dataset), console=console, transient=True):
            pixels += found
    if not pixels.any():
        raise ConfigError("no training label holds any class: no class weights can be made")
    return classes, pixels


def balanced(pixels: Sequence[int]) -> list[float]:
    """``1 / ln(1.02 + p)`` of each class, p its share of the pixels; scaled to a mean of 1.

    Paszke et al., "ENet", 2016, section 5.2: bounded, so that a class that hardly occurs does not
    take over, as it would with 1 / p.
    """
    pixels = np.asarray(pixels, np.float64)
    weights = 1 / np.log(1.02 + pixels / pixels.sum())
    return (weights / weights.mean()).round(6).tolist()


def read(path: str | Path) -> list[float]:
    """The weights of a file that this command wrote, or of a JSON list.

    Raises:
        ConfigError: the file is missing or holds something else.
    """
    try:
        content = json.loads(Path(path).read_text())
        weights = content["class_weight"] if isinstance(content, dict) else content
        return [float(x) for x in weights]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: no class weights ({error!r}); fully_supervised/class_weights.py makes them"
        ) from error


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", nargs="?", help="config whose training labels are counted")
    parser.add_argument("--data", help="a data set of data/registry.py in its place")
    parser.add_argument("--data-root", help="where the data set lies")
    parser.add_argument("--out", help="JSON file for --class-weights of train.py")
    args = parser.parse_args()
    if not (args.config or args.data):
        parser.error("give a config or --data")

    cfg = fit_data(load_config(args.config), args.data, args.data_root) if args.config else (
        data_of(args.data, args.data_root))  # fmt: skip
    classes, pixels = class_pixels(cfg)
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
    main_line(main, DataError)
