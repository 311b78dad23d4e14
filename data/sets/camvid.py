"""CamVid in its 11-class form (Brostow et al., "Semantic object classes in video", 2008).

On disk: ``images/<split>/NAME.jpg`` or ``.png`` and ``labels/<split>/NAME.png``, 8-bit, 0-10 and 11
for void. Made here from either published form:

- the authors': images of 960x720, ``0001TP_006690.png``, and labels ``0001TP_006690_L.png`` in the
  32 colours of their ``label_colors.txt``, wherever they lie below the download; halved to 480x360
  (images by area, labels by the nearest pixel), the size of the other form;
- the SegNet tutorial's: ``train/``, ``trainannot/`` and so on, 480x360, ids 0-10 and 11 for void.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import cv2

from data.colors import Colors
from data.errors import DataError
from data.files import in_parallel, png, save, walk
from data.lists import lines
from data.pairs import UNREADABLE, decode, fault, read_pixels

CLASSES = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car",
           "pedestrian", "bicyclist")  # fmt: skip
PALETTE = ((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (0, 0, 192),
           (128, 128, 0), (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0),
           (0, 128, 192))  # fmt: skip
VOID = 11
SPLITS = ("train", "val", "test")
SIZE = (480, 360)  # width, height
LABEL_END = "_L.png"

# The colours of label_colors.txt, in the grouping of the SegNet paper (Badrinarayanan et al.,
# 2017); what is not here is void, black.
_GROUPS: tuple[tuple[tuple[int, int, int], ...], ...] = (
    ((128, 128, 128),),  # Sky
    # Building, Bridge, Wall, Tunnel, Archway
    ((128, 0, 0), (0, 128, 64), (64, 192, 0), (64, 0, 64), (192, 0, 128)),
    ((192, 192, 128), (0, 0, 64)),  # Column_Pole, TrafficCone
    ((128, 64, 128), (128, 0, 192), (192, 0, 64)),  # Road, LaneMkgsDriv, LaneMkgsNonDriv
    ((0, 0, 192), (64, 192, 128), (128, 128, 192)),  # Sidewalk, ParkingBlock, RoadShoulder
    ((128, 128, 0), (192, 192, 0)),  # Tree, VegetationMisc
    ((192, 128, 128), (128, 128, 64), (0, 64, 64)),  # SignSymbol, Misc_Text, TrafficLight
    ((64, 64, 128),),  # Fence
    # Car, SUVPickupTruck, Truck_Bus, Train, OtherMoving
    ((64, 0, 128), (64, 128, 192), (192, 128, 192), (192, 64, 128), (128, 64, 64)),
    # Pedestrian, Child, CartLuggagePram, Animal
    ((64, 64, 0), (192, 128, 64), (64, 0, 192), (64, 128, 64)),
    ((0, 128, 192), (192, 0, 192)),  # Bicyclist, MotorcycleScooter
)
COLORS = Colors(
    {color: i for i, group in enumerate(_GROUPS) for color in group} | {(0, 0, 0): VOID}
)


def split_of(name: str) -> str | None:
    """The split of an image in the tutorial's lists (367, 101 and 233 images), None if it is none.

    By sequence and frame: validation is the stretch of 0016E5 that was labelled at 15 Hz, the
    second half of 0001TP is for testing, as is Seq05VD.
    """
    found = re.fullmatch(r"(0001TP|0006R0|0016E5|Seq05VD)_f?(\d+)", name)
    if not found:
        return None
    sequence, frame = found[1], int(found[2])
    if sequence == "0016E5":
        return "val" if 7959 <= frame <= 8159 and frame % 2 else "train"
    if sequence == "0001TP":
        return "train" if frame <= 8520 else "test"
    return "test" if sequence == "Seq05VD" else "train"


class _Task(NamedTuple):
    image: Path
    label: Path
    out: Path
    split: str
    name: str

    def targets(self) -> tuple[Path, Path]:
        return (
            self.out / "images" / self.split / f"{self.name}.png",
            self.out / "labels" / self.split / f"{self.name}.png",
        )


def is_download(src: str | Path) -> bool:
    """Whether a folder holds a published form, not the one that is read."""
    src = Path(src)
    return not (src / "images").is_dir() and bool(_tutorial(src) or _authors(src))


def convert(
    src: str | Path, out: str | Path, workers: int | None = None, lists: str | None = None
) -> int:
    """Write the pairs that are not there yet, in parallel.

    Args:
        src: a published form; see the module.
        out: gets ``images`` and ``labels``.
        workers: processes; one a core, eight at most, by default.
        lists: folder of ``train.txt``, ``val.txt``, ``test.txt`` with an image a line, in the place
            of the published split (of the tutorial's form: of its folders).

    Returns:
        The number of pairs written.

    Raises:
        DataError: no published form is there, an image is in no split, or some files are missing,
            damaged or hold unknown colours; all others are written.
    """
    src, out = Path(src), Path(out)
    found = _tutorial(src) or _authors(src)
    if not found:
        raise DataError(
            f"{src}: neither NAME.png and NAME{LABEL_END} nor train/ and trainannot/; unpack "
            "CamVid there"
        )
    listed = _listed(Path(lists)) if lists else None
    tasks, lost = [], []
    for name, (image, label, folder) in sorted(found.items()):
        split = listed.get(name) if listed is not None else folder or split_of(name)
        if split is None and listed is None:
            lost.append(name)
        elif split is not None:
            tasks.append(_Task(image, label, out, split, name))
    if lost:
        raise DataError(
            f"{src}: {lost[0]} and {len(lost) - 1} more are in no published split; name a folder "
            "of train.txt and val.txt with --lists"
        )
    if listed is not None and (gone := sorted(set(listed) - set(found))):
        raise DataError(f"{lists}: {gone[0]} and {len(gone) - 1} more are not in {src}; copy them")
    for split in {task.split for task in tasks}:
        for part in ("images", "labels"):
            (out / part / split).mkdir(parents=True, exist_ok=True)
    outcomes = in_parallel(_convert, tasks, "pairs", workers)
    problems = [outcome for outcome in outcomes if not isinstance(outcome, bool)]
    if problems:
        raise DataError.of(problems, f"python data/prepare.py camvid --src {src} --out {out}")
    return sum(outcomes)


_Found = dict[str, tuple[Path, Path, str | None]]  # image, label and split by name


def _tutorial(src: Path) -> _Found:
    return {
        image.stem: (image, src / f"{split}annot" / image.name, split)
        for split in SPLITS
        if (src / f"{split}annot").is_dir()
        for image in sorted((src / split).glob("[!.]*.png"))
    }


def _authors(src: Path) -> _Found:
    paths = {
        name: Path(folder, name)
        for folder, _, names in walk(src)
        for name in names
        if name.endswith(".png") and not name.startswith(".")
    }
    return {
        name.removesuffix(LABEL_END): (
            # Named where it should be, if it is not there.
            paths.get(name.replace(LABEL_END, ".png"), path.with_name(name.replace("_L", ""))),
            path,
            None,
        )
        for name, path in paths.items()
        if name.endswith(LABEL_END)
    }


def _listed(folder: Path) -> dict[str, str]:
    """Split by name. Only the name of a line's file counts: no two images of CamVid share one."""
    found: dict[str, str] = {}
    for split in SPLITS:
        path = folder / f"{split}.txt"
        if split == "test" and not path.is_file():
            continue
        for where, line in lines(path):
            name = re.sub(r"(_L)?\.(png|jpg)$", "", re.split(r"[\s,;]", line)[0])
            name = name.replace("\\", "/").rpartition("/")[2]
            if found.setdefault(name, split) != split:
                raise DataError(f"{where}: {name} is in {found[name]}.txt, too; remove one of them")
    return found


def _convert(task: _Task) -> bool | object:
    """Whether the pair had to be written, or what is wrong with it."""
    targets = task.targets()
    if all(target.is_file() for target in targets):
        return False
    path = task.image
    try:
        image = decode(path, cv2.IMREAD_COLOR)
        path = task.label
        label = read_pixels(path)
        if label.ndim == 3:
            label = COLORS.ids(label)
        elif label.max() > VOID:
            raise DataError(f"label id {label.max()} is none of 0-{VOID}")
        if label.shape != image.shape[:2]:
            height, width = label.shape
            raise DataError(f"is {width}x{height}, its image {image.shape[1]}x{image.shape[0]}")
    except UNREADABLE as error:
        return fault(path, error)
    if label.shape != SIZE[::-1]:
        image = cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA)
        label = cv2.resize(label, SIZE, interpolation=cv2.INTER_NEAREST)
    save(targets[0], png(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)))
    save(targets[1], png(label))
    return True
