"""What a model's logits say of each pixel of a picture: class, confidence, doubt, loss."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

AT_ONCE = 2**25  # logits at the picture's size that are held at a time


class PixelFigures(NamedTuple):
    """Each (H, W), of the softmax p over the classes; L and p(label) are None without a label.

    ``pred``: the class of the largest p, int64. ``confidence``: that p. ``entropy``: -sum p ln p,
    0 to ln C. ``margin``: largest p minus the second, 0-1. ``loss``: L = -ln p(label), >= 0, and
    ``p_label`` = p(label); both 0 where the label is no class.
    """

    pred: Tensor
    confidence: Tensor
    entropy: Tensor
    margin: Tensor
    loss: Tensor | None
    p_label: Tensor | None


def pixel_figures(
    seg_logits: Tensor,
    size: tuple[int, int],
    *,
    align_corners: bool = False,
    label: Tensor | None = None,
) -> PixelFigures:
    """Figures of each pixel at a size of its own, classes taken a few at a time: (C, H, W) is never
    held for a large picture.

    Args:
        seg_logits: (C, h, w), C >= 2; resized to ``size`` bilinearly.
        size: H, W.
        align_corners: of the resize.
        label: (H, W), integer; what is not 0..C-1 is no class.

    Raises:
        ValueError: shapes do not fit.
    """
    if seg_logits.dim() != 3 or len(seg_logits) < 2:
        raise ValueError(f"seg_logits must be (C, h, w), C >= 2, got {tuple(seg_logits.shape)}")
    if label is not None and label.shape != torch.Size(size):
        raise ValueError(f"label must be {tuple(size)}, got {tuple(label.shape)}")
    height, width = size
    top = seg_logits.new_full(size, -torch.inf, dtype=torch.float32)
    second, total, weighted = top.clone(), torch.zeros_like(top), torch.zeros_like(top)
    own = torch.zeros_like(top)
    pred = torch.zeros(size, dtype=torch.int64, device=seg_logits.device)
    step = max(1, AT_ONCE // (height * width))
    for first in range(0, len(seg_logits), step):
        part = seg_logits[None, first : first + step].float()
        part = F.interpolate(part, size=size, mode="bilinear", align_corners=align_corners)[0]
        for k, x in enumerate(part, start=first):
            is_top = x > top  # of equal ones the first, as argmax on most devices
            second = torch.where(is_top, top, second.maximum(x))
            new = top.maximum(x)
            # Sums of exp(x - top) and x exp(x - top), moved to the new top: no overflow.
            shrink, here = (top - new).exp(), (x - new).exp()
            total = total * shrink + here
            weighted = weighted * shrink + x * here
            top, pred = new, pred.masked_fill(is_top, k)
            if label is not None:
                own = torch.where(label == k, x, own)
    log_total = top + total.log()
    confidence = (top - log_total).exp()
    entropy = (log_total - weighted / total).clamp_min(0)
    margin = confidence - (second - log_total).exp()
    if label is None:
        return PixelFigures(pred, confidence, entropy, margin, None, None)
    valid = (label >= 0) & (label < len(seg_logits))
    loss = (log_total - own).clamp_min(0) * valid
    return PixelFigures(pred, confidence, entropy, margin, loss, (-loss).exp() * valid)
