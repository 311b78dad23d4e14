"""What the entry scripts share on the command line: flags, and errors in one line."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable

from mmengine.config import DictAction

from core.convert import CannotConvert
from core.engine.checkpoint import CheckpointError
from core.engine.configs import ConfigError
from core.engine.hooks import NotFinite
from core.engine.sampling import SampleError

# Errors whose message is meant for the user; anything else is our fault and shows its traceback.
USER_ERRORS = (CannotConvert, CheckpointError, ConfigError, NotFinite, SampleError)
SAMPLE_PREFIX = f"{SampleError.__module__}.{SampleError.__name__}: "


def add_test_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that mmseg users know, for any entry script."""
    parser.add_argument(
        "--work-dir", default="work_dirs/test", help="where logs and checkpoints go"
    )
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, default={},
                        metavar="KEY=VALUE", help="override settings of the config")  # fmt: skip
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none",
                        help="how several processes were started (torchrun: pytorch)")  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="the whole log on the terminal")


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of a training script."""
    add_test_flags(parser)
    parser.set_defaults(work_dir=None)
    parser.add_argument("--resume", action="store_true",
                        help="go on from the latest checkpoint in the work_dir")  # fmt: skip
    parser.add_argument("--amp", action="store_true", help="mixed precision (needs a GPU)")
    parser.add_argument("--seed", type=int, default=0, help="random seed [0]")
    parser.add_argument("--max-iters", type=int, metavar="N",
                        help="train N iterations; the schedule shrinks with it")  # fmt: skip
    parser.add_argument("--no-pretrained", action="store_true",
                        help="random weights instead of downloaded ones")  # fmt: skip


def add_launch_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of a script that starts trainings (:mod:`core.engine.pool`)."""
    parser.add_argument("--jobs", type=int, help="trainings side by side [GPU: 1, CPU: the cores]")
    parser.add_argument("--launcher", choices=["pytorch", "slurm"], default="pytorch",
                        help="how GPUS processes are started: torchrun or srun")  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="print the commands, run nothing")


def main_line(main: Callable[[], None], *errors: type[Exception]) -> None:
    """Run an entry script; an error meant for the user is one line and exit code 1.

    Args:
        main: the script.
        errors: further exception types whose message is meant for the user.
    """
    warnings.filterwarnings("ignore", module=r"(mmseg|mmengine|mmcv|mmpretrain)\b")
    try:
        main()
    except (*USER_ERRORS, *errors) as error:
        # From a loader's worker the message comes with a traceback before it.
        line = str(error).strip().splitlines()[-1] if "Traceback" in str(error) else str(error)
        sys.exit(f"error: {' '.join(line.removeprefix(SAMPLE_PREFIX).split())}")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(f"error: {where}{os.strerror(error.errno) if error.errno else error}")
