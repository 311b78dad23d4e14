"""The contrastive loss on unreliable pixels (section 3.4 of the U²PL paper).

A pixel of the downsampled batch is for class c

    an anchor    if its (pseudo) label is c, reliably, and the teacher's p(c) > 0.3 (student's
                 features)
    part of the  if its (pseudo) label is c, reliably; the mean over them is the positive key
    prototype    (teacher's features)
    a negative   labeled: its label is not c, but c is among the ``low_rank`` likeliest classes;
                 unlabeled: unreliable, and c ranks from ``low_rank`` to ``high_rank - 1``
                 (teacher's features; they go through the memory bank)

A labeled pixel is reliable; an unlabeled one by the entropy of the teacher's prediction.

Where the released code computes something else than the paper's text (each an option of
:class:`AsReleased`, off by default): its negatives must also have the *label* c, so that labeled
images give none; its one-hot labels put those of all images of the batch on the first; and where
a class is absent, the lists of anchors and of classes present no longer agree. It also divides
the gradient of the loss by the number of processes twice: ``loss_weight`` 1 / processes does that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import ConfigError
from semi_supervised.u2pl.memory_bank import MemoryBank, gather_keys
from semi_supervised.u2pl.settings import AsReleased, Contrastive

CHUNK = 64  # anchors whose keys are read at a time: with 50 keys of 256 values, 3 MiB


class Pixels(NamedTuple):
    """The batch at the size of the representation; labeled images come first.

    ``rep``: (N, D, h, w) of the student; ``rep_teacher``: the same of the teacher; ``prob``:
    (N, C, h, w), the teacher's; ``label``: (N, h, w), true or pseudo label, 0..C-1 or
    ``ignore_index``; ``low`` and ``high``: (N, h, w) bool, reliable and unreliable (a labeled
    pixel is both where its label is valid); ``num_labeled``: images that are labeled.
    """

    rep: Tensor
    rep_teacher: Tensor
    prob: Tensor
    label: Tensor
    low: Tensor
    high: Tensor
    num_labeled: int

    @classmethod
    def at_size_of(
        cls,
        rep: Tensor,
        rep_teacher: Tensor,
        prob: Tensor,
        label: Tensor,
        *,
        low: Tensor,
        high: Tensor,
        ignore_index: int = 255,
    ) -> Pixels:
        """From ``label`` (N, H, W) of all images and ``low``, ``high`` (M, H, W) of the M
        unlabeled ones, all brought to the size of ``rep`` by the nearest neighbour."""
        num_labeled = len(label) - len(low)
        valid = label[:num_labeled] != ignore_index
        planes = [label, torch.cat([valid, low]), torch.cat([valid, high])]
        planes = torch.stack([plane.to(torch.uint8) for plane in planes], dim=1)
        label, low, high = F.interpolate(planes, size=rep.shape[2:], mode="nearest").unbind(1)
        return cls(rep, rep_teacher, prob, label.long(), low.bool(), high.bool(), num_labeled)


class ContrastiveLoss(nn.Module):
    """Pulls anchors to the prototype of their class, away from 50 keys of its memory bank.

    Args:
        settings: the published ``trainer.contrastive``.
        num_classes: C.
        dim: D, length of a representation.
        as_released: which accidents of the released code to repeat.

    Raises:
        ConfigError: ``low_rank`` leaves no class for the unlabeled images' negatives.
    """

    def __init__(
        self,
        settings: Contrastive,
        num_classes: int,
        dim: int,
        as_released: AsReleased | None = None,
    ) -> None:
        super().__init__()
        if settings.low_rank >= min(num_classes, settings.high_rank):
            raise ConfigError(
                f"trainer.contrastive.low_rank is {settings.low_rank}, but it must be less than "
                f"high_rank ({settings.high_rank}) and than the number of classes ({num_classes})"
            )
        self.settings, self.as_released = settings, as_released or AsReleased()
        sizes = [settings.memory_size] * num_classes
        sizes[0] = settings.memory_size_first
        self.bank = MemoryBank(sizes, dim)

    def forward(self, pixels: Pixels) -> Tensor:
        """The loss, a scalar >= 0, after this batch's negatives (of all processes) went into the
        bank; 0 if less than two classes are present."""
        s, bank = self.settings, self.bank
        anchor, low, negative = self._select(pixels)
        numbers = torch.stack([anchor.sum(1), low.sum(1), negative.sum(1)]).tolist()
        num_anchors, num_low, num_negatives = numbers  # on the host: they are sizes
        self._remember(pixels.rep_teacher, negative, num_negatives)

        present = [c for c, number in enumerate(num_low) if number]
        if len(present) < 2:
            return _nothing(pixels.rep)
        prototypes = _class_means(pixels.rep_teacher, low)
        pixel_of = anchor.nonzero()[:, 1].split(num_anchors)
        drawn, positives, rows = [], [], []
        for i, c in enumerate(present):
            source = i if self.as_released.shifted_class_list else c
            if not num_anchors[source] or not bank.counts[c]:
                continue
            # On the host, so that a seed draws the same on every device.
            order = torch.randint(num_anchors[source], (s.num_queries,))
            drawn.append(pixel_of[source][order.to(anchor.device)])
            positives.append(prototypes[source].expand(s.num_queries, -1))
            order = torch.randint(bank.counts[c], (s.num_queries, s.num_negatives))
            rows.append(bank.row_numbers(c, order.to(anchor.device)))
        if not drawn:
            return _nothing(pixels.rep)
        total = _SampledContrast.apply(
            _rows(pixels.rep, torch.cat(drawn)),
            torch.cat(positives),
            bank.rows,
            torch.cat(rows),
            s.temperature,
        )
        return total * (len(drawn) / len(present))

    def _select(self, pixels: Pixels) -> tuple[Tensor, Tensor, Tensor]:
        """Anchors, reliable pixels and negatives of each class: three masks (C, N * h * w)."""
        s = self.settings
        num_classes = pixels.prob.shape[1]
        prob = pixels.prob.transpose(0, 1).reshape(num_classes, -1)
        is_class = self._one_hot(pixels.label, pixels.num_labeled, num_classes)
        low = is_class & pixels.low.reshape(-1)
        anchor = low & (prob > s.current_class_threshold)

        labeled = torch.zeros_like(pixels.low)
        labeled[: pixels.num_labeled] = True
        labeled = labeled.reshape(-1)
        likeliest = _among_likeliest(prob, s.low_rank)
        middle = ~likeliest
        if s.high_rank < num_classes:
            middle &= _among_likeliest(prob, s.high_rank)
        negative = torch.where(labeled, likeliest & ~is_class, middle) & pixels.high.reshape(-1)
        if s.current_class_negative_threshold < 1:
            negative &= prob < s.current_class_negative_threshold
        if self.as_released.negatives_of_own_class:
            negative &= is_class
        return anchor, low, negative

    def _one_hot(self, label: Tensor, num_labeled: int, num_classes: int) -> Tensor:
        """(C, N * h * w) bool; a pixel that is ignored is of no class."""
        classes = torch.arange(num_classes, device=label.device).view(-1, 1, 1, 1)
        is_class = label == classes
        if self.as_released.one_hot_on_first_image:
            for part in (slice(0, num_labeled), slice(num_labeled, None)):
                # An ignored pixel counts as class 0 of the other images, then is taken out.
                filled = label[part].masked_fill(label[part] >= num_classes, 0)
                merged = torch.zeros_like(is_class[:, part])
                merged[:, 0] = (filled == classes).any(dim=1)
                is_class[:, part] = merged & (label[part] < num_classes)
        return is_class.flatten(1)

    def _remember(self, rep_teacher: Tensor, negative: Tensor, counts: list[int]) -> None:
        """Put the negatives into the bank; a feature that serves several classes is read once."""
        pixel = negative.any(dim=0).nonzero()[:, 0]
        place = torch.empty_like(negative[0], dtype=torch.long)
        place[pixel] = torch.arange(len(pixel), device=pixel.device)
        picks = place[negative.nonzero()[:, 1]]
        features = _rows(rep_teacher.detach(), pixel)
        self.bank.enqueue(*gather_keys(features, picks, counts, self.bank.sizes))


def _nothing(rep: Tensor) -> Tensor:
    """0, with the graph that DDP waits for."""
    return rep.sum() * 0


def _among_likeliest(prob: Tensor, k: int) -> Tensor:
    """Whether class c is one of the ``k`` likeliest of a pixel: (C, P) -> (C, P) bool."""
    mask = torch.zeros_like(prob, dtype=torch.bool)
    likeliest = prob.t().contiguous().topk(k, dim=1).indices  # along rows: twice as fast on a CPU
    return mask.scatter_(0, likeliest.t(), True)


def _class_means(features: Tensor, mask: Tensor) -> Tensor:
    """Mean of the pixels of each class, float32: (N, D, h, w), (C, N * h * w) -> (C, D); 0 without
    any."""
    with torch.autocast(features.device.type, enabled=False):  # sums of many thousand pixels
        features = features.detach().flatten(2)
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        mask = mask.unflatten(1, (features.shape[0], -1)).transpose(0, 1).to(features.dtype)
        sums = torch.bmm(mask, features.transpose(1, 2)).sum(dim=0)
        return sums / mask.sum(dim=(0, 2)).clamp_min(1).unsqueeze(1)


class _Rows(torch.autograd.Function):
    """Pixels of a feature map, (N, D, h, w) -> (P, D), without a copy of the map.

    Indexing does the same, but its backward pass adds element by element.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, pixel: Tensor) -> Tensor:
        ctx.save_for_backward(pixel)
        ctx.shape = features.shape
        flat = features.flatten(2)
        image, place = pixel // flat.shape[2], pixel % flat.shape[2]
        rows = flat.new_empty(len(pixel), flat.shape[1])
        for n in range(len(flat)):  # along the map's own rows: in order of memory
            mine = (image == n).nonzero()[:, 0]
            rows.index_copy_(0, mine, flat[n].index_select(1, place[mine]).t().contiguous())
        return rows

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (pixel,) = ctx.saved_tensors
        # A pixel that was drawn several times is added up first, on few rows.
        unique, inverse = pixel.unique(return_inverse=True)
        grad = grad.new_zeros(len(unique), grad.shape[1]).index_add_(0, inverse, grad)
        out = grad.new_zeros(ctx.shape)
        flat = out.flatten(2)
        image, place = unique // flat.shape[2], unique % flat.shape[2]
        for n in range(len(flat)):
            mine = (image == n).nonzero()[:, 0]
            flat[n].index_copy_(1, place[mine], grad[mine].t())
        return out, None


