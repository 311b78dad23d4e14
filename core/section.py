"""What a command of ``hardness.py`` leaves: ``section.json``, a typed record, and pictures beside
it. The report gathers the sections below a folder as one page."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import ConfigError, ResultError
from core.files import write_atomically
from core.result import Code, this_code
from core.typed import Misfit, fit

NAME = "section.json"
CLAIM = "command.txt"  # in the folder of a command from its start
_OURS = b'name="generator" content="pixel-hardness"'


@dataclass(frozen=True)
class Shown:
    """A picture: a PNG in the section's folder and what stands below it; a ``photo`` may be made
    smaller with loss, a map or a label may not."""

    file: str
    caption: str
    photo: bool = False


@dataclass(frozen=True)
class Strip:
    """Pictures that belong together, side by side: of one image, of one iteration."""

    title: str
    pictures: tuple[Shown, ...]


@dataclass(frozen=True)
class Grid:
    """A table of texts as they are shown; its first column, of any head, names the rows."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Chart:
    """Lines over one quantity: by name, ``[[x, y], ...]``."""

    title: str
    x: str
    y: str
    lines: Mapping[str, list[list[float]]]
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """One command's outcome.

    Attributes:
        kind: the command's name.
        title: heading.
        words: paragraphs; the first says what this shows, and what it cannot.
        facts: what it was made of: checkpoint, data, number of images, device, ...
        figures: the numbers, for machines.
        failed: pictures that could not be read and are left out, a line each.
        files: further files in the section's folder that are for a person: name, what it is.
        command, code, date: what made it, filled in when it is written.
    """

    kind: str
    title: str
    words: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    tables: tuple[Grid, ...] = ()
    charts: tuple[Chart, ...] = ()
    strips: tuple[Strip, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    failed: tuple[str, ...] = ()
    command: str = ""
    code: Code = field(default_factory=Code)
    date: str = ""


def write(section: Section, folder: str | Path, command: str) -> Section:
    """Write ``section.json``; what was written, with command, code and date.

    Raises:
        WriteError: it cannot be written; an old one stands.
    """
    section = dataclasses.replace(section, command=command, code=this_code(),
                                  date=datetime.date.today().isoformat())  # fmt: skip
    text = json.dumps(dataclasses.asdict(section), indent=1, ensure_ascii=False)
    write_atomically(f"{text}\n".encode(errors="backslashreplace"), Path(folder) / NAME)
    return section


def read(folder: str | Path) -> Section | None:
    """The section in a folder; None if there is none.

    Raises:
        ResultError: it is damaged, or its pictures leave the folder.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        return None
    try:
        section = fit(Section, json.loads(path.read_bytes()))
        for name in (*section.files, *(p.file for s in section.strips for p in s.pictures)):
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise Misfit(f"file {name!a} is not in its folder")
    except (OSError, ValueError, RecursionError) as error:
        words = " ".join(str(error).split())[:160]
        raise ResultError(f"{path}: cannot be read ({words}); run its command again, or delete "
                          "that folder") from error  # fmt: skip
    return section


def check_page(root: str | Path) -> None:
    """Raises:
    ConfigError: ``root`` holds an index.html of somebody else's.
    """
    page = Path(root) / "index.html"
    if page.is_file() and _OURS not in page.read_bytes()[:2000]:
        raise ConfigError(f"{page}: is no page of this project, and would be written over; name "
                          "another --out")  # fmt: skip


def folder_for(root: str | Path, kind: str, command: str) -> Path:
    """Where a command writes below ``root``, which it claims now: a folder of its kind, that of the
    same command before, or the first that is free. What others left stays.

    Raises:
        ConfigError: ``root`` holds an index.html of somebody else's.
        WriteError: it cannot be written.
    """
    check_page(root)
    number = 1
    while True:
        folder = Path(root) / (kind if number == 1 else f"{kind}-{number}")
        claim = folder / CLAIM
        if claim.is_file() and claim.read_bytes() == _told(command):
            return folder
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            write_atomically(_told(command), claim)
            return folder
        number += 1


def release(folder: Path) -> None:
    """Give up a claim on a folder in which nothing was left."""
    if folder.is_dir() and [path.name for path in folder.iterdir()] == [CLAIM]:
        (folder / CLAIM).unlink()
        for empty in (folder, folder.parent):
            with contextlib.suppress(OSError):  # the one above may hold others
                empty.rmdir()


def _told(command: str) -> bytes:
    return f"{command}\n".encode(errors="backslashreplace")
