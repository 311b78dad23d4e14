"""GTAV ("Playing for Data: Ground Truth from Computer Games", Richter et al., ECCV 2016).

On disk: ``images/00001.png`` and ``labels/00001.png``, palette images whose indices are Cityscapes'
labelIds and 34 for license plates, or, as some hand them on, RGB in the same colours; the split in
``split.mat``, or in ``train.txt``, ``val.txt``, ``test.txt`` with a name a line.

Made here: ``train_ids/00001.png``, 8-bit trainIds, 0-18 and 255.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from data.checks import skipped_in, stems
from data.colors import Colors, refuse
from data.errors import DataError
from data.files import in_parallel, png, save
from data.lists import Images, lines
from data.pairs import UNREADABLE, fault, has_end, read_pixels
from data.sets.cityscapes import CLASSES, ID_TO_TRAIN_ID, KNOWN_IDS, LABEL_COLORS

IMAGES, LABELS, TRAIN_IDS = "images", "labels", "train_ids"
SKIPPED = f"{TRAIN_IDS}/skipped.txt"
STATISTICS = f"{TRAIN_IDS}/statistics.json"
SPLITS = ("all", "train", "val", "test")

LICENSE_PLATE = 34  # not one of Cityscapes' ids here; no class in training
_KNOWN = KNOWN_IDS.copy()
_KNOWN[LICENSE_PLATE] = True

# Of ids that share a colour the one that is a class: groups of poles look like poles, license
# plates like cars.
_BY_COLOR: dict[tuple[int, ...], int] = {}
for _id, _color in enumerate(LABEL_COLORS):
    _train_id = int(ID_TO_TRAIN_ID[_id])
    _BY_COLOR[tuple(_color)] = min(_train_id, _BY_COLOR.get(tuple(_color), 255))
_BY_COLOR[_STATIC := (20, 20, 20)] = 255  # in GTAV's own table; Cityscapes' is black
_COLORS = Colors(_BY_COLOR)
_PALETTE = {i: [color] for i, color in enumerate(LABEL_COLORS)}
_PALETTE[4].append(_STATIC)


def convert_label(label: np.ndarray) -> np.ndarray:
    """A label as stored -> trainIds (H, W) uint8, 0-18 and 255.

    Args:
        label: uint8, (H, W) of ids or (H, W, 3 or 4) of colours.

    Raises:
        DataError: an id or a colour that GTAV does not have.
    """
    if label.dtype == np.uint8 and label.ndim == 2:
        present, counts = np.unique(label, return_counts=True)
        wrong = ~_KNOWN[present]
        refuse("label id", [str(i) for i in present[wrong]], counts[wrong])
        return ID_TO_TRAIN_ID[label]
    if label.dtype != np.uint8 or label.ndim != 3 or label.shape[2] not in (3, 4):
        raise DataError(f"neither ids nor colours ({label.dtype}, {label.shape})")
    return _COLORS.ids(label)


def read_label(path: str | Path) -> np.ndarray:
    """A label for :func:`convert_label`: ids (H, W), or colours (H, W, 3 or 4).

    Indices are ids only under GTAV's own palette, or a grey one; image tools re-order a palette.

    Raises:
        UNREADABLE: the file is not a whole image, or too large; an index has no colour.
    """
    label = read_pixels(path)
    with Image.open(path) as header:
        if header.mode != "P":
            return label
        palette = np.array(header.getpalette("RGB"), np.uint8).reshape(-1, 3)
    present = np.unique(label)
    # Cityscapes has no colour for license plates; an index without a colour can only be an id.
    ids = present[(present != LICENSE_PLATE) & (present < len(palette))]
    grey = (palette[ids] == ids[:, None]).all()
    own = [
        any(np.array_equal(palette[i], color) for color in _PALETTE.get(i, ()))
        for i in ids.tolist()
    ]
    if grey or all(own):
        return label
    if present[-1] >= len(palette):
        raise DataError(f"index {present[-1]} has no colour in its palette of {len(palette)}")
    return palette[label]


class _Outcome(NamedTuple):
    """What came of a pair: one of the three, and whether a file was written."""

    problem: str | None = None
    skipped: str | None = None
    counts: np.ndarray | None = None  # pixels by trainId, the last of void
    written: bool = False


def convert(root: str | Path, workers: int | None = None) -> int:
    """Write ``train_ids/`` from ``labels/``: once, in parallel; what a cut call wrote is kept.

    Pairs whose sizes differ, as some published ones do, are left out and listed in
    ``train_ids/skipped.txt``. ``train_ids/statistics.json`` comes last: pixels of each class, and
    images that hold it.

    Args:
        root: the folder that holds ``images`` and ``labels``.
        workers: processes; one a core, eight at most, by default.

    Returns:
        The number of files written.

    Raises:
        DataError: no labels are there, or some files are missing, damaged or hold what GTAV does
            not have; all others are written.
    """
    root = Path(root)
    images, labels = stems(root / IMAGES, ".png"), stems(root / LABELS, ".png")
    if not labels:
        raise DataError(f"{root / LABELS}: no *.png; unpack GTAV's labels there")
    if _is_finished(root, len(images), len(labels)):
        return 0
    (root / TRAIN_IDS).mkdir(exist_ok=True)
    names = sorted(labels)
    tasks = [(str(root), name) for name in names]
    outcomes = dict(zip(names, in_parallel(_convert, tasks, TRAIN_IDS, workers), strict=True))
    problems = [o.problem for o in outcomes.values() if o.problem]
    problems += [
        f"{root / LABELS / name}.png: missing, but its image is there; copy it, or remove the image"
        for name in sorted(images - labels)
    ]
    skipped = {name: o.skipped for name, o in outcomes.items() if o.skipped}
    if skipped:
        save(root / SKIPPED, "".join(f"{n}\t{why}\n" for n, why in skipped.items()).encode())
        print(f"{len(skipped)} pairs skipped, sizes differ: {root / SKIPPED}", file=sys.stderr)
    else:
        (root / SKIPPED).unlink(missing_ok=True)
    if problems:
        raise DataError.of(problems, f"python data/prepare.py gtav --src {root}")
    counts = np.array([o.counts for o in outcomes.values() if o.counts is not None])
    _write_statistics(root, len(images), len(labels), len(skipped), counts)
    return sum(o.written for o in outcomes.values())


def _is_finished(root: Path, images: int, labels: int) -> bool:
    try:
        found = json.loads((root / STATISTICS).read_text())
        return (found["images_on_disk"], found["labels_on_disk"]) == (images, labels)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _convert(task: tuple[str, str]) -> _Outcome:
    """Convert one label, unless that is done."""
    root, name = Path(task[0]), task[1]
    image, label, target = (root / part / f"{name}.png" for part in (IMAGES, LABELS, TRAIN_IDS))
    path = label
    try:
        if target.is_file():
            path = target
            return _Outcome(counts=_count(read_pixels(target)))
        train_ids = convert_label(read_label(label))
        path = image
        if not has_end(image):
            return _Outcome(f"{image}: truncated; copy it again")
        with Image.open(image) as header:
            width, height = header.size
    except UNREADABLE as error:
        return _Outcome(str(fault(path, error)))
    if train_ids.shape != (height, width):
        return _Outcome(
            skipped=f"label {train_ids.shape[1]}x{train_ids.shape[0]}, image {width}x{height}"
        )
    save(target, png(train_ids))
    return _Outcome(counts=_count(train_ids), written=True)


def _count(train_ids: np.ndarray) -> np.ndarray:
    """Pixels of each class, then of void."""
    counts = np.bincount(train_ids.ravel(), minlength=256)
    return np.append(counts[: len(CLASSES)], counts[255])


def _write_statistics(
    root: Path, images: int, labels: int, skipped: int, counts: np.ndarray
) -> None:
    """``counts``: (converted pairs, 20) pixels."""
    counts = counts.reshape(-1, len(CLASSES) + 1)
    content = dict(
        images_on_disk=images,
        labels_on_disk=labels,
        converted=len(counts),
        skipped=skipped,
        void_pixels=int(counts[:, -1].sum()),
        classes={
            name: dict(pixels=int(column.sum()), images=int((column > 0).sum()))
            for name, column in zip(CLASSES, counts.T, strict=False)
        },
    )
    save(root / STATISTICS, (json.dumps(content, indent=1) + "\n").encode())


def names(root: str | Path, split: str) -> list[str]:
    """Names of the converted pairs of a split, sorted.

    Args:
        root: the folder of the data set.
        split: ``"all"``, which needs no split file, ``"train"``, ``"val"`` or ``"test"``.

    Raises:
        DataError: no such split, no readable split file, or it lists what is not there.
    """
    if split not in SPLITS:
        raise DataError(f"unknown split {split!r} of GTAV, there are: {', '.join(SPLITS)}")
    root = Path(root)
    converted = stems(root / TRAIN_IDS, ".png")
    if split == "all":
        return sorted(converted)
    path, listed = _listed(root, split)
    left_out = skipped_in(root / SKIPPED)
    kept = [name for name in listed if name not in left_out]
    missing = [name for name in kept if name not in converted]
    if missing:
        raise DataError(
            f"{path} lists {missing[0]} and {len(missing) - 1} more that are not in "
            f"{root / TRAIN_IDS}: copy them, then python data/prepare.py gtav --src {root}"
        )
    return sorted(kept)


def _name(images: Images, line: str) -> str:
    """The image of a line; one that is not there is named as it is listed."""
    number = re.split(r"[\s,;]", line)[0].removesuffix(".png")
    if number.isdigit():
        return number.zfill(5)
    return images.find(line) or line


def _listed(root: Path, split: str) -> tuple[Path, list[str]]:
    """The split file, and the names that it lists."""
    text, matlab = root / f"{split}.txt", root / "split.mat"
    if text.is_file():
        images = Images(IMAGES, ".png", stems(root / IMAGES, ".png"))
        found = [_name(images, line) for _, line in lines(text)]
    elif matlab.is_file():
        from scipy.io import loadmat

        try:
            ids = loadmat(matlab)[f"{split}Ids"]
            found = [f"{int(i):05d}" for i in np.asarray(ids).ravel()]
        except Exception as error:  # loadmat raises whatever it stumbles on
            raise DataError(f"{matlab}: cannot be read ({error!r}); copy it again") from error
        text = matlab
    else:
        raise DataError(
            f"{root}: neither {text.name} nor {matlab.name} is there; copy GTAV's split file (it "
            "comes in read_mapping.zip), or list names in the first, one a line"
        )
    if not found:
        raise DataError(f"{text}: lists no image for {split!r}; copy it again")
    return text, list(dict.fromkeys(found))
