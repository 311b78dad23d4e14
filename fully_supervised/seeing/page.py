"""Gather again, as one page, what the commands have left in a folder.

python fully_supervised/hardness.py page work_dirs/RUN/hardness
"""

import argparse
from pathlib import Path

from core.engine.cli import folder
from core.errors import ConfigError


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=folder, help="the folder (--out of the commands)")


def run(args: argparse.Namespace, folder: Path) -> None:
    if not Path(args.out).is_dir():
        raise ConfigError(f"{args.out}: no such folder; name that of the commands (--out)")
