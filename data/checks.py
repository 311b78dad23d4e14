"""Whether a data set on disk can be trained on: pairs, whole files, sizes, label ids."""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from rich.console import Console
from rich.progress import track

from data.errors import DataError

# How a whole file begins and what comes at its end. Pillow decodes a PNG whose last bytes are gone
# (OpenCV then refuses it in the middle of a training) and a JPEG that goes on in zeros.
_ENDS = {b"\x89PNG\r\n\x1a\n": b"IEND\xaeB`\x82", b"\xff\xd8": b"\xff\xd9"}
_TAIL = 1024  # some writers add a few bytes after the end


@dataclass(frozen=True)
class Layout:
    """Where the images and labels of a split lie below the root, and how their names end.

    ``skipped``: a file that lists pairs which are left out, a stem and a reason a line.
    """

    images: str
    labels: str
    image_suffix: str
    label_suffix: str
    skipped: str | None = None

    def pairs(self, root: Path) -> tuple[set[str], set[str]]:
        """Stems of the images and of the labels, without the ones left out."""
        left_out = skipped_in(root / self.skipped) if self.skipped else set()
        return (
            stems(root / self.images, self.image_suffix) - left_out,
            stems(root / self.labels, self.label_suffix) - left_out,
        )


def missing_halves(root: Path, layouts: tuple[Layout, ...]) -> list[str]:
    """A line for each image without a label and each label without an image, by name only."""
    problems = []
    for layout in layouts:
        images, labels = layout.pairs(root)
        for stem in sorted(images - labels):
            label = root / layout.labels / f"{stem}{layout.label_suffix}"
            problems.append(
                f"{label}: missing, but its image is there; copy it, or remove the image"
            )
        for stem in sorted(labels - images):
            image = root / layout.images / f"{stem}{layout.image_suffix}"
            problems.append(
                f"{image}: missing, but its label is there; copy it, or remove the label"
            )
    return problems


def check(root: Path, layouts: tuple[Layout, ...], allowed_ids: set[int]) -> list[str]:
    """Read every pair; a line for each file that is wrong: which, what, how to mend it.

    Args:
        root: folder of the data set.
        layouts: its splits.
        allowed_ids: values that a label may hold.
    """
    problems = missing_halves(root, layouts)
    pairs = [
        (root / layout.images / f"{stem}{layout.image_suffix}",
         root / layout.labels / f"{stem}{layout.label_suffix}")
        for layout in layouts
        for stem in sorted(set.intersection(*layout.pairs(root)))
    ]  # fmt: skip
    # Decoding leaves Python's lock: threads do.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        lines = pool.map(partial(_check_pair, allowed_ids), pairs)
        console = Console(stderr=True)
        for found in track(lines, "checking", len(pairs), console=console, transient=True):
            problems += found
    return problems


def stems(folder: Path, suffix: str) -> set[str]:
    """Paths below ``folder`` without their suffix; hidden files are not data, as in mmseg."""
    paths = folder.rglob(f"[!.]*{suffix}")
    return {str(path.relative_to(folder))[: -len(suffix)] for path in paths}


def skipped_in(path: Path) -> set[str]:
    """Stems that a ``skipped.txt`` lists, none where it is not there."""
    if not path.is_file():
        return set()
    return {line.split("\t")[0] for line in path.read_text().splitlines()}


def has_end(path: Path) -> bool:
    """Whether a PNG or JPEG file has its end mark; files of other kinds are taken as they are."""
    with open(path, "rb") as file:
        start = file.read(8)
        file.seek(max(0, path.stat().st_size - _TAIL))
        return _is_whole(start, file.read())


def _is_whole(start: bytes, tail: bytes) -> bool:
    return all(end in tail for begin, end in _ENDS.items() if start.startswith(begin))


def read_pixels(path: Path) -> np.ndarray:
    """Pixels as stored, (H, W) or (H, W, channels); a palette image gives its indices.

    Raises:
        OSError, SyntaxError, ValueError: the file is not a whole image.
    """
    data = path.read_bytes()
    if not _is_whole(data, data[-_TAIL:]):
        raise OSError("its end is missing")
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def fault(path: Path, error: Exception) -> str:
    """What is wrong with a file that could not be read or converted, and how to mend it; a line."""
    if isinstance(error, DataError):
        return f"{path}: {error}; replace the file"
    if isinstance(error, FileNotFoundError):
        return f"{path}: cannot be found; copy it, or remove the pair"
    if isinstance(error, UnidentifiedImageError):
        return f"{path}: not an image that can be read; copy it again"
    return f"{path}: damaged or truncated ({error}); copy it again"


def _check_pair(allowed_ids: set[int], pair: tuple[Path, Path]) -> list[str]:
    problems, arrays = [], []
    for path in pair:
        try:
            arrays.append(read_pixels(path))
        except (OSError, SyntaxError, ValueError) as error:
            problems.append(fault(path, error))
    if problems:
        return problems
    image, label = arrays
    if label.ndim != 2 or label.dtype != np.uint8:
        return [
            f"{pair[1]}: not an 8-bit single-channel label ({label.dtype}, {label.shape}); "
            "store the ids as such"
        ]
    if image.shape[:2] != label.shape:
        height, width = label.shape
        problems.append(
            f"{pair[1]}: is {width}x{height}, its image {image.shape[1]}x{image.shape[0]}; "
            "remove the pair or replace one"
        )
    ids, counts = np.unique(label, return_counts=True)
    for value, count in zip(ids.tolist(), counts.tolist(), strict=True):
        if value not in allowed_ids:
            problems.append(
                f"{pair[1]}: label id {value} ({count} pixels) is out of range; "
                f"there are {_ranges(allowed_ids)}: mend or remove the pair"
            )
    return problems


def _ranges(ids: set[int]) -> str:
    """``{0, 1, 2, 255}`` as "0-2, 255"."""
    starts = [i for i in sorted(ids) if i - 1 not in ids]
    ends = [i for i in sorted(ids) if i + 1 not in ids]
    pairs = zip(starts, ends, strict=True)
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in pairs)
