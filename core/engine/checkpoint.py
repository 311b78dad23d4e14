"""Checkpoint files: written whole or not at all, read without running code.

mmengine writes in place, prunes before it writes, and unpickles anything when the safe load
fails. Here a file is written beside its place, synced and renamed; older ones are pruned after;
loading is ``weights_only=True`` for every source, backbones included, and finds any damage
(:mod:`core.seal`).
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
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
from core.seal import damage, sealed

# What a resume reads beside the weights, and of what kind it is.
_HUB = ("log_scalars", "runtime_info", "resumed_keys")
_STATE = {"meta": dict, "message_hub": dict, "optimizer": dict, "random_states": list}


def load_checkpoint(
    path: str | Path, map_location: str = "cpu", *, to_resume: bool = False
) -> dict[str, Any]:
    """Read a checkpoint that holds weights under ``state_dict``, and what is known of them, {} if
    nothing is, under ``meta``; see :func:`read_file`.

    Args:
        to_resume: it must hold the state of a training, too.

    Raises:
        CheckpointError: it does not, or the file is missing, damaged or may hold code.
    """
    checkpoint = read_file(path, map_location)
    state = weights_of(checkpoint) or {}
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: holds no weights (state_dict); take a file that a training "
                              "or core.export wrote")  # fmt: skip
    meta = checkpoint.get("meta") or {}
    if not isinstance(meta, dict):
        raise CheckpointError(f"{path}: its meta is a {type(meta).__name__}, not a dict; take a "
                              "file that a training or core.export wrote")  # fmt: skip
    checkpoint |= dict(state_dict=state, meta=meta)
    if to_resume:
        for key, kind in _STATE.items():
            if not isinstance(checkpoint.get(key), kind) or not checkpoint[key]:
                raise CheckpointError(f"{path}: holds no training state to resume from ({key})")
        parts = (checkpoint["message_hub"].get(key) for key in _HUB)
        if not all(isinstance(part, dict) for part in parts):
            raise CheckpointError(f"{path}: holds no training state to resume from (message_hub)")
        if not isinstance(meta.get("iter"), int) or not isinstance(meta.get("epoch"), int):
            raise CheckpointError(f"{path}: holds no training state to resume from (meta.iter)")
    return checkpoint


def weights_of(checkpoint: dict[str, Any]) -> dict[str, torch.Tensor] | None:
    """The tensors by name: under ``state_dict``, ``model``, as some projects publish them, or the
    dict itself; None where that is no state dict."""
    state = checkpoint.get("state_dict", checkpoint.get("model", checkpoint))
    good = isinstance(state, dict) and bool(state)
    # Values of other kinds, such as a module's extra state, are left to the model.
    good = good and any(isinstance(value, torch.Tensor) for value in state.values())
    return state if good and all(isinstance(key, str) for key in state) else None


def read_file(path: str | Path, map_location: str = "cpu") -> dict[str, Any]:
    """Read what ``torch.save`` wrote without running code from it, onto the CPU by default.

    Every source goes through here: checkpoints of ours, ``load_from``, backbones.

    Returns:
        The saved dict. A bare state dict, as some projects publish, comes back under
        ``state_dict``.

    Raises:
        CheckpointError: the file is missing, a bit of it is not as it was written, or it holds
            more than plain values.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path}: is a folder, not a checkpoint; name a file in it")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        if wrong := damage(path):
            raise CheckpointError(f"{path}: damaged: {wrong}; take another checkpoint")
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        if not zipfile.is_zipfile(path):
            raise CheckpointError(f"{path}: damaged or not a checkpoint") from error
        raise CheckpointError(
            f"{path}: holds objects other than tensors and plain values, which could run code; "
            "refused. Save its state_dict alone on a machine that you trust it with"
        ) from error
    except Exception as error:  # of a damaged file torch raises whatever it meets first
        raise CheckpointError(f"{path}: damaged or not a checkpoint ({_first(error)})") from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"{path}: holds a {type(checkpoint).__name__}, not a state dict")
    if checkpoint and all(isinstance(value, torch.Tensor) for value in checkpoint.values()):
        return dict(state_dict=checkpoint)
    return checkpoint


def to_bytes(checkpoint: dict[str, Any]) -> bytes:
    """What ``torch.save`` writes, sealed."""
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    return b"".join(sealed(buffer.getbuffer()))


def weights_revision(state_dict: Mapping[str, torch.Tensor]) -> str:
    """16 hex digits that tell weights apart: of the SHA-256 over names, shapes, types and bits."""
    digest = hashlib.sha256()
    for key in sorted(state_dict):
        value = state_dict[key].detach().cpu().contiguous()
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


class AtomicBackend(LocalBackend):
    """mmengine's local files, sealed, and written with :func:`core.files.write_atomically`."""

    def put(self, obj: bytes | memoryview, filepath: str | Path) -> None:
        write_atomically(sealed(obj), filepath)


register_backend("atomic", AtomicBackend)


def checkpoints_in(work_dir: str | Path) -> list[Path]:
    """``iter_N.pth`` of a work_dir, the latest first."""
    found = [p for p in Path(work_dir).glob("iter_*.pth")
             if re.fullmatch(r"iter_\d+", p.stem, re.ASCII) and p.is_file()]  # fmt: skip
    return sorted(found, key=iteration_of, reverse=True)


def latest_checkpoint(
    work_dir: str | Path, tell: Callable[[str], None]
) -> tuple[Path, dict[str, Any]] | None:
    """The latest whole checkpoint of a work_dir that a run can go on from; None if it holds none.

    Args:
        tell: is told of what is damaged, or no checkpoint.

    Raises:
        CheckpointError: it holds some, and none is whole.
    """
    odd = sorted(set(Path(work_dir).glob("iter_*.pth")) - set(checkpoints_in(work_dir)))
    for path in odd:
        tell(f"{path}: is no checkpoint, which are files iter_N.pth; passed over")
    found = checkpoints_in(work_dir)
    for path in found:
        try:
            return path, load_checkpoint(path, to_resume=True)
        except CheckpointError as error:
            before = "; trying the one before" if path != found[-1] else ""
            tell(f"{str(error).partition('; ')[0]}{before}")
    if found:
        raise CheckpointError(f"no checkpoint in {work_dir} can be read: to begin afresh, move "
                              "them away, or name another --work-dir")  # fmt: skip
    return None


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
    if isinstance(value, list):
        return [to_plain(item) for item in value]
    return tuple(map(to_plain, value)) if isinstance(value, tuple) else value  # named ones, too


def is_plain(value: Any) -> bool:
    """Whether the safe load takes it: tensors, and plain values of them."""
    if isinstance(value, Mapping):
        return type(value) in (dict, OrderedDict) and all(
            is_plain(key) and is_plain(item) for key, item in value.items()
        )
    if isinstance(value, list | tuple):
        return type(value) in (list, tuple) and all(map(is_plain, value))
    plain = (bool, int, float, str, bytes, complex, type(None))
    return isinstance(value, torch.Tensor | torch.dtype) or type(value) in plain


def _first(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:160]


def _load_local(filename: str, map_location: str | None = None) -> dict[str, Any]:
    return read_file(os.path.expanduser(filename), map_location or "cpu")


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
    return read_file(path, map_location or "cpu")


read_checkpoints_with(_load_local, _load_http)
