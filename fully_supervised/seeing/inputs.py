"""Checkpoints and images that the commands of ``hardness.py`` take, and their flags."""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from mmengine.config import Config

from core.engine.cli import add_trust_flag, folder, note, positive
from core.errors import ConfigError
from data import registry
from data.errors import DataError
from data.pairs import TURNED, UNREADABLE, Rule, fault, problems_of, read_pixels, trained_id
from data.pictures import picture_files
from data.roots import Roots, add_root_flag
from fully_supervised.loaders import data_name, fit_data

if TYPE_CHECKING:  # torch takes seconds
    from core.predict import Predictor

SPLITS = ("train", "val", "test")
NO_CLASS = -1


def add_checkpoint_flags(parser: argparse.ArgumentParser, *names: str) -> None:
    """One positional argument for each checkpoint, and how they are read."""
    for name in names:
        parser.add_argument(name, type=Path, help="checkpoint of a training, or exported")
    parser.add_argument("--config", help="config of a checkpoint that carries none")
    parser.add_argument("--device", help="such as cpu or cuda:1 [a GPU where there is one]")
    add_trust_flag(parser)


def add_out_flag(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--out", type=folder, help=f"folder of the page [{default}]")


def add_image_flags(
    parser: argparse.ArgumentParser, *, labels: bool = False, positional: bool = True
) -> None:
    """Images by file and folder, or of a data set; with ``labels`` also where these lie. Not
    ``positional``: as ``--images``, where other things are named one after the other."""
    parser.add_argument("images" if positional else "--images", nargs="*", metavar="IMAGE",
                        help="files and folders [the validation images that the checkpoint's "
                        "config reads]")  # fmt: skip
    parser.add_argument("--data", help="images of this data set of data/registry.py")
    add_root_flag(parser)
    parser.add_argument("--split", choices=SPLITS, default="val", help="of the data set [val]")
    parser.add_argument("--limit", type=positive, metavar="N",
                        help="N of the images, spread over them [all]")  # fmt: skip
    if labels:
        parser.add_argument(
            "--labels",
            metavar="DIR",
            help="labels of the files and folders, "
            "or others of the data set: of the same names, class ids as PNG",
        )


class Item(NamedTuple):
    """An image. ``name`` is a relative path without an ending, unique; ``label`` may be None."""

    name: str
    image: Path
    label: Path | None


class Images:
    """Images, in their order, and how their labels are read.

    Attributes:
        items: of :class:`Item`.
        title: what a report calls them.
        classes: names, None where the images are of no data set.
        palette: RGB colours, None likewise.
        ignore_index: label of what is not evaluated.
    """

    def __init__(self, items: Sequence[Item], title: str, *, classes: Sequence[str] | None = None,
                 palette: Sequence | None = None, ignore_index: int = 255,
                 loading: object = None) -> None:  # fmt: skip
        self.items, self.title = list(items), title
        self.classes = tuple(classes) if classes else None
        self.palette, self.ignore_index = palette, ignore_index
        self._loading = loading
        self._settings: dict = {}

    def __len__(self) -> int:
        return len(self.items)

    def spread(self, count: int | None) -> Images:
        """So many, from the first to the last."""
        if count is None or count >= len(self.items):
            return self
        at = np.unique(np.linspace(0, len(self.items) - 1, count).round().astype(int))
        some = copy.copy(self)
        some.items = [self.items[i] for i in at]
        return some

    def label(self, item: Item, size: tuple[int, int], num_classes: int) -> np.ndarray | None:
        """Classes of each pixel, (H, W) int64, :data:`NO_CLASS` where ignored; None: no label.

        Args:
            size: H, W of the picture.
            num_classes: of the model; other ids than these and ``ignore_index`` are refused.

        Raises:
            DataError: missing, damaged, of another size, or with an id that is no class.
        """
        if item.label is None:
            return None
        for problem in problems_of(item.image, item.label, Rule()):
            if problem.kind == TURNED:
                raise DataError(str(problem))
        try:
            if self._loading is None:
                values = read_pixels(item.label)
            else:
                given = dict(seg_map_path=str(item.label), seg_fields=[], **self._settings)
                values = self._loading(given)["gt_seg_map"]
        except UNREADABLE as error:
            raise DataError(str(fault(item.label, error))) from error
        if values.shape != size:
            shape = "x".join(map(str, values.shape[::-1]))
            raise DataError(f"{item.label}: is {shape}, its picture {size[1]}x{size[0]}; give the "
                            "label of this picture")  # fmt: skip
        values = values.astype(np.int64)
        void = values == self.ignore_index
        wrong = ~void & ((values < 0) | (values >= num_classes))
        if wrong.any():
            raise DataError(f"{item.label}: label id {values[wrong][0]} is none of the "
                            f"{num_classes} classes, nor {self.ignore_index} (ignored); take "
                            "labels of these classes")  # fmt: skip
        return np.where(void, NO_CLASS, values)

    def stored_id(self, number: int) -> int:
        """The value that a label file has for a class.

        Raises:
            DataError: none is read as it.
        """
        if self._loading is None:
            return number
        found = [v for v in range(256) if trained_id(v, **self._settings) == number]
        if not found:
            raise DataError(f"{self.title}: no value of a label file is read as class {number}")
        return found[0]


def images_of(args: argparse.Namespace, predictor: Predictor, *, labels: bool = False) -> Images:
    """What the flags of :func:`add_image_flags` name.

    Args:
        predictor: whose config's own images are taken where the flags name none.
        labels: whether every image must have one, in the predictor's classes.

    Raises:
        DataError: a file, folder, data set or label is not there, or there is no image.
        ConfigError: two flags contradict each other; or the classes are others than the model's.
    """
    if args.images:
        if args.data or args.data_root:
            raise ConfigError("images are named and --data or --data-root, too: give one of them")
        images = _of_files(args, predictor)
    else:
        images = of_data(predictor.cfg, args.data, Roots.parse(args.data_root), args.split,
                         ignore_index=_ignored(predictor))  # fmt: skip
        if getattr(args, "labels", None):
            images.items = _relabeled(images.items, args.labels)
    if labels:
        without = [item for item in images.items if item.label is None]
        if without:
            raise DataError(f"{without[0].image}: has no label ({len(without)} of {len(images)}); "
                            "name their folder: --labels DIR")  # fmt: skip
        if images.classes and len(images.classes) != len(predictor.classes):
            raise ConfigError(f"{images.title} has {len(images.classes)} classes, the model "
                              f"{len(predictor.classes)}: take the data set that it was trained "
                              "on")  # fmt: skip
    return images.spread(args.limit)


def check(images: Images) -> None:
    """Before the work begins: that each picture is there, whole by its ends, and a picture.

    Raises:
        DataError: one is not; it names the first, and says how many.
    """
    found = [p for item in images.items for p in problems_of(item.image, None, Rule())]
    if found:
        more = f" (and {len(found) - 1} more)" if found[1:] else ""
        raise DataError(f"{found[0]}{more}")


def of_data(
    cfg: Config, name: str | None, roots: Roots, split: str, *, ignore_index: int = 255
) -> Images:
    """Images of a data set of ours, or, without a name, of those that a config reads.

    Raises:
        DataError: it is not there, or has no image. ConfigError: the config has no such loader.
    """
    from mmseg.registry import DATASETS

    cfg = fit_data(copy.deepcopy(cfg), name, roots)
    dataset = _dataset(cfg, split)
    if dataset is None:
        raise ConfigError(f"the config reads no {split} images of one data set; name images, or "
                          "another --split")  # fmt: skip
    found = DATASETS.build(dict(dataset, pipeline=[]))
    infos = [found.get_data_info(i) for i in range(len(found))]
    if not infos:
        raise DataError(f"{data_name(cfg)}: its {split} split holds no image")
    root = Path(dataset.get("data_root") or "")
    items = []
    for info in infos:
        path = Path(info["img_path"])
        inside = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
        label = info.get("seg_map_path")
        items.append(Item(str(inside.with_suffix("")), path, Path(label) if label else None))
    title = registry.get(name).name if name else found.__class__.__name__
    return _images(items, found, dataset, f"{title}, {split}", ignore_index)


def _dataset(cfg: Config, split: str) -> dict | None:
    """Of a loader, without what is wrapped around it."""
    dataset = (cfg.get(f"{split}_dataloader") or {}).get("dataset")
    while isinstance(dataset, dict) and "pipeline" not in dataset and "dataset" in dataset:
        dataset = dataset["dataset"]
    return dataset if isinstance(dataset, dict) and "pipeline" in dataset else None


def _images(
    items: Sequence[Item], found: object, dataset: dict, title: str, ignore_index: int
) -> Images:
    """Images of an mmseg data set, and how it reads their labels."""
    from mmseg.registry import TRANSFORMS

    steps = [dict(s) for s in dataset["pipeline"] if s["type"].startswith("LoadAnnotations")]
    images = Images(items, title, classes=found.metainfo.get("classes"),
                    palette=found.metainfo.get("palette"),
                    ignore_index=getattr(found, "ignore_index", ignore_index),
                    loading=TRANSFORMS.build(steps[0]) if steps else None)  # fmt: skip
    images._settings = dict(label_map=found.label_map, reduce_zero_label=found.reduce_zero_label)
    return images


def _relabeled(items: Sequence[Item], folder: str) -> list[Item]:
    """The same images with the labels of a folder, which are stored as those of the data set."""
    found = picture_files([folder])
    for item in items:
        if item.name not in found:
            raise DataError(f"{folder}: has no label {item.name}.png; give one for each image of "
                            "the data set")  # fmt: skip
    return [item._replace(label=found[item.name]) for item in items]


def _of_files(args: argparse.Namespace, predictor: Predictor) -> Images:
    """Images of files and folders; their labels are stored as those that the checkpoint's config
    validates on."""
    found = picture_files(args.images)
    named = " ".join(args.images[:2]) + (" …" if args.images[2:] else "")
    items = [Item(name, path, None) for name, path in found.items()]
    if not getattr(args, "labels", None):
        return Images(items, named, ignore_index=_ignored(predictor))
    labels = picture_files([args.labels])
    without = [item for item in items if item.name not in labels]
    if without:
        first = without[0]
        raise DataError(f"{args.labels}: has no label {first.name}.png for {first.image} "
                        f"({len(without)} of {len(items)} images have none); give one for each"
                        )  # fmt: skip
    own = stored_as(predictor.cfg)
    images = copy.copy(own) if own is not None else Images([], "", ignore_index=_ignored(predictor))
    if own is None:
        note(f"{args.labels}: how the checkpoint's own labels are stored cannot be told; these are "
             f"read as class ids, {images.ignore_index} is ignored")  # fmt: skip
    images.items = [item._replace(label=labels[item.name]) for item in items]
    images.title = named
    return images


def stored_as(cfg: Config) -> Images | None:
    """No images, and how the labels are read that the config validates on; None without such."""
    from mmseg.registry import DATASETS

    dataset = _dataset(cfg, "val")
    if dataset is None:
        return None
    try:
        found = DATASETS.build(dict(dataset, pipeline=[], lazy_init=True))
    except (OSError, AssertionError):  # one that wants its files to be there
        return None
    return _images([], found, dataset, "", 255)


def _ignored(predictor: Predictor) -> int:
    from core.engine.measuring import ignore_index_of

    return ignore_index_of(predictor.model)
