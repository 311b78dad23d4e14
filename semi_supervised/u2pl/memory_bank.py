"""Negative keys of the contrastive loss: first in, first out, one ring per class.

The released code keeps a list of CPU tensors, concatenates and copies it at every step and moves
the whole bank of a class to the GPU to draw from it. Here all classes share one preallocated
tensor on the device; a key is written once, and drawing gives row numbers.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, broadcast, get_rank, get_world_size
from torch import Tensor, nn


class MemoryBank(nn.Module):
    """A ring of unit vectors for each class.

    Keys are stored divided by their norm: the cosine similarity is all that is asked of them.

    Args:
        sizes: rows of each class.
        dim: length of a key.

    Attributes:
        rows: (sum(sizes), dim) float32, the rings one after the other.
    """

    def __init__(self, sizes: list[int], dim: int) -> None:
        super().__init__()
        self.sizes = list(sizes)
        self.bases = [sum(sizes[:i]) for i in range(len(sizes))]
        self.counts = [0] * len(sizes)  # on the host: sizes of what is drawn are needed there
        self._starts = [0] * len(sizes)  # the oldest row of each ring
        # Pages that were never written take no memory on the CPU.
        self.register_buffer("rows", torch.zeros(sum(sizes), dim), persistent=False)

    @torch.no_grad()
    def enqueue(self, features: Tensor, picks: Tensor, counts: list[int]) -> None:
        """Append keys; of a full ring the oldest go.

        Args:
            features: (K, dim) rows, which several classes may share.
            picks: (sum(counts),) indices into ``features``, those of class 0 first.
            counts: number of picks of each class.
        """
        features = F.normalize(features.to(self.rows.dtype), dim=1)
        for c, part in enumerate(picks.split(counts)):
            size = self.sizes[c]
            part = part[-size:]  # what would be overwritten at once is not written
            end = (self._starts[c] + self.counts[c]) % size
            for chunk, at in ((part[: size - end], end), (part[size - end :], 0)):
                if len(chunk):
                    row = self.bases[c] + at
                    torch.index_select(features, 0, chunk, out=self.rows[row : row + len(chunk)])
            total = self.counts[c] + len(part)
            self._starts[c] = (self._starts[c] + max(0, total - size)) % size
            self.counts[c] = min(total, size)

    def row_numbers(self, c: int, order: Tensor) -> Tensor:
        """Rows in ``rows`` of the keys of class ``c`` by age, 0 the oldest; any shape."""
        return self.bases[c] + (self._starts[c] + order) % self.sizes[c]

    def keys(self, c: int) -> Tensor:
        """The keys of a class, (count, dim), the oldest first; a copy."""
        return self.rows[self.row_numbers(c, torch.arange(self.counts[c], device=self.rows.device))]

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        # On the CPU: a copy of full banks beside them may be more than a GPU has left.
        keys = [self.keys(c).cpu() for c in range(len(self.sizes))]
        destination[f"{prefix}rows"] = torch.cat(keys)
        destination[f"{prefix}counts"] = torch.tensor(self.counts)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        *_, missing, _, errors = args
        names = f"{prefix}rows", f"{prefix}counts"
        if not all(name in state_dict for name in names):
            missing.extend(name for name in names if name not in state_dict)
            return
        rows, counts = state_dict[names[0]], state_dict[names[1]].tolist()
        if len(counts) != len(self.sizes) or rows.shape[1:] != self.rows.shape[1:]:
            errors.append(f"memory bank: {len(counts)} classes of {rows.shape[1]} values saved")
            return
        self.counts = [0] * len(self.sizes)
        self._starts = [0] * len(self.sizes)
        for c, part in enumerate(rows.split(counts)):
            part = part[-self.sizes[c] :]
            self.rows[self.bases[c] : self.bases[c] + len(part)] = part.to(self.rows)
            self.counts[c] = len(part)


@torch.no_grad()
def gather_keys(
    features: Tensor, picks: Tensor, counts: list[int], sizes: list[int]
) -> tuple[Tensor, Tensor, list[int]]:
    """What :meth:`MemoryBank.enqueue` takes, of all processes: class by class, in rank order.

    Only what stays in the bank is sent. Of a class with more keys in all than its ring has rows
    (``sizes``), as on many GPUs with the paper's definition, these are the last: those of the
    processes of highest rank, of the lowest none. A feature that serves several classes travels
    once; nothing leaves the device.
    """
    if get_world_size() == 1:
        return features, picks, counts
    every = _gather_numbers(counts, features.device)
    kept = _surviving(every, sizes)
    mine = [
        part[len(part) - n :] for part, n in zip(picks.split(counts), kept[get_rank()], strict=True)
    ]
    used, picks = torch.cat(mine).unique(return_inverse=True)
    rows = [n for (n,) in _gather_numbers([len(used)], features.device)]
    all_picks = _gather_rows(picks, [sum(numbers) for numbers in kept])
    offset, of_class = 0, [[] for _ in counts]
    for number, numbers, part in zip(rows, kept, all_picks, strict=True):
        for c, of_rank in enumerate(part.split(numbers)):
            of_class[c].append(of_rank + offset)
        offset += number
    picks_by_class = [torch.cat(parts) for parts in of_class]
    features = torch.cat(_gather_rows(features[used], rows))
    return features, torch.cat(picks_by_class), [len(x) for x in picks_by_class]


def _surviving(counts: list[list[int]], sizes: list[int]) -> list[list[int]]:
    """By process and class, how many of ``counts`` keys stay: the last ``sizes`` of a class."""
    room, kept = list(sizes), []
    for numbers in reversed(counts):
        kept.append([min(n, free) for n, free in zip(numbers, room, strict=True)])
        room = [free - n for n, free in zip(kept[-1], room, strict=True)]
    return kept[::-1]


def _gather_numbers(numbers: list[int], device: torch.device) -> list[list[int]]:
    """``numbers``, as many everywhere, of every process."""
    return torch.stack(all_gather(torch.tensor(numbers, device=device))).tolist()


def _gather_rows(x: Tensor, lengths: list[int]) -> list[Tensor]:
    """``x`` of every process, of ``lengths`` rows: one after the other, as these differ much."""
    parts = [x if i == get_rank() else x.new_empty(n, *x.shape[1:]) for i, n in enumerate(lengths)]
    for i, part in enumerate(parts):
        if len(part):
            broadcast(part, src=i)
    return parts
