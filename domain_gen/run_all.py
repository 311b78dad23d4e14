"""Baseline, scale-matched CE and +HL on one source over seeds, evaluated on targets; ends with the
table and the page. What is finished is skipped, what was cut goes on: the same command again.

    bash domain_gen/run_all.sh                       # GTAV where it is there, else embedded scenes
    bash domain_gen/run_all.sh --source camvid:day --data-root camvid=DIR
    GPUS=4 bash domain_gen/run_all.sh --data-root gtav=DIR cityscapes=DIR
"""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from core.engine.cli import add_launch_flags, main_line
from core.engine.pool import Job, Launch, run_jobs
from core.engine.run import RESULT, read_result
from data import domains
from data.domains import Domain
from data.errors import DataError
from domain_gen.build import find_source, find_targets, manifest, parse_roots, settings_of, slug
from domain_gen.eval_cityscapes import target_dir, write_table

HERE = Path(__file__).resolve().parent
FLAGS = {"baseline": ["--no-hl"], "ce-scaled": ["--weighting", "ce-scaled"], "hl": []}


@dataclass(frozen=True)
class Run:
    """One training and its evaluations."""

    source: str
    arm: str
    seed: int
    work_dir: Path

    @property
    def name(self) -> str:
        return f"{self.source} {self.arm} seed {self.seed}"

    def is_evaluated(self, target: Domain) -> bool:
        """Whether there is a result on a target, of this training and not of an earlier one."""
        own, there = self.work_dir / RESULT, target_dir(self.work_dir, target) / RESULT
        return there.is_file() and there.stat().st_mtime >= own.stat().st_mtime

    def training(self, args: argparse.Namespace, launch: Launch) -> Job:
        command = [*launch.command(HERE / "train_gtav.py"), "--source", self.source,
                   "--seed", str(self.seed), "--work-dir", str(self.work_dir), "--resume",
                   *FLAGS[self.arm], *_roots(args),
                   *(["--config", args.config] if args.config else []),
                   *(["--max-iters", str(args.max_iters)] if args.max_iters else []),
                   *shlex.split(args.train_args)]  # fmt: skip
        return Job(self.name, self.work_dir, tuple(command))

    def evaluation(self, args: argparse.Namespace, launch: Launch, targets: list[Domain]) -> Job:
        command = [*launch.command(HERE / "eval_cityscapes.py"), str(self.work_dir), *_roots(args),
                   "--target", *(target.name for target in targets)]  # fmt: skip
        return Job(self.name, self.work_dir / "targets", tuple(command))


def _roots(args: argparse.Namespace) -> list[str]:
    return ["--data-root", *args.data_root] if args.data_root else []


def main() -> None:
    args = parse_args()
    roots = parse_roots(args.data_root)
    # A missing data set is told once, at the start.
    source, _ = find_source(args.source, roots)
    known = settings_of(source.name, args.config)
    found, missing = find_targets(args.target or known["targets"], roots)
    model = Path(known["config"]).stem
    out = Path(args.out or Path("work_dirs", "domain_gen", slug(source.name), model))
    runs = [
        Run(source.name, arm, seed, out / f"{arm}-seed{seed}")
        for seed in (args.seeds if args.seeds is not None else known["seeds"])
        for arm in args.arms or manifest()["arms"]
    ]
    launch = Launch.from_environment(args.launcher)
    max_iters = args.max_iters or known["max_iters"]
    to_train = [run for run in runs if read_result(run.work_dir, max_iters) is None]
    training = [run.training(args, launch) for run in to_train]
    to_evaluate = {
        run: [t for t in found if run in to_train or not run.is_evaluated(t)] for run in runs
    }
    evaluation = [run.evaluation(args, launch, todo) for run, todo in to_evaluate.items() if todo]
    if args.dry_run:
        for job in [*training, *evaluation]:
            print(shlex.join(job.command))
        return

    print(f"{source.title}: {len(training)} of {len(runs)} runs to train, "
          f"{len(evaluation)} to evaluate", file=sys.stderr)  # fmt: skip
    for target, reason in missing.items():
        print(f"missing: {target.title}: {reason}", file=sys.stderr)
    at_once = args.jobs or launch.at_once
    errors = run_jobs(training, at_once)
    unevaluated = run_jobs([job for job in evaluation if job.name not in errors], at_once)

    failed = [
        dict(model=model, title=title, arm=run.arm, seed=run.seed, error=reasons[run.name])
        for model, title, reasons in (
            (source.name, source.title, errors),
            ("targets", "On the targets", unevaluated),
        )
        for run in runs
        if run.name in reasons
    ]
    command = shlex.join(["bash", "domain_gen/run_all.sh", *sys.argv[1:]])
    done = [run.work_dir for run in runs if run.name not in errors]
    report = write_table(out, done, list(found), missing, command, failed)
    print(report.markdown)
    print(f"page: {report.paths['html']}")
    sys.exit(1 if errors or unevaluated else 0)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", metavar="NAME[:PART]",
                        help=f"one of: {', '.join(domains.DOMAINS)}")  # fmt: skip
    parser.add_argument("--target", nargs="+", metavar="NAME[:PART][@WxH|@full]",
                        help="domains to evaluate on [as experiments.yaml has it]")  # fmt: skip
    parser.add_argument("--config", help="network [as experiments.yaml has it for the source]")
    parser.add_argument("--data-root", nargs="+", action="extend", default=[], metavar="NAME=DIR",
                        help="where data sets lie [data/raw/NAME]")  # fmt: skip
    parser.add_argument("--arms", nargs="+", choices=list(FLAGS))
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--max-iters", type=int)
    parser.add_argument("--out", help="folder of runs and report "
                        "[work_dirs/domain_gen/SOURCE/NETWORK]")  # fmt: skip
    add_launch_flags(parser)
    parser.add_argument("--train-args", default="", metavar="'...'",
                        help="further flags for train_gtav.py; one alone with =: "
                        "--train-args=--amp")  # fmt: skip
    return parser.parse_args()


if __name__ == "__main__":
    main_line(main, DataError)
