"""mmseg's own cross-entropy of decode and auxiliary heads, through :mod:`core.fused`.

Same losses, gradients and accuracy as ``BaseDecodeHead.loss_by_feat``, but for rounding.
"""

from __future__ import annotations

import functools

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import CrossEntropyLoss
from mmseg.structures.sampler import OHEMPixelSampler
from torch import Tensor, nn

from core import fused
from core.hardness import IMPL, HardnessLoss

EPS = torch.finfo(torch.float32).eps  # mmseg's, against a division by 0


def set_impl(model: nn.Module, impl: str = "fused") -> int:
    """Have every head of a model compute its loss in one way.

    Heads with a loss of their own, several losses, another sampler than mmseg's OHEM, or binary
    logits stay as they are.

    Args:
        impl: ``"fused"``; or ``"eager"``: mmseg's own ``loss_by_feat``, and the equations of
            :class:`core.hardness.HardnessLoss` as they stand.

    Returns:
        How many heads and hardness losses are fused now.

    Raises:
        ValueError: another ``impl``.
    """
    if impl not in IMPL:
        raise ValueError(f"loss_impl must be one of {', '.join(IMPL)}; got {impl!r}")
    count = 0
    for module in model.modules():
        if isinstance(module, HardnessLoss):
            module.impl = impl
            count += impl == "fused"
        elif isinstance(module, BaseDecodeHead):
            vars(module).pop("loss_by_feat", None)
            if impl == "fused" and can_fuse(module):
                module.loss_by_feat = functools.partial(loss_by_feat, module)
                count += 1
    return count


def can_fuse(head: BaseDecodeHead) -> bool:
    """Whether a head's loss is one softmax cross-entropy of resized logits, averaged as mmseg's."""
    # KNet's head has neither: it is a BaseDecodeHead by name alone.
    loss, sampler = getattr(head, "loss_decode", None), getattr(head, "sampler", None)
    return (
        type(head).loss_by_feat is BaseDecodeHead.loss_by_feat
        and type(loss) is CrossEntropyLoss
        and not (loss.use_sigmoid or loss.use_mask)
        and loss.reduction == "mean"
        and not (loss.class_weight is not None and loss.avg_non_ignore)  # mmseg fails there
        and (sampler is None or type(sampler) is OHEMPixelSampler)
    )


def loss_by_feat(
    head: BaseDecodeHead, seg_logits: Tensor, batch_data_samples: list
) -> dict[str, Tensor]:
    """What ``head.loss_by_feat`` gives: the loss under its name, and ``acc_seg`` in percent, (1,).

    Args:
        seg_logits: (N, C, h, w).
        batch_data_samples: with ``gt_sem_seg`` (1, H, W) each.

    Raises:
        IndexError: a label of no class.
    """
    label = head._stack_batch_gt(batch_data_samples).squeeze(1).long()
    loss, ignore_index = head.loss_decode, head.ignore_index
    at = dict(ignore_index=ignore_index, align_corners=head.align_corners)
    valid = label != ignore_index
    learns = torch.is_grad_enabled() and seg_logits.requires_grad
    weight = seg_logits.new_ones((), dtype=torch.promote_types(seg_logits.dtype, torch.float32))
    total = valid.sum() if loss.avg_non_ignore else valid.numel()
    if loss.class_weight is not None:
        factors = weight.new_tensor(loss.class_weight)
        weight = factors[label.clamp(0, len(factors) - 1)]
        total = (weight * valid).sum()
    if head.sampler is not None:
        hard = fused.cross_entropy(seg_logits, label, **at).loss
        weight = weight * _hard(head.sampler, hard, valid)
    weight = weight * (loss.loss_weight / (total + EPS))
    found = fused.cross_entropy(
        seg_logits, label, weight.expand(label.shape) if learns else None, **at
    )
    value = fused.with_gradient((found.loss * weight).sum(), seg_logits, found.grad)
    acc = (found.correct + EPS) * (100.0 / (valid.sum() + EPS))
    return {loss.loss_name: value, "acc_seg": acc.reshape(1)}


def _hard(sampler: OHEMPixelSampler, loss: Tensor, valid: Tensor) -> Tensor:
    """1 where mmseg's sampler keeps a pixel, else 0, (N, H, W), from the loss of each pixel."""
    kept = sampler.min_kept * len(loss)
    if not valid.any():
        return torch.zeros_like(loss)
    if sampler.thresh is not None:  # the probability of a pixel's own class
        prob = (-loss).exp()
        ordered = prob[valid].sort().values
        least = ordered[min(kept, len(ordered) - 1)]
        return ((prob < least.clamp_min(sampler.thresh)) & valid).to(loss.dtype)
    out = torch.zeros_like(loss)
    picked = loss[valid].sort(descending=True).indices[:kept]
    out[valid] = torch.zeros_like(loss[valid]).index_fill_(0, picked, 1)
    return out
