"""Faults against the entry scripts as started processes, on data drawn here: a table of what held.

python tests/drill.py                        everything: about an hour on one core
python tests/drill.py --only inputs --match 'label'
python tests/drill.py --kills 6 --inputs 40 --seed 3

Exit code 1 if something did not hold, with a line for each: what, and the command to repeat it.
"""

import argparse
import random
import shlex
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

try:
    from drills import checkpoints, disk, inputs, kills, process, settings, signals, world
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; set up with: source setup.sh") from error

PARTS = {
    "kills": kills.cases,
    "signals": signals.cases,
    "disk": disk.cases,
    "checkpoints": checkpoints.cases,
    "settings": settings.cases,
    "inputs": inputs.cases,
}
FEW = ("kills", "inputs")  # parts whose number of cases is a flag of that name
ENDS = ("held", "failed", "skipped")


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="drill-"))
    folder.chmod(0o755)  # some cases run as nobody
    try:
        place = world.below(folder / "world")
        todo = chosen(args, place)
        if args.list:
            print("\n".join(f"{part}: {case.kind}: {case.name}" for part, case in todo))
            return
        process.warm_up()
        world.draw(place, args.seed)
        faults, counts = drill(todo, folder, args)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    table(counts)
    print("\n".join(faults) or "everything held")
    sys.exit(bool(faults))


def chosen(args: argparse.Namespace, place: world.World) -> list[tuple[str, process.Case]]:
    """The cases, by part; of those that are too many a seeded choice."""
    todo = []
    for part in args.only:
        cases = PARTS[part](place, random.Random(f"{args.seed} {part}"))
        if args.match:
            cases = [case for case in cases if args.match in case.name]
        most = getattr(args, part) if part in FEW else args.few
        if most is not None and most < len(cases):
            cases = random.Random(args.seed).sample(cases, most)
        todo += [(part, case) for case in cases]
    return todo


def drill(
    todo: Sequence[tuple[str, process.Case]], folder: Path, args: argparse.Namespace
) -> tuple[list[str], Counter]:
    """Every case: a line for each that did not hold, and how many there were by (kind, end)."""
    faults, counts = [], Counter()
    for i, (part, case) in enumerate(todo):
        place = folder / f"case{i}"
        place.mkdir()
        start, end = time.monotonic(), "held"
        try:
            case.act(place)
        except process.Skipped as reason:
            end = "skipped"
            print(f"skipped: {case.kind}: {case.name}: {reason}")
        except process.Fault as fault:
            end = "failed"
            again = f"python tests/drill.py --seed {args.seed} --only {part} --match "
            faults.append(f"{case.kind}: {case.name}: {fault}; {again}{shlex.quote(case.name)}")
        process.end_all()
        counts[case.kind, end] += 1
        if args.verbose:
            print(f"{end} {time.monotonic() - start:5.1f} s  {case.kind}: {case.name}", flush=True)
            if end == "failed":
                print(f"    {faults[-1]}", flush=True)
        if not args.keep:
            shutil.rmtree(place, ignore_errors=True)
    return faults, counts


def table(counts: Counter) -> None:
    kinds = list(dict.fromkeys(kind for kind, _ in counts))
    print(f"{'':<34}{'tried':>6}{'held':>6}{'skipped':>9}")
    for kind in kinds:
        held, failed, skipped = (counts[kind, end] for end in ENDS)
        print(f"{kind:<34}{held + failed:>6}{held:>6}{skipped:>9}")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for part in FEW:
        parser.add_argument(f"--{part}", type=int, metavar="N", help=f"that many {part} [all]")
    parser.add_argument("--few", type=int, metavar="N", help="that many of each other part [all]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART",
                        help=f"some of {', '.join(PARTS)}")  # fmt: skip
    parser.add_argument("--match", metavar="TEXT", help="cases with it in their names")
    parser.add_argument("--list", action="store_true", help="only name the cases")
    parser.add_argument("--keep", action="store_true", help="leave a case's folder to the end")
    parser.add_argument("--verbose", action="store_true", help="a line as each case ends")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
