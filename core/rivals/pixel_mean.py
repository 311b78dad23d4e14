"""A loss of each pixel's logits, averaged over all pixels, as mmseg's decode heads call it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def is_number(x: object) -> bool:
    """Whether a setting is a finite number; True and False are none."""
    return isinstance(x, (int, float)) and not isinstance(x, bool) and math.isfinite(x)


class PixelMeanLoss(nn.Module):
    """Averaged over all pixels, ignored ones included with 0, as mmseg's cross-entropy is by
    default.

    Args:
        loss_weight: factor on the loss.
        loss_name: key of the loss in the log.

    Raises:
        ValueError: ``loss_weight`` is no finite number.
    """

    def __init__(self, loss_weight: float, loss_name: str) -> None:
        super().__init__()
        if not is_number(loss_weight):
            raise ValueError(f"loss_weight must be a number, got {loss_weight!r}")
        self.loss_weight, self.loss_name = loss_weight, loss_name

    def of_pixels(self, logits: Tensor, seg_label: Tensor, ignore_index: int) -> Tensor:
        """The loss of each pixel, (N, H, W), 0 where ignored; ``logits`` are float32 or more."""
        raise NotImplementedError

    def forward(
        self,
        seg_logits: Tensor,
        seg_label: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = 255,
        **kwargs,
    ) -> Tensor:
        """A scalar.

        Args:
            seg_logits: (N, C, H, W).
            seg_label: (N, H, W), 0..C-1 or ``ignore_index``.
            weight: (N, H, W), a factor per pixel, or None.
            kwargs: of mmseg's other losses, not used.
        """
        with torch.autocast(device_type=seg_logits.device.type, enabled=False):
            logits = seg_logits.to(torch.promote_types(seg_logits.dtype, torch.float32))
            loss = self.of_pixels(logits, seg_label, ignore_index)
            if weight is not None:
                loss = loss * weight
            return self.loss_weight * loss.mean()
