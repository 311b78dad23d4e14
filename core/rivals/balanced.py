"""Class-balanced cross-entropy, a rival of Table 6, averaged as in the paper's runs.

mmseg 1.x divides ``w * CE`` by the sum of the weights of the valid pixels. The paper's table was
made with 0.22.1, which averaged it over all pixels: where much is void or the frequent classes have
small weights, that is a loss several times smaller.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from core.rivals.pixel_mean import PixelMeanLoss, is_number


@MODELS.register_module()
class PixelMeanCrossEntropy(PixelMeanLoss):
    """``w[label] * CE``, averaged over all pixels, ignored ones included with 0.

    Args:
        class_weight: a positive factor for every class.
        loss_weight: factor on the loss.
        loss_name: key of the loss in the log.

    Raises:
        ValueError: a factor is not a finite number > 0; in a step: they are not one for each class.
    """

    def __init__(
        self, class_weight: Sequence[float], loss_weight: float = 1.0, loss_name: str = "loss_ce"
    ) -> None:
        super().__init__(loss_weight, loss_name)
        if not all(is_number(x) and x > 0 for x in class_weight):
            raise ValueError(f"class_weight must be numbers > 0, got {class_weight}")
        self.class_weight = [float(x) for x in class_weight]

    def of_pixels(self, logits: Tensor, seg_label: Tensor, ignore_index: int) -> Tensor:
        """``w[label] * CE`` of each pixel, (N, H, W)."""
        if len(self.class_weight) != logits.shape[1]:
            raise ValueError(
                f"{len(self.class_weight)} class weights for {logits.shape[1]} classes"
            )
        factors = logits.new_tensor(self.class_weight)
        return F.cross_entropy(
            logits, seg_label, factors, reduction="none", ignore_index=ignore_index
        )
