"""Rank images by what is hard in them, and regions whose label the model doubts.

    python fully_supervised/hardness.py rank CHECKPOINT DIR --labels DIR
    python fully_supervised/hardness.py rank CHECKPOINT DIR --budget 50         # which to label
    python fully_supervised/hardness.py rank CHECKPOINT --split train --folds 4

Regions are connected pixels whose label and prediction are one pair of different classes; within
two pixels of a class boundary nothing is one, these pixels are counted apart. Ignored pixels are
not compared. images.csv orders all images by the mean of the HL map (of the entropy, without an HL
branch); regions.csv, regions.json (COCO's format) and gallery.html hold the --top regions.

A model finds little in labels that it was trained on: such images are refused without --folds.
"""

import argparse
import copy
import functools
import pickle
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np

from core.analysis import ranking, selecting
from core.engine.cli import positive
from core.errors import ConfigError
from core.files import write_atomically
from core.section import Section
from fully_supervised.seeing import folds, ranked_files, ranked_section
from fully_supervised.seeing.drawn import counted, csv_of
from fully_supervised.seeing.inputs import (
    Images,
    add_checkpoint_flags,
    add_image_flags,
    add_out_flag,
    check,
    images_of,
)
from fully_supervised.seeing.ranked_files import NO, UNKNOWN, YES, Region

if TYPE_CHECKING:
    from core.predict import Predictor

DEFAULT = "surprise"


def _by(text: str) -> str:
    try:
        ranking.parts_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_checkpoint_flags(parser, "checkpoint")
    add_image_flags(parser, labels=True)
    parser.add_argument("--by", type=_by, default=DEFAULT, help=f"score of a region: "
                        f"{', '.join(ranking.BY)}, or a product such as hardness*loss; surprise is "
                        f"the loss plus half of how rare the swap is [{DEFAULT}]")  # fmt: skip
    parser.add_argument("--classes", nargs="+", metavar="CLASS", help="only regions that have or "
                        "would get one of these, by name or id [all]")  # fmt: skip
    parser.add_argument("--min-area", type=positive, default=ranking.MIN_AREA, metavar="PIXELS",
                        help=f"of a region [{ranking.MIN_AREA}]")  # fmt: skip
    parser.add_argument("--top", type=positive, default=200, metavar="N",
                        help="regions in the files [200]")  # fmt: skip
    parser.add_argument("--budget", type=positive, metavar="N", help="choose N images to label: "
                        "hard ones, of all classes, no near-duplicates")  # fmt: skip
    parser.add_argument("--folds", type=positive, metavar="K", help="train K models, each without "
                        "a K-th of the training images, which it ranks")  # fmt: skip
    parser.add_argument("--checkpoints", nargs="+", type=Path, default=[], metavar="FILE",
                        help="more checkpoints, such as of folds: an image is ranked by the first "
                        "that was not trained on it")  # fmt: skip
    parser.add_argument("--in-sample", action="store_true", help="rank images that the checkpoint "
                        "was trained on, too, and mark them")  # fmt: skip
    parser.add_argument("--export", nargs="+", choices=ranked_files.EXPORTS, default=[],
                        help="the regions as files of these programs, too")  # fmt: skip
    add_out_flag(parser, "hardness beside the checkpoint")


class Seen(NamedTuple):
    """What is kept of all images: a line each, and counts.

    ``figures``: (N, 4) mean of hardness, share of pixels above 0.5, mean entropy, one minus the
    mean margin. ``hard``: (N, C) hard area by predicted class. ``thumbnails``: (N, d). ``swaps``:
    regions and pixels by given and suggested class. ``border``: pixels that disagree at a boundary.
    """

    figures: np.ndarray
    hard: np.ndarray
    thumbnails: np.ndarray
    swaps: dict[tuple[int, int], tuple[int, int]]
    confusion: np.ndarray
    border: list[int]


