"""What the benchmarks share: arms timed in turn, bytes that a graph keeps, a table and its JSON."""

from __future__ import annotations

import datetime
import gc
import json
import platform
import statistics
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

PACKAGES = ("torch", "onedl-mmsegmentation", "onedl-mmengine", "onedl-mmcv", "numpy", "triton")


class Kept(NamedTuple):
    """Bytes kept for the backward pass: as often as they are saved, and each storage once."""

    saved: int
    once: int


class _Saved:
    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def kept_bytes(act: Callable[[], Any], but: Sequence[Tensor] = ()) -> Kept:
    """What the graph of ``act()`` keeps, while what it returns is held.

    Args:
        but: tensors that are there anyway, such as parameters.
    """
    held: weakref.WeakSet[_Saved] = weakref.WeakSet()
    known = {x.untyped_storage().data_ptr() for x in but}

    def pack(tensor: Tensor) -> _Saved:
        saved = _Saved(tensor)
        held.add(saved)
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved.tensor):
        out = act()
    gc.collect()
    storages = [saved.tensor.untyped_storage() for saved in held]
    storages = [s for s in storages if s.data_ptr() not in known]
    del out
    return Kept(
        sum(s.nbytes() for s in storages),
        sum({s.data_ptr(): s.nbytes() for s in storages}.values()),
    )


def turns(acts: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each, run in turn so that what disturbs the machine disturbs them alike.

    On a GPU wall time; on the CPU processor time, of all threads of this process.
    """
    on_gpu = torch.cuda.is_available()
    clock = time.perf_counter if on_gpu else time.process_time
    found: dict[str, list[float]] = {name: [] for name in acts}
    for turn in range(repeats + 1):
        for name, act in acts.items():
            start = clock()
            act()
            if on_gpu:
                torch.cuda.synchronize()
            if turn:  # the first one warms up
                found[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in found.items()}


def threads(number: int) -> None:
    """Of torch: processor time of one is hardly disturbed by other processes."""
    torch.set_num_threads(number)
    torch.manual_seed(0)


def facts() -> dict[str, Any]:
    """Machine, versions and seed of a measurement."""
    return dict(
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else _processor(),
        threads=torch.get_num_threads(),
        python=platform.python_version(),
        versions={name: found for name in PACKAGES if (found := _version(name))},
        date=datetime.date.today().isoformat(),
        seed=0,
    )


def report(
    title: str, rows: Sequence[Mapping[str, Any]], out: Path, details: Any = None, **more: Any
) -> None:
    """Prints rows, dicts with the same keys, as a table, and writes them with :func:`facts`.

    Args:
        details: what is written, but not printed.
    """
    of = facts() | more
    names = list(rows[0])
    cells = [[_cell(row[name]) for name in names] for row in rows]
    wide = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    said = ", ".join(f"{key} {value}" for key, value in of.items() if key != "versions")
    print(f"{title} ({said})")
    for line in [names, ["-" * n for n in wide], *cells]:
        print("| " + " | ".join(x.rjust(n) for x, n in zip(line, wide, strict=True)) + " |")
    out.parent.mkdir(parents=True, exist_ok=True)
    content = dict(title=title, facts=of, rows=list(rows), details=details)
    out.write_text(json.dumps(content, indent=1) + "\n")
    print(out)


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
