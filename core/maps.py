"""HL maps as files: 16-bit PNG of their image's size, 0-65535 for ``sigmoid(D)`` of Eq. 1, 0-1."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from core.errors import MapError

FULL = 65535
_PNG_END = b"IEND\xaeB`\x82"


def quantized(scores: np.ndarray) -> np.ndarray:
    """A map (H, W), 0-1, as it is stored: (H, W) uint16, ``value / FULL`` the nearest there is."""
    return (np.clip(np.asarray(scores, np.float32), 0, 1) * FULL).round().astype(np.uint16)


def encode(scores: np.ndarray) -> bytes:
    """A map (H, W), 0-1, or one that is :func:`quantized`, as a 16-bit PNG."""
    values = scores if scores.dtype == np.uint16 else quantized(scores)
    done, data = cv2.imencode(".png", values)
    if not done:
        raise OSError("OpenCV could not encode a PNG")
    return data.tobytes()


def decode(path: str | Path) -> np.ndarray:
    """A map as stored, (H, W) uint16.

    Raises:
        MapError: it is missing or not a whole 16-bit PNG of one channel.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise MapError(
            f"{path}: no hardness map; collect the maps of this data set first"
        ) from error
    values = None
    if data.endswith(_PNG_END):  # OpenCV would decode what is left of a PNG that was cut
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.ndim != 2:
        raise MapError(f"{path}: not a whole 16-bit map; delete it and collect it again")
    return values
