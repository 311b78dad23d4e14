"""Class-balanced cross-entropy, a rival of Table 6, averaged as in the paper's runs.

mmseg 1.x divides ``w * CE`` by the sum of the weights of the valid pixels. The paper's table was
made with 0.22.1, which averaged it over all pixels: where much is void or the frequent classes have
small weights, that is a loss several times smaller.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class PixelMeanCrossEntropy(nn.Module):
    """``w[label] * CE``, averaged over all pixels, ignored ones included with 0.

    Args:
        class_weight: a positive factor for every class.
        loss_weight: factor on the loss.
        loss_name: key of the loss in the log.
    """

    def __init__(
        self, class_weight: Sequence[float], loss_weight: float = 1.0, loss_name: str = "loss_ce"
    ) -> None:
        super().__init__()
        self.class_weight = [float(x) for x in class_weight]
        self.loss_weight, self.loss_name = loss_weight, loss_name

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
            factors = logits.new_tensor(self.class_weight)
            loss = F.cross_entropy(
                logits, seg_label, factors, reduction="none", ignore_index=ignore_index
            )
            if weight is not None:
                loss = loss * weight
            return self.loss_weight * loss.mean()
