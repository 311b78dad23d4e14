"""What ``rank`` shows: crops of the regions, and its section."""

from __future__ import annotations

import argparse
import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from core.analysis.colors import color_hardness, color_labels
from core.analysis.ranking import swaps
from core.files import write_files
from core.section import Grid, Section, Shown, Strip
from data.files import png
from fully_supervised.seeing.inputs import Images
from fully_supervised.seeing.ranked_files import NO, UNKNOWN, YES, Region

if TYPE_CHECKING:
    from core.predict import Predictor
    from fully_supervised.seeing.rank import Seen

SHOWN = 40  # regions of the gallery
STRIPS = 8  # of them on the page
_SIDE = 240  # pixels of a crop's longer side, at least
_EDGE = (255, 255, 255)
_AROUND = (0, 0, 0)


def write_crops(
    folder: Path, images: Images, ranked: Sequence[tuple[float, Region]], judge: np.ndarray,
    paths: Sequence[Path], loaded: Callable[[Path], Predictor], in_sample: Mapping[int, str],
) -> list[Strip]:  # fmt: skip
    """Crops of the first regions, in ``folder/crops``, as strips: image, given and suggested label,
    hardness."""
    from core.predict import read_picture

    shown = list(enumerate(ranked[:SHOWN], start=1))
    strips: dict[int, Strip] = {}
    for k in sorted({int(judge[r.image]) for _, (_, r) in shown}):
        predictor = loaded(paths[k])
        of_k = [entry for entry in shown if judge[entry[1][1].image] == k]
        for image in sorted({r.image for _, (_, r) in of_k}):
            item = images.items[image]
            picture = read_picture(item.image)
            label = images.label(item, picture.shape[:2], len(predictor.classes))
            prediction = predictor.predict(picture)
            for n, (score, region) in of_k:
                if region.image != image:
                    continue
                views = dict(
                    image=_crop(picture, region, smooth=True),
                    given=_crop(color_labels(np.where(label < 0, 255, label), predictor.palette),
                                region),
                    suggested=_crop(color_labels(prediction.labels, predictor.palette), region),
                )  # fmt: skip
                if prediction.hardness is not None:
                    views["hardness"] = _crop(color_hardness(prediction.hardness), region)
                names = {kind: f"crops/{n:04d}_{kind}.png" for kind in views}
                write_files({folder / names[kind]: png(view) for kind, view in views.items()})
                given, suggested = (predictor.classes[c] for c in (region.given, region.suggested))
                texts = dict(image=item.name, given=f"given: {given}", hardness="HL map",
                             suggested=f"suggested: {suggested}")  # fmt: skip
                marked = {YES: ", trained on", UNKNOWN: ", perhaps trained on"}
                marked = marked.get(in_sample.get(image, NO), "")
                strips[n] = Strip(
                    f"{n}. {given} → {suggested}, {region.area} pixels, score {score:.3g}{marked}",
                    tuple(Shown(names[kind], texts[kind], kind == "image") for kind in views),
                )
    return [strips[n] for n in sorted(strips)]


