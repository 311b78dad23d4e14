"""Losses of U²PL but the contrastive one, and the two schedules.

Reference: Wang et al., CVPR 2022, section 3; where the text is silent, the authors' released code.
Entropies, percentiles and sums run in float32 also under autocast.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def ohem_cross_entropy(
    seg_logits: Tensor,
    seg_label: Tensor,
    *,
    thresh: float = 0.7,
    min_kept: int = 100_000,
    ignore_index: int = 255,
) -> Tensor:
    """Cross-entropy averaged over the hard pixels: those whose own class has p <= threshold.

    The threshold is ``thresh``, or higher if fewer than ``min_kept`` pixels of the batch would be
    kept; with fewer valid pixels than that, all are kept.

    Args:
        seg_logits: (N, C, H, W) at the label's size.
        seg_label: (N, H, W), integer, 0..C-1 or ``ignore_index``.
        min_kept: 0 keeps every valid pixel (plain cross-entropy), as the released code does.

    Returns:
        A scalar; 0 if no pixel is valid.
    """
    with torch.autocast(seg_logits.device.type, enabled=False):
        pixel_loss = F.cross_entropy(
            _full(seg_logits), seg_label.long(), ignore_index=ignore_index, reduction="none"
        )
    kept = seg_label != ignore_index
    if 0 < min_kept <= int(kept.sum()):
        prob = (-pixel_loss.detach()).exp()
        hardest, _ = order_statistics(prob[kept], min_kept - 1)
        kept = kept & (prob <= hardest.clamp_min(thresh))
    return (pixel_loss * kept).sum() / kept.sum().clamp_min(1)


def entropy(seg_logits: Tensor) -> Tensor:
    """Entropy of the predicted distribution of each pixel in nats, (N, H, W), 0..log(C)."""
    with torch.autocast(seg_logits.device.type, enabled=False):
        log_prob = _full(seg_logits).log_softmax(dim=1)
        return -torch.linalg.vecdot(log_prob.exp(), log_prob, dim=1)


def percentile(values: Tensor, percent: float) -> Tensor:
    """``numpy.percentile`` (linear) of a 1-D tensor, without leaving its device.

    Args:
        values: (n,), n >= 1.
        percent: 0-100.
    """
    position = (len(values) - 1) * percent / 100
    low, high = order_statistics(values, int(position))
    return low + (high - low) * (position - int(position))


def order_statistics(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The elements of rank ``k`` and ``k + 1`` (0-based; the last has itself for a successor)."""
    if values.is_cuda:
        ordered = values.sort().values
        return ordered[k], ordered[min(k + 1, len(values) - 1)]
    # Selection is several times faster than a sort, and NumPy's than torch's.
    parted = np.partition(values.numpy(), k)
    after = parted[k + 1 :].min() if k + 1 < len(parted) else parted[k]
    return torch.as_tensor(parted[k]), torch.as_tensor(after)


class Split(NamedTuple):
    """Pixels of the unlabeled images by the teacher's entropy, (N, H, W) bool each: ``kept`` for
    the unsupervised loss, ``low`` (reliable) and ``high`` (unreliable) for the contrastive one."""

    kept: Tensor
    low: Tensor
    high: Tensor


def split_by_entropy(
    uncertainty: Tensor,
    pseudo_label: Tensor,
    *,
    kept: float,
    reliable: float,
    ignore_index: int = 255,
) -> Split:
    """Where the teacher's entropy is below the ``kept`` percentile, at most the ``reliable`` one,
    at least the ``100 - reliable`` one; all of the pixels that have a pseudo label.

    Args:
        uncertainty: (N, H, W), see :func:`entropy`.
        pseudo_label: (N, H, W).
    """
    valid = pseudo_label != ignore_index
    values = uncertainty[valid]
    if not len(values):  # all is padding
        return Split(valid, valid, valid)
    limits: dict[float, Tensor] = {}
    for percent in (kept, reliable, 100 - reliable):  # the published settings have two of a size
        if percent not in limits:
            limits[percent] = percentile(values, percent)
    return Split(
        kept=valid & (uncertainty < limits[kept]),
        low=valid & (uncertainty <= limits[reliable]),
        high=valid & (uncertainty >= limits[100 - reliable]),
    )


def unsupervised_loss(
    seg_logits: Tensor, pseudo_label: Tensor, kept: Tensor, ignore_index: int = 255
) -> Tensor:
    """Cross-entropy of the student with the pseudo labels that the teacher is sure of.

    The mean over the kept pixels times N * H * W / kept (section 3.3): a pixel weighs more, the
    fewer there are.

    Args:
        seg_logits: (N, C, H, W), the student's.
        pseudo_label: (N, H, W), 0..C-1 or ``ignore_index``.
        kept: (N, H, W) bool, see :func:`split_by_entropy`.

    Returns:
        A scalar; 0 if no pixel is kept.
    """
    target = pseudo_label.masked_fill(~kept, ignore_index)
    count = kept.sum().clamp_min(1)
    with torch.autocast(seg_logits.device.type, enabled=False):
        total = F.cross_entropy(
            _full(seg_logits), target, ignore_index=ignore_index, reduction="sum"
        )
        return total / count * (kept.numel() / count)


def kept_percent(drop_percent: float, progress: float) -> float:
    """Percentile of the entropy below which a pixel is kept: ``drop_percent`` at the start
    (``progress`` 0), 100 at the end (1), linear between (Eq. of alpha_t)."""
    return 100 - (100 - drop_percent) * (1 - progress)


def ema_decay(step: int, limit: float) -> float:
    """``min(1 - 1 / (step + 1), limit)``: ``teacher = decay * teacher + (1 - decay) * student``.

    At step 0 the teacher becomes the student.
    """
    return min(1 - 1 / (step + 1), limit)


def _full(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
