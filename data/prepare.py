"""Prepare a data set: make what can be made, then check every file.

python data/prepare.py streets                       draws the embedded set, then checks every file
python data/prepare.py cityscapes --src DIR          labelTrainIds beside labelIds, then checks
python data/prepare.py gtav --src DIR                train ids and class statistics, then checks
python data/prepare.py ade20k --src DIR              checks
python data/prepare.py isaid --src DOWNLOAD --out DIR      cuts patches of 896x896, then checks
python data/prepare.py totaltext --src DOWNLOAD --out DIR  draws the polygons, then checks
python data/prepare.py camvid --src DIR              checks
python data/prepare.py camvid --src DOWNLOAD --out DIR     converts a published form, then checks
python data/prepare.py check CONFIG                  checks all that an mmseg config reads

What is prepared where it lies is left alone with --out: a tree of links is made there. What was
cut goes on, what is finished is skipped: the same command again.
"""

import argparse
import os
import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import NoReturn


def _stop(number: int, frame: FrameType | None) -> None:
    """Ctrl-C, SIGTERM and SIGHUP are one line; what is being written is dropped, processes end."""
    while frame and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    line = f"{signal.Signals(number).name}: stopped; the same command goes on from here"
    if frame:  # an import would take an exception for one of its own
        os.write(2, f"{line}\n".encode())
        os._exit(128 + number)
    for number_of_next in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number_of_next, lambda number, frame: os._exit(128 + number))
    print(line, file=sys.stderr)
    sys.exit(128 + number)


