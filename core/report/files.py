"""Several files at once, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def write_files(contents: Mapping[Path, str]) -> None:
    """Write UTF-8 text files atomically.

    Every file is first written and synced beside its place, so that a full disk is met while the
    old files still stand; only then are they renamed over the old ones.

    Args:
        contents: text by path. Folders are made.

    Raises:
        OSError: as the file system gave it; no temporary file is left behind.
    """
    drafts = {path: path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in contents}
    try:
        for path, draft in drafts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(draft, "w", encoding="utf-8", newline="") as file:
                file.write(contents[path])
                file.flush()
                os.fsync(file.fileno())
        for path, draft in drafts.items():
            os.replace(draft, path)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
