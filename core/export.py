"""A checkpoint of ours -> a checkpoint that plain mmseg loads with ``strict=True``.

    python -m core.export work_dirs/x/iter_40000.pth pspnet.pth

The HL branch and the training state are left out; weights are copied bit by bit. The meta data
keep the classes, the palette and, as text, the plain config.

A model that holds networks under ``teacher.`` and ``student.`` and their config under
``model.segmentor`` gives its teacher; its student where it has no teacher.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from core.configs import imports_of, parse_config
from core.engine.cli import main_line
from core.errors import CheckpointError


def plain_config(cfg: Config) -> Config:
    """The config without HL: the inverse of :func:`core.convert.to_hl` for the model."""
    from core.convert import SEGMENTORS  # mmseg takes seconds, which --help need not

    cfg = copy.deepcopy(cfg)
    if "segmentor" in cfg.model:
        cfg.model = cfg.model.segmentor
    plain = {hl: name for name, hl in SEGMENTORS.items()}
    cfg.model.type = plain.get(cfg.model.type, cfg.model.type)
    cfg.model.pop("hl", None)
    cfg.pop("changed_by_engine", None)
    if cfg.get("custom_imports"):
        names = [name for name in imports_of(cfg) if not name.startswith("core.")]
        cfg.custom_imports = dict(cfg.custom_imports, imports=names)
    return cfg


def export_checkpoint(source: str | Path, target: str | Path) -> int:
    """Write the network that predicts, without an HL branch, from ``source`` to ``target``.

    Returns:
        The number of tensors that were left out.

    Raises:
        CheckpointError: ``source`` is missing, damaged or no checkpoint of ours.
    """
    from core.engine.checkpoint import load_checkpoint, save_atomically
    from core.segmentors import HL_HEAD

    checkpoint = load_checkpoint(source)
    state_dict = checkpoint.get("state_dict") or {}
    network = _network(state_dict)
    plain = {k: v for k, v in network.items() if not k.startswith(f"{HL_HEAD}.")}
    if plain.keys() == state_dict.keys():
        raise CheckpointError(f"{source}: has neither an HL branch nor a teacher to leave out")
    meta = checkpoint.get("meta", {})
    kept = {k: meta[k] for k in ("dataset_meta", "iter", "epoch", "seed") if k in meta}
    if "cfg" in meta:
        kept["cfg"] = plain_config(parse_config(meta["cfg"])).pretty_text
    save_atomically(dict(meta=kept, state_dict=plain), target)
    return len(state_dict) - len(plain)


def _network(state_dict: dict) -> dict:
    """The teacher's weights, or the student's, or all."""
    for prefix in ("teacher.", "student."):
        part = {k.removeprefix(prefix): v for k, v in state_dict.items() if k.startswith(prefix)}
        if part:
            return part
    return state_dict


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("checkpoint", help="checkpoint written by a training of ours")
    parser.add_argument("out", help="file to write")
    args = parser.parse_args(argv)
    dropped = export_checkpoint(args.checkpoint, args.out)
    print(f"{args.out}: {dropped} tensors left out")


if __name__ == "__main__":
    main_line(main)
