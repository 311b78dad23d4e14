"""HL maps of pictures: exact, in colour, and all on one sheet.

    python fully_supervised/hardness.py map CHECKPOINT street.jpg folder
    python fully_supervised/hardness.py map CHECKPOINT --data camvid --split val

Without pictures: the validation images that the checkpoint's config reads. Written are maps/
(16-bit PNG: value / 65535 is sigmoid(D) of Eq. 1, from 0, easy, to 1, hard), overlays/ (the map in
colour over its picture, one scale for all), sheet.png and maps.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from core.engine.cli import positive
from core.errors import ConfigError, PictureError
from core.section import Grid, Section, Shown, Strip
from fully_supervised.seeing import inputs
from fully_supervised.seeing.drawn import csv_of

if TYPE_CHECKING:  # torch takes seconds
    from core.analysis.maps import Histogram, MapFigures
    from core.predict import Predictor

COLUMNS = ("mean", "1 %", "50 %", "99 %", "above 0.5")
FIGURES = ("mean", "p01", "p50", "p99", "above_half")
_SCALE = "sigmoid(D) from 0 (easy) to 1 (hard)"
_CAPTIONS = dict(image="image", map="HL map", overlay="HL map over the image")
_ENDS = 5  # rows of the table: so many of the hardest and of the easiest
_STRIPS = 4
_PAGE = (1000, 1000)  # W, H of a picture on the page; the files have the picture's own size


def add_flags(parser: argparse.ArgumentParser) -> None:
    inputs.add_checkpoint_flags(parser, "checkpoint")
    inputs.add_image_flags(parser)
    inputs.add_out_flag(parser, "hardness beside the checkpoint")
    parser.add_argument("--sheet", type=positive, default=60, metavar="N",
                        help="pictures on the sheet, spread over all [60]")  # fmt: skip


def run(args: argparse.Namespace, folder: Path) -> Section:
    """The maps of all pictures, one at a time.

    Raises:
        ConfigError: the model has no HL branch. PictureError: no picture can be read.
    """
    from core.analysis.colors import color_hardness
    from core.analysis.maps import Histogram
    from core.analysis.overlays import Sheet, fitted, overlay, with_bar
    from core.files import write_files
    from core.maps import FULL, encode, quantized
    from core.predict import load
    from data.files import png
    from fully_supervised.predicting import each_picture

    predictor = load(args.checkpoint, config=args.config, device=args.device,
                     trust=args.trust_imports)  # fmt: skip
    if predictor.hl_model is None:
        raise ConfigError(f"{args.checkpoint}: has no HL branch, so no HL map; take a checkpoint "
                          "of a training with --hl that was not exported")  # fmt: skip
    images = inputs.images_of(args, predictor)
    on_sheet = {item.name for item in images.spread(args.sheet).items}
    in_strips = {item.name for item in images.spread(_STRIPS).items}
    sheet = Sheet(len(on_sheet), f"HL maps, {_SCALE}; {images.title}")
    of_all = Histogram()
    rows: list[tuple[str, MapFigures]] = []
    strips: list[Strip] = []
    failed: list[str] = []
    for item, found in each_picture(predictor, images, "mapping", failed):
        values = quantized(found.hardness)
        own = Histogram()
        own.add(values)
        of_all.add(values)
        rows.append((item.name, own.figures()))
        colors = color_hardness(values / FULL)
        over = overlay(found.image, colors)
        write_files({folder / "maps" / f"{item.name}.png": encode(values),
                     folder / "overlays" / f"{item.name}.png": png(with_bar(over))})  # fmt: skip
        if item.name in on_sheet:
            sheet.add(item.name, found.image, over)
        if item.name in in_strips:
            shown = dict(image=found.image, map=with_bar(fitted(colors, _PAGE)), overlay=over)
            files = {kind: f"strips/{len(strips) + 1}_{kind}.png" for kind in shown}
            write_files({folder / files[kind]: png(fitted(picture, _PAGE))
                         for kind, picture in shown.items()})  # fmt: skip
            strips.append(
                Strip(
                    item.name,
                    tuple(
                        Shown(files[kind], _CAPTIONS[kind], photo=kind != "map") for kind in shown
                    ),
                )
            )
    if not rows:
        raise PictureError(f"none of the {len(images)} pictures could be read; they are named "
                           "above")  # fmt: skip
    write_files({folder / "maps.csv": _csv(rows), folder / "sheet.png": png(sheet.picture())})
    return _section(args, images, rows, of_all, strips, failed, len(on_sheet), predictor)


def _section(
    args: argparse.Namespace, images: inputs.Images, rows: list[tuple[str, MapFigures]],
    of_all: Histogram, strips: list[Strip], failed: list[str], on_sheet: int, predictor: Predictor,
) -> Section:  # fmt: skip
    figures = of_all.figures()
    ordered = sorted(rows, key=lambda row: (-row[1].mean, row[0]))
    several = ordered if len(ordered) <= 2 * _ENDS else [*ordered[:_ENDS], *ordered[-_ENDS:]]
    which = "" if several is ordered else f", the {_ENDS} hardest and the {_ENDS} easiest by mean"
    grid = Grid(
        f"Hardness of the pixels{which}", ("image", *COLUMNS),
        tuple((name, *(f"{x:.3f}" for x in row)) for name, row in (
            (f"all {len(rows)}", figures), *several)),
        "Percentiles of the pixels of a map; share of the pixels above 0.5. All images: "
        "maps.csv.")  # fmt: skip
    words = [
        f"HL maps, {_SCALE}: how hard the network expects a pixel to be, not whether it is wrong. "
        "All pictures have one scale, so that they can be compared; a map of one colour is flat."
    ]
    if failed:
        words.append(f"Left out, as they cannot be read: {'; '.join(failed)}.")
    return Section(
        kind="map",
        title=f"HL maps: {images.title}",
        words=tuple(words),
        facts={"checkpoint": str(args.checkpoint), "images": f"{len(rows)}, {images.title}",
               "pixels": f"{of_all.pixels:,}", "device": str(predictor.device)},
        tables=(grid,),
        strips=(Strip("All on one sheet" if on_sheet == len(images) else
                      f"{on_sheet} of {len(images)}, spread over them, on one sheet",
                      (Shown("sheet.png", "picture and HL map over it", photo=True),)), *strips),
        files={"maps.csv": "the figures of every image", "sheet.png": "the sheet",
               "maps": "HL maps, 16-bit PNG: value / 65535",
               "overlays": "the maps in colour over their pictures"},
        figures=dict(zip(FIGURES, figures, strict=True)) | {"images": len(rows)},
        failed=tuple(failed),
    )  # fmt: skip


def _csv(rows: list[tuple[str, MapFigures]]) -> bytes:
    return csv_of(("image", *FIGURES),
                  ((name, *(f"{x:.6f}" for x in figures)) for name, figures in rows))  # fmt: skip