def _rows(features: Tensor, pixel: Tensor) -> Tensor:
    return _Rows.apply(features, pixel)


class _SampledContrast(torch.autograd.Function):
    """Cross-entropy of cosine similarities, the keys of each anchor drawn from the bank.

    Args of forward:
        anchors: (A, D).
        positives: (A, D).
        bank: (R, D) unit vectors.
        rows: (A, M) row numbers in ``bank``.
        temperature: T.

    Returns the mean over A of ``-log(exp(s_0 / T) / sum_j exp(s_j / T))``, where s_0 is the cosine
    with the positive, s_j with the drawn keys. The gradient reaches the anchors only and is made in
    the same pass; the drawn keys, A * M * D values, are never held.
    """

    @staticmethod
    def forward(
        ctx: Any, anchors: Tensor, positives: Tensor, bank: Tensor, rows: Tensor, temperature: float
    ) -> Tensor:
        with torch.autocast(anchors.device.type, enabled=False):
            anchors = anchors.to(bank.dtype)
            norm = anchors.norm(dim=1, keepdim=True).clamp_min(1e-8)
            unit, positive = anchors / norm, F.normalize(positives.to(bank.dtype), dim=1)
            by_unit, first = torch.empty_like(unit), unit.new_empty(len(unit))
            buffer = bank.new_empty(CHUNK * rows.shape[1], bank.shape[1])
            for start in range(0, len(unit), CHUNK):
                part = slice(start, start + CHUNK)
                mine, to, drawn = unit[part], positive[part], rows[part]
                # Read once: what the cosines are of, the gradient is made of, while cached.
                keys = torch.index_select(bank, 0, drawn.flatten(), out=buffer[: drawn.numel()])
                keys = keys.view(*drawn.shape, -1)
                cosine = torch.bmm(keys, mine.unsqueeze(2))[:, :, 0]
                cosine = torch.cat([(mine * to).sum(dim=1, keepdim=True), cosine], dim=1)
                log_prob = (cosine / temperature).log_softmax(dim=1)
                first[part] = log_prob[:, 0]
                by_cosine = log_prob.exp_()
                by_cosine[:, 0] -= 1
                by_keys = torch.bmm(by_cosine[:, 1:].unsqueeze(1), keys)[:, 0]
                by_unit[part] = by_keys.addcmul_(by_cosine[:, :1], to)
            # Only what is across the unit vector moves it.
            across = by_unit - (by_unit * unit).sum(dim=1, keepdim=True) * unit
            ctx.save_for_backward(across / (norm * (temperature * len(rows))))
            return -first.mean()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (by_anchor,) = ctx.saved_tensors
        return grad * by_anchor, None, None, None, None
