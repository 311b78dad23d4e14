"""Which training images count as labeled: partitions for semi-supervised segmentation.

Either made here, from a fraction and a seed, or read from list files that a paper published.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import NoReturn

import numpy as np
from rich.console import Console
from rich.progress import track

from data import registry
from data.checks import Layout, stems
from data.errors import DataError
from data.files import save_all
from data.lists import Images, lines
from data.pairs import UNREADABLE, Rule, fault, id_problems, problems_of, read_pixels

_LEAST = 1000  # a class with less than 1/1000 of an image's pixels does not count as in it
_ONE = 2**40  # 1 in fixed point


@dataclass(frozen=True)
class Split:
    """Training images with and without labels.

    Attributes:
        labeled: names below the images folder of the training layout, without the image suffix,
            such as ``aachen/aachen_000000_000019``: what mmseg's ``ann_file`` wants.
        unlabeled: likewise; none is in both.
    """

    labeled: tuple[str, ...]
    unlabeled: tuple[str, ...]

    def write(self, folder: str | Path) -> tuple[Path, Path]:
        """Write ``labeled.txt`` and ``unlabeled.txt``, a name a line; their paths.

        Raises:
            OSError: as the file system gave it; no half file is left.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        targets = (folder / "labeled.txt", folder / "unlabeled.txt")
        texts = ["".join(f"{name}\n" for name in x) for x in (self.labeled, self.unlabeled)]
        save_all({path: text.encode() for path, text in zip(targets, texts, strict=True)})
        return targets


def parse_fraction(text: str) -> Fraction:
    """``"1/8"`` as a number.

    Raises:
        DataError: not 1/N with N of 2 to 999999.
    """
    if not re.fullmatch(r"1/([2-9]|[1-9][0-9]{1,5})", text):
        raise DataError(f"fraction {text!r}: give 1/N with N at least 2, such as 1/16, 1/8 or 1/30")
    return Fraction(text)


