"""Writing files whole or not at all, and working on many of them side by side."""

from __future__ import annotations

import contextlib
import os
import signal
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
            handle, draft = tempfile.mkstemp(prefix=".unfinished-", dir=os.path.dirname(path))
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
