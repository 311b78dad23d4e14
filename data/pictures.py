"""Picture files that a person names: files, and folders of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data.errors import DataError
from data.files import walk

ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


def picture_files(paths: Sequence[str | Path]) -> dict[str, Path]:
    """Picture files by a name of their own: that of the file without its ending, of one in a folder
    its place below it. A name that comes twice gets the ending (``a_jpg``) where the files lie side
    by side, else the folder before it, or a number.

    Args:
        paths: files, whatever their ending; folders, whose pictures are taken at any depth, in the
            order of names. What is hidden there is left out.

    Raises:
        DataError: one is missing, or a folder holds no picture.
    """
    found: dict[str, Path] = {}
    for path in map(Path, paths):
        if path.is_dir():
            files = [Path(folder, name) for folder, _, names in walk(path) for name in names
                     if name.lower().endswith(ENDINGS) and not name.startswith(".")]  # fmt: skip
            if not files:
                raise DataError(f"{path}: holds no picture ({' '.join(ENDINGS)}); name another "
                                "folder, or the files")  # fmt: skip
            pairs = [(str(file.relative_to(path).with_suffix("")), file) for file in files]
        elif path.is_file():
            pairs = [(path.stem, path)]
        else:
            raise DataError(f"{path}: no such picture or folder")
        before = path.name if path.is_dir() else path.parent.name
        for name, file in pairs:
            if file in found.values():
                continue
            found[_free(name, file, before, found)] = file
    return found


def check_outside(out: str | Path, paths: Sequence[str | Path]) -> None:
    """What is written must not be read as pictures the next time.

    Raises:
        DataError: ``out`` is one of the folders among ``paths``, or lies in one.
    """
    for path in map(Path, paths):
        if path.is_dir() and Path(out).resolve().is_relative_to(path.resolve()):
            raise DataError(f"{out}: lies in {path}, whose pictures are read; name a folder "
                            "outside it: --out DIR")  # fmt: skip


def _free(name: str, file: Path, before: str, taken: dict[str, Path]) -> str:
    beside = name in taken and taken[name].parent == file.parent  # of another ending
    tries = (name, *([] if beside else [f"{before}/{name}"]), f"{name}_{file.suffix[1:]}")
    free = next((x for x in tries if x not in taken and not x.startswith("/")), None)
    number = 2
    while free is None or free in taken:
        free, number = f"{name}-{number}", number + 1
    return free
