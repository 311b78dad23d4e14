"""Picture files as data URIs, small enough for a page."""

from __future__ import annotations

import base64
import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

MAX_WIDTH = 640  # pixels; wider pictures are reduced
BUDGET = 4_500_000  # characters of data URIs, which leaves room for charts below 6 MB
REMEDY = "the run draws it anew where it is trained or evaluated again"


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


class BadPicture(ValueError):
    """A file that is no picture, or too large a one; one line that names it."""


class Budget:
    """Counts what the pictures of a page take, and leaves out rows that are too much."""

    def __init__(self, room: int = BUDGET) -> None:
        self.room = room
        self.used = self.left_out = 0

    def take(self, cells: list[dict]) -> list[dict]:
        """The cells, or none where their ``uri`` are more than what is left."""
        size = sum(len(cell["uri"] or "") for cell in cells)
        if self.used + size > self.room:
            self.left_out += 1
            return []
        self.used += size
        return cells


def embed(path: Path, *, photo: bool, width: int = MAX_WIDTH, remedy: str = REMEDY) -> str:
    """A picture file as a data URI.

    Args:
        path: a PNG, as :mod:`core.engine.panels` writes it.
        width: a wider one is reduced to it.
        remedy: what mends a file that cannot be read.
        photo: as JPEG, reduced smoothly; otherwise as PNG whose pixels keep the exact colours of
            the file, as a label map needs.

    Raises:
        BadPicture: it cannot be read, or has more pixels than Pillow trusts.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=["PNG"]) as file:
                image = file.convert("RGB")
    except Exception as error:  # a damaged file meets a decoder's of any kind
        why = " ".join(str(error).replace(repr(str(path)), "").split())
        raise BadPicture(f"{path}: is left out, it cannot be read ({why}); {remedy}") from error
    if image.width > width:
        size = width, max(1, round(image.height * width / image.width))
        way = Image.Resampling.LANCZOS if photo else Image.Resampling.NEAREST
        image = image.resize(size, way)
    data = io.BytesIO()
    if photo:
        image.save(data, "JPEG", quality=88, optimize=True)
        return _uri("jpeg", data.getvalue())
    _indexed(image).save(data, "PNG", optimize=True)
    return _uri("png", data.getvalue())


def _indexed(image: Image.Image) -> Image.Image:
    """The same picture with a palette, a third of the size, if it has at most 256 colours."""
    packed = np.asarray(image).astype(np.uint32) @ np.array([65536, 256, 1], dtype=np.uint32)
    colors, index = np.unique(packed, return_inverse=True)
    if len(colors) > 256:
        return image
    indexed = Image.fromarray(index.reshape(packed.shape).astype(np.uint8))
    rgb = np.stack([colors >> 16, colors >> 8 & 255, colors & 255], axis=1)
    indexed.putpalette(rgb.astype(np.uint8).tobytes())
    return indexed
