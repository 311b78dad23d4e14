"""Checkpoint files: written whole or not at all, read without running code.

mmengine writes in place, prunes before it writes, and unpickles anything when the safe load
fails. Here a file is written beside its place, synced and renamed; older ones are pruned after;
loading is ``weights_only=True`` for every source, backbones included.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import HistoryBuffer

from core.errors import CheckpointError
from core.files import write_atomically
from core.mmfixes import read_checkpoints_with


def load_checkpoint(path: str | Path, map_location: str = "cpu") -> dict[str, Any]:
    """Read a checkpoint without running code from it, onto the CPU by default.

    Returns:
        The saved dict. A bare state dict, as some projects publish, comes back under
        ``state_dict``.

    Raises:
        CheckpointError: the file is missing, truncated, or holds more than plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        if not zipfile.is_zipfile(path):
            raise CheckpointError(f"{path}: damaged or not a checkpoint") from error
        raise CheckpointError(
            f"{path}: holds objects other than tensors and plain values, which could run code; "
            "refused. Save its state_dict alone on a machine that you trust it with"
        ) from error
    except (RuntimeError, EOFError, OSError, zipfile.BadZipFile, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: damaged or not a checkpoint ({_first(error)})") from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"{path}: holds a {type(checkpoint).__name__}, not a state dict")
    if checkpoint and all(isinstance(value, torch.Tensor) for value in checkpoint.values()):
        return dict(state_dict=checkpoint)
    return checkpoint


def to_bytes(checkpoint: dict[str, Any]) -> bytes:
    """What ``torch.save`` writes."""
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    return buffer.getvalue()


def weights_revision(state_dict: Mapping[str, torch.Tensor]) -> str:
    """16 hex digits that tell weights apart: of the SHA-256 over names, shapes, types and bits."""
    digest = hashlib.sha256()
    for key in sorted(state_dict):
        value = state_dict[key].detach().cpu().contiguous()
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


class AtomicBackend(LocalBackend):
    """mmengine's local files, written with :func:`core.files.write_atomically`."""

    def put(self, obj: bytes | memoryview, filepath: str | Path) -> None:
        write_atomically(obj, filepath)


register_backend("atomic", AtomicBackend)


def checkpoints_in(work_dir: str | Path) -> list[Path]:
    """``iter_N.pth`` of a work_dir, the latest first."""
    found = [p for p in Path(work_dir).glob("iter_*.pth") if re.fullmatch(r"iter_\d+", p.stem)]
    return sorted(found, key=iteration_of, reverse=True)


def iteration_of(path: Path) -> int:
    """N of ``iter_N.pth``."""
    return int(path.stem.removeprefix("iter_"))


def to_plain(value: Any) -> Any:
    """``value`` with NumPy scalars and arrays, and mappings and tuples of them, as plain types.

    mmengine's history buffers are left out: they would make the checkpoint unreadable for the
    safe load, and only smooth the log.
    """
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {k: to_plain(v) for k, v in value.items() if not isinstance(v, HistoryBuffer)}
    if isinstance(value, (list, tuple)):
        return type(value)(to_plain(item) for item in value)
    return value


def _first(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:160]


def _load_local(filename: str, map_location: str | None = None) -> dict[str, Any]:
    return load_checkpoint(os.path.expanduser(filename), map_location or "cpu")


def _load_http(
    filename: str, map_location: str | None = None, model_dir: str | None = None, **_: Any
) -> dict[str, Any]:
    folder = Path(model_dir or torch.hub.get_dir()) / "checkpoints"
    path = folder / filename.split("?")[0].rsplit("/", 1)[-1]
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(filename, str(path))
        except (URLError, OSError) as error:
            raise CheckpointError(
                f"could not download {filename} ({_first(error)}): put the file at {path}, or "
                "train from scratch with --no-pretrained"
            ) from error
    return load_checkpoint(path, map_location or "cpu")


read_checkpoints_with(_load_local, _load_http)
