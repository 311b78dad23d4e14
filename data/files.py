"""Writing files whole or not at all, and working on many of them side by side."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from data.errors import DataError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def size_of(path: str | Path) -> int:
    """The size of a file in bytes; opening a pipe would wait for ever, a device has no end.

    Raises:
        OSError: it is missing. DataError: it is no file.
    """
    status = os.stat(path)
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        raise DataError(f"is {_KINDS.get(kind, 'no file')}, not a file")
    return status.st_size


def save(path: str | Path, data: bytes) -> None:
    """One file, as :func:`save_all` does it."""
    save_all({path: data})


def save_all(contents: Mapping[str | Path, bytes]) -> None:
    """Write files beside their places, sync, then rename all: a kill leaves no half file.

    Args:
        contents: bytes by path, in folders that are there.

    Raises:
        OSError: one cannot be written; the old ones stand, nothing is left behind.
    """
    drafts: dict[str, str | Path] = {}
    try:
        for path, data in contents.items():
            handle, draft = tempfile.mkstemp(prefix=_draft(os.getpid()), dir=os.path.dirname(path))
            drafts[draft] = path
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(draft, 0o644)
        for draft, path in drafts.items():
            os.replace(draft, path)
    except BaseException:
        for draft in drafts:
            if os.path.exists(draft):
                os.unlink(draft)
        raise


def _draft(pid: int | str) -> str:
    """How the names of drafts of a process begin."""
    return f".unfinished-{socket.gethostname()}-{pid}-"


def sweep(folder: str | Path) -> int:
    """Remove the drafts that processes which are dead left below ``folder``; how many.

    Of processes elsewhere nothing is known but that no file takes an hour to write.
    """
    removed = 0
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            if name.startswith(".unfinished-") and not _is_written(path):
                os.unlink(path)
                removed += 1
    return removed


def _is_written(path: str) -> bool:
    """Whether a process may be at work on a draft."""
    name = os.path.basename(path)
    pid = name.removeprefix(_draft("").removesuffix("-")).partition("-")[0]
    if name.startswith(_draft(pid)) and pid.isdigit():
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # another user's
            pass
        return True
    return time.time() - os.path.getmtime(path) < 3600


def walk(folder: str | Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """``os.walk`` in the order of names that enters linked folders, too, as mmseg does.

    Raises:
        DataError: a link leads to a folder that holds it: there would be no end.
    """
    return _walk(str(folder), ())


def _walk(folder: str, above: tuple[str, ...]) -> Iterator[tuple[str, list[str], list[str]]]:
    here = os.path.realpath(folder)
    if here in above:
        raise DataError(f"{folder}: a link to a folder that holds it; remove the link")
    for _, folders, names in os.walk(folder):
        yield folder, sorted(folders), sorted(names)
        for name in sorted(folders):
            yield from _walk(os.path.join(folder, name), (*above, here))
        return


def mirror(src: str | Path, out: str | Path) -> None:
    """The tree of ``src`` below ``out``, every file a link: what is made there leaves ``src`` as
    it is. What is there already stays.

    Raises:
        OSError: a link cannot be made. DataError: see :func:`walk`.
    """
    src, out = Path(src).resolve(), Path(out)
    for folder, _, names in walk(src):
        target = out / Path(folder).relative_to(src)
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            if not os.path.lexists(target / name):
                os.symlink(os.path.join(folder, name), target / name)


def png(array: np.ndarray) -> bytes:
    """Encode (H, W) or RGB (H, W, 3) uint8 as PNG, always to the same bytes."""
    if array.ndim == 3:
        array = cv2.cvtColor(array, cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_PNG_COMPRESSION, 6, cv2.IMWRITE_PNG_STRATEGY,
               cv2.IMWRITE_PNG_STRATEGY_DEFAULT]  # fmt: skip
    done, data = cv2.imencode(".png", array, options)
    if not done:
        raise OSError("OpenCV could not encode a PNG")
    return data.tobytes()


def in_parallel(
    function: Callable[[Any], Any], items: Sequence[Any], what: str, workers: int | None = None
) -> list[Any]:
    """``function`` of each item, in their order, in processes with a line of progress on stderr.

    Args:
        function: of a module, not a closure: it travels to the processes.
        what: name of the work in the line of progress.
        workers: processes; one a core, eight at most, by default. A few items need none.
    """
    workers = workers or min(os.cpu_count() or 1, 8)
    if workers == 1 or len(items) < 8:
        return list(map(function, items))
    console = Console(stderr=True)
    with side_by_side(function, items, workers) as results:
        return list(track(results, what, len(items), console=console, transient=True))


@contextlib.contextmanager
def side_by_side(
    function: Callable[[Any], Any], items: Sequence[Any], workers: int
) -> Iterator[Iterator[Any]]:
    """Results in processes that leave Ctrl-C and SIGHUP to this one, and end with it, however it
    ends."""
    # The processes are started here, Python's tracker of semaphores first; what is blocked now is
    # blocked there for good. (The start of the tracker unblocks Ctrl-C, to which it is deaf.)
    heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start_worker,
                                   initargs=(os.getpid(),))  # fmt: skip
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        results = pool.map(function, items, chunksize=4)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, heard)
    try:
        yield results
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(parent: int) -> None:
    cv2.setNumThreads(1)  # the pool is the parallelism
    threading.Thread(target=_heed, args=(parent,), daemon=True).start()


def _heed(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
