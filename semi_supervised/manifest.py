"""``experiments.yaml``, and what parts of a data set and their folders are called."""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from core.errors import ConfigError

HERE = Path(__file__).resolve().parent
RUNS = Path("work_dirs", "semi_supervised")


@cache
def read() -> dict[str, Any]:
    """The file as it is."""
    return yaml.safe_load((HERE / "experiments.yaml").read_text())


def add_order_flags(parser: argparse.ArgumentParser) -> None:
    """Which images of a data set the first ones are, for ``--split``."""
    parser.add_argument("--split-seed", type=int, default=0, help="which images they are [0]")
    parser.add_argument("--split-order", choices=["random", "balanced"], default="random",
                        help="any images, or such that rare classes are in [random]")  # fmt: skip


def published_split(labeled: Sequence[str]) -> str | None:
    """``1/8`` and the like if these are the labeled images of U²PL's published list, else None."""
    names = "\n".join(sorted(labeled)).encode()
    digest = hashlib.sha256(names).hexdigest()
    return next((part for part, start in read()["lists"].items() if digest.startswith(start)), None)


def lists_in(folder: Path) -> dict[str, tuple[Path, Path]]:
    """The lists of labeled and of unlabeled images in each subfolder, the smaller numbers first.

    Raises:
        ConfigError: there are none.
    """
    found = {}
    for path in sorted(folder.glob("*/labeled.txt")):
        if path.with_name("unlabeled.txt").is_file():
            found[path.parent.name] = path, path.with_name("unlabeled.txt")
    if not found:
        raise ConfigError(
            f"--lists {folder}: no folder in it holds labeled.txt and unlabeled.txt; the published "
            "lists lie in such folders, 186/labeled.txt and so on"
        )
    return dict(sorted(found.items(), key=lambda item: (len(item[0]), item[0])))


def split_name(split: str, order: argparse.Namespace, as_released: bool = False) -> str:
    """What reports and folders call a part: ``1/8``, ``1/8 balanced``, ``1/8 seed 3``, ``1/8 as
    released``: trained with the accidents of the released code, in every arm."""
    words = [split]
    if order.split_order == "balanced":
        words.append("balanced")
    if order.split_seed:
        words.append(f"seed {order.split_seed}")
    if as_released:
        words.append("as released")
    return " ".join(words)


def run_dir(out: Path, split: str, arm: str, seed: int) -> Path:
    """The folder of a training below ``out``; ``arm`` as :attr:`core.arms.Arm.folder` has it."""
    return out / re.sub(r"\W+", "_", split) / f"{arm}-seed{seed}"
