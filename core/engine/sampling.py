"""Training samples as a function of (seed, position), so that a resumed run sees the same ones.

mmengine draws augmentations from whatever state the loading process is in: another number of
workers, or a resume, gives other samples. Here the sampler hands the position in the stream to
the data set, which seeds the generators with it. mmengine's loop skips the sampler on resume
without loading.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmseg.registry import DATA_SAMPLERS, DATASETS
from torch.utils.data import Dataset


def random_state() -> dict[str, Any]:
    """State of the generators of Python, NumPy and torch, as plain values and tensors."""
    kind, keys, position, has_gauss, cached = np.random.get_state()
    return dict(
        python=random.getstate(),
        numpy=(kind, keys.tolist(), position, has_gauss, cached),
        torch=torch.get_rng_state(),
        cuda=torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    )


def set_random_state(state: dict[str, Any]) -> None:
    """Put back what :func:`random_state` returned."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


@contextmanager
def same_random_state() -> Iterator[None]:
    """Whatever is drawn inside, the generators come out as they went in."""
    state = random_state()
    try:
        yield
    finally:
        set_random_state(state)


@DATA_SAMPLERS.register_module()
class PositionSampler(InfiniteSampler):
    """``InfiniteSampler`` that yields ``(seed, position, index)``, positions over all ranks."""

    gives_positions = True  # for SeededDataset

    def _indices_of_rank(self) -> Iterator[tuple[int, int, Any]]:
        stream = enumerate(self._infinite_indices())
        for position, index in itertools.islice(stream, self.rank, None, self.world_size):
            yield self.seed, position, index


@DATA_SAMPLERS.register_module()
class EpochPositionSampler(DefaultSampler):
    """``DefaultSampler`` that yields ``(seed, position, index)``, positions over ranks and epochs.

    Attributes:
        start: samples of this process to leave out at the beginning of the epoch, which a run that
            goes on has seen.
    """

    gives_positions = True
    start = 0

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        first = self.epoch * self.total_size + self.rank
        for i, index in itertools.islice(enumerate(super().__iter__()), self.start, None):
            yield self.seed, first + i * self.world_size, index


@DATASETS.register_module()
class SeededDataset(Dataset):
    """A training set read through a sampler that gives positions.

    Args:
        dataset: config of the data set.
    """

    def __init__(self, dataset: dict) -> None:
        self.dataset = DATASETS.build(dataset)

    @property
    def metainfo(self) -> dict:
        return self.dataset.metainfo

    def full_init(self) -> None:
        self.dataset.full_init()

    def get_data_info(self, index: int) -> dict:
        return self.dataset.get_data_info(index)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, int, Any]) -> dict:
        seed, position, index = key
        with same_random_state():
            words = np.random.SeedSequence([seed, position]).generate_state(3)
            random.seed(int(words[0]))
            np.random.seed(int(words[1]))
            torch.manual_seed(int(words[2]))
            return self.dataset[index]
