"""Baseline, scale-matched CE and +HL over models and seeds; ends with the table and the page.

What is finished is skipped, what was cut goes on: the same command again.

    bash fully_supervised/run_all.sh                                     # the embedded data set
    bash fully_supervised/run_all.sh --data camvid --data-root DIR
    GPUS=4 bash fully_supervised/run_all.sh --data cityscapes --data-root /data/cityscapes
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from core.engine.cli import main_line
from core.engine.configs import ConfigError
from core.engine.pool import Job, launch, run_jobs
from core.engine.run import read_result
from core.report import write_report
from data import registry
from data.errors import DataError

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Run:
    """One training: what it is called, where it goes, how it is started."""

    data: str
    model: str
    title: str
    config: str
    arm: str
    seed: int
    max_iters: int
    work_dir: Path

    @property
    def name(self) -> str:
        return f"{self.model} {self.arm} seed {self.seed}"

    def command(self, root: str, gpus: int, extra: list[str]) -> list[str]:
        weighting = "ce" if self.arm == "baseline" else self.arm
        return [*launch(HERE / "train.py", gpus), self.config, "--weighting", weighting,
                "--data", self.data, "--data-root", root, "--seed", str(self.seed),
                "--max-iters", str(self.max_iters), "--work-dir", str(self.work_dir),
                "--resume", "--model-name", self.model, *extra]  # fmt: skip

    def result(self) -> dict | None:
        """What the finished run left, None if it is not finished."""
        result = read_result(self.work_dir, self.max_iters)
        return result and dict(result, title=self.title)


def plan(args: argparse.Namespace) -> tuple[list[Run], dict[str, dict]]:
    """The runs of a call, seed by seed, and the published figures of their models."""
    manifest = yaml.safe_load((HERE / "experiments.yaml").read_text())
    known = manifest["data"].get(args.data, {})
    models = args.models or known.get("models")
    max_iters = args.max_iters or known.get("max_iters")
    if not models or not max_iters:
        raise ConfigError(
            f"experiments.yaml has no list for {args.data!r}: give --models and --max-iters"
        )
    for model in models:
        if model not in manifest["models"]:
            names = ", ".join(manifest["models"])
            raise ConfigError(f"unknown model {model!r}; experiments.yaml has: {names}")
    out = Path(args.out or Path("work_dirs", "fully_supervised", args.data))
    runs = [
        Run(
            data=args.data,
            model=model,
            title=manifest["models"][model]["title"],
            config=_config(manifest["models"][model]["config"]),
            arm=arm,
            seed=seed,
            max_iters=max_iters,
            work_dir=out / model / f"{arm}-seed{seed}",
        )
        for seed in (args.seeds if args.seeds is not None else known.get("seeds", [0]))
        for model in models
        for arm in args.arms or manifest["arms"]
    ]
    # Published figures are Cityscapes'; beside another data set they would mislead.
    published = {m: manifest["models"][m].get("published") for m in models}
    return runs, published if args.data == "cityscapes" else {}


def _config(name: str) -> str:
    """mmseg's own by name; ours by path, wherever the call comes from."""
    return name if name.startswith("mmseg::") else str(HERE.parent / name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="streets", help="data set [streets, the embedded one]")
    parser.add_argument("--data-root", help="where it lies [data/raw/NAME]")
    parser.add_argument("--models", nargs="+", help="names in experiments.yaml")
    parser.add_argument("--arms", nargs="+", choices=["baseline", "ce-scaled", "hl"])
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--max-iters", type=int)
    parser.add_argument("--out", help="folder of runs and report [work_dirs/fully_supervised/DATA]")
    parser.add_argument("--jobs", type=int, help="trainings side by side [GPU: 1, CPU: the cores]")
    parser.add_argument("--dry-run", action="store_true", help="print the commands, run nothing")
    parser.add_argument("--train-args", default="", metavar="'...'",
                        help="further flags for train.py, e.g. '--amp --verbose'; a single one "
                        "with an equals sign: --train-args=--amp")  # fmt: skip
    args = parser.parse_args()

    runs, published = plan(args)
    gpus = int(os.environ.get("GPUS", 1))
    root = args.data_root or str(registry.get(args.data).default_root)
    commands = {
        run: run.command(root, gpus, shlex.split(args.train_args))
        for run in runs
        if run.result() is None
    }
    if args.dry_run:
        for run in runs:
            print(shlex.join(commands[run]) if run in commands else f"# finished: {run.work_dir}")
        return

    registry.locate(args.data, args.data_root)  # a missing data set is told once, at the start
    jobs = [Job(run.name, run.work_dir, tuple(command)) for run, command in commands.items()]
    if jobs:
        print(f"{len(jobs)} of {len(runs)} runs to do", file=sys.stderr)
    errors = run_jobs(jobs, args.jobs or (1 if gpus > 1 else None))

    results = [
        dict(model=r.model, title=r.title, arm=r.arm, seed=r.seed, error=errors[r.name])
        if r.name in errors else r.result() for r in runs]  # fmt: skip
    out = runs[0].work_dir.parents[1]
    command = shlex.join(["bash", "fully_supervised/run_all.sh", *sys.argv[1:]])
    report = write_report(out, results, [r.work_dir for r in runs],
                          title=f"Pixel-hardness learning on {args.data}", command=command,
                          published=published)  # fmt: skip
    print(report.markdown)
    print(f"page: {report.paths['html']}")
    sys.exit(1 if errors else 0)


if __name__ == "__main__":
    main_line(main, DataError)