def run(args: argparse.Namespace, folder: Path) -> Section:
    from core.predict import load

    @functools.lru_cache(maxsize=1)
    def loaded(path: Path) -> "Predictor":
        config = args.config if path == args.checkpoint else None
        return load(path, config=config, device=args.device, trust=args.trust_imports)

    predictor = loaded(args.checkpoint)
    classes = predictor.classes
    chosen = _chosen(args.classes, classes)
    images = images_of(args, predictor)
    labeled = sum(item.label is not None for item in images.items)
    if labeled and images.classes and len(images.classes) != len(classes):
        raise ConfigError(f"{images.title} has {len(images.classes)} classes, the model "
                          f"{len(classes)}: take the data set that it was trained on")  # fmt: skip
    if "hardness" in ranking.parts_of(args.by) and predictor.hl_model is None:
        raise ConfigError(f"--by {args.by}: {args.checkpoint} has no HL branch; take a checkpoint "
                          "of +HL, or another score")  # fmt: skip
    check(images)
    paths, judge, in_sample = _judges(args, predictor, images, folder, loaded)

    seen = Seen(np.full((len(images), 4), np.nan), np.zeros((len(images), len(classes))),
                np.zeros((len(images), 192), np.float32), {}, np.zeros((len(classes),) * 2),
                [0])  # fmt: skip
    with tempfile.TemporaryFile() as spool:  # the memory of a run does not grow with its images
        for k, path in enumerate(paths):
            if (judge == k).any():
                _look(args, loaded(path), images, np.flatnonzero(judge == k), chosen, seen, spool)
        best = _best(spool, args.by, args.top, seen.confusion)
    ranked = best.sorted()

    mean = seen.figures[:, 0 if predictor.hl_model is not None else 2]
    order = selecting.order(mean)
    picked, repeated = ([], 0)
    if args.budget:
        picked, repeated = selecting.choose(seen.hard, seen.thumbnails, args.budget)
    if not labeled:
        ranked = []
    items = images.items
    write_atomically(_images_csv(images, order, seen, picked, in_sample), folder / "images.csv")
    files = {"images.csv": f"the {len(items)} images, the hardest first"}
    if picked:
        lines = "".join(f"{items[i].image}\n" for i in picked)
        write_atomically(lines.encode(errors="surrogateescape"), folder / "budget.txt")
        files["budget.txt"] = f"the {len(picked)} images to label"
    if labeled:
        info = dict(description="candidates for label errors", by=args.by,
                    checkpoints=[str(p) for p in paths])  # fmt: skip
        write_atomically(ranked_files.regions_csv(ranked, items, classes, in_sample),
                         folder / "regions.csv")  # fmt: skip
        write_atomically(ranked_files.coco(ranked, items, classes, in_sample, info),
                         folder / "regions.json")  # fmt: skip
        files["regions.csv"] = f"the {len(ranked)} regions, the most suspicious first"
        files["regions.json"] = "the same with masks, in COCO's format"
        files |= ranked_files.write_exports(folder, args.export, ranked, items, classes)
    crops = ranked_section.write_crops(folder, images, ranked, judge, paths, loaded, in_sample)
    return ranked_section.section(args, images, classes, seen, ranked, order, picked, repeated,
                                  in_sample, files, crops, labeled)  # fmt: skip


def _chosen(names: Sequence[str] | None, classes: Sequence[str]) -> list[int] | None:
    """Ids of the classes that are named."""
    if names is None:
        return None
    ids = {name: k for k, name in enumerate(classes)} | {str(k): k for k in range(len(classes))}
    wrong = [name for name in names if name not in ids]
    if wrong:
        raise ConfigError(f"--classes {wrong[0]}: none of {', '.join(classes)}")
    return sorted({ids[name] for name in names})


def _judges(
    args: argparse.Namespace, predictor: "Predictor", images: Images, folder: Path, loaded: object
) -> tuple[list[Path], np.ndarray, dict[int, str]]:
    """Checkpoints, the one that ranks each image, and the images that it was trained on, or of
    which that is not known, with that word.

    Raises:
        ConfigError: there are such images, and no flag says what to do; or checkpoints have
            different classes or arms.
    """
    from core.engine.checkpoint import load_checkpoint
    from core.trust import config_of

    paths, configs = [args.checkpoint, *args.checkpoints], [predictor.cfg]
    if args.folds:
        cfg = config_of(predictor.meta, args.checkpoint, args.trust_imports)
        if cfg is None or args.config:
            raise ConfigError("--folds trains with the config that the checkpoint carries")
        count = len(folds.trained_on(predictor.cfg) or ())
        paths += folds.train_folds(cfg, args.folds, count, folder.parent / f"folds-{args.folds}")
    for path in paths[1:]:
        cfg = config_of(load_checkpoint(path)["meta"], path, args.trust_imports)
        if cfg is None:
            raise ConfigError(f"{path}: carries no config, so that its images cannot be told")
        configs.append(cfg)
        other = loaded(path)
        if other.classes != predictor.classes:
            raise ConfigError(f"{path}: has other classes than {args.checkpoint}; all must have "
                              "the same")  # fmt: skip
        if (other.hl_model is None) != (predictor.hl_model is None):
            raise ConfigError(f"{path}: {args.checkpoint} or it has no HL branch; give checkpoints "
                              "of one arm")  # fmt: skip
    known = [folds.trained_on(copy.deepcopy(cfg)) for cfg in configs]
    files = [item.image for item in images.items]
    judge = np.zeros(len(files), int)
    in_sample = {}
    for i, file in enumerate(files):
        held = [None if of is None else of.holds(file) for of in known]
        judge[i] = next((k for k, holds in enumerate(held) if not holds and holds is not None),
                        held.index(None) if None in held else 0)  # fmt: skip
        if held[judge[i]] is not False:
            in_sample[i] = YES if held[judge[i]] else UNKNOWN
    found = [i for i, told in in_sample.items() if told == YES]
    if found and not args.in_sample:
        first = images.items[min(found)].image
        raise ConfigError(f"{first}: the checkpoint was trained on it ({len(found)} of "
                          f"{len(files)} images), so that it hardly doubts its label; let others "
                          "rank it (--folds K), or mark it (--in-sample)")  # fmt: skip
    return paths, judge, in_sample


