"""The paper's tables, and ours: every row in every arm over seeds; ends with tables and pages.

What is finished is skipped, what was cut goes on: the same command again.

    bash fully_supervised/run_all.sh                                     # the embedded data set
    bash fully_supervised/run_all.sh --data camvid --data-root DIR
    bash fully_supervised/run_all.sh --list                              # every row there is
    GPUS=4 bash fully_supervised/run_all.sh --table 2 --data-root cityscapes=DIR
    GPUS=4 bash fully_supervised/run_all.sh --only cityscapes/upernet_r18 --sweep c
    bash fully_supervised/run_all.sh --only PATH/my_config.py --arms baseline hl
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.batch import batch_note
from core.engine import cli
from core.engine.sweep import Run, add_sweep_flags, sweep
from core.result import Entry, Result
from data import registry
from data.errors import DataError
from data.roots import add_root_flag
from fully_supervised.plans import OWN, RUNS, Plan, plans, print_list, root_of

TRAIN = str(Path(__file__).with_name("train.py"))


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.list:
        print_list()
        return
    todo = plans(args)
    runs = [run for plan in todo for run in plan.runs]

    def locate() -> None:
        for data in dict.fromkeys(run.group for run in runs):
            if data != OWN:  # train.py looks for that of a config
                registry.locate(data, root_of(args, data))

    def write(errors: Mapping[Run, str]) -> None:
        for plan in todo:
            out = Path(args.out or RUNS, plan.name)
            write_plan(plan, errors, out, cli.command_of(__file__, argv))

    sweep(args, TRAIN, runs, locate=locate, write=write)


def write_plan(plan: Plan, errors: Mapping[Run, str], out: Path, command: str) -> None:
    """The table and the page of a plan."""
    from core.report import write_report

    entries = [
        Entry(run.network, run.title, run.failed(errors[run]) if run in errors else run.result(),
              run.work_dir)
        for run in plan.runs
    ]  # fmt: skip
    write_report(out, entries, title=plan.title, command=command, published=plan.published,
                 notes=batch_notes(entries)).tell()  # fmt: skip


def batch_notes(entries: Sequence[Entry]) -> list[str]:
    """A sentence for each network that was trained with another batch than the published one."""
    notes = {}
    for entry in entries:
        if not isinstance(entry.run, Result):
            continue  # it failed
        note = batch_note(entry.title, entry.run.facts, entry.run.iterations)
        if note:
            notes[entry.subject] = note
    return list(notes.values())


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = cli.script_parser(__doc__)
    parser.add_argument("--list", action="store_true", help="print every row and its figures")
    parser.add_argument("--table", nargs="+", metavar="N", help="2 to 8, fig5, beyond")
    parser.add_argument("--only", nargs="+", metavar="ROW",
                        help="rows of --list, by name; or configs of your own, by path, or "
                        "mmseg's, by mmseg::…")  # fmt: skip
    parser.add_argument("--sweep", choices=["c", "alpha"], help="the arms of Table 7 or 8")
    parser.add_argument("--data", help="train on this data set, whatever the rows are of "
                        "[that of the rows; without rows: streets, the embedded one]")  # fmt: skip
    add_root_flag(parser)
    add_sweep_flags(parser, str(RUNS), without=["sup-only"])
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.main_line(main, DataError)
