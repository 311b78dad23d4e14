"""``experiments.yaml``, and what parts of a data set and their folders are called."""

from __future__ import annotations

import argparse
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

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


def split_name(split: str, order: argparse.Namespace) -> str:
    """What reports and folders call a part: ``1/8``, ``1/8 balanced``, ``1/8 seed 3``."""
    words = [split]
    if order.split_order == "balanced":
        words.append("balanced")
    if order.split_seed:
        words.append(f"seed {order.split_seed}")
    return " ".join(words)


def run_dir(out: Path, split: str, arm: str, seed: int) -> Path:
    """The folder of a training below ``out``; ``arm`` as :attr:`core.arms.Arm.folder` has it."""
    return out / re.sub(r"\W+", "_", split) / f"{arm}-seed{seed}"
