"""Losses of U²PL but the contrastive one, and the two schedules.

Reference: Wang et al., CVPR 2022, section 3; where the text is silent, the authors' released code.
Entropies, percentiles and sums run in float32 also under autocast.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from core import fused


def ohem_cross_entropy(
    seg_logits: Tensor,
    seg_label: Tensor,
    *,
    thresh: float = 0.7,
    min_kept: int = 100_000,
    ignore_index: int = 255,
    align_corners: bool = False,
) -> Tensor:
    """Cross-entropy averaged over the hard pixels: those whose own class has p <= threshold.

    The threshold is ``thresh``, or higher if fewer than ``min_kept`` pixels of the batch would be
    kept; with fewer valid pixels than that, all are kept.

    Args:
        seg_logits: (N, C, h, w), any size; upsampled to the label's (:mod:`core.fused`).
        seg_label: (N, H, W), integer, 0..C-1 or ``ignore_index``.
        min_kept: 0 keeps every valid pixel (plain cross-entropy), as the released code does.

    Returns:
        A scalar; 0 if no pixel is valid.
    """
    at = dict(ignore_index=ignore_index, align_corners=align_corners)
    kept = seg_label != ignore_index
    if 0 < min_kept <= int(kept.sum()):
        prob = (-fused.cross_entropy(seg_logits, seg_label, **at).loss).exp()
        hardest, _ = order_statistics(prob[kept], [min_kept - 1])[min_kept - 1]
        kept = kept & (prob <= hardest.clamp_min(thresh))
    return _weighted(seg_logits, seg_label, kept, 1 / kept.sum().clamp_min(1).to(torch.float64), at)


def _weighted(
    seg_logits: Tensor, seg_label: Tensor, kept: Tensor, factor: Tensor, at: dict
) -> Tensor:
    """``factor`` times the sum of the cross-entropy of the kept pixels, with its gradient."""
    weight = kept.to(torch.promote_types(seg_logits.dtype, torch.float32)) * factor
    learns = torch.is_grad_enabled() and seg_logits.requires_grad
    found = fused.cross_entropy(seg_logits, seg_label, weight if learns else None, **at)
    return fused.with_gradient((found.loss * weight).sum(), seg_logits, found.grad)


def percentiles(values: Tensor, percents: Sequence[float]) -> list[Tensor]:
    """``numpy.percentile`` (linear) of a 1-D tensor, without leaving its device.

    Args:
        values: (n,), n >= 1.
        percents: 0-100 each.
    """
    positions = [(len(values) - 1) * percent / 100 for percent in percents]
    found = order_statistics(values, {int(position) for position in positions})
    out = []
    for position in positions:
        low, high = found[int(position)]
        out.append(low + (high - low) * (position - int(position)))
    return out


def order_statistics(values: Tensor, ranks: Iterable[int]) -> dict[int, tuple[Tensor, Tensor]]:
    """For each rank k (0-based) the elements of rank k and k + 1; the last is its own successor."""
    if values.device.type == "cpu":
        return {k: _select(values.numpy(), k) for k in ranks}
    ordered = values.sort().values
    return {k: (ordered[k], ordered[min(k + 1, len(values) - 1)]) for k in ranks}


def _select(values: np.ndarray, k: int) -> tuple[Tensor, Tensor]:
    # Even twice, selection is several times faster than a sort, and NumPy's than torch's; of
    # several ranks in one call it is not.
    parted = np.partition(values, k)
    after = parted[k + 1 :].min() if k + 1 < len(parted) else parted[k]
    return torch.as_tensor(parted[k]), torch.as_tensor(after)


class EntropySplit(NamedTuple):
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
) -> EntropySplit:
    """Where the teacher's entropy is below the ``kept`` percentile, at most the ``reliable`` one,
    at least the ``100 - reliable`` one; all of the pixels that have a pseudo label.

    Args:
        uncertainty: (N, H, W), see :func:`core.fused.entropy`.
        pseudo_label: (N, H, W).
    """
    valid = pseudo_label != ignore_index
    values = uncertainty[valid]
    if not len(values):  # all is padding
        return EntropySplit(valid, valid, valid)
    below, most, least = percentiles(values, (kept, reliable, 100 - reliable))
    return EntropySplit(
        kept=valid & (uncertainty < below),
        low=valid & (uncertainty <= most),
        high=valid & (uncertainty >= least),
    )


def unsupervised_loss(
    seg_logits: Tensor,
    pseudo_label: Tensor,
    kept: Tensor,
    ignore_index: int = 255,
    align_corners: bool = False,
) -> Tensor:
    """Cross-entropy of the student with the pseudo labels that the teacher is sure of.

    The mean over the kept pixels times N * H * W / kept (section 3.3): a pixel weighs more, the
    fewer there are. N * H * W counts padding too, as in the released code.

    Args:
        seg_logits: (N, C, h, w), the student's; upsampled to the label's size (:mod:`core.fused`).
        pseudo_label: (N, H, W), 0..C-1 or ``ignore_index``.
        kept: (N, H, W) bool, see :func:`split_by_entropy`.

    Returns:
        A scalar; 0 if no pixel is kept.
    """
    count = kept.sum().clamp_min(1)
    factor = (kept.numel() / count).to(torch.float64) / count  # the first in float32, as released
    at = dict(ignore_index=ignore_index, align_corners=align_corners)
    return _weighted(seg_logits, pseudo_label, kept, factor, at)


def kept_percent(drop_percent: float, progress: float) -> float:
    """Percentile of the entropy below which a pixel is kept: ``drop_percent`` at the start
    (``progress`` 0), 100 at the end (1), linear between (Eq. of alpha_t)."""
    return 100 - (100 - drop_percent) * (1 - progress)


def ema_decay(step: int, limit: float) -> float:
    """``min(1 - 1 / (step + 1), limit)``: ``teacher = decay * teacher + (1 - decay) * student``.

    At step 0 the teacher becomes the student.
    """
    return min(1 - 1 / (step + 1), limit)
