"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from core.errors import WriteError

# How a whole image file begins, and what comes at its end.
_ENDS = {b"\x89PNG": b"IEND\xaeB`\x82", b"\xff\xd8": b"\xff\xd9"}
_TAIL = 64  # some writers add a few bytes after the end


def write_atomically(content: bytes, path: str | Path) -> None:
    """One file, as :func:`write_files` does it."""
    write_files({Path(path): content})


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write beside their places, sync, then rename all: at any kill each file is old or new, whole.

    A full disk is met while the old files still stand; no partial file stays.

    Args:
        contents: bytes by path; folders are made.

    Raises:
        WriteError: the disk is full or a folder cannot be written.
    """
    drafts = {path: path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in contents}
    writing = next(iter(contents), None)
    try:
        for writing, draft in drafts.items():
            writing.parent.mkdir(parents=True, exist_ok=True)
            with open(draft, "wb") as file:
                file.write(contents[writing])
                file.flush()
                os.fsync(file.fileno())
        for writing, draft in drafts.items():
            os.replace(draft, writing)
        for folder in {path.parent for path in contents}:
            _sync_folder(folder)
    except OSError as error:
        for draft in drafts.values():
            with contextlib.suppress(OSError):  # its folder may be none
                draft.unlink()
        reason = error.strerror or str(error)
        raise WriteError(f"{writing}: could not be written ({reason}); make room or mend the "
                         "folder, what was there before is untouched") from error  # fmt: skip


def _sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_whole(path: str | Path) -> bool:
    """Whether an image file is there with its end mark; formats without one are taken as they are.

    The decoders take a truncated JPEG for a whole one.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(4)
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL))
            tail = file.read()
    except OSError:
        return False
    return bool(start) and all(
        end in tail for begin, end in _ENDS.items() if start.startswith(begin)
    )
