"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from core.errors import WriteError
from core.processes import host, is_alive, process_of, start_of

_DAY = 24 * 3600.0  # seconds

Content = bytes | memoryview | Iterable[bytes | memoryview]  # whole, or in parts


def write_atomically(content: Content, path: str | Path) -> None:
    """One file, as :func:`write_files` does it."""
    write_files({Path(path): content})


def write_files(contents: Mapping[Path, Content]) -> None:
    """Write beside their places, sync, then rename all: at any kill each file is old or new, whole.

    A full disk is met while the old files still stand; no partial file stays. What a process that
    was killed in the midst of it left beside these places is removed.

    Args:
        contents: by path; folders are made.

    Raises:
        WriteError: the disk is full or a folder cannot be written.
    """
    drafts = {path: _draft(path) for path in contents}
    writing = next(iter(contents), None)
    try:
        for writing, draft in drafts.items():
            writing.parent.mkdir(parents=True, exist_ok=True)
            remove_drafts(writing.parent, writing.name)
            with open(draft, "wb") as file:
                parts = contents[writing]
                whole = isinstance(parts, bytes | memoryview)
                file.writelines([parts] if whole else parts)
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


def _draft(path: Path) -> Path:
    """Where a file is written before it is whole: its name says by which process."""
    me = process_of(os.getpid())
    return path.with_name(f".{path.name}.{_name_of(me['host'])}-{me['pid']}-{me['started']}.tmp")


def _name_of(host: str) -> str:
    return re.sub(r"\W+", "_", host, flags=re.ASCII)[-40:]


def remove_drafts(folder: Path, name: str | None = None) -> tuple[int, int]:
    """Remove unfinished files of processes that are no more; of another machine, when they are a
    day old.

    Args:
        name: of the file that they were to be; None: of any, in the folders of ``folder``, too.

    Returns:
        How many there were, and their bytes.
    """
    pattern = f".{glob.escape(name or '')}{'' if name else '*'}.*.tmp"
    found = [*folder.glob(pattern), *(() if name else folder.glob(f"*/{pattern}"))]
    count = size = 0
    for path in found:
        with contextlib.suppress(OSError):  # another start removes it just now
            status = path.stat()
            if _is_left(path.name, time.time() - status.st_mtime):
                path.unlink()
                size += status.st_size
                count += 1
    return count, size


def _is_left(name: str, age: float) -> bool:
    """Whether nobody writes a draft any more."""
    draft = re.fullmatch(r"\..+\.(\w+)-(\d+)-(\w+)\.tmp", name, re.ASCII)
    if not draft:
        older = re.fullmatch(r"\..+\.(\d+)\.tmp", name, re.ASCII)  # of a version before 0.7
        return bool(older) and not is_alive(int(older[1]))
    there, pid, started = draft.groups()
    if there != _name_of(host()):
        return age > _DAY
    return not is_alive(int(pid)) or started not in ("None", start_of(int(pid)))
