"""Write a copy of labels with seeded errors, and the list of them: to measure a search for errors.

    python fully_supervised/hardness.py plant --data camvid
    python fully_supervised/hardness.py plant --labels DIR --num-classes 11 --ignore-index 11

An error changes a connected component of one class: dropped (it gets the class around it), swapped
(it gets another class) or shifted by some pixels. A copy stores ids as its original does, and is
the same but for what planted.json lists. errors/NAME.png says of each pixel which error changed it.
The same seed plants the same in an image, whatever other images there are.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from core.analysis import planting
from core.engine import cli
from core.errors import ConfigError
from core.files import write_atomically, write_files
from core.section import Grid, Section
from data.errors import DataError
from data.files import png
from data.pairs import UNREADABLE, fault, read_pixels
from data.pictures import picture_files
from data.roots import Roots, add_root_flag
from fully_supervised.loaders import data_of
from fully_supervised.seeing.drawn import counted, csv_of
from fully_supervised.seeing.inputs import SPLITS, Images, Item, add_out_flag, of_data


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", help="labels of this data set of data/registry.py")
    add_root_flag(parser)
    parser.add_argument("--split", choices=SPLITS, default="val", help="of the data set [val]")
    parser.add_argument("--labels", metavar="DIR", help="labels of a folder, .png of class ids")
    parser.add_argument("--num-classes", type=cli.positive, help="of --labels")
    parser.add_argument("--ignore-index", type=int, default=255, help="of --labels [255]")
    parser.add_argument("--kinds", nargs="+", choices=planting.KINDS, default=planting.KINDS,
                        help="errors, one at random each time [all]")  # fmt: skip
    parser.add_argument("--share", type=_share, default=0.1,
                        help="of the components, 0 to 1 [0.1]")  # fmt: skip
    parser.add_argument("--min-area", type=cli.positive, default=planting.MIN_AREA,
                        metavar="PIXELS", help="of a component, and of what changes "
                        f"[{planting.MIN_AREA}, for 480x360]")  # fmt: skip
    parser.add_argument("--shift", type=cli.positive, default=planting.SHIFT, metavar="PIXELS",
                        help=f"of a shifted border [{planting.SHIFT}, for 480x360]")  # fmt: skip
    parser.add_argument("--seed", type=cli.seed, default=0, help="[0]")
    add_out_flag(parser, "work_dirs/hardness")


def _share(text: str) -> float:
    try:
        if 0 <= float(text) <= 1:
            return float(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text}: give a share, 0 to 1")


def run(args: argparse.Namespace, folder: Path) -> Section:
    images, classes = _labels(args)
    rows = []
    for item in counted(images.items, "plant", len(images)):
        stored, label = _read(images, item, len(classes))
        new, number, errors = planting.plant(
            label, planting.rng_of(args.seed, Path(item.name).name), len(classes), kinds=args.kinds,
            share=args.share, min_area=args.min_area, shift=args.shift,
        )  # fmt: skip
        if len(errors) > 255:
            raise ConfigError(f"{item.label}: {len(errors)} errors, at most 255 can be listed; "
                              "give a smaller --share")  # fmt: skip
        values = np.array([images.stored_id(k) for k in range(len(classes))], stored.dtype)
        copy = np.where(number > 0, values[new], stored)
        name = f"{item.name}.png"
        write_files({folder / "labels" / name: png(copy),
                     folder / "errors" / name: png(number.astype(np.uint8))})  # fmt: skip
        rows += [
            dict(image=item.name, number=i, kind=e.kind, box=list(e.box), area=e.area,
                 true=classes[e.true], given=classes[e.given])
            for i, e in enumerate(errors, start=1)
        ]  # fmt: skip
    settings = {k: getattr(args, k) for k in ("share", "min_area", "shift", "seed")}
    settings["kinds"] = list(args.kinds)
    listed = dict(settings=settings, classes=list(classes), planted=rows)
    write_atomically(json.dumps(listed, indent=1).encode(), folder / "planted.json")
    write_atomically(_csv(rows), folder / "planted.csv")
    return _section(args, images, rows, folder)


def _labels(args: argparse.Namespace) -> tuple[Images, tuple[str, ...]]:
    """Labels and the names of their classes."""
    if args.labels:
        if args.data or args.data_root:
            raise ConfigError("--labels and --data or --data-root are given: name one of them")
        if not args.num_classes:
            raise ConfigError("--labels needs the number of classes: --num-classes N")
        found = picture_files([args.labels])
        items = [Item(name, path, path) for name, path in found.items()]
        images = Images(items, args.labels, ignore_index=args.ignore_index)
        return images, tuple(f"class {k}" for k in range(args.num_classes))
    if args.num_classes:
        raise ConfigError("--num-classes is of --labels; a data set has its own")
    if not args.data:
        raise ConfigError("name labels: --data NAME, or --labels DIR --num-classes N")
    images = of_data(data_of(args.data, Roots.parse(args.data_root)), None, Roots(), args.split)
    without = [item for item in images.items if item.label is None]
    if without:
        raise DataError(f"{without[0].image}: has no label; name another --split")
    return images, images.classes


def _read(images: Images, item: Item, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """A label as it is stored, and in the ids of the classes."""
    try:
        stored = read_pixels(item.label)
    except UNREADABLE as error:
        raise DataError(str(fault(item.label, error))) from error
    if stored.ndim != 2:
        raise DataError(f"{item.label}: has {stored.shape[2]} channels; give ids as one channel")
    return stored, images.label(item, stored.shape, num_classes)


def _csv(rows: list[dict]) -> bytes:
    return csv_of("image number kind x y width height area true given".split(), (
        [r["image"], r["number"], r["kind"], *r["box"], r["area"], r["true"], r["given"]]
        for r in rows
    ))  # fmt: skip


def _section(args: argparse.Namespace, images: Images, rows: list[dict], folder: Path) -> Section:
    def line(kind: str, of: list[dict]) -> tuple[str, ...]:
        areas = [r["area"] for r in of]
        median = f"{np.median(areas):.0f}" if areas else "–"
        return kind, str(len(of)), str(sum(areas)), median

    table = [line(kind, [r for r in rows if r["kind"] == kind]) for kind in args.kinds]
    grid = Grid("Planted", ("kind", "errors", "pixels", "median pixels"),
                (*table, line("all", rows)))  # fmt: skip
    words = ("A copy of labels with errors that are known, so that a search for errors can be "
             "measured: share of components, kinds and sizes are chosen here, not those of real "
             "annotators.",
             "To look for them: hardness.py rank CHECKPOINT "
             + (f"IMAGES --labels {folder / 'labels'}" if args.labels else
                f"--data {args.data} --split {args.split} --labels {folder / 'labels'}")
             + ", with a checkpoint that was not trained on these images.")  # fmt: skip
    return Section(
        kind="plant",
        title=f"Errors planted in {len(images)} labels",
        words=words,
        facts=dict(Labels=f"{images.title}: {len(images)}", Seed=str(args.seed),
                   Share=f"{args.share:g} of the components of at least {args.min_area} pixels"),
        tables=(grid,),
        files={"planted.csv": "the errors, one a line", "planted.json": "the same, with settings",
               "labels": "the copies", "errors": "which error changed each pixel"},
        figures=dict(errors=len(rows), pixels=sum(r["area"] for r in rows)),
    )  # fmt: skip
