"""Class weights of the balanced cross-entropy, counted in a config's training labels."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmseg.registry import DATASETS
from rich.console import Console
from rich.progress import track

from core.configs import import_custom, walk
from core.errors import ConfigError
from core.rivals.pixel_mean import is_number


def class_pixels(cfg: Config) -> tuple[list[str], np.ndarray]:
    """Class names and the pixels of each, (C,) int64, over a config's training labels.

    Labels are read as training reads them: mapped, with the zero label taken off where the data set
    says so. Ignored pixels count for no class.

    Raises:
        ConfigError: no class occurs at all.
    """
    import_custom(cfg)
    dataset = DATASETS.build(dict(_labels_of(cfg.train_dataloader.dataset), _scope_="mmseg"))
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


def _labels_of(dataset: dict) -> dict:
    """The same data sets, in the same wrappers, with their labels alone."""
    dataset = copy.deepcopy(dataset)

    def change(node: dict) -> None:
        if "pipeline" in node and "dataset" not in node:
            node["pipeline"] = [dict(type="LoadAnnotations"), dict(type="PackSegInputs")]

    # Mixed images have labels of their own; a seeded set, in a config that a run wrote, takes keys.
    while "dataset" in dataset and ("pipeline" in dataset or dataset["type"] == "SeededDataset"):
        dataset = dataset["dataset"]
    walk(dataset, change)
    return dataset


def balanced(pixels: Sequence[int]) -> list[float]:
    """``1 / ln(1.02 + p)`` of each class, p its share of the pixels; scaled to a mean of 1.

    Paszke et al., "ENet", 2016, section 5.2: bounded, so that a class that hardly occurs does not
    take over, as it would with 1 / p.
    """
    pixels = np.asarray(pixels, np.float64)
    weights = 1 / np.log(1.02 + pixels / pixels.sum())
    return (weights / weights.mean()).round(6).tolist()


def of(cfg: Config, path: str | Path | None = None) -> list[float]:
    """The weights of a file, or those counted in a config's training labels.

    Raises:
        ConfigError: see :func:`read` and :func:`class_pixels`.
    """
    return read(path) if path else balanced(class_pixels(cfg)[1])


def read(path: str | Path) -> list[float]:
    """The weights of a file with ``class_weight``, or of a JSON list.

    Raises:
        ConfigError: the file is missing or holds something else.
    """
    try:
        if not Path(path).is_file():  # a pipe would be waited for
            raise OSError("no such file")
        content = json.loads(Path(path).read_text())
        weights = content["class_weight"] if isinstance(content, dict) else content
        if not all(is_number(x) and x > 0 for x in weights):
            raise ValueError("a weight is no number > 0")
        return [float(x) for x in weights]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(
            f"{path}: no class weights ({error!r}); count them with class_weights.py"
        ) from error
