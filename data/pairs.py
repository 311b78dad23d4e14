"""Whether an image and its label can be trained on: the one answer that ``prepare.py`` and every
loader give."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from data.errors import DataError
from data.files import size_of

TURNED = "turned by its EXIF tag"  # a kind of problem
# How a whole file begins and what comes at its end. Pillow decodes a PNG whose last bytes are gone
# (OpenCV then refuses it in the middle of a training) and a JPEG that goes on in zeros.
_ENDS = {b"\x89PNG\r\n\x1a\n": b"IEND\xaeB`\x82", b"\xff\xd8": b"\xff\xd9"}
_TAIL = 1024  # some writers add a few bytes after the end
_MORE = bytes(range(1, 255, 2))  # no mark of JPEG's among them
_ORIENTATION = 0x0112  # EXIF's tag; 1 is upright
# What a file that cannot be read raises.
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
_BYTES = ("L", "P", "1")  # Pillow's modes of one channel that fits in 8 bits


@dataclass(frozen=True)
class Problem:
    """What is wrong with a file; as text it is one line.

    Attributes:
        kind: the same for all files of which the same is wrong.
        path: the file.
        what, remedy: of this file.
    """

    kind: str
    path: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}; {self.remedy}"


@dataclass(frozen=True)
class Rule:
    """What a loader makes of files.

    Attributes:
        ids: values that a label may hold, 0-255; None: any of these.
        turned: whether it turns an image by its EXIF tag (OpenCV and Pillow do, unless told not to;
            a label is never turned).
        indices: whether a palette label gives indices and a 1-bit label 0 and 1 (Pillow), not
            colours, 0 and 255 (OpenCV).
    """

    ids: Collection[int] | None = None
    turned: bool = True
    indices: bool = True


@dataclass(frozen=True)
class _Header:
    size: tuple[int, int]  # width, height, as stored
    mode: str
    orientation: int


def problems_of(
    image: str | Path | None, label: str | Path | None, rule: Rule, *, pixels: bool = False
) -> list[Problem]:
    """What keeps an image and its label from being trained on, [] if nothing does.

    Reads the headers, less than a millisecond a pair; the pixels only of labels of more than 8
    bits, whose ids the loader would wrap.

    Args:
        image, label: files; None where there is none.
        rule: what the loader makes of them.
        pixels: decode both, so that damage inside a file and every label id are found.
    """
    found, headers = [], {}
    for path in (image, label):
        if path is None:
            continue
        try:
            headers[path] = _header(path, whole=pixels)
        except UNREADABLE as error:
            found.append(fault(path, error))
    if found:
        return found
    if image is not None and min(headers[image].size) < 2:
        width, height = headers[image].size
        found.append(Problem("image of one pixel", str(image), f"is {width}x{height}",
                             "copy the real image, or remove the pair"))  # fmt: skip
    if label is None:
        return found
    found += _shape_problems(image, headers.get(image), label, headers[label], rule)
    mode = headers[label].mode
    if len(Image.new(mode, (1, 1)).getbands()) > 1 or (mode in "P1" and not rule.indices):
        found.append(_channels(label, mode))
    elif pixels or mode not in _BYTES:
        ids = rule.ids if pixels else None
        found += id_problems(label, read_pixels(label), ids)
    return found


def _shape_problems(
    image: str | Path | None, shown: _Header | None, label: str | Path, stored: _Header, rule: Rule
) -> list[Problem]:
    if shown is None:
        return []
    (width, height), turn = shown.size, shown.orientation
    is_, its = "x".join(map(str, stored.size)), f"{width}x{height}"
    if rule.turned and turn > 1:
        # Only a turn that changes the size, and to that of the label, tells that the label was
        # drawn on the turned image.
        fits = turn >= 5 and width != height and (height, width) == stored.size
        if fits:
            return []
        return [
            Problem(TURNED, str(image),
                    f"EXIF orientation {turn} has the loader turn it, but not its label ({is_}, "
                    f"stored image {its})",
                    "store the pixels as they belong to the label and remove the tag")
        ]  # fmt: skip
    if (width, height) != stored.size:
        return [
            Problem("label of another size", str(label), f"is {is_}, its image {its}",
                    "remove the pair or replace one")
        ]  # fmt: skip
    return []


def _channels(label: str | Path, mode: str) -> Problem:
    bands = Image.new(mode, (1, 1)).getbands()
    what = f"not a single-channel label ({mode}, {len(bands)} channels)"
    remedy = "store the ids as one channel of 8 bits"
    if mode in "P1":
        what = f"not a label of plain ids ({'palette' if mode == 'P' else '1-bit'}), the config's "
        what += "imdecode_backend='cv2' reads colours"
        remedy = "leave LoadAnnotations its own backend, pillow, or " + remedy
    elif len(bands) >= 3:
        first = read_pixels(label)[..., :3]
        grey = bool((first == first[..., :1]).all())
        remedy = (
            "its three are equal: store one of them, PIL.Image.open(FILE).getchannel(0).save(FILE)"
            if grey
            else "make ids of its colours and " + remedy
        )
    return Problem("label of several channels", str(label), what, remedy)


def id_problems(
    label: str | Path, values: np.ndarray, ids: Collection[int] | None
) -> list[Problem]:
    """Ids of a label, any shape, that are none of ``ids`` (None: that do not fit in 8 bits)."""
    if values.dtype == np.bool_:
        values = values.astype(np.uint8)
    whole = np.issubdtype(values.dtype, np.integer)
    if not (whole and values.size and values.min() >= 0 and values.max() <= 255):
        odd = values[(values < 0) | (values > 255) | (values % 1 != 0)].ravel()
        if odd.size:
            return [_not_8_bits(label, odd[0].item())]
    counts = np.bincount(values.ravel().astype(np.intp, copy=False), minlength=256)
    present = counts.nonzero()[0]
    wrong = [] if ids is None else [i for i in present.tolist() if i not in ids]
    if not wrong:
        return []
    more = f" and {len(wrong) - 1} more ids" if wrong[1:] else ""
    hint = "mend or remove the pair"
    if set(present.tolist()) == {0, 255}:
        hint = "a mask of 0 and 255? store 1 for 255"
    return [
        Problem("label id out of range", str(label),
                f"label id {wrong[0]} ({counts[wrong[0]]} pixels){more} is out of range; there are "
                f"{ranges(ids)}", hint)
    ]  # fmt: skip


def _not_8_bits(label: str | Path, value: float) -> Problem:
    what = f"label id {value} is no whole number of 0 to 255, the loader would wrap it"
    remedy = "store the ids of classes, and what is ignored as 255, in 8 bits"
    return Problem("label id of more than 8 bits", str(label), what, remedy)


def ranges(ids: Collection[int]) -> str:
    """``{0, 1, 2, 255}`` as "0-2, 255"."""
    starts = [i for i in sorted(ids) if i - 1 not in ids]
    ends = [i for i in sorted(ids) if i + 1 not in ids]
    pairs = zip(starts, ends, strict=True)
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in pairs)


def trained_id(
    value: int, reduce_zero_label: bool = False, label_map: Mapping[int, int] | None = None
) -> int:
    """What mmseg's ``LoadAnnotations`` makes of a stored label value, 0-255."""
    if reduce_zero_label:
        value = value - 1 if 0 < value < 255 else 255
    return (label_map or {}).get(value, value)


