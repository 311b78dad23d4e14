"""What the commands share: models with a map, progress, tables and strips on disk."""

from __future__ import annotations

import contextlib
import csv
import io
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from core.errors import ConfigError
from core.files import write_atomically
from core.section import Shown, Strip
from data.files import png

if TYPE_CHECKING:
    from core.predict import Predictor

T = TypeVar("T")


def need_map(predictor: Predictor, path: Path) -> None:
    """Raises:
    ConfigError: the model has no HL branch.
    """
    if predictor.hl_model is None:
        raise ConfigError(f"{path}: has no HL branch (a baseline's, or exported without it); take "
                          "the checkpoint of a training with --hl")  # fmt: skip


def counted(items: Iterable[T], title: str, total: int) -> Iterator[T]:
    """The items, with a bar on stderr that goes away."""
    from rich.console import Console
    from rich.progress import track

    yield from track(items, title, total, console=Console(stderr=True), transient=True)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without mmengine's lines on every parameter."""
    level = logging.root.manager.disable
    logging.disable(max(level, logging.INFO))
    try:
        yield
    finally:
        logging.disable(level)


def csv_of(head: Sequence[str], rows: Iterable[Sequence]) -> bytes:
    """Lines of values; floats with six digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    for row in rows:
        writer.writerow([f"{x:.6g}" if isinstance(x, float) else x for x in row])
    return text.getvalue().encode(errors="surrogateescape")


def strip(folder: Path, stem: str, title: str, pictures: Mapping[str, np.ndarray]) -> Strip:
    """Write pictures (H, W, 3) uint8, RGB, as ``STEM_1.png``, ...; by caption, one called "image"
    is the photo."""
    shown = []
    for number, (caption, picture) in enumerate(pictures.items(), start=1):
        name = f"{stem}_{number}.png"
        write_atomically(png(picture), folder / name)
        shown.append(Shown(name, caption, photo=caption == "image"))
    return Strip(title, tuple(shown))


def number(value: float | None, digits: int = 3) -> str:
    """As it is printed; an en dash where it cannot be told."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")
