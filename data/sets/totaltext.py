"""Total-Text ("Towards orientation robustness in scene text detection", Ch'ng et al., IJDAR 2020).

As downloaded (upper and lower case do not matter): ``Images/{Train,Test}/img1.jpg``; polygons
``Groundtruth/Polygon/{Train,Test}/poly_gt_img1.txt`` or ``.mat``; masks of the characters
``Groundtruth/Pixel/{Train,Test}/img1.jpg``, white on black.

Made here: ``images/{train,test}/img1.jpg`` and ``labels/{train,test}/img1.png``, 8-bit: 0 for the
background, 1 for text, 255 for polygons of text that cannot be read (``#``, which the data set's
own evaluation does not count either).

The paper's figures were made on masks of the characters: its logs name the folder
``totaltext_char``, and its mean and text IoU give text 3 % of the pixels, less than polygons cover.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from data.errors import DataError
from data.files import in_parallel, png, save
from data.pairs import UNREADABLE, decode, fault

CLASSES = ("background", "text")
PALETTE = ((0, 0, 0), (255, 255, 255))
SPLITS = ("train", "test")
ANNOTATIONS = ("polygon", "pixel")
VOID = 255
_UPRIGHT = (None, 1)  # values of EXIF's orientation that need no turning

_POLYGON = re.compile(
    r"x:\s*\[\[(?P<x>[\d\s.+-]*)\]\]\s*,\s*y:\s*\[\[(?P<y>[\d\s.+-]*)\]\]\s*,\s*"
    r"ornt:\s*\[[^\]]*\]\s*,\s*transcriptions:\s*\[u?['\"]?(?P<text>.*?)['\"]?\]\s*(?=x:\s*\[\[|\Z)",
    re.DOTALL,
)


class Polygon(NamedTuple):
    """Corners of a text, (number, 2) as x, y in pixels, and whether it can be read."""

    corners: np.ndarray
    legible: bool


def parse_text(content: str) -> list[Polygon]:
    """The polygons of a ``.txt`` file; one may run over several lines.

    Raises:
        DataError: a part of it is no polygon.
    """
    found = list(_POLYGON.finditer(content))
    if len(found) != len(re.findall(r"x:", content)) or (content.strip() and not found):
        line = content[found[-1].end() if found else 0 :].strip().splitlines() or [content.strip()]
        raise DataError(f"cannot be read as polygons at {line[0][:60]!r}")
    return [_polygon(m["x"].split(), m["y"].split(), m["text"]) for m in found]


def parse_matlab(path: Path) -> list[Polygon]:
    """The polygons of a ``.mat`` file.

    Raises:
        DataError: it holds something else.
    """
    from scipy.io import loadmat

    try:
        content = loadmat(path)
        rows = content["polygt" if "polygt" in content else "gt"]
        return [_polygon(r[1].ravel(), r[3].ravel(), str(np.ravel(r[4])[0])) for r in rows]
    except DataError:
        raise
    except Exception as error:  # loadmat raises whatever it stumbles on
        raise DataError(f"cannot be read as polygons ({error!r})") from error


def _polygon(x: list | np.ndarray, y: list | np.ndarray, text: str) -> Polygon:
    if len(x) != len(y):
        raise DataError(f"a polygon has {len(x)} x and {len(y)} y")
    if len(x) < 3:
        raise DataError(f"a polygon has {len(x)} corners, it takes 3")
    try:
        corners = np.stack([np.array(x, np.float64), np.array(y, np.float64)], axis=1)
    except ValueError as error:
        raise DataError(f"a corner is no number ({error})") from error
    return Polygon(corners, text != "#")


def draw(polygons: list[Polygon], height: int, width: int) -> np.ndarray:
    """The label (H, W) uint8 of an image.

    Raises:
        DataError: a polygon lies outside of the image.
    """
    label = np.zeros((height, width), np.uint8)
    for polygon in sorted(polygons, key=lambda p: p.legible):  # text that can be read wins
        low, high = polygon.corners.min(axis=0), polygon.corners.max(axis=0)
        if (high < 0).any() or low[0] >= width or low[1] >= height:
            raise DataError(
                f"a polygon around ({low[0]:.0f}, {low[1]:.0f}) is outside of {width}x{height}"
            )
        corners = polygon.corners.round().astype(np.int32)
        cv2.fillPoly(label, [corners], 1 if polygon.legible else VOID)
    return label


def convert(
    src: str | Path, out: str | Path, workers: int | None = None, annotations: str = "polygon"
) -> int:
    """Write the labels that are not there yet, and link or copy their images.

    Args:
        src: the folder as downloaded.
        out: gets ``images`` and ``labels``.
        workers: processes; one a core, eight at most, by default.
        annotations: ``"polygon"``, or ``"pixel"`` for masks of the characters.

    Returns:
        The number of labels written.

    Raises:
        DataError: nothing is there, the labels there are of other annotations, or some files are
            missing or damaged; all others are written.
    """
    src, out = Path(src), Path(out)
    tasks = []
    for split in SPLITS:
        images = _find(src, "images", split)
        labels = _find(src, "groundtruth", annotations, split)
        if images is None or labels is None:
            what = "Images" if images is None else f"Groundtruth/{annotations.capitalize()}"
            raise DataError(f"{src}: no {what}/{split.capitalize()}; unpack Total-Text there")
        for part in ("images", "labels"):
            (out / part / split).mkdir(parents=True, exist_ok=True)
        tasks += [
            _Task(path, labels, out, split, annotations)
            for path in sorted(images.glob("[!.]*"))
            if path.suffix.lower() in (".jpg", ".jpeg")
        ]
    mark = out / "labels" / ".annotations"
    if mark.is_file() and mark.read_text() != annotations:
        raise DataError(
            f"{out}: its labels are of --annotations {mark.read_text()}; name another --out"
        )
    if not tasks:
        raise DataError(f"{src}: no image in Images/Train; unpack Total-Text there")
    save(mark, annotations.encode())
    outcomes = in_parallel(_convert, tasks, "labels", workers)
    problems = [outcome for outcome in outcomes if isinstance(outcome, str)]
    if problems:
        raise DataError.of(problems, f"python data/prepare.py totaltext --src {src} --out {out}")
    return sum(outcomes)


class _Task(NamedTuple):
    image: Path
    labels: Path
    out: Path
    split: str
    annotations: str


def _find(folder: Path, *names: str) -> Path | None:
    """A folder below another, whatever the case of its name."""
    for name in names:
        inside = [p for p in folder.glob("*") if p.is_dir() and p.name.lower() == name]
        if not inside:
            return None
        folder = inside[0]
    return folder


def _annotation(task: _Task) -> Path | None:
    stem = task.image.stem
    if task.annotations == "pixel":
        names = [f"{stem}.jpg", f"{stem}.png"]
    else:
        names = [f"{p}gt_{stem}{end}" for p in ("poly_", "") for end in (".txt", ".mat")]
    return next((p for name in names if (p := task.labels / name).is_file()), None)


def _convert(task: _Task) -> bool | str:
    """Whether the label had to be written, or what is wrong, as a line."""
    image_target = task.out / "images" / task.split / f"{task.image.stem}.jpg"
    label_target = task.out / "labels" / task.split / f"{task.image.stem}.png"
    if image_target.is_file() and label_target.is_file():
        return False
    path = _annotation(task)
    if path is None:
        return (
            f"{task.image}: no {task.annotations} annotation in {task.labels}; copy it, or remove "
            "the image"
        )
    try:
        image = decode(task.image, cv2.IMREAD_COLOR)  # upright, as mmcv reads it
    except UNREADABLE as error:
        return str(fault(task.image, error))
    height, width = image.shape[:2]
    try:
        if task.annotations == "pixel":
            label = _mask(path, height, width)
        elif path.suffix == ".mat":
            label = draw(parse_matlab(path), height, width)
        else:
            label = draw(parse_text(path.read_text(errors="replace")), height, width)
    except DataError as error:
        return f"{path}: {error}; mend or replace the file"
    _hand_on(task.image, image_target, image)
    save(label_target, png(label))
    return True


def _mask(path: Path, height: int, width: int) -> np.ndarray:
    """Characters, white on black; JPEG leaves greys at their edges."""
    try:
        mask = decode(path, cv2.IMREAD_GRAYSCALE)
    except UNREADABLE as error:
        raise DataError(f"not an image that can be read ({error})") from error
    if mask.shape != (height, width):
        raise DataError(f"is {mask.shape[1]}x{mask.shape[0]}, its image {width}x{height}")
    return (mask >= 128).astype(np.uint8)


def _hand_on(source: Path, target: Path, pixels: np.ndarray) -> None:
    """The image under its new name: linked, or upright where it was stored turned."""
    with Image.open(source) as header:
        turned = header.getexif().get(0x0112) not in _UPRIGHT
    target.unlink(missing_ok=True)
    if turned:
        save(target, cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes())
        return
    try:
        os.symlink(source.resolve(), target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)
