"""Baseline, scale-matched CE and +HL on one source over seeds, evaluated on targets; ends with the
table and the page. What is finished is skipped, what was cut goes on: the same command again.

    bash domain_gen/run_all.sh                       # GTAV where it is there, else embedded scenes
    bash domain_gen/run_all.sh --source camvid:day --data-root camvid=DIR
    GPUS=4 bash domain_gen/run_all.sh --data-root gtav=DIR cityscapes=DIR
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from core.engine import cli
from core.engine.sweep import Evaluation, Run, add_sweep_flags, arms_of, sweep
from core.result import read_each
from data import domains
from data.errors import DataError
from data.roots import Roots, add_root_flag
from domain_gen import manifest
from domain_gen.table import is_evaluated, table

TRAIN = str(Path(__file__).with_name("train_gtav.py"))
EVALUATE = str(Path(__file__).with_name("eval_cityscapes.py"))


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    roots = Roots.parse(args.data_root)
    source = manifest.find_source(args.source, roots)
    known = manifest.settings_of(source.name, args.config)
    targets = [domains.parse(name) for name in args.target or known["targets"]]
    network = Path(known["config"]).stem
    out = Path(args.out or manifest.RUNS / manifest.slug(source.name) / network)
    flags = ("--source", source.name, *roots.flags())
    flags += ("--config", args.config) if args.config else ()
    asked = args.max_iters or known["max_iters"]
    runs = [
        Run(source.name, network, source.name, arm, seed, out / f"{arm.folder}-seed{seed}", asked,
            source.title, flags, known["revision"], manifest.note(known, args.launcher, asked))
        for seed in (args.seeds if args.seeds is not None else known["seeds"])
        for arm in arms_of(args, manifest.read()["arms"], known["options"])
    ]  # fmt: skip
    found, missing = dict.fromkeys(targets), {}
    if not args.dry_run:
        manifest.locate(source, roots)  # what is missing is told before the first training
        found, missing = manifest.find_targets(targets, roots)
    for target, reason in missing.items():
        print(f"missing: {target.title}: {reason}", file=sys.stderr)

    def evaluate(run: Run, trained: bool) -> Evaluation | None:
        todo = [t.name for t in found if trained or not is_evaluated(run.work_dir, t)]
        arguments = (str(run.work_dir), *roots.flags(), "--target", *todo)
        return Evaluation(EVALUATE, arguments, run.work_dir / "targets") if todo else None

    def write(errors: Mapping[Run, str]) -> None:
        from core.report import write_report

        done = [folder for _, folder in read_each(run.work_dir for run in runs)[0]]
        failed = [
            replace(run.failed(error), group="targets", title="On the targets")
            if run.work_dir in done else run.failed(error)
            for run, error in errors.items()
        ]  # fmt: skip
        compared = table(done, list(found), missing, failed)
        write_report(out, **compared, command=cli.command_of(__file__, argv)).tell()

    sweep(args, TRAIN, runs, evaluate=evaluate, write=write)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = cli.script_parser(__doc__)
    parser.add_argument("--source", metavar="NAME[:PART]",
                        help=f"one of: {', '.join(domains.DOMAINS)}")  # fmt: skip
    parser.add_argument("--target", nargs="+", metavar="NAME[:PART][@WxH|@full]",
                        help="domains to evaluate on [as experiments.yaml has it]")  # fmt: skip
    parser.add_argument("--config", help="network [as experiments.yaml has it for the source]")
    add_root_flag(parser)
    add_sweep_flags(parser, str(manifest.RUNS / "SOURCE/NETWORK"), without=["sup-only"])
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.main_line(main, DataError)
