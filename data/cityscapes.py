"""The Cityscapes label table: 34 label ids on disk, 19 classes in training."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from data.errors import DataError

# (labelId, class, colour) of the 19 classes that are trained and evaluated, by trainId.
_TRAINED: tuple[tuple[int, str, tuple[int, int, int]], ...] = (
    (7, "road", (128, 64, 128)),
    (8, "sidewalk", (244, 35, 232)),
    (11, "building", (70, 70, 70)),
    (12, "wall", (102, 102, 156)),
    (13, "fence", (190, 153, 153)),
    (17, "pole", (153, 153, 153)),
    (19, "traffic light", (250, 170, 30)),
    (20, "traffic sign", (220, 220, 0)),
    (21, "vegetation", (107, 142, 35)),
    (22, "terrain", (152, 251, 152)),
    (23, "sky", (70, 130, 180)),
    (24, "person", (220, 20, 60)),
    (25, "rider", (255, 0, 0)),
    (26, "car", (0, 0, 142)),
    (27, "truck", (0, 0, 70)),
    (28, "bus", (0, 60, 100)),
    (31, "train", (0, 80, 100)),
    (32, "motorcycle", (0, 0, 230)),
    (33, "bicycle", (119, 11, 32)),
)

CLASSES: tuple[str, ...] = tuple(name for _, name, _ in _TRAINED)
PALETTE: list[list[int]] = [list(color) for _, _, color in _TRAINED]

# labelId -> trainId for every value a label byte can have; 255 is void.
ID_TO_TRAIN_ID: np.ndarray = np.full(256, 255, np.uint8)
for _train_id, (_label_id, _, _) in enumerate(_TRAINED):
    ID_TO_TRAIN_ID[_label_id] = _train_id
ID_TO_TRAIN_ID.setflags(write=False)
NUM_LABEL_IDS = 34  # 0..33 are defined; -1, license plate, is stored as 255 by some tools


def convert_label_ids(label_ids: np.ndarray) -> np.ndarray:
    """labelIds (H, W) uint8 -> trainIds (H, W) uint8, 0-18 and 255 for void.

    Raises:
        DataError: an id that Cityscapes does not define.
    """
    present = np.unique(label_ids)
    unknown = present[(present >= NUM_LABEL_IDS) & (present != 255)]
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
    sources = sorted(Path(root).glob("gtFine/*/*/*_gtFine_labelIds.png"))
    if not sources and not any(Path(root).glob("gtFine/*/*/*_gtFine_labelTrainIds.png")):
        raise DataError(f"{root}: no gtFine/*/*/*_gtFine_labelIds.png; unpack gtFine_trainvaltest")
    todo = [path for path in sources if not _target(path).is_file()]
    problems = [line for line in _in_parallel(todo, workers) if line]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise DataError(f"{problems[0]}{more}; python data/prepare.py cityscapes lists them all")
    return len(todo)


def _in_parallel(paths: list[Path], workers: int | None) -> Iterable[str | None]:
    if not paths:
        return []
    workers = workers or min(os.cpu_count() or 1, 8)
    console = Console(stderr=True)
    if workers == 1 or len(paths) < 8:
        return list(map(_convert, paths))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        results = pool.map(_convert, paths, chunksize=8)
        return list(track(results, "labelTrainIds", len(paths), console=console, transient=True))


def _target(path: Path) -> Path:
    return path.with_name(path.name.replace("_labelIds.png", "_labelTrainIds.png"))


def _convert(path: Path) -> str | None:
    """Write one file; the problem as a line, None if there is none."""
    label = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if label is None or label.ndim != 2 or label.dtype != np.uint8:
        return f"{path}: not an 8-bit single-channel PNG; copy it again"
    try:
        train_ids = convert_label_ids(label)
    except DataError as error:
        return f"{path}: {error}"
    temporary = path.with_name(f".{path.name}.{os.getpid()}.png")
    try:
        if not cv2.imwrite(str(temporary), train_ids):
            return f"{_target(path)}: could not be written; is the disk full?"
        os.replace(temporary, _target(path))
    finally:
        temporary.unlink(missing_ok=True)
    return None
