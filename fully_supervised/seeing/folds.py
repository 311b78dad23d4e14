"""Models that have not seen the images they judge: which images a checkpoint was trained on, and a
training for each part of them that leaves it out."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.config import Config

from core.engine.cli import ROOT, note
from core.errors import ConfigError, UserError
from core.files import write_atomically
from data.errors import DataError
from data.roots import Roots
from fully_supervised.seeing.inputs import of_data


class Known(NamedTuple):
    """Images of a training: real paths; and name and bytes of each file, by which a copy of it is
    known."""

    paths: frozenset[str]
    copies: frozenset[tuple[str, int]]

    def holds(self, path: Path) -> bool:
        return os.path.realpath(path) in self.paths or _as_copy(path) in self.copies

    def __len__(self) -> int:
        return len(self.paths)


def _as_copy(path: Path) -> tuple[str, int]:
    return path.name, path.stat().st_size if path.is_file() else -1


def trained_on(cfg: Config) -> Known | None:
    """The images of the config's train loader; None where they cannot be told, which is noted."""
    try:
        images = of_data(cfg, None, Roots(), "train")
    except (ConfigError, DataError, OSError, AssertionError) as error:
        note(f"which images the checkpoint was trained on cannot be told: {error}")
        return None
    files = [item.image for item in images.items]
    return Known(frozenset(map(os.path.realpath, files)), frozenset(map(_as_copy, files)))


def train_folds(
    cfg: Config, count: int, images: int, folder: Path, flags: Sequence[str] = ()
) -> list[Path]:
    """A checkpoint for each of ``count`` parts of the training images, trained on all others, with
    the config of the checkpoint; parts are runs of neighbours, as frames of one video are alike.

    What is trained already stays, what was interrupted goes on.

    Args:
        cfg: as the checkpoint carries it.
        images: how many there are.
        folder: gets ``fold-K.py`` and ``fold-K/``.
        flags: more of ``train.py``.

    Raises:
        ConfigError: more folds than images, the loader takes part of them already, or the folder
            holds folds of another config.
        UserError: a training failed.
    """
    if not 2 <= count <= images:
        raise ConfigError(f"--folds {count}: give 2 to {images}, the number of training images")
    if cfg.train_dataloader.dataset.get("indices") is not None:
        raise ConfigError("--folds: the checkpoint was itself trained on part of its images "
                          "(train_dataloader.dataset.indices); take one of all")  # fmt: skip
    found = []
    for k, part in enumerate(np.array_split(np.arange(images), count), start=1):
        own = copy.deepcopy(cfg)
        own.train_dataloader.dataset.indices = sorted(set(range(images)) - set(part.tolist()))
        for key in ("work_dir", "load_from", "resume"):
            own.pop(key, None)
        path, work_dir = folder / f"fold-{k}.py", folder / f"fold-{k}"
        text = own.pretty_text
        if path.is_file() and path.read_text() != text:
            raise ConfigError(f"{path}: is of another config; name another folder (--out)")
        write_atomically(text.encode(), path)
        if not (work_dir / "result.json").is_file():
            begun = ["--resume"] if list(work_dir.glob("iter_*.pth")) else []
            note(f"training {k} of {count}, without {len(part)} of {images} images: {work_dir}")
            done = subprocess.run(
                [sys.executable, str(ROOT / "fully_supervised/train.py"), str(path),
                 "--work-dir", str(work_dir), *begun, *flags], stdout=2,
            )  # fmt: skip
            if done.returncode:
                raise UserError(f"training {k} of {count} failed ({work_dir}/train.log); mend it, "
                                "the same command goes on")  # fmt: skip
        last = max(work_dir.glob("iter_*.pth"), key=lambda p: int(p.stem[5:]), default=None)
        if last is None:
            raise UserError(f"{work_dir}: holds no checkpoint; delete it, the same command trains "
                            "it again")  # fmt: skip
        found.append(last)
    return found
