"""All that an mmseg config reads: can it be trained on, what is in it, what is in it twice."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import cv2
import mmengine.config.utils as mmengine_config
import numpy as np
from mmengine.config import Config
from rich.console import Console
from rich.progress import track

from data.checked import DATASETS, LOADERS, CheckedDataset, with_checked_samples
from data.errors import DataError
from data.pairs import Problem, problems_of, read_pixels, trained_id

# mmengine looks for `mmseg::…` in a package of another name than that of the fork.
mmengine_config.MODULE2PACKAGE["mmseg"] = "onedl-mmsegmentation"


@dataclass
class _Part:
    """What one loader reads.

    Attributes:
        name: ``train``, ``val`` or ``test``.
        pixels: (classes,) of each, in labels as they are trained on.
        images: (classes,) images that hold it.
        void: ignored pixels.
        stored: values that stand in the labels on disk.
        prints: images by the hash of their pixels.
    """

    name: str
    classes: tuple[str, ...]
    pixels: np.ndarray
    images: np.ndarray
    pairs: int = 0
    void: int = 0
    stored: set[int] = field(default_factory=set)
    prints: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def survey(config: str) -> list[Problem]:
    """Read every pair of a config's loaders and print what is in them; what cannot be trained on.

    Args:
        config: file, or ``mmseg::folder/file.py``.

    Raises:
        DataError: the config cannot be read, or a data set of it is not there.
    """
    cfg = with_checked_samples(_load(config))
    parts: dict[str, _Part] = {}
    done = []
    for key in LOADERS:
        dataset = (cfg.get(key) or {}).get("dataset")
        if not dataset or dataset in done:  # the test loader mostly is that of the validation
            continue
        done.append(dataset)
        part = _read(key.removesuffix("_dataloader"), dataset)
        print("\n".join(_table(part)))
        parts[part.name] = part
    if not parts:
        raise DataError(f"{config}: has none of {', '.join(LOADERS)}")
    problems = [problem for part in parts.values() for problem in part.problems]
    notes = list(_notes(parts)) or ([] if problems else ["nothing stands out"])
    print("\n".join(f"note: {line}" for line in notes))
    return list(dict.fromkeys(problems))


def _load(name: str) -> Config:
    path = Path(name)
    if name.startswith("mmseg::"):
        path = Path(find_spec("mmseg").origin).parent / ".mim" / "configs" / name[len("mmseg::") :]
    if not path.is_file():
        raise DataError(f"{name}: no such config file; mmseg's own are mmseg::folder/file.py")
    try:
        return Config.fromfile(path)
    except Exception as error:  # a config is Python
        words = " ".join(str(error).split())
        raise DataError(f"{name}: cannot be read: {type(error).__name__}: {words}") from error


def _leaves(node: dict) -> Iterator[dict]:
    """The checked data sets in whatever wrappers."""
    if node.get("type") == "CheckedDataset":
        yield node
        return
    for value in node.values():
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(item, dict):
                yield from _leaves(item)


def _read(name: str, config: dict) -> _Part:
    datasets = [DATASETS.build(dict(leaf, _scope_="mmseg")) for leaf in _leaves(config)]
    classes = tuple(datasets[0].metainfo.get("classes") or ())
    part = _Part(name, classes, np.zeros(len(classes), np.int64), np.zeros(len(classes), np.int64))
    tasks = [(dataset, i) for dataset in datasets for i in range(len(dataset))]
    for dataset in datasets:
        if dataset.reading.foreign:
            names = ", ".join(dataset.reading.foreign)
            print(f"{name}: label ids count as stored; what {names} makes of them is not seen")
    # Decoding leaves Python's lock: threads do.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        console = Console(stderr=True)
        found = pool.map(_read_pair, tasks)
        for one in track(found, f"checking {name}", len(tasks), console=console, transient=True):
            part.pairs += 1
            part.problems += one.problems
            part.prints.setdefault(one.print, one.image)
            part.stored |= set(one.counts.nonzero()[0].tolist())
            trained = np.bincount(one.table, weights=one.counts, minlength=256).astype(np.int64)
            part.pixels += trained[: len(classes)]
            part.images += trained[: len(classes)] > 0
            part.void += int(trained[len(classes) :].sum())
    part.prints.pop("", None)
    return part


@dataclass(frozen=True)
class _Pair:
    """``counts``: pixels by stored value; ``table``: the trained id of each; (256,)."""

    image: str
    problems: list[Problem]
    counts: np.ndarray
    table: np.ndarray
    print: str = ""


def _read_pair(task: tuple[CheckedDataset, int]) -> _Pair:
    dataset, index = task
    image, label = dataset.reading.files(dataset.get_data_info(index))
    problems = problems_of(image, label, dataset.reading.rule, pixels=True)
    trained = partial(trained_id, reduce_zero_label=dataset.reduce_zero_label,
                      label_map=dataset.label_map)  # fmt: skip
    table = np.array([trained(value) for value in range(256)])
    counts = np.zeros(256, np.int64)
    if label and all(problem.kind == "label id out of range" for problem in problems):
        counts = np.bincount(read_pixels(label).ravel().astype(np.intp), minlength=256)
    mark = ""
    if image and not any(problem.path == image for problem in problems):
        pixels = cv2.imread(image, cv2.IMREAD_COLOR)
        mark = "" if pixels is None else hashlib.sha256(pixels.tobytes()).hexdigest()
    return _Pair(image or str(label), problems, counts, table, mark)


def _table(part: _Part) -> list[str]:
    total = int(part.pixels.sum()) + part.void
    share = f"{100 * part.void / total:.2f} % void" if total else "no label was read"
    lines = [f"{part.name}: {part.pairs} images, {share}"]
    for name, pixels, images in zip(part.classes, part.pixels, part.images, strict=True):
        if total:
            lines.append(f"  {name:<24}{100 * pixels / total:8.3f} %  in {images} images")
    return lines


def _notes(parts: dict[str, _Part]) -> Iterator[str]:
    """What a person should know of labels that can be trained on, in words."""
    for part in parts.values():
        held = [name for name, images in zip(part.classes, part.images, strict=True) if images]
        absent = [name for name in part.classes if name not in held]
        if not part.stored:
            continue
        if part.stored == {0, 255} and len(part.classes) > 1:
            yield (
                f"{part.name}: labels look like masks of 0 and 255, and 255 is read as "
                "ignored, not as class 1: store 1 for 255"
            )
        if not held:
            yield f"{part.name}: all void, no pixel is of a class: nothing can be learned from it"
        elif len(held) == 1 and len(part.classes) > 1:
            yield f"{part.name}: only class {part.classes.index(held[0])} ({held[0]}) occurs"
        elif absent:
            names = ", ".join(absent[:8]) + (", …" if absent[8:] else "")
            yield f"{part.name}: {len(absent)} of {len(part.classes)} classes never occur: {names}"
    train = parts.get("train")
    for part in parts.values():
        if train is None or part is train:
            continue
        twice = [(part.prints[mark], train.prints[mark]) for mark in part.prints
                 if mark in train.prints]  # fmt: skip
        if twice:
            pairs = ", ".join(f"{a} = {b}" for a, b in twice[:3]) + (", …" if twice[3:] else "")
            yield (
                f"{len(twice)} of {len(part.prints)} images of {part.name} are in train, too, "
                f"pixel by pixel: {pairs}"
            )