def stored_ids(
    num_classes: int,
    ignore_index: int = 255,
    reduce_zero_label: bool = False,
    label_map: Mapping[int, int] | None = None,
) -> set[int]:
    """Label values, 0-255, that are read as a class or as the ignored one."""
    allowed = {*range(num_classes), ignore_index}
    return {v for v in range(256) if trained_id(v, reduce_zero_label, label_map) in allowed}


def has_end(path: str | Path) -> bool:
    """Whether a PNG or JPEG file has its end mark; files of other kinds are taken as they are.

    Raises:
        OSError: it is missing. DataError: it is no file.
    """
    size = size_of(path)
    with open(path, "rb") as file:
        start = file.read(8)
        file.seek(max(0, size - _TAIL))
        return _is_whole(start, file.read())


def _is_whole(start: bytes, tail: bytes) -> bool:
    return all(end in tail for begin, end in _ENDS.items() if start.startswith(begin))


def _header(path: str | Path, *, whole: bool) -> _Header:
    """Of an image file; ``whole``: decode it, too."""
    if not has_end(path):
        raise OSError("its end is missing")
    with Image.open(path) as image:
        size = image.size
        if whole:
            image.load()
            if image.format == "JPEG" and _lacks_pixels(path, image):
                raise OSError("ends before its last pixel")
        turn = _orientation(image)
        if image.format == "TIFF" and turn >= 5:  # Pillow gives the size after the turn
            size = size[::-1]
        return _Header(size, image.mode, turn)


def _lacks_pixels(path: str | Path, image: Image.Image) -> bool:
    """Whether a decoded JPEG ends early, though with its mark: decoders make up the pixels that it
    lacks, so bytes put before the mark change them; in a whole file nothing reads these."""
    data = Path(path).read_bytes()
    end = data.rfind(b"\xff\xd9")
    with Image.open(io.BytesIO(data[:end] + _MORE + data[end:])) as longer:
        return longer.tobytes() != image.tobytes()


def _orientation(image: Image.Image) -> int:
    """1-8. Pillow's ``getexif`` would decode a PNG, and takes XMP's word, which OpenCV does not."""
    if image.format == "TIFF":
        turn = image.tag_v2.get(_ORIENTATION)
    else:
        exif = Image.Exif()
        exif.load(image.info.get("exif", b""))
        turn = exif.get(_ORIENTATION)
    return turn if turn in range(1, 9) else 1


def read_pixels(path: str | Path) -> np.ndarray:
    """Pixels as stored, (H, W) or (H, W, channels); a palette image gives its indices.

    Raises:
        UNREADABLE: the file is not a whole image, or too large.
    """
    size_of(path)
    data = Path(path).read_bytes()
    if not _is_whole(data, data[-_TAIL:]):
        raise OSError("its end is missing")
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def decode(path: str | Path, flags: int) -> np.ndarray:
    """Pixels as OpenCV decodes them, once the header tells a size that can be decoded.

    Raises:
        UNREADABLE: the file is not a whole image, or too large.
    """
    _header(path, whole=False)
    pixels = cv2.imread(str(path), flags)
    if pixels is None:
        raise OSError("cannot be decoded")
    return pixels


def fault(path: str | Path, error: Exception) -> Problem:
    """What is wrong with a file that could not be read or converted, and how to mend it."""
    path = str(path)
    if isinstance(error, DataError):
        return Problem("cannot be used", path, str(error), "replace the file")
    if isinstance(error, FileNotFoundError):
        return Problem("missing", path, "cannot be found", "copy it, or remove the pair")
    if isinstance(error, UnidentifiedImageError):
        return Problem("no image", path, "not an image that can be read", "copy it again")
    if isinstance(error, Image.DecompressionBombError):
        return Problem("too large", path, f"too large ({error})".replace(" DOS ", " "),
                       "cut it into patches")  # fmt: skip
    if isinstance(error, PermissionError):
        return Problem("not readable", path, "may not be read", "change its permissions")
    return Problem("damaged", path, f"damaged or truncated ({error})", "copy it again")
