"""One numbered picture of the data set: the pure function that everything uses."""

from __future__ import annotations

import numpy as np

from data.streets.renderer import render
from data.streets.scene import BESIDE, DOMAINS, ON_ROAD, sample_scene

SPLITS: tuple[str, ...] = ("train", "val")


def generate(
    domain: str, split: str, index: int, size: tuple[int, int] = (384, 192), seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Make one picture with its labels; a pure function of its arguments.

    Args:
        domain: "real" or "game".
        split: "train" or "val".
        index: number of the picture in the split, from 0.
        size: (width, height) in pixels.
        seed: of the whole data set, from 0.

    Returns:
        The picture, (H, W, 3) uint8 RGB, and the labels, (H, W) uint8 Cityscapes labelIds.

    Raises:
        ValueError: for an unknown domain or split, a negative index or seed, or a tiny size.
    """
    if domain not in DOMAINS:
        raise ValueError(f"unknown domain {domain!r}; known: {', '.join(DOMAINS)}")
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
    if index < 0 or seed < 0:
        raise ValueError(f"index and seed must not be negative, got {index} and {seed}")
    key = [seed, DOMAINS.index(domain), SPLITS.index(split), index]
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))
    # Rare classes take turns, so that a small data set has them all.
    turns = [names[index % len(names)] for names in (ON_ROAD, BESIDE)]
    scene = sample_scene(rng, domain, turns)
    return render(scene, size)
