"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from core.errors import WriteError

Content = bytes | Iterable[bytes | memoryview]  # whole, or in parts


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
    drafts = {path: path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in contents}
    writing = next(iter(contents), None)
    try:
        for writing, draft in drafts.items():
            writing.parent.mkdir(parents=True, exist_ok=True)
            remove_drafts(writing.parent, writing.name)
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


def remove_drafts(folder: Path, name: str | None = None) -> tuple[int, int]:
    """Remove unfinished files of processes that are no more.

    Args:
        name: of the file that they were to be; None: of any, in the folders of ``folder``, too.

    Returns:
        How many there were, and their bytes.
    """
    pattern = f".{glob.escape(name or '')}{'' if name else '*'}.*.tmp"
    found = [*folder.glob(pattern), *(() if name else folder.glob(f"*/{pattern}"))]
    count = size = 0
    for path in found:
        draft = re.fullmatch(r"\..+\.(\d+)\.tmp", path.name)
        if not draft or is_alive(int(draft[1])):
            continue
        with contextlib.suppress(OSError):  # another start removes it just now
            size += path.stat().st_size
            path.unlink()
            count += 1
    return count, size


def is_alive(pid: int) -> bool:
    """Whether there is such a process on this machine, and it has not ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's; or no number of a process
        return True
    return _stat(pid)[:1] not in (["Z"], ["X"])  # killed, and its parent has not asked yet


def process_start(pid: int) -> str | None:
    """What tells a process from a later one of the same number; None where there is no /proc."""
    found = _stat(pid)
    return found[19] if len(found) > 19 else None


def _stat(pid: int) -> list[str]:
    """The fields of /proc from the state on; the name before it may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
