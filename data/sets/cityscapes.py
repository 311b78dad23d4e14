"""The Cityscapes label table: 34 label ids on disk, 19 classes in training."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from data.errors import DataError
from data.files import in_parallel, png, save
from data.pairs import UNREADABLE, decode, fault

# The published table by labelId: name, whether it is trained and evaluated, colour.
_LABELS: tuple[tuple[str, bool, tuple[int, int, int]], ...] = (
    ("unlabeled", False, (0, 0, 0)),
    ("ego vehicle", False, (0, 0, 0)),
    ("rectification border", False, (0, 0, 0)),
    ("out of roi", False, (0, 0, 0)),
    ("static", False, (0, 0, 0)),
    ("dynamic", False, (111, 74, 0)),
    ("ground", False, (81, 0, 81)),
    ("road", True, (128, 64, 128)),
    ("sidewalk", True, (244, 35, 232)),
    ("parking", False, (250, 170, 160)),
    ("rail track", False, (230, 150, 140)),
    ("building", True, (70, 70, 70)),
    ("wall", True, (102, 102, 156)),
    ("fence", True, (190, 153, 153)),
    ("guard rail", False, (180, 165, 180)),
    ("bridge", False, (150, 100, 100)),
    ("tunnel", False, (150, 120, 90)),
    ("pole", True, (153, 153, 153)),
    ("polegroup", False, (153, 153, 153)),
    ("traffic light", True, (250, 170, 30)),
    ("traffic sign", True, (220, 220, 0)),
    ("vegetation", True, (107, 142, 35)),
    ("terrain", True, (152, 251, 152)),
    ("sky", True, (70, 130, 180)),
    ("person", True, (220, 20, 60)),
    ("rider", True, (255, 0, 0)),
    ("car", True, (0, 0, 142)),
    ("truck", True, (0, 0, 70)),
    ("bus", True, (0, 60, 100)),
    ("caravan", False, (0, 0, 90)),
    ("trailer", False, (0, 0, 110)),
    ("train", True, (0, 80, 100)),
    ("motorcycle", True, (0, 0, 230)),
    ("bicycle", True, (119, 11, 32)),
)

LABEL_COLORS: tuple[tuple[int, int, int], ...] = tuple(color for _, _, color in _LABELS)

# The 19 classes by trainId: the trained ones in the order of their labelIds.
CLASSES: tuple[str, ...] = tuple(name for name, trained, _ in _LABELS if trained)
PALETTE: list[list[int]] = [list(color) for _, trained, color in _LABELS if trained]

# Tables over every value that a label byte can have: is it a labelId, and its trainId (255: void).
KNOWN_IDS: np.ndarray = np.arange(256) < len(_LABELS)
ID_TO_TRAIN_ID: np.ndarray = np.full(256, 255, np.uint8)
ID_TO_TRAIN_ID[[i for i, (_, trained, _) in enumerate(_LABELS) if trained]] = range(len(CLASSES))
KNOWN_IDS.setflags(write=False)
ID_TO_TRAIN_ID.setflags(write=False)


def convert_label_ids(label_ids: np.ndarray) -> np.ndarray:
    """labelIds (H, W) uint8 -> trainIds (H, W) uint8, 0-18 and 255 for void.

    Raises:
        DataError: an id that Cityscapes does not define; 255 too, which tells trainIds.
    """
    present = np.unique(label_ids)
    unknown = present[~KNOWN_IDS[present]]
    if unknown.size:
        ids = ", ".join(map(str, unknown[:5]))
        raise DataError(f"label ids {ids} are not Cityscapes' (0-33)")
    return ID_TO_TRAIN_ID[label_ids]


def make_label_train_ids(root: str | Path, workers: int | None = None) -> int:
    """Write ``_labelTrainIds.png`` beside every ``gtFine/*/*/*_labelIds.png`` that lacks it.

    In parallel; what a cut call wrote is kept.

    Args:
        root: the folder that holds ``gtFine``.
        workers: processes; one a core, eight at most, by default.

    Returns:
        The number of files written.

    Raises:
        DataError: no labels are there, or some cannot be converted; all others are written.
    """
    # Not "._…": macOS leaves those beside files that it packed; mmseg skips them, too.
    sources = sorted(Path(root).glob("gtFine/*/*/[!.]*_gtFine_labelIds.png"))
    if not sources and not any(Path(root).glob("gtFine/*/*/*_gtFine_labelTrainIds.png")):
        raise DataError(f"{root}: no gtFine/*/*/*_gtFine_labelIds.png; unpack gtFine_trainvaltest")
    todo = [path for path in sources if not _target(path).is_file()]
    problems = [line for line in in_parallel(_convert, todo, "labelTrainIds", workers) if line]
    if problems:
        raise DataError.of(problems, f"python data/prepare.py cityscapes --src {root}")
    return len(todo)


def _target(path: Path) -> Path:
    return path.with_name(path.name.replace("_labelIds.png", "_labelTrainIds.png"))


def _convert(path: Path) -> str | None:
    """Write one file; the problem as a line, None if there is none."""
    try:
        # Not Pillow, which takes a palette for ids.
        label = decode(path, cv2.IMREAD_UNCHANGED)
    except UNREADABLE as error:
        return str(fault(path, error))
    if label.ndim != 2 or label.dtype != np.uint8:
        return f"{path}: not an 8-bit single-channel PNG; copy it again"
    try:
        train_ids = convert_label_ids(label)
    except DataError as error:
        return f"{path}: {error}; replace the file"
    save(_target(path), png(train_ids))
    return None
