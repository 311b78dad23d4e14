"""What ``predict.py`` writes of each picture."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from core.analysis.colors import color_hardness
from core.analysis.overlays import legend, overlay
from core.errors import ConfigError, PictureError
from core.files import write_atomically, write_files
from core.maps import encode
from data.files import png

if TYPE_CHECKING:  # torch takes seconds
    from core.predict import Prediction, Predictor
    from fully_supervised.seeing.inputs import Images, Item

RECORD = "predictions.json"  # whose folder this is, the classes, which picture has which name
LEGEND = "legend.png"


def palette_png(labels: np.ndarray, palette: np.ndarray) -> bytes:
    """Class ids (H, W) as a PNG whose pixels are the ids: uint8 with a palette of the colours, RGB;
    uint16, of more than 256 classes, without."""
    image = Image.fromarray(labels)
    if labels.dtype == np.uint8:
        image.putpalette(palette.astype(np.uint8).ravel().tolist())
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


def each_picture(
    predictor: Predictor, images: Images, words: str, failed: list[str], *, hardness: bool = True
) -> Iterator[tuple[Item, Prediction]]:
    """Pictures, one after the other, and what is predicted of them. One that cannot be read is a
    line on stderr and in ``failed``."""
    console = Console(stderr=True)
    for item in track(images.items, words, console=console, transient=True):
        try:
            found = predictor.predict(item.image, hardness=hardness)
        except PictureError as error:
            line = str(error) if str(item.image) in str(error) else f"{item.image}: {error}"
            failed.append(line)
            console.print(f"error: {line}", markup=False, highlight=False, soft_wrap=True)
            continue
        yield item, found


def write_predictions(
    predictor: Predictor, images: Images, out: Path, command: str, *, hardness: bool = True
) -> tuple[list[str], list[str]]:
    """Write labels, overlays and HL maps of pictures below ``out``, one picture at a time.

    Args:
        command: what the folder is of; another one's is refused.
        hardness: whether to run the HL branch, where there is one.

    Returns:
        The kinds that were written, and a line for each picture that could not be predicted.

    Raises:
        ConfigError: the folder holds something else.
        WriteError: a file cannot be written; those before it are whole.
    """
    hardness = hardness and predictor.hl_model is not None
    _claim(out, command)
    _record(out, command, predictor, images)
    write_atomically(png(legend(predictor.classes, predictor.palette)), out / LEGEND)
    writers: dict[str, Callable[[Prediction], bytes]] = {
        "labels": lambda found: palette_png(found.labels, predictor.palette),
        "overlays": lambda found: png(overlay(found.image, predictor.palette[found.labels])),
    }
    if hardness:
        writers |= {
            "hardness": lambda found: encode(found.hardness),
            "hardness-color": lambda found: png(color_hardness(found.hardness)),
        }
    failed: list[str] = []
    for item, found in each_picture(predictor, images, "predicting", failed, hardness=hardness):
        write_files({out / kind / f"{item.name}.png": write(found)
                     for kind, write in writers.items()})  # fmt: skip
    _record(out, command, predictor, images, failed)
    return list(writers), failed


def _claim(out: Path, command: str) -> None:
    path = out / RECORD
    if out.is_dir() and any(out.iterdir()):
        try:
            before = json.loads(path.read_bytes())["command"]
        except (OSError, ValueError, TypeError, KeyError):
            before = None
        if before != command:
            whose = f"what was written by: {before}" if before else "files of something else"
            raise ConfigError(f"{out}: holds {whose}; name a new folder (--out)")


def _record(out: Path, command: str, predictor: Predictor, images: Images,
            failed: Sequence[str] = ()) -> None:  # fmt: skip
    """Whose the folder is, the classes, what each picture is called, and which were left out."""
    pairs = zip(predictor.classes, predictor.palette.tolist(), strict=True)
    classes = [dict(id=k, name=name, color=color) for k, (name, color) in enumerate(pairs)]
    names = {str(item.image): f"{item.name}.png" for item in images.items}
    told = dict(command=command, classes=classes, pictures=names, failed=list(failed))
    text = json.dumps(told, indent=1, ensure_ascii=False)
    write_atomically(f"{text}\n".encode(errors="backslashreplace"), out / RECORD)