def num_labeled(total: int, fraction: Fraction) -> int:
    """How many of ``total`` images are labeled: ``total * fraction`` rounded up.

    As published: 186, 372, 744, 1488 of Cityscapes' 2,975 for 1/16 to 1/2, and 662 of the 10,582 of
    augmented VOC for 1/16, which the nearest integer (661) misses. At least 1 of any images.

    Raises:
        DataError: the fraction is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise DataError(f"fraction {fraction}: give one between 0 and 1, such as 1/8")
    return math.ceil(total * fraction)


def partition(
    name: str,
    root: str | Path,
    fraction: Fraction | str,
    *,
    seed: int = 0,
    balanced: bool = True,
) -> Split:
    """Part a data set's training images: the first of one order are labeled, the others are not.

    The order depends on the names on disk, the seed and, if balanced, on the labels. So the split
    is the same on any machine, and a smaller fraction's labeled images are in a larger one's.

    Args:
        name: data set of :mod:`data.registry`.
        root: where it lies.
        fraction: labeled part; see :func:`parse_fraction` for text.
        seed: 0 or more.
        balanced: not a random order, but each next image is the one that most helps the classes
            rarest so far (see :func:`_balanced_order`); reads the label of every training image.

    Returns:
        Labeled images in this order, unlabeled ones by name.

    Raises:
        DataError: no such data set, fraction or seed, too few images, a label that is needed is
            missing or wrong.
    """
    entry, root = registry.get(name), Path(root)
    layout = entry.layouts[0].on_disk(root)
    if isinstance(fraction, str):
        fraction = parse_fraction(fraction)
    if seed < 0:
        raise DataError(f"seed {seed}: give 0 or more")
    names = sorted(stems(root / layout.images, layout.image_suffix))
    count = num_labeled(len(names), fraction)
    if count >= len(names):
        raise DataError(
            f"{root / layout.images}: {len(names)} images *{layout.image_suffix} are too few to "
            f"label {fraction} of them; name the folder of a complete data set"
        )
    order = _shuffled(len(names), seed)
    _require_labels(entry, root, names if balanced else [names[i] for i in order[:count]])
    if balanced:
        order = order[_balanced_order(_presence(entry, root, names)[order], count)]
    labeled = tuple(names[i] for i in order[:count])
    return Split(labeled, tuple(sorted(set(names).difference(labeled))))


def read_lists(name: str, root: str | Path, labeled: str | Path, unlabeled: str | Path) -> Split:
    """The split of two list files as they are, such as a paper's; images in neither are left out.

    Args:
        name: data set of :mod:`data.registry`.
        root: where it lies.
        labeled: list file, in the forms of :mod:`data.lists`.
        unlabeled: likewise; these images need no label.

    Raises:
        DataError: a list is missing, empty or no text; an image is not one of the training split,
            not on disk, listed before in either list, or labeled without a label file.
    """
    entry, root = registry.get(name), Path(root)
    layout = entry.layouts[0].on_disk(root)
    on_disk = stems(root / layout.images, layout.image_suffix)
    images = Images(layout.images, layout.image_suffix, on_disk)
    listed: dict[str, str] = {}  # image -> where
    parts, twice = [], []
    for path in (Path(labeled), Path(unlabeled)):
        part = []
        for where, line in lines(path):
            image = images.find(line)
            if image is None:
                _refuse(images, root, where, line)
            if image in listed:
                twice.append(f"{where}: {image} is listed already, in {listed[image]}")
            listed.setdefault(image, where)
            part.append(image)
        parts.append(tuple(part))
    if twice:
        more = f" (and {len(twice) - 1} more lines)" if twice[1:] else ""
        raise DataError(f"{twice[0]}; remove one of the two{more}")
    for image in parts[0]:
        label = _label(layout, root, image)
        if not label.is_file():
            raise DataError(
                f"{listed[image]}: {image} has no label: {label} is missing; copy it, or run: "
                f"{_prepare(entry, root)}"
            )
    return Split(*parts)


def _label(layout: Layout, root: Path, image: str) -> Path:
    return root / layout.labels / f"{image}{layout.label_suffix}"


def _prepare(entry: registry.DataSet, root: Path) -> str:
    """The command that makes missing labels if it can, and lists everything that is wrong."""
    return f"python data/prepare.py {entry.name} --src {root}"


def _require_labels(entry: registry.DataSet, root: Path, names: Iterable[str]) -> None:
    labels = (_label(entry.layouts[0], root, name) for name in names)
    missing = [
        f"{path}: missing, but its image is there; copy it, or remove the image"
        for path in labels
        if not path.is_file()
    ]
    if missing:
        raise DataError.of(missing, _prepare(entry, root))


def _shuffled(count: int, seed: int) -> np.ndarray:
    """Permutation of ``range(count)``, (count,)."""
    # NumPy promises the raw bits of PCG64 for good, but not what its Generator makes of them.
    return np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable")


def _presence(entry: registry.DataSet, root: Path, names: list[str]) -> np.ndarray:
    """Which classes are in the label of each image, (images, classes) bool."""
    paths = [_label(entry.layouts[0], root, name) for name in names]
    # Decoding leaves Python's lock: threads do.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = pool.map(partial(_classes_in, entry, root), paths)
        console = Console(stderr=True)
        found = track(rows, "reading labels", len(paths), console=console, transient=True)
        return np.stack(list(found))


def _classes_in(entry: registry.DataSet, root: Path, path: Path) -> np.ndarray:
    """Which classes have 1/1000 of a label's pixels or more, (classes,) bool; void is none."""
    try:
        problems = problems_of(None, path, Rule(entry.allowed_ids))
        label = read_pixels(path) if not problems else np.zeros(0, np.uint8)
        problems += id_problems(path, label, entry.allowed_ids)
    except UNREADABLE as error:
        problems = [fault(path, error)]
    if problems:
        raise DataError(f"{problems[0]}; to see all: {_prepare(entry, root)}")
    pixels = np.bincount(label.ravel(), minlength=256)
    return pixels[: len(entry.classes)] * _LEAST >= label.size


def _balanced_order(presence: np.ndarray, count: int) -> np.ndarray:
    """Greedy order of ``count`` images, as row numbers, (count,).

    A class is worth 1 / (1 + how many taken images have it), and while none has it more than all
    the others together; the next image is the one whose classes are worth most, the earliest row
    if several are. So ``classes`` images have every class that is in some image.

    Args:
        presence: which classes are in which image, (images, classes) bool.
    """
    rows = presence.astype(np.int64)
    taken = np.zeros(len(rows), bool)
    seen = np.zeros(rows.shape[1], np.int64)
    order = np.empty(count, np.int64)
    for i in range(count):
        # Integers: floats would break ties by the order in which a machine adds them.
        worth = np.where(seen == 0, _ONE * len(seen), _ONE // (1 + seen))
        score = rows @ worth
        score[taken] = -1
        order[i] = best = score.argmax()
        taken[best] = True
        seen += rows[best]
    return order


def _refuse(images: Images, root: Path, where: str, line: str) -> NoReturn:
    """A line that names no training image on disk."""
    first = line.split()[0][:100]
    form = f"{images.folder}/NAME{images.suffix}"
    if first.startswith(f"{images.folder}/") and first.endswith(images.suffix):
        raise DataError(f"{where}: {first} is not on disk below {root}; copy it or remove the line")
    raise DataError(f"{where}: {first!r} is no training image: give {form}, or NAME of one on disk")
