"""iSAID ("A Large-scale Dataset for Instance Segmentation in Aerial Images", Zamir et al., 2019).

As downloaded: ``<split>/images/P0000.png`` (DOTA's images) and
``<split>/Semantic_masks/images/P0000_instance_color_RGB.png``, colours.

Made here, as mmseg's ``iSAIDDataset`` reads it: ``img_dir/<split>`` and ``ann_dir/<split>`` with
patches of 896x896 that overlap by 384, named by their place, labels as 8-bit ids.

The background is class 0, trained and counted in the mean; only padding is ignored (255). That is
the common protocol: the 15 objects of FarSeg's published table have a mean of 61.37, the 63.71 that
it reports is the mean with the background, at about 99.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from data.colors import Colors
from data.errors import DataError
from data.files import in_parallel, png, save
from data.pairs import UNREADABLE, decode, fault

CLASSES = (
    "background", "ship", "store_tank", "baseball_diamond", "tennis_court", "basketball_court",
    "Ground_Track_Field", "Bridge", "Large_Vehicle", "Small_Vehicle", "Helicopter",
    "Swimming_pool", "Roundabout", "Soccer_ball_field", "plane", "Harbor",
)  # fmt: skip
_COLORS = (
    (0, 0, 0), (0, 0, 63), (0, 63, 63), (0, 63, 0), (0, 63, 127), (0, 63, 191), (0, 63, 255),
    (0, 127, 63), (0, 127, 127), (0, 0, 127), (0, 0, 191), (0, 0, 255), (0, 191, 127),
    (0, 127, 191), (0, 127, 255), (0, 100, 155),
)  # fmt: skip
COLORS = Colors({color: i for i, color in enumerate(_COLORS)})
LABEL_SUFFIX = "_instance_color_RGB.png"
SPLITS = ("train", "val")
PATCH, OVERLAP = 896, 384
VOID = 255


def windows(height: int, width: int) -> Iterator[tuple[int, int]]:
    """Top and left of the patches that cover an image, the last of a row or column moved in."""
    for y in _starts(height):
        for x in _starts(width):
            yield y, x


def _starts(size: int) -> list[int]:
    last = max(0, size - PATCH)
    return [*range(0, last, PATCH - OVERLAP), last]


def convert(src: str | Path, out: str | Path, workers: int | None = None) -> int:
    """Cut the patches that are not there yet, in parallel.

    Args:
        src: the folder that holds ``train`` and ``val`` as downloaded.
        out: gets ``img_dir`` and ``ann_dir``.
        workers: processes; one a core, eight at most, by default.

    Returns:
        The number of images that were cut.

    Raises:
        DataError: no images are there, or some files are missing, damaged or hold unknown colours;
            all others are cut.
    """
    src, out = Path(src), Path(out)
    tasks = []
    for split in SPLITS:
        images = _folder(src / split / "images", "[!.]*.png")
        labels = _folder(src / split / "Semantic_masks" / "images", f"[!.]*{LABEL_SUFFIX}")
        names = {path.stem for path in images.glob("[!.]*.png")}
        names |= {p.name.removesuffix(LABEL_SUFFIX) for p in labels.glob(f"[!.]*{LABEL_SUFFIX}")}
        for part in ("img_dir", "ann_dir"):
            (out / part / split).mkdir(parents=True, exist_ok=True)
        tasks += [
            _Task(images / f"{name}.png", labels / f"{name}{LABEL_SUFFIX}", out, split)
            for name in sorted(names)
        ]
    if not tasks:
        raise DataError(
            f"{src / 'train' / 'images'}: no *.png; unpack DOTA's images and iSAID's Semantic_masks"
        )
    outcomes = in_parallel(_cut, tasks, "patches", workers)
    problems = [outcome for outcome in outcomes if isinstance(outcome, str)]
    if problems:
        raise DataError.of(problems, f"python data/prepare.py isaid --src {src} --out {out}")
    return sum(outcomes)


def _folder(folder: Path, pattern: str) -> Path:
    """The folder, or the one of the same name in it, as some archives unpack."""
    inner = folder / folder.name
    return inner if inner.is_dir() and not any(folder.glob(pattern)) else folder


class _Task(NamedTuple):
    image: Path
    label: Path
    out: Path
    split: str

    def targets(self, y: int, x: int) -> tuple[Path, Path]:
        name = f"{self.image.stem}_{y}_{y + PATCH}_{x}_{x + PATCH}"
        return (
            self.out / "img_dir" / self.split / f"{name}.png",
            self.out / "ann_dir" / self.split / f"{name}{LABEL_SUFFIX}",
        )


def _cut(task: _Task) -> bool | str:
    """Whether the patches of an image had to be made, or what is wrong with it, as a line."""
    for path, other in ((task.image, "label"), (task.label, "image")):
        if not path.is_file():
            return f"{path}: missing, but its {other} is there; copy it, or remove the {other}"
    path = task.image
    try:
        with Image.open(task.image) as header:
            width, height = header.size
        places = list(windows(height, width))
        if all(target.is_file() for place in places for target in task.targets(*place)):
            return False
        image = _read(task.image)
        path = task.label
        label = COLORS.ids(_read(task.label))
    except UNREADABLE as error:
        return str(fault(path, error))
    if image.shape[:2] != label.shape:
        return (
            f"{task.label}: is {label.shape[1]}x{label.shape[0]}, its image {width}x{height}; "
            "replace one"
        )
    below, right = max(0, PATCH - height), max(0, PATCH - width)
    image = np.pad(image, ((0, below), (0, right), (0, 0)))
    label = np.pad(label, ((0, below), (0, right)), constant_values=VOID)
    for y, x in places:
        image_target, label_target = task.targets(y, x)
        part = slice(y, y + PATCH), slice(x, x + PATCH)
        save(image_target, png(image[part]))
        save(label_target, png(label[part]))
    return True


def _read(path: Path) -> np.ndarray:
    """RGB (H, W, 3) uint8. OpenCV's decoder: Pillow's takes so large an image for an attack."""
    return cv2.cvtColor(decode(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