def _crop(picture: np.ndarray, region: Region, *, smooth: bool = False) -> np.ndarray:
    """The region with what lies around it, enlarged, outlined in white on black."""
    x, y, w, h = region.box
    margin = max(24, max(w, h) // 2)
    top, left = max(0, y - margin), max(0, x - margin)
    crop = picture[top : y + h + margin, left : x + w + margin]
    scale = max(1, int(np.ceil(_SIDE / max(crop.shape[:2]))))
    size = (crop.shape[1] * scale, crop.shape[0] * scale)
    crop = cv2.resize(crop, size, interpolation=cv2.INTER_CUBIC if smooth else cv2.INTER_NEAREST)
    mask = np.zeros(picture.shape[:2], np.uint8)
    mask[y : y + h, x : x + w] = region.mask
    mask = mask[top : y + h + margin, left : x + w + margin]
    mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
    outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    crop = np.ascontiguousarray(crop)
    cv2.drawContours(crop, outlines, -1, _AROUND, 3)
    cv2.drawContours(crop, outlines, -1, _EDGE, 1)
    return crop


def section(
    args: argparse.Namespace, images: Images, classes: Sequence[str], seen: Seen,
    ranked: Sequence[tuple[float, Region]], order: Sequence[int], picked: Sequence[int],
    repeated: int, in_sample: Mapping[int, str], files: Mapping[str, str], crops: Sequence[Strip],
    labeled: int,
) -> Section:  # fmt: skip
    """The section of a run of ``rank``."""
    compared = int(seen.confusion.sum())
    regions = sum(n for n, _ in seen.swaps.values())
    words = []
    tables = []
    if labeled:
        words.append("Regions in which the model contradicts the label, the most suspicious "
                     "first: a list to look through. Right labels stand in it, too, where the "
                     "model is wrong.")  # fmt: skip
        if args.by == "surprise":
            words.append(
                "Score: surprise, the region's mean cross-entropy of the given label plus "
                "half of how rarely this class is predicted for that one, both in nats."
            )
        rows = swaps(seen.swaps)
        tables.append(Grid(
            "Swaps", ("given → suggested", "regions", "pixels"),
            tuple((f"{classes[g]} → {classes[s]}", str(n), str(a)) for g, s, n, a in rows[:20]),
            f"The {min(20, len(rows))} with most pixels, of {len(rows)}."))  # fmt: skip
        files = dict(files)
        if crops:
            files["gallery.html"] = f"the first {len(crops)} regions as pictures"
    else:
        words.append("Images by how much in them is hard for the model: which to label next.")
    name = "mean HL" if not np.isnan(seen.figures[:, 0]).all() else "mean entropy"
    column = 0 if name == "mean HL" else 2
    tables.append(Grid(
        "Hardest images", ("image", name), tuple(
            (images.items[i].name, f"{seen.figures[i, column]:.3f}") for i in order[:10])
    ))  # fmt: skip
    if picked:
        tables.append(Grid(
            "Chosen to label", ("image", name), tuple(
                (images.items[i].name, f"{seen.figures[i, column]:.3f}") for i in picked[:20]),
            f"The first {min(20, len(picked))} of {len(picked)}, in the order of choice: each adds "
            "the most hard area of predicted classes that those before have little of. An image "
            "that looks like one before (grey thumbnails of 16x12 correlated by 0.95 or more) "
            "waits for all others"
            + (f"; the last {repeated} are such." if repeated else ".")))  # fmt: skip
    facts = {"Checkpoint": str(args.checkpoint)}
    if args.labels:
        facts["Labels"] = args.labels
    facts |= {"Images": f"{images.title}: {len(images)}, "
             f"{labeled} with a label"}  # fmt: skip
    if labeled:
        border = f"{seen.border[0]} of {compared} pixels disagree at a boundary and are in none"
        facts |= {"Regions": f"{regions} of at least {args.min_area} pixels; {border}",
                  "Score": args.by}  # fmt: skip
    for told, count in Counter(in_sample.values()).items():
        facts["Trained on" if told == YES else "Perhaps trained on"] = (
            f"{count} of the images, marked in every file: "
            + ("the model hardly doubts their labels" if told == YES else
               "the images of the training are not where the checkpoint says")
        )  # fmt: skip
    return Section(
        kind="rank",
        title=f"Ranked: {images.title}" + (f", labels of {args.labels}" if args.labels else ""),
        words=tuple(words),
        facts=facts,
        tables=tuple(tables),
        strips=tuple(crops[:STRIPS]),
        files=files,
        figures=dict(images=len(images), regions=regions, compared=compared,
                     border=seen.border[0], in_sample=len(in_sample),
                     gallery=[dataclasses.asdict(strip) for strip in crops]),
    )  # fmt: skip
