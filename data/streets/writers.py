"""Write streets in the on-disk formats of Cityscapes and GTAV."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from data.files import png, save, side_by_side
from data.sets.cityscapes import ID_TO_TRAIN_ID, LABEL_COLORS
from data.streets.picture import generate

VERSION = 1
MANIFEST = "streets.json"

# The invented towns; a block of consecutive pictures comes from each.
_TOWNS = {"train": ("aldermoor", "birkenau", "castellon"), "val": ("dunhaven",)}

# (domain, split, index, size, seed) and the files to write: everything a worker needs.
Task = tuple[str, str, int, tuple[int, int], int, tuple[str, ...]]


def _palette_png(labels: np.ndarray) -> bytes:
    """Encode labelIds as a palette PNG with the Cityscapes colours."""
    image = Image.fromarray(labels)
    image.putpalette([v for color in LABEL_COLORS for v in color] + [0] * 3 * (256 - 34))
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=6)
    return stream.getvalue()


def _make_cityscapes(task: Task) -> None:
    domain, split, index, size, seed, paths = task
    image, labels = generate(domain, split, index, size, seed)
    for path, array in zip(paths, (image, labels, ID_TO_TRAIN_ID[labels]), strict=True):
        if not os.path.exists(path):
            save(path, png(array))


def _make_gtav(task: Task) -> None:
    domain, split, index, size, seed, paths = task
    image, labels = generate(domain, split, index, size, seed)
    for path, encode in zip(paths, (lambda: png(image), lambda: _palette_png(labels)), strict=True):
        if not os.path.exists(path):
            save(path, encode())


def _run(make: Callable[[Task], None], tasks: list[Task], workers: int | None) -> None:
    """Make all pictures that miss a file, with a line of progress on stderr."""
    tasks = [task for task in tasks if not all(os.path.exists(p) for p in task[-1])]
    if not tasks:
        return
    for folder in sorted({os.path.dirname(path) for task in tasks for path in task[-1]}):
        os.makedirs(folder, exist_ok=True)
    workers = min(os.cpu_count() or 1, 8) if workers is None else workers
    workers = min(workers, len(tasks))
    console = Console(stderr=True)
    show = {"description": "streets", "total": len(tasks), "console": console}
    if workers <= 1:
        for task in track(tasks, **show):
            make(task)
        return
    with side_by_side(make, tasks, workers) as results:
        for _ in track(results, **show):
            pass


def _settings(domain: str, num_train: int, num_val: int, size: tuple[int, int], seed: int) -> dict:
    if num_train < 0 or num_val < 0:
        raise ValueError(f"num_train and num_val must not be negative: {num_train}, {num_val}")
    return {
        "name": "streets",
        "version": VERSION,
        "domain": domain,
        "seed": int(seed),
        "size": [int(size[0]), int(size[1])],
        "num_train": int(num_train),
        "num_val": int(num_val),
    }


def _check_manifest(root: Path, settings: dict) -> None:
    """Refuse a folder that holds other streets than the ones asked for."""
    path = root / MANIFEST
    if not path.exists():
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is damaged: delete the folder {root} or give another one")
    keys = [k for k in {**settings, **found} if settings.get(k) != found.get(k)]
    if keys:
        told = ", ".join(f"{k} is {found.get(k)!r}, asked for {settings.get(k)!r}" for k in keys)
        raise ValueError(f"{root} holds other streets ({told}): delete the folder or give another")


def _finish(root: Path, settings: dict) -> None:
    path = root / MANIFEST
    if not path.exists():
        save(str(path), (json.dumps(settings, indent=2) + "\n").encode())


def _cityscapes_paths(root: Path, split: str, index: int, count: int) -> tuple[str, ...]:
    towns = _TOWNS[split]
    block = -(-count // len(towns))
    town, sequence = towns[index // block], index % block
    stem = f"{town}_{sequence:06d}_000019"
    return (
        str(root / "leftImg8bit" / split / town / f"{stem}_leftImg8bit.png"),
        str(root / "gtFine" / split / town / f"{stem}_gtFine_labelIds.png"),
        str(root / "gtFine" / split / town / f"{stem}_gtFine_labelTrainIds.png"),
    )


def write_cityscapes(
    root: str | os.PathLike,
    *,
    domain: str = "real",
    num_train: int = 200,
    num_val: int = 50,
    size: tuple[int, int] = (384, 192),
    seed: int = 0,
    workers: int | None = None,
) -> None:
    """Write streets as Cityscapes lies on disk.

    `leftImg8bit/{split}/{town}/{town}_{seq}_000019_leftImg8bit.png` holds RGB; beside it in
    `gtFine` lie `_gtFine_labelIds.png` (the 34 ids) and `_gtFine_labelTrainIds.png` (0-18, 255
    void). Files already there are kept; the manifest `streets.json` comes last.

    Args:
        root: folder to write to; made if missing.
        domain: "real" or "game".
        num_train, num_val: how many pictures per split.
        size: (width, height) in pixels.
        seed: of the whole data set.
        workers: processes; None for one per processor, at most 8. The files do not depend on it.

    Raises:
        ValueError: where the folder holds streets made with other settings.
        OSError: where a file cannot be written; no half file and no manifest is left.
    """
    root = Path(root)
    settings = _settings(domain, num_train, num_val, size, seed)
    _check_manifest(root, settings)
    tasks: list[Task] = []
    for split, count in (("train", num_train), ("val", num_val)):
        for index in range(count):
            paths = _cityscapes_paths(root, split, index, count)
            tasks.append((domain, split, index, tuple(settings["size"]), int(seed), paths))
    root.mkdir(parents=True, exist_ok=True)
    _run(_make_cityscapes, tasks, workers)
    _finish(root, settings)


def write_gtav(
    root: str | os.PathLike,
    *,
    domain: str = "game",
    num_train: int = 200,
    num_val: int = 50,
    size: tuple[int, int] = (384, 192),
    seed: int = 0,
    workers: int | None = None,
) -> None:
    """Write streets as GTAV lies on disk.

    `images/00001.png` holds RGB and `labels/00001.png` is a palette PNG whose indices are
    labelIds and whose palette has the Cityscapes colours. Training pictures come first;
    `train.txt` and `val.txt` list the numbers. Otherwise as `write_cityscapes`.

    Args:
        root: folder to write to; made if missing.
        domain: "game" or "real".
        num_train, num_val: how many pictures per split.
        size: (width, height) in pixels.
        seed: of the whole data set.
        workers: processes; None for one per processor, at most 8. The files do not depend on it.

    Raises:
        ValueError: where the folder holds streets made with other settings.
        OSError: where a file cannot be written; no half file and no manifest is left.
    """
    root = Path(root)
    settings = _settings(domain, num_train, num_val, size, seed)
    _check_manifest(root, settings)
    tasks: list[Task] = []
    names: dict[str, list[str]] = {"train": [], "val": []}
    for split, count in (("train", num_train), ("val", num_val)):
        for index in range(count):
            name = f"{len(tasks) + 1:05d}"
            names[split].append(name)
            paths = (str(root / "images" / f"{name}.png"), str(root / "labels" / f"{name}.png"))
            tasks.append((domain, split, index, tuple(settings["size"]), int(seed), paths))
    root.mkdir(parents=True, exist_ok=True)
    _run(_make_gtav, tasks, workers)
    for split, listed in names.items():
        path = root / f"{split}.txt"
        if not path.exists():
            save(str(path), "".join(f"{name}\n" for name in listed).encode())
    _finish(root, settings)
