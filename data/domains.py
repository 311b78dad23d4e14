"""NAME[:PART][@SIZE] -> the images of a domain: a data set, or the part of it in one light or look.

``camvid:dusk`` is CamVid's sequence at dusk, ``cityscapes@1024x512`` is Cityscapes read at that
size. A source is trained on, a target is evaluated on; what a domain changes in the config of its
data set (:mod:`data.registry`) is here, and which class of a target each class of a source is.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from data import registry
from data.errors import DataError
from data.sets import camvid, cityscapes

# CamVid's 11 classes group its first 32 (walls and bridges with buildings, lights with signs,
# bushes and grass with trees, trucks and buses with cars, motorcycles with bicyclists: Brostow et
# al. 2008, in the grouping of the SegNet tutorial); the 19 of Cityscapes fall into the same groups.
_CITYSCAPES_TO_CAMVID = {
    "road": "road",
    "sidewalk": "pavement",
    "building": "building",
    "wall": "building",
    "fence": "fence",
    "pole": "pole",
    "traffic light": "sign",
    "traffic sign": "sign",
    "vegetation": "tree",
    "terrain": "tree",
    "sky": "sky",
    "person": "pedestrian",
    "rider": "bicyclist",
    "car": "car",
    "truck": "car",
    "bus": "car",
    "train": "car",
    "motorcycle": "bicyclist",
    "bicycle": "bicyclist",
}


@dataclass(frozen=True)
class Domain:
    """Images of one kind.

    Attributes:
        name: as ``--source`` and ``--target`` take it.
        title: as a table names it.
        dataset: key of :data:`data.registry.DATASETS`.
        train, val: what the config of the training and of the evaluation set differs in.
        size: (width, height) of the box that images are fitted into before the network sees them,
            "full" for none; by default what the data set's config says.
    """

    name: str
    title: str
    dataset: str
    train: Mapping = field(default_factory=dict, compare=False)
    val: Mapping = field(default_factory=dict, compare=False)
    size: tuple[int, int] | str | None = None

    @property
    def entry(self) -> registry.DataSet:
        """The data set."""
        return registry.get(self.dataset)


def _sequences(*names: str) -> dict:
    return dict(filter_cfg=dict(sequences=names))


_CAMVID_TRAIN = dict(data_prefix=dict(img_path="images/train", seg_map_path="labels/train"))

DOMAINS = {
    domain.name: domain
    for domain in (
        Domain("gtav", "GTAV", "gtav"),
        Domain("gtav:train", "GTAV, its training split", "gtav", train=dict(split="train")),
        Domain("streets:game", "Street scenes, game look", "streets-game"),
        Domain("streets:real", "Street scenes, real look", "streets"),
        Domain("cityscapes", "Cityscapes", "cityscapes"),
        Domain("bdd100k", "BDD100K", "bdd100k"),
        Domain("mapillary", "Mapillary Vistas", "mapillary"),
        Domain("camvid", "CamVid", "camvid"),
        Domain(
            "camvid:day",
            "CamVid by day",
            "camvid",
            train=_sequences("0006R0", "0016E5"),
            val=_sequences("0016E5"),
        ),
        # The one sequence at dusk has no validation images: it is evaluated on as a whole.
        Domain(
            "camvid:dusk",
            "CamVid at dusk",
            "camvid",
            train=_sequences("0001TP"),
            val=_CAMVID_TRAIN | _sequences("0001TP"),
        ),
    )
}


def parse(text: str) -> Domain:
    """The domain of ``NAME[:PART][@WIDTHxHEIGHT|@full]``.

    Raises:
        DataError: there is none of that name, or the size is none.
    """
    name, at, size = text.partition("@")
    if name not in DOMAINS:
        near = difflib.get_close_matches(name, DOMAINS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise DataError(f"unknown domain {name!r}, there are: {', '.join(DOMAINS)}{hint}")
    domain = DOMAINS[name]
    if not at:
        return domain
    numbers = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", size)
    if size != "full" and not numbers:
        raise DataError(f"{text}: after @ comes a size, such as @1024x512, or @full")
    return replace(
        domain,
        name=text,
        title=f"{domain.title}, {'full size' if size == 'full' else size}",
        size="full" if size == "full" else tuple(map(int, numbers.groups())),
    )


def prediction_map(source: tuple[str, ...], target: tuple[str, ...]) -> list[int] | None:
    """Which class of ``target`` each class of ``source`` is; None if they are the
    same.

    Raises:
        DataError: there is no mapping between the two.
    """
    if tuple(source) == tuple(target):
        return None
    if tuple(source) == cityscapes.CLASSES and tuple(target) == camvid.CLASSES:
        return [camvid.CLASSES.index(_CITYSCAPES_TO_CAMVID[name]) for name in source]
    raise DataError(
        f"no mapping from {len(source)} classes ({source[0]}, …) to {len(target)} "
        f"({target[0]}, …): train on a source with the target's classes"
    )
