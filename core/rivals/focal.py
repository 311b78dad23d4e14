"""Focal loss over a softmax, a rival of Table 6.

mmseg's own ``FocalLoss`` is the sigmoid form; the one that the paper's table was made with
overwrites ignored labels with class 0 in place, before the auxiliary head reads them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from core.rivals.pixel_mean import PixelMeanLoss, is_number


@MODELS.register_module()
class SoftmaxFocalLoss(PixelMeanLoss):
    """``(1 - p)^gamma * -log(p)``, p the softmax probability of the label's class.

    Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, Eq. 4, in its softmax form.
    Averaged over all pixels, ignored ones included with 0, as mmseg's cross-entropy is by default:
    with ``gamma=0`` the two are equal. Ignored labels are left as they are.

    Args:
        gamma: how much pixels that are classified well are damped; 0 for none.
        loss_weight: factor on the loss.
        loss_name: key of the loss in the log.

    Raises:
        ValueError: ``gamma < 0``, or what is no finite number.
    """

    def __init__(
        self, gamma: float = 2.0, loss_weight: float = 1.0, loss_name: str = "loss_focal"
    ) -> None:
        super().__init__(loss_weight, loss_name)
        if not is_number(gamma) or gamma < 0:
            raise ValueError(f"gamma must be >= 0, got {gamma!r}")
        self.gamma = gamma

    def of_pixels(self, logits: Tensor, seg_label: Tensor, ignore_index: int) -> Tensor:
        """``(1 - p)^gamma * -log(p)`` of each pixel, (N, H, W)."""
        ce = F.cross_entropy(logits, seg_label, reduction="none", ignore_index=ignore_index)
        # 1 - p as -expm1(log p): exact where p is near 1, which most pixels are.
        return (-torch.expm1(-ce)).pow(self.gamma) * ce