def _look(
    args: argparse.Namespace, predictor: "Predictor", images: Images, which: np.ndarray,
    chosen: list[int] | None, seen: Seen, spool: IO[bytes],
) -> None:  # fmt: skip
    """Fill in what is kept of these images, and write their regions to the spool."""
    from core.predict import read_picture
    from fully_supervised.seeing.regions import regions_in

    count = len(predictor.classes)
    for i in counted(which.tolist(), "rank", len(which)):
        item = images.items[i]
        picture = read_picture(item.image)
        label = images.label(item, picture.shape[:2], count)
        look = predictor.look(picture)
        nothing = label is None
        if nothing:
            label = np.full(picture.shape[:2], -1)
        hardness = predictor.hardness(look)
        found, means, figures = regions_in(predictor, look, label, hardness,
                                           min_area=args.min_area, classes=chosen)  # fmt: skip
        doubt = figures.entropy.cpu().numpy() if hardness is None else hardness
        hard = (np.nan, np.nan)
        if hardness is not None:
            hard = (hardness.mean(), (hardness > 0.5).mean())
        seen.figures[i] = (*hard, float(figures.entropy.mean()), 1 - float(figures.margin.mean()))
        pred = figures.pred.cpu().numpy()
        seen.hard[i] = np.bincount(pred.ravel(), doubt.ravel().astype(np.float64), minlength=count)
        seen.thumbnails[i] = selecting.thumbnail(picture)
        if nothing:
            continue
        seen.confusion[:] += found.confusion
        seen.border[0] += found.border
        for r in _regions(i, look.size, found, means):
            n, area = seen.swaps.get((r.given, r.suggested), (0, 0))
            seen.swaps[r.given, r.suggested] = (n + 1, area + r.area)
            pickle.dump(r._replace(mask=(np.packbits(r.mask), r.mask.shape)), spool)


def _regions(
    image: int, size: tuple[int, int], found: ranking.Candidates, means: ranking.Means
) -> Iterator[Region]:
    for k in range(len(found.area)):
        x, y, w, h = map(int, found.box[k])
        yield Region(image, size, (x, y, w, h), int(found.area[k]), int(found.given[k]),
                     int(found.suggested[k]), ranking.Means(*(float(m[k]) for m in means)),
                     found.ids[y : y + h, x : x + w] == k + 1)  # fmt: skip


def _best(spool: IO[bytes], by: str, top: int, confusion: np.ndarray) -> ranking.Best[Region]:
    """The regions with the highest scores: the spool is read again when all swaps are counted."""
    best: ranking.Best[Region] = ranking.Best(top)
    rare = ranking.rarity(confusion)
    spool.seek(0)
    while True:
        try:
            r = pickle.load(spool)
        except EOFError:
            return best
        bits, shape = r.mask
        mask = np.unpackbits(bits, count=shape[0] * shape[1]).reshape(shape).astype(bool)
        score = ranking.score(by, r.means, rare[r.given, r.suggested])
        best.add(float(score), r._replace(mask=mask))


def _images_csv(
    images: Images,
    order: Sequence[int],
    seen: Seen,
    picked: Sequence[int],
    in_sample: Mapping[int, str],
) -> bytes:
    head = ["rank", "image", "file", "hardness", "hard_share", "entropy", "margin", "chosen",
            "in_sample"]  # fmt: skip
    place = {i: n for n, i in enumerate(picked, start=1)}
    return csv_of(head, (
        [n, images.items[i].name, str(images.items[i].image), *map(float, seen.figures[i]),
         place.get(i, ""), in_sample.get(i, NO)]
        for n, i in enumerate(order, start=1)
    ))  # fmt: skip
