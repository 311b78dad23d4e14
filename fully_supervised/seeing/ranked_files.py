"""The files of ``rank``: CSV, COCO-style JSON, LabelMe and CVAT."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import cv2
import numpy as np

from core.analysis.ranking import BASIC, Means
from core.files import write_atomically
from fully_supervised.seeing.drawn import csv_of
from fully_supervised.seeing.inputs import Item

EXPORTS = ("labelme", "cvat")
# Whether a model was trained on an image, as the column in_sample says it.
YES, NO, UNKNOWN = "1", "0", "unknown"


class Region(NamedTuple):
    """A candidate of the list. ``image``: index; ``mask``: (height, width) bool, inside the box."""

    image: int
    size: tuple[int, int]
    box: tuple[int, int, int, int]
    area: int
    given: int
    suggested: int
    means: Means
    mask: np.ndarray


def regions_csv(
    ranked: Sequence[tuple[float, Region]], items: Sequence[Item], classes: Sequence[str],
    in_sample: Mapping[int, str],
) -> bytes:  # fmt: skip
    head = ["rank", "image", "file", "x", "y", "width", "height", "area", "given", "suggested",
            "score", *BASIC, "in_sample"]  # fmt: skip
    return csv_of(head, (
        [i, items[r.image].name, os.path.realpath(items[r.image].image), *r.box, r.area,
         classes[r.given], classes[r.suggested], float(score), *map(float, r.means),
         in_sample.get(r.image, NO)]
        for i, (score, r) in enumerate(ranked, start=1)
    ))  # fmt: skip


def coco(
    ranked: Sequence[tuple[float, Region]], items: Sequence[Item], classes: Sequence[str],
    in_sample: Mapping[int, str], info: dict,
) -> bytes:  # fmt: skip
    """COCO's format for detections: ``category_id`` is the suggested class, ``given_category_id``
    that of the label; masks as uncompressed run lengths, column by column."""
    sizes = {r.image: r.size for _, r in ranked}
    images = [
        dict(id=i, file_name=str(items[i].image), name=items[i].name, width=w, height=h,
             in_sample={YES: True, NO: False}.get(in_sample.get(i, NO)))
        for i, (h, w) in sorted(sizes.items())
    ]  # fmt: skip
    annotations = [
        dict(id=n, image_id=r.image, category_id=r.suggested, given_category_id=r.given,
             bbox=list(r.box), area=r.area, iscrowd=1, segmentation=_rle(r), score=float(score),
             means={k: None if np.isnan(x) else float(x)
                    for k, x in zip(BASIC, r.means, strict=True)})
        for n, (score, r) in enumerate(ranked, start=1)
    ]  # fmt: skip
    categories = [dict(id=k, name=name) for k, name in enumerate(classes)]
    content = dict(info=info, images=images, annotations=annotations, categories=categories)
    return f"{json.dumps(content)}\n".encode(errors="backslashreplace")


def _rle(region: Region) -> dict:
    whole = np.zeros(region.size, bool)
    x, y, w, h = region.box
    whole[y : y + h, x : x + w] = region.mask
    flat = np.concatenate([[False], whole.ravel(order="F")])  # the first run is of zeros
    starts = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[1], starts, [len(flat)]]))
    return dict(size=list(region.size), counts=runs.tolist())


def polygons(region: Region) -> list[list[list[int]]]:
    """Outlines as [[x, y], …] through the outermost pixels, at least three points; holes are
    filled, and a line of pixels is their box."""
    x, y, _, _ = region.box
    found, _ = cv2.findContours(region.mask.astype(np.uint8), cv2.RETR_EXTERNAL,
                                cv2.CHAIN_APPROX_SIMPLE, offset=(int(x), int(y)))  # fmt: skip
    result = []
    for outline in found:
        points = outline[:, 0].tolist()
        if len(points) < 3:
            left, top, width, height = cv2.boundingRect(outline)
            right, bottom = left + width - 1, top + height - 1
            points = [[left, top], [right, top], [right, bottom], [left, bottom]]
        result.append(points)
    return result


def write_exports(
    folder: Path, kinds: Sequence[str], ranked: Sequence[tuple[float, Region]],
    items: Sequence[Item], classes: Sequence[str],
) -> dict[str, str]:  # fmt: skip
    """LabelMe's or CVAT's files, shapes of the suggested class; names and what they are."""
    by_image: dict[int, list[tuple[int, float, Region]]] = {}
    for n, (score, region) in enumerate(ranked, start=1):
        by_image.setdefault(region.image, []).append((n, score, region))
    files = {}
    if "labelme" in kinds:
        for i, regions in sorted(by_image.items()):
            path = folder / "labelme" / f"{items[i].name}.json"
            write_atomically(_labelme(path, items[i], regions, classes), path)
        files["labelme"] = (
            "a file an image, suggested classes as polygons, holes filled: labelme FILE"
        )
    if "cvat" in kinds:
        root = ElementTree.Element("annotations")
        ElementTree.SubElement(root, "version").text = "1.1"
        for i, regions in sorted(by_image.items()):
            height, width = regions[0][2].size
            image = ElementTree.SubElement(root, "image", id=str(i), name=_in_xml(items, i),
                                           width=str(width), height=str(height))  # fmt: skip
            for n, score, region in regions:
                for outline in polygons(region):
                    points = ";".join(f"{x:.2f},{y:.2f}" for x, y in outline)
                    shape = ElementTree.SubElement(
                        image, "polygon", label=_xml(classes[region.suggested]), occluded="0",
                        z_order="0", source="rank", points=points,
                    )  # fmt: skip
                    for name, value in _told(n, score, region, classes).items():
                        ElementTree.SubElement(shape, "attribute", name=name).text = _xml(value)
        ElementTree.indent(root)
        text = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
        write_atomically(text, folder / "cvat.xml")
        told = [dict(name=name, mutable=False, input_type="text", default_value="", values=[])
                for name in ("rank", "given", "score")]  # fmt: skip
        labels = [dict(name=_xml(name), attributes=told) for name in classes]
        write_atomically(json.dumps(labels, indent=1).encode(), folder / "cvat_labels.json")
        files["cvat.xml"] = ("CVAT for images 1.1, holes filled: for a task of these images whose "
                             "labels are those of cvat_labels.json")  # fmt: skip
        files["cvat_labels.json"] = "the labels of such a task (raw, in its constructor)"
    return files


def _in_xml(items: Sequence[Item], i: int) -> str:
    """The place of an image as a task names it."""
    return _xml(f"{items[i].name}{items[i].image.suffix}")


def _xml(text: str) -> str:
    """Text without what XML has no sign for."""
    return re.sub("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "_", text)


def _told(n: int, score: float, region: Region, classes: Sequence[str]) -> dict[str, str]:
    return dict(rank=str(n), given=classes[region.given], score=f"{score:.6g}")


def _labelme(
    path: Path, item: Item, regions: Sequence[tuple[int, float, Region]], classes: Sequence[str]
) -> bytes:
    shapes = [
        dict(label=classes[region.suggested], points=points, group_id=n, shape_type="polygon",
             flags={}, description=", ".join(f"{k} {v}" for k, v in
                                             _told(n, score, region, classes).items()))
        for n, score, region in regions for points in polygons(region)
    ]  # fmt: skip
    height, width = regions[0][2].size
    content = dict(version="5.0.1", flags={}, shapes=shapes, imageData=None,
                   imagePath=os.path.relpath(item.image, path.parent),
                   imageHeight=height, imageWidth=width)  # fmt: skip
    return json.dumps(content, indent=1).encode(errors="backslashreplace")
