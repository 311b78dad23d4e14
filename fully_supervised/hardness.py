"""See hardness: the paper's analysis of HL maps (sections 4.3, 4.6), and what they are good for.

    python fully_supervised/hardness.py map CHECKPOINT IMAGES…
    python fully_supervised/hardness.py COMMAND --help

Every command leaves its pictures and figures in a folder of its own below --out, and the page there
(index.html) gathers all that there is.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

try:
    from core import section
    from core.engine import cli
    from core.errors import PictureError
    from data.errors import DataError
    from data.pictures import check_outside
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; set up with: source setup.sh") from error

COMMANDS = {
    "map": "HL maps of pictures: exact (16-bit PNG), in colour, on one sheet",
    "evolve": "how loss and HL map change while a model goes on training on one image (Figure 1)",
    "effectiveness": "mIoU of baseline and +HL by hardness of the pixels (Figure 4)",
    "similarity": "mean SSIM between the HL maps of two models (section 4.3)",
    "cost": "time, memory and parameters that HL takes in training (Table 9)",
    "rank": "which images to label next, and which labels to look at again",
    "plant": "a copy of labels with seeded errors, to measure rank with",
    "page": "gather again what the commands have left in a folder",
}
RUNS = Path("work_dirs/hardness")  # where no checkpoint says where


def main(argv: Sequence[str] | None = None) -> None:
    words = list(map(str, sys.argv[1:] if argv is None else argv))
    parser = cli.script_parser(__doc__)
    commands = parser.add_subparsers(dest="kind", metavar="COMMAND", required=True)
    module = None
    for name, summary in COMMANDS.items():
        flags = commands.add_parser(name, help=summary)
        if name == next(iter(words), None):
            module = import_module(f"fully_supervised.seeing.{name}")
            flags.description = module.__doc__
            flags.formatter_class = parser.formatter_class
            module.add_flags(flags)
    args = parser.parse_args(words)
    checkpoint = getattr(args, "checkpoint", None)
    root = Path(args.out or (checkpoint.parent / "hardness" if checkpoint else RUNS))
    check_outside(root, getattr(args, "images", None) or ())
    command = cli.command_of(__file__, words)
    folder = root if args.kind == "page" else section.folder_for(root, args.kind, command)

    try:
        found = module.run(args, folder)
    except BaseException:
        section.release(folder)
        raise
    from core.report.gallery import write_gallery
    from core.report.sections import tell, write_page

    if found is not None:  # page itself leaves none
        tell(section.write(found, folder, command), folder)
        if found.figures.get("gallery"):
            write_gallery(folder, found.title, found.figures["gallery"])
    print(f"page: {write_page(root, tuple(COMMANDS))}")
    if found is not None and found.failed:
        raise PictureError(f"{len(found.failed)} pictures could not be read; they are named above "
                           "and left out")  # fmt: skip


if __name__ == "__main__":
    cli.main_line(main, DataError)
