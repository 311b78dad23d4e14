"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.errors import WriteError

Content = bytes | Sequence[bytes | memoryview]  # whole, or in parts


def write_atomically(content: Content, path: str | Path) -> None:
    """One file, as :func:`write_files` does it."""
    write_files({Path(path): content})


def write_files(contents: Mapping[Path, Content]) -> None:
    """Write beside their places, sync, then rename all: at any kill each file is old or new, whole.

    A full disk is met while the old files still stand; no partial file stays.

    Args:
        contents: by path; folders are made.

    Raises:
        WriteError: the disk is full or a folder cannot be written.
    """
    drafts = {path: path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in contents}
    writing = next(iter(contents), None)
    try:
        for writing, draft in drafts.items():
            writing.parent.mkdir(parents=True, exist_ok=True)
            with open(draft, "wb") as file:
                parts = contents[writing]
                file.writelines([parts] if isinstance(parts, bytes) else parts)
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
