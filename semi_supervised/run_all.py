"""SupOnly, U²PL and U²PL + HL over splits and seeds; ends with the table and the page.

What is finished is skipped, what was cut goes on: the same command again.

    bash semi_supervised/run_all.sh                                     # the embedded data set
    bash semi_supervised/run_all.sh --data camvid --data-root DIR
    GPUS=4 bash semi_supervised/run_all.sh --data cityscapes --data-root /data/cityscapes
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from core.engine.cli import add_launch_flags, main_line
from core.engine.configs import ConfigError
from core.engine.pool import Job, Launch, run_jobs
from core.engine.run import RESULT, read_result
from core.report import Report, write_report
from data import registry
from data.errors import DataError

HERE = Path(__file__).resolve().parent
FLAGS = {
    "sup-only": ["--sup-only"],
    "baseline": ["--no-hl"],
    "ce-scaled": ["--set", "hl.weighting=ce-scaled"],
    "hl": [],
}
NAMES = {
    "baseline": "U²PL",
    "ce-scaled": "U²PL, scale-matched CE",
    "hl": "U²PL + HL",
}


@dataclass(frozen=True)
class Run:
    """One training; ``model`` is what it calls its split."""

    split: str
    model: str
    arm: str
    seed: int
    work_dir: Path

    @property
    def name(self) -> str:
        return f"{self.model} {self.arm} seed {self.seed}"

    def command(self, args: argparse.Namespace, launch: Launch) -> list[str]:
        root = args.data_root or str(registry.get(args.data).default_root)
        return [*launch.command(HERE / "train_u2pl_hl.py"), "--split", self.split,
                "--data", args.data, "--data-root", root, "--seed", str(self.seed),
                "--work-dir", str(self.work_dir), "--resume", *FLAGS[self.arm],
                *(["--max-iters", str(args.max_iters)] if args.max_iters else []),
                *shlex.split(args.train_args)]  # fmt: skip


def main() -> None:
    args = parse_args()
    manifest = yaml.safe_load((HERE / "experiments.yaml").read_text())
    known = manifest["data"].get(args.data, {})
    if not known and not args.splits:
        raise ConfigError(f"experiments.yaml has no list for {args.data!r}: give --splits")
    out = Path(args.out or Path("work_dirs", "semi_supervised", args.data))
    trains = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_order_flags(trains)
    order, _ = trains.parse_known_args(shlex.split(args.train_args))
    runs = [
        Run(split, model, arm, seed, run_dir(out, model, arm, seed))
        for seed in (args.seeds if args.seeds is not None else known.get("seeds", [0]))
        for split in args.splits or known["splits"]
        for model in [split_name(split, order)]
        for arm in args.arms or manifest["arms"]
    ]
    launch = Launch.from_environment(args.launcher)
    jobs = [
        Job(run.name, run.work_dir, tuple(run.command(args, launch)))
        for run in runs
        if read_result(run.work_dir, args.max_iters) is None
    ]
    if args.dry_run:
        for job in jobs:
            print(shlex.join(job.command))
        return

    registry.locate(
        args.data, args.data_root, labeled=False
    )  # a missing data set is told once, at the start
    print(f"{len(jobs)} of {len(runs)} runs to do", file=sys.stderr)
    errors = run_jobs(jobs, args.jobs or launch.at_once)

    failed = [
        dict(model=r.model, title=r.model, arm=r.arm, seed=r.seed, error=errors[r.name])
        for r in runs if r.name in errors]  # fmt: skip
    command = shlex.join(["bash", "semi_supervised/run_all.sh", *sys.argv[1:]])
    report = write_table(out, args.data, command, failed)
    print(report.markdown)
    print(f"page: {report.paths['html']}")
    sys.exit(1 if errors else 0)


def write_table(out: Path, data: str, command: str, failed: Sequence[dict] = ()) -> Report:
    """Table and page of all runs that are finished below ``out``, and of those that failed."""
    dirs = [path.parent for path in sorted(out.glob(f"*/*/{RESULT}"))]
    results = [titled(read_result(folder)) for folder in dirs]
    figures = yaml.safe_load((HERE / "experiments.yaml").read_text())["published"]
    # By part alone: "1/8 balanced" has those of 1/8.
    published = {r["model"]: figures.get(r["model"].split()[0], {}) for r in [*results, *failed]}
    return write_report(
        out, [*results, *failed], [*dirs, *(None for _ in failed)],
        title=f"U²PL with pixel-hardness learning on {data}", command=command,
        # Published figures are Cityscapes'; beside another data set they would mislead.
        published=published if data == "cityscapes" else None,
        arm_names=NAMES, group="Split")  # fmt: skip


def add_order_flags(parser: argparse.ArgumentParser) -> None:
    """Which images of a data set the first ones are, for ``--split``."""
    parser.add_argument("--split-seed", type=int, default=0, help="which images they are [0]")
    parser.add_argument("--split-order", choices=["random", "balanced"], default="random",
                        help="any images, or such that rare classes are in [random]")  # fmt: skip


def split_name(split: str, order: argparse.Namespace) -> str:
    """What reports and folders call a part: ``1/8``, ``1/8 balanced``, ``1/8 seed 3``."""
    balanced = " balanced" * (order.split_order == "balanced")
    return f"{split}{balanced}{f' seed {order.split_seed}' if order.split_seed else ''}"


def run_dir(out: Path, model: str, arm: str, seed: int) -> Path:
    """The folder of a training below ``out``."""
    return out / re.sub(r"\W+", "_", model) / f"{arm}-seed{seed}"


def titled(result: dict) -> dict:
    """With the heading of its split in the table."""
    total = result["labeled"] + result["unlabeled"]
    return dict(result, title=f"{result['model']}: {result['labeled']} of {total} images labeled")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="streets", help="data set [streets, the embedded one]")
    parser.add_argument("--data-root", help="where it lies [data/raw/NAME]")
    parser.add_argument("--splits", nargs="+", metavar="1/8", help="parts that are labeled")
    parser.add_argument("--arms", nargs="+", choices=list(FLAGS))
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--max-iters", type=int)
    parser.add_argument("--out", help="folder of runs and report [work_dirs/semi_supervised/DATA]")
    add_launch_flags(parser)
    parser.add_argument("--train-args", default="", metavar="'...'",
                        help="further flags for train_u2pl_hl.py, e.g. '--set trainer.epochs=100'; "
                        "a single one with an equals sign: --train-args=--amp")  # fmt: skip
    return parser.parse_args()


if __name__ == "__main__":
    main_line(main, DataError)
