"""NAME -> where the data set is, its classes, and the config that reads it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from data import streets
from data.checks import Layout, missing_halves, stems, what_lies
from data.errors import DataError
from data.sets import ade20k, camvid, cityscapes, gtav, isaid, mapillary, totaltext

ROOT = Path(__file__).resolve().parent
# The embedded set: enough images to tell models apart, few enough to draw in half a minute.
STREETS = dict(domain="real", num_train=240, num_val=60)


def _write_streets(root: Path) -> None:
    try:
        streets.write_cityscapes(root, **STREETS)
    except ValueError as error:
        raise DataError(str(error)) from error


def _write_streets_game(root: Path) -> None:
    try:
        streets.write_gtav(root, **dict(STREETS, domain="game"))
    except ValueError as error:
        raise DataError(str(error)) from error
    gtav.convert(root)


@dataclass(frozen=True)
class DataSet:
    """One data set.

    Attributes:
        name: as ``--data`` takes it.
        summary: one line for ``--help``.
        classes: names of the classes, by id in training.
        layouts: its splits on disk, training first.
        void: label value that stands for "not evaluated".
        make: makes, below the given root, what is missing and can be made; None if nothing can.
        drawn: whether that is all of it.
        label_ids: number of ids in the labels on disk, where they are mapped when they are read.
        convert: writes it from a download: source, folder to write; returns the files written.
        is_download: whether a folder is one; None if every source is, as the data set is never read
            as it is published.
        inner: folder that the download unpacks to; it or its parent is named.
        foreground: the class whose IoU counts in the place of the mean.
        flags: of ``prepare.py``, beyond those of all; they go to ``convert`` by their names.
    """

    name: str
    summary: str
    classes: tuple[str, ...]
    layouts: tuple[Layout, ...]
    void: int = 255
    make: Callable[[Path], object] | None = field(default=None, repr=False)
    drawn: bool = False
    label_ids: int | None = None
    convert: Callable[..., int] | None = field(default=None, repr=False)
    is_download: Callable[[Path], bool] | None = field(default=None, repr=False)
    inner: str | None = None
    foreground: str | None = None
    flags: Mapping[str, Mapping] = field(default_factory=dict, repr=False, compare=False)

    @property
    def config(self) -> Path:
        """mmengine config of its loaders, transforms and metric."""
        return ROOT / "configs" / f"{self.name}.py"

    @property
    def default_root(self) -> Path:
        """Where it lies unless told otherwise."""
        return ROOT / "raw" / self.name

    def folder(self, root: str | Path | None = None) -> Path:
        """``root`` or the default, or what was unpacked in it."""
        folder = Path(root) if root is not None else self.default_root
        return folder / self.inner if self.inner and (folder / self.inner).is_dir() else folder

    @property
    def allowed_ids(self) -> set[int]:
        """Values that a label may hold."""
        return {*range(self.label_ids or len(self.classes)), self.void}


def _splits(
    images: str,
    labels: str,
    image_suffix: str,
    label_suffix: str,
    names: tuple[str, ...] = ("train", "val"),
) -> tuple[Layout, ...]:
    return tuple(
        Layout(f"{images}/{name}", f"{labels}/{name}", image_suffix, label_suffix) for name in names
    )


_CITYSCAPES = _splits("leftImg8bit", "gtFine", "_leftImg8bit.png", "_gtFine_labelTrainIds.png")
_CAMVID = tuple(
    replace(layout, other_suffix=".png") for layout in _splits("images", "labels", ".jpg", ".png")
)
_GTAV = (Layout(gtav.IMAGES, gtav.TRAIN_IDS, ".png", ".png", gtav.SKIPPED),)

DATASETS = {
    entry.name: entry
    for entry in (
        DataSet(
            "streets",
            "embedded street scenes, 384x192, 19 classes, drawn on first use",
            cityscapes.CLASSES,
            _CITYSCAPES,
            make=_write_streets,
            drawn=True,
        ),
        DataSet(
            "streets-game",
            "the same as a computer game would draw them, in GTAV's format",
            cityscapes.CLASSES,
            _GTAV,
            make=_write_streets_game,
            drawn=True,
        ),
        DataSet(
            "camvid",
            "CamVid, 480x360, 11 classes",
            camvid.CLASSES,
            _CAMVID,
            camvid.VOID,
            convert=camvid.convert,
            is_download=camvid.is_download,
            flags={
                "lists": dict(
                    metavar="DIR",
                    help="train.txt, val.txt of a download, in the place of the published split",
                )
            },
        ),
        DataSet(
            "cityscapes",
            "Cityscapes, 2048x1024, 19 classes",
            cityscapes.CLASSES,
            _CITYSCAPES,
            make=cityscapes.make_label_train_ids,
        ),
        DataSet(
            "gtav", "GTAV, 1914x1052, 19 classes", cityscapes.CLASSES, _GTAV, make=gtav.convert
        ),
        DataSet(
            "ade20k",
            "ADE20K scene parsing, 150 classes",
            ade20k.CLASSES,
            _splits("images", "annotations", ".jpg", ".png", ("training", "validation")),
            void=0,
            label_ids=1 + len(ade20k.CLASSES),
            inner="ADEChallengeData2016",
        ),
        DataSet(
            "isaid",
            "iSAID, aerial images cut to 896x896, 16 classes",
            isaid.CLASSES,
            _splits("img_dir", "ann_dir", ".png", isaid.LABEL_SUFFIX, isaid.SPLITS),
            convert=isaid.convert,
        ),
        DataSet(
            "totaltext",
            "Total-Text, text against background",
            totaltext.CLASSES,
            _splits("images", "labels", ".jpg", ".png", totaltext.SPLITS),
            convert=totaltext.convert,
            foreground="text",
            flags={
                "annotations": dict(
                    choices=totaltext.ANNOTATIONS,
                    default="polygon",
                    help="polygons of the text, or masks of its characters, as the paper's logs "
                    "have it [polygon]",
                )
            },
        ),
        # These two are evaluated on only.
        DataSet(
            "bdd100k",
            "BDD100K, 1280x720, 19 classes",
            cityscapes.CLASSES,
            (Layout("images/10k/val", "labels/sem_seg/masks/val", ".jpg", ".png"),),
        ),
        DataSet(
            "mapillary",
            "Mapillary Vistas v1.2, 66 ids onto 19 classes",
            cityscapes.CLASSES,
            (Layout("validation/images", "validation/v1.2/labels", ".jpg", ".png"),),
            label_ids=mapillary.NUM_IDS,
        ),
    )
}


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


def foreground(name: str) -> str | None:
    """The class whose IoU counts in the place of the mean, None where the mean counts."""
    return DATASETS[name].foreground if name in DATASETS else None


def find(name: str, root: str | Path | None = None) -> Path:
    """The folder of a data set, if something is there.

    Raises:
        DataError: a split has no image.
    """
    entry = get(name)
    folder = entry.folder(root)
    for layout in entry.layouts:
        layout = layout.on_disk(folder)
        if not stems(folder / layout.images, layout.image_suffix):
            how = (
                f"make it with python data/prepare.py {name} --src DOWNLOAD --out {folder}"
                if entry.convert and not entry.is_download
                else "name its folder with --data-root (prepare.py: --src)"
            )
            raise DataError(
                f"data set {name!r} not found: no *{layout.image_suffix} in "
                f"{folder / layout.images} ({what_lies(folder / layout.images)}); {how}"
            )
    return folder


def locate(name: str, root: str | Path | None = None, *, labeled: bool = True) -> Path:
    """The folder of a data set, complete: what can be made (streets, labelTrainIds) is made.

    Args:
        name: a key of ``DATASETS``.
        root: where it lies; ``data/raw/<name>`` by default.
        labeled: whether every image must have its label.

    Raises:
        DataError: it is not there, an image or label lacks its other half, or it cannot be made.
    """
    entry = get(name)
    folder = entry.folder(root)
    if not entry.drawn:
        find(name, folder)
    if entry.make is not None:
        entry.make(folder)
    problems = missing_halves(folder, entry.layouts) if labeled else []
    if problems:
        raise DataError.of(problems, f"python data/prepare.py {name} --src {folder}")
    return folder