if __name__ == "__main__":  # before what takes seconds to import
    for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(_number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(_number, _stop)

try:
    from data import registry, streets
    from data.checks import Layout, check, told
    from data.errors import DataError
    from data.files import mirror, sweep
    from data.sets.cityscapes import KNOWN_IDS
    from data.sets.gtav import STATISTICS
    from data.streets.writers import MANIFEST
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; set up with: source setup.sh") from error

CHECK = "check"
LARGEST = 8192  # pixels of a side of a street
STREETS = "streets"  # drawn, with flags of its own
GTAV_LAYOUT = Layout("images", "labels", ".png", ".png")  # labels hold labelIds


class _Parser(argparse.ArgumentParser):
    """Its errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {' '.join(message.split())}; see {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> None:
    parser = _Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="name", metavar="NAME", required=True)
    for entry in registry.DATASETS.values():
        command = commands.add_parser(entry.name, help=entry.summary)
        if entry.name == STREETS:
            add_streets_flags(command)
        else:
            add_folder_flags(command, entry)
        command.add_argument("--check-only", action="store_true", help="make nothing")
    command = commands.add_parser(CHECK, help="every pair that an mmseg config reads, any data set")
    command.add_argument("config", help="config file, or mmseg::folder/file.py")
    args = parser.parse_args(argv)
    if args.name == CHECK:
        check_config(args.config)
        return

    entry = registry.get(args.name)
    root = entry.folder(args.src)
    if entry.is_download:
        if not entry.is_download(root):  # it lies as it is read
            entry = replace(entry, convert=None)
        elif not args.out:
            raise DataError(f"{root}: as it is published; name a folder to convert it to: --out")
    if entry.convert or (entry.name != STREETS and args.out):
        root = Path(args.out or entry.default_root)
    try:
        problems = prepare(entry, root, args)
    except DataError as error:
        if not error.problems:
            raise
        problems = error.problems
    finally:
        if not args.check_only:
            sweep(root)  # SIGTERM to the group ends the processes in the midst of a file
    print("\n".join(told(problems)) or f"{root}: every image has its label, all files are whole")
    if problems:
        raise DataError(f"{_count(problems)} in {root}, listed above")


def check_config(config: str) -> None:
    from data.survey import survey  # takes seconds

    problems = survey(config)
    if problems:
        print("\n".join(told(problems)))
        raise DataError(f"{_count(problems)} in the data of {config}, listed above")


def add_folder_flags(command: argparse.ArgumentParser, entry: registry.DataSet) -> None:
    if entry.convert and not entry.is_download:
        command.add_argument("--src", help="the download [only check what is in --out]")
        command.add_argument("--out", help=f"folder to write [{entry.default_root}]")
    else:
        command.add_argument("--src", help=f"where it lies [{entry.default_root}]")
        command.add_argument("--out", help="folder for links and what is made [--src itself]")
    for name, settings in entry.flags.items():
        command.add_argument(f"--{name}", **settings)


def add_streets_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", "--src", dest="src", help="its folder [data/raw/streets]")
    command.add_argument("--domain", choices=streets.DOMAINS, default="real")
    command.add_argument("--format", choices=["cityscapes", "gtav"], default="cityscapes")
    command.add_argument("--num-train", type=count, default=registry.STREETS["num_train"])
    command.add_argument("--num-val", type=count, default=registry.STREETS["num_val"])
    command.add_argument("--size", default="384x192", help="width x height [384x192]")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--workers", type=workers, help="processes [one a core]")


def count(text: str) -> int:
    """A number of images.

    Raises:
        argparse.ArgumentTypeError: it is none, or one that no disk holds.
    """
    if not re.fullmatch("[0-9]{1,6}", text):
        raise argparse.ArgumentTypeError(f"{text}: give a number of images, 0 to 999999")
    return int(text)


def workers(text: str) -> int:
    """A number of processes.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not re.fullmatch("[1-9][0-9]{0,3}", text):
        raise argparse.ArgumentTypeError(f"{text}: give a number of processes, 1 or more")
    return int(text)


def prepare(entry: registry.DataSet, root: Path, args: argparse.Namespace) -> list[str]:
    """Make what can be made and check every file; the problems, a line each."""
    layouts, allowed_ids = entry.layouts, entry.allowed_ids
    if not args.check_only:
        sweep(root)
    if entry.name == STREETS:
        if args.format == "gtav":
            layouts, allowed_ids = (GTAV_LAYOUT,), set(KNOWN_IDS.nonzero()[0].tolist())
        if not args.check_only:
            write_streets(root, args)
        elif not (root / MANIFEST).is_file():
            raise DataError(f"{root}: no finished streets; leave out --check-only to draw them")
    else:
        if not args.check_only:
            take(entry, root, args)
        if entry.make is not None and not args.check_only:
            made = entry.make(root)
            if made is not None:
                print(f"{root}: {made} label files made, the others were there")
        if (root / STATISTICS).is_file():
            print(f"class statistics: {root / STATISTICS}")
        registry.find(entry.name, root)
    return check(root, layouts, allowed_ids)


def take(entry: registry.DataSet, root: Path, args: argparse.Namespace) -> None:
    """Bring into ``root`` what lies elsewhere: converted, or as links."""
    if entry.convert and args.src:
        if not Path(args.src).is_dir():
            raise DataError(f"{args.src}: no such folder; name that of the download")
        more = {name: getattr(args, name) for name in entry.flags}
        made = entry.convert(args.src, root, **more)
        print(f"{root}: {made} images converted, the others were there")
    elif not entry.convert and args.out:
        src = entry.folder(args.src)
        if root.resolve().is_relative_to(src.resolve()):
            raise DataError(f"--out {root} lies in --src {src}: name a folder elsewhere")
        mirror(src, root)


def write_streets(root: Path, args: argparse.Namespace) -> None:
    width, _, height = args.size.partition("x")
    sides = [int(x) if re.fullmatch("[0-9]{1,5}", x) else 0 for x in (width, height)]
    if not all(1 <= side <= LARGEST for side in sides):
        raise DataError(f"--size {args.size}: give width x height, such as 384x192, of at most "
                        f"{LARGEST} each")  # fmt: skip
    write = streets.write_cityscapes if args.format == "cityscapes" else streets.write_gtav
    write(root, domain=args.domain, num_train=args.num_train, num_val=args.num_val,
          size=tuple(sides), seed=args.seed, workers=args.workers)  # fmt: skip
    print(f"{root}: {args.num_train} + {args.num_val} images, {args.domain} domain")


def _count(problems: Sequence) -> str:
    return "1 problem" if len(problems) == 1 else f"{len(problems)} problems"


if __name__ == "__main__":
    try:
        main()
    except (DataError, ValueError) as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.filename or ''}: {error.strerror or error}")
