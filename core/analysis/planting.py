"""Errors planted in a label, as annotators make them: known ones, to measure a search with.

Rottmann and Reese (arXiv 2207.06104) dropped connected components; swapped classes and shifted
borders are ours.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from skimage.measure import label as components
from skimage.measure import regionprops

KINDS = ("drop", "swap", "shift")
MIN_AREA = 50  # pixels, at 480 x 360
MAX_SHARE = 0.1  # of the picture: nobody overlooks the road
SHIFT = 6  # pixels


class Planted(NamedTuple):
    """One error.

    ``kind``: of :data:`KINDS`. ``box``: x, y, width, height of the changed pixels, ``area`` their
    number. ``true``: class of the component. ``given``: the class that it has now; of a shifted one
    that of the strip it left, while the strip that it covers has ``true``.
    """

    kind: str
    box: tuple[int, int, int, int]
    area: int
    true: int
    given: int


def rng_of(seed: int, name: str) -> np.random.Generator:
    """Random numbers of one image, whatever other images there are."""
    return np.random.default_rng([seed, zlib.crc32(name.encode(errors="surrogateescape"))])


def plant(
    label: np.ndarray,
    rng: np.random.Generator,
    num_classes: int,
    *,
    kinds: Sequence[str] = KINDS,
    share: float = 0.1,
    min_area: int = MIN_AREA,
    max_share: float = MAX_SHARE,
    shift: int = SHIFT,
) -> tuple[np.ndarray, np.ndarray, list[Planted]]:
    """A copy of a label with errors in some of its connected components (8 neighbours).

    - drop: the component gets the class that most of the pixels around it have.
    - swap: it gets another class, each equally likely but that of drop.
    - shift: it moves by ``shift`` pixels in one of eight directions; the strip that it leaves is
      filled as in drop.

    What is no class (void) is neither changed nor filled in, and no error lies within ``shift`` + 1
    pixels of another one.

    Args:
        label: (H, W), integer; what is not 0..num_classes-1 is void.
        rng: that of :func:`rng_of`, for one image the same errors whatever the others are.
        kinds: of :data:`KINDS`, one at random for each error; another one where it is impossible.
        share: of the components that may be changed, 0-1: the probability of each.
        min_area, max_share: size of such a component: pixels at least, share of the picture at
            most. No error changes fewer pixels than ``min_area``.

    Returns:
        The copy; (H, W) int32, 0 or the number of the error, from 1, that changed the pixel; and
        the errors in the order of their numbers. Copy and label differ exactly where the number is
        not 0.

    Raises:
        ValueError: an unknown kind, or a share outside 0-1.
    """
    if not kinds or set(kinds) - set(KINDS):
        raise ValueError(f"kinds must be of {', '.join(KINDS)}; got {', '.join(kinds) or 'none'}")
    if not (0 <= share <= 1 and 0 <= max_share <= 1):
        raise ValueError(f"shares must be 0 to 1, got {share} and {max_share}")
    label = np.asarray(label)
    valid = (label >= 0) & (label < num_classes)
    ids = components(np.where(valid, label.astype(np.int64) + 1, 0), background=0, connectivity=2)
    planted, errors = label.copy(), []
    number = np.zeros(label.shape, np.int32)
    for region in regionprops(ids):
        # Drawn for each, also for those that are too small or left out: a component's fate does not
        # hang on the others.
        chance, order = rng.random(), rng.permutation(len(kinds))
        direction, other = rng.integers(8), rng.random()
        if chance >= share or not min_area <= region.area <= max_share * label.size:
            continue
        here = _window(region.bbox, label.shape, shift + 1)
        mask = ids[here] == region.label
        if number[here][cv2.dilate(mask.view(np.uint8), _square(shift + 1)) > 0].any():
            continue
        for k in order:
            made = _error(label[here], valid[here], mask, kinds[k], num_classes,
                          shift, int(direction), float(other))  # fmt: skip
            if made is not None and (made[0] != label[here]).sum() >= min_area:
                break
        else:
            continue
        new, given = made
        changed = new != label[here]
        planted[here][changed] = new[changed]
        number[here][changed] = len(errors) + 1
        y, x = np.nonzero(changed)
        box = (here[1].start + x.min(), here[0].start + y.min(), np.ptp(x) + 1, np.ptp(y) + 1)
        errors.append(Planted(kinds[k], tuple(map(int, box)), int(changed.sum()),
                              int(label[here][mask][0]), given))  # fmt: skip
    return planted, number, errors


def _error(
    label: np.ndarray, valid: np.ndarray, mask: np.ndarray, kind: str, num_classes: int,
    shift: int, direction: int, other: float,
) -> tuple[np.ndarray, int] | None:  # fmt: skip
    """The label with one error, and the class given; None where there can be no such one."""
    ring = (cv2.dilate(mask.view(np.uint8), _square(1)) > 0) & ~mask & valid
    if not ring.any():
        return None
    own = label[mask][0]
    around = int(np.bincount(label[ring].astype(np.int64), minlength=num_classes).argmax())
    if kind == "swap":
        rest = [k for k in range(num_classes) if k not in (own, around)]
        if not rest:
            return None
        given = rest[int(other * len(rest))]
        return np.where(mask, label.dtype.type(given), label), given
    new = np.where(mask, label.dtype.type(around), label)
    if kind == "shift":
        dy, dx = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x][direction]
        moved = _moved(mask, dy * shift, dx * shift)
        new[moved & valid] = own
    return new, around


def _moved(mask: np.ndarray, dy: int, dx: int) -> np.ndarray:
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    moved = cv2.warpAffine(mask.view(np.uint8), matrix, mask.shape[::-1], flags=cv2.INTER_NEAREST)
    return moved > 0


def _square(reach: int) -> np.ndarray:
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)


def _window(box: Sequence[int], shape: Sequence[int], margin: int) -> tuple[slice, slice]:
    """A bounding box (top, left, bottom, right), with a margin, inside the picture."""
    top, left, bottom, right = box
    return (slice(max(0, top - margin), min(shape[0], bottom + margin)),
            slice(max(0, left - margin), min(shape[1], right + margin)))  # fmt: skip


class Found(NamedTuple):
    """How well an order of candidates finds planted errors, each 0-1, ``at`` by k.

    ``average_precision``: sum over the order of precision times the gain in recall.
    ``at``: precision among the first k. ``at_budget``: recall within a share of the candidates.
    ``reachable``: recall of all of them, above which neither of the others can lie.
    """

    average_precision: float
    at: dict[int, float]
    at_budget: float
    reachable: float


def owners(ids: np.ndarray, number: np.ndarray) -> np.ndarray:
    """For each candidate the error that changed at least half of its pixels, 0 where none did.

    Args:
        ids: (H, W) integer, 0 or the candidate's number, from 1.
        number: as :func:`plant` gives it.
    """
    count, errors = int(ids.max(initial=0)), int(number.max(initial=0))
    pairs = ids.astype(np.int64) * (errors + 1) + number
    table = np.bincount(pairs.ravel(), minlength=(count + 1) * (errors + 1))
    table = table.reshape(count + 1, errors + 1)[1:]
    if not errors:
        return np.zeros(count, np.int64)
    best = 1 + table[:, 1:].argmax(1)
    enough = 2 * table[np.arange(count), best] >= table.sum(1)
    return np.where(enough, best, 0)


def found(
    scores: np.ndarray,
    error: np.ndarray,
    total: int,
    *,
    ks: Sequence[int] = (10, 50, 100),
    budget: float = 0.05,
) -> Found:
    """Judge an order of candidates, the highest score first, of equal ones the earlier.

    A candidate on a planted error is a hit, also where another one showed that error before; recall
    counts each error once, out of all that were planted.

    Args:
        scores: (n,).
        error: (n,) number of the error that the candidate lies on, unique over the images; 0: none.
        total: of errors planted.

    Raises:
        ValueError: no error was planted.
    """
    if total < 1:
        raise ValueError("no error was planted: nothing can be found")
    error = error[np.argsort(-scores, kind="stable")]
    hit = error > 0
    first = np.zeros(len(error), bool)
    first[np.unique(error, return_index=True)[1]] = True
    first &= hit
    precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
    within = int(np.ceil(budget * len(hit)))
    return Found(float((precision * first).sum() / total),
                 {k: float(hit[:k].mean()) if len(hit) else 0.0 for k in ks},
                 float(first[:within].sum() / total), float(first.sum() / total))  # fmt: skip
