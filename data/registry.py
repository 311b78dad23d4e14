"""NAME -> where the data set is, its classes, and the config that reads it."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from data import camvid, cityscapes, streets
from data.errors import DataError

ROOT = Path(__file__).resolve().parent
# The embedded set: enough images to tell models apart, few enough to draw in half a minute.
STREETS = dict(domain="real", num_train=240, num_val=60)


def _write_streets(root: Path) -> None:
    try:
        streets.write_cityscapes(root, **STREETS)
    except ValueError as error:
        raise DataError(str(error)) from error


@dataclass(frozen=True)
class DataSet:
    """One data set.

    Attributes:
        name: as ``--data`` takes it.
        summary: one line for ``--help``.
        classes: names of the classes, by id in training.
        expected: a glob below the root that must match, the sign that the data set is there.
        make: makes, below the given root, what is missing and can be made; None if nothing can.
    """

    name: str
    summary: str
    classes: tuple[str, ...]
    expected: str
    make: Callable[[Path], object] | None = field(default=None, repr=False)

    @property
    def config(self) -> Path:
        """mmengine config of its loaders, transforms and metric."""
        return ROOT / "configs" / f"{self.name}.py"

    @property
    def default_root(self) -> Path:
        """Where it lies unless told otherwise."""
        return ROOT / "raw" / self.name


DATASETS = {
    entry.name: entry
    for entry in (
        DataSet("streets", "embedded street scenes, 19 classes, drawn on first use",
                cityscapes.CLASSES, "leftImg8bit/train/*/*_leftImg8bit.png", _write_streets),
        DataSet("camvid", "CamVid, 480x360, 11 classes", camvid.CLASSES, "images/train/*.jpg"),
        DataSet("cityscapes", "Cityscapes, 2048x1024, 19 classes", cityscapes.CLASSES,
                "leftImg8bit/train/*/*_leftImg8bit.png", cityscapes.make_label_train_ids),
    )
}  # fmt: skip


def get(name: str) -> DataSet:
    """The data set of that name.

    Raises:
        DataError: there is none; the names that there are.
    """
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise DataError(f"unknown data set {name!r}, there are: {', '.join(DATASETS)}{hint}")
    return DATASETS[name]


def locate(name: str, root: str | Path | None = None) -> Path:
    """The folder of a data set, complete: what can be made (streets, labelTrainIds) is made.

    Args:
        name: a key of ``DATASETS``.
        root: where it lies; ``data/raw/<name>`` by default.

    Raises:
        DataError: it is not there, or what is there cannot be used.
    """
    entry = get(name)
    folder = Path(root) if root is not None else entry.default_root
    if name == "streets":
        entry.make(folder)
    if next(folder.glob(entry.expected), None) is None:
        raise DataError(
            f"data set {name!r} not found: no {folder}/{entry.expected}; name its folder with "
            "--data-root, or see python data/prepare.py --help"
        )
    if entry.make is not None:
        entry.make(folder)
    return folder
