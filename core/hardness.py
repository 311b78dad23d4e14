"""Pixel hardness learning: equations 1 to 5 as functions of tensors, and one loss module.

Reference: Xiao, Zhou, Hu, Hu, Xu, "Not All Pixels Are Equal: Learning Pixel Hardness for
Semantic Segmentation", section 3 (journal version: doi 10.1007/s11263-025-02416-4). This module
and :mod:`core.fused` need torch alone.

Notation of the paper and its names here:

    D      ``hl_logits``   (N, 1, H, W)  output of the hardness-level (HL) branch
    H      ``hl_map``      (N, 1, H, W)  hardness level: >= 0, sums to 1 over an image
    L      ``pixel_loss``  (N, H, W)     cross-entropy of each pixel, 0 where ignored
    V      ``valid``       (N, H, W)     bool, label != ignore_index

Sigmoid, sums and products run in float32 also under autocast: the weights of a 769x769 crop are
near 1e-6, below what float16 can hold.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core import fused

NORMALIZE = ("image", "batch")
IGNORED = ("exclude", "include")
WEIGHTING = ("hl", "ce-scaled")
IMPL = ("fused", "eager")


def _full_precision(x: Tensor) -> Tensor:
    """``x`` as float32, or as it is when wider."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _no_autocast(x: Tensor) -> torch.autocast:
    return torch.autocast(device_type=x.device.type, enabled=False)


def hardness_map(
    hl_logits: Tensor,
    valid: Tensor,
    *,
    c: float = 0.1,
    normalize: str = "image",
    ignored: str = "exclude",
) -> Tensor:
    """Eq. 1: ``Z = sigmoid(D) + c``, ``H = Z / sum(Z)``.

    Args:
        hl_logits: D, shape (N, 1, H, W), any float type.
        valid: V, bool, shape (N, H, W).
        c: lower bound of Z; (1 + c) / c is the largest ratio between two pixels.
        normalize: ``"image"`` divides by the sum over each image (the paper); ``"batch"`` by one
            sum over the whole batch (the authors' code).
        ignored: ``"exclude"`` gives pixels that are not valid H = 0; ``"include"`` counts them
            in the sum like all others (the authors' code).

    Returns:
        H, shape (N, 1, H, W), float32 or wider, >= 0; sums to 1 over each image (or the batch).
        An image without a valid pixel is 0 everywhere with ``ignored="exclude"``.

    Raises:
        ValueError: unknown ``normalize`` or ``ignored``, or shapes that do not fit.
    """
    _check_option("normalize", normalize, NORMALIZE)
    _check_option("ignored", ignored, IGNORED)
    if hl_logits.dim() != 4 or hl_logits.shape[1] != 1:
        raise ValueError(f"hl_logits must be (N, 1, H, W), got {tuple(hl_logits.shape)}")
    if valid.shape != hl_logits[:, 0].shape:
        raise ValueError(
            f"valid must be {tuple(hl_logits[:, 0].shape)} as hl_logits says, "
            f"got {tuple(valid.shape)}"
        )
    with _no_autocast(hl_logits):
        z = _full_precision(hl_logits).sigmoid() + c
        return _normalized(z, valid, normalize, ignored)


def _normalized(z: Tensor, valid: Tensor, normalize: str, ignored: str) -> Tensor:
    """``Z / sum(Z)``, the second half of Eq. 1."""
    if ignored == "exclude":
        z = z * valid.unsqueeze(1)
    total = z.sum(dim=(1, 2, 3) if normalize == "image" else (0, 1, 2, 3), keepdim=True)
    # 0 / tiny = 0 for an image of ignored pixels only; any other sum is at least c.
    return z / total.clamp_min(torch.finfo(z.dtype).tiny)


def weighted_sum(weight: Tensor, pixel_loss: Tensor, valid: Tensor, normalize: str) -> Tensor:
    """``sum(weight * pixel_loss)`` of each image, reduced to a scalar.

    The mean over the images that have a valid pixel for ``normalize="image"``; the plain sum for
    ``"batch"``, whose weights already sum to 1 over the batch. 0 if no pixel is valid.

    Args:
        weight: (N, 1, H, W).
        pixel_loss: (N, H, W), 0 where not valid.
        valid: bool, (N, H, W).
        normalize: ``"image"`` or ``"batch"``.
    """
    with _no_autocast(pixel_loss):
        total = (weight.squeeze(1) * _full_precision(pixel_loss)).sum()
    if normalize == "batch":
        return total
    return total / _images(valid)


def segmentation_loss(hl_map: Tensor, pixel_loss: Tensor, valid: Tensor, normalize: str) -> Tensor:
    """Eq. 4: ``L_s = sum(stop(H) * L)``; its gradient reaches the segmentation head only."""
    return weighted_sum(hl_map.detach(), pixel_loss, valid, normalize)


def hardness_loss(hl_map: Tensor, pixel_loss: Tensor, valid: Tensor, normalize: str) -> Tensor:
    """Eq. 2: ``L_h = -sum(H * stop(L))``, so dL_h/dH = -L (Eq. 3); reaches the HL branch only."""
    return -weighted_sum(hl_map, pixel_loss.detach(), valid, normalize)


def scale_matched(pixel_loss: Tensor, target: Tensor) -> Tensor:
    """Plain mean cross-entropy brought to the value of ``target``: ``m * stop(target / m)``.

    The gradient has the direction of plain cross-entropy and the scale of the HL loss: the arm
    that tells the effect of the hardness map from that of a larger effective learning rate.
    How void pixels enter the mean m does not matter: any constant factor cancels.
    """
    if not pixel_loss.numel():  # an empty batch has no mean
        return _full_precision(pixel_loss).sum()
    with _no_autocast(pixel_loss):
        mean = _full_precision(pixel_loss).mean()
        return mean * (target / mean.clamp_min(torch.finfo(mean.dtype).tiny)).detach()


class HLLosses(NamedTuple):
    """What :class:`HardnessLoss` returns; every loss is a scalar.

    ``loss_seg``: L_s of Eq. 4. ``loss_hl``: alpha * L_h, the second term of Eq. 5, <= 0.
    ``hl_map``: H, (N, 1, H, W), detached. For logs that can be compared with a baseline's,
    detached: ``ce``, cross-entropy averaged over the valid pixels, and ``acc``, the share of them
    that is classified right, 0-100.
    """

    loss_seg: Tensor
    loss_hl: Tensor
    hl_map: Tensor
    ce: Tensor
    acc: Tensor

    @property
    def total(self) -> Tensor:
        """Eq. 5: ``L_f = L_s + alpha * L_h``."""
        return self.loss_seg + self.loss_hl


class HardnessLoss(nn.Module):
    """Eq. 5 from logits and labels; the one place where upsampling, cross-entropy and weights meet.

    The caller feeds the HL branch with *detached* features; the two other stops of gradient
    (H in L_s, L in L_h) are in here.

    Args:
        c: see :func:`hardness_map`; the paper's 0.1.
        alpha: factor of the HL loss; the paper's 0.01.
        normalize: ``"image"`` (the paper) or ``"batch"`` (the authors' code).
        ignored: ``"exclude"`` (ours) or ``"include"`` (the authors' code).
        weighting: ``"hl"``, or ``"ce-scaled"``: see :func:`scale_matched`. The HL branch learns in
            both.
        ignore_index: label of pixels that carry no loss.
        align_corners: of the bilinear resize of both logits to the label's size.
        class_weight: one factor per class on the cross-entropy, or None.
        impl: ``"eager"``, the equations as they stand, on logits of the label's size; or
            ``"fused"``, the same without them (:mod:`core.fused`): less time, and all that is kept
            for the backward pass is the gradients, of the size of the logits that come in. Equal
            but for rounding; a second derivative has only ``"eager"``.

    Raises:
        ValueError: an unknown option, ``c <= 0``, ``alpha < 0``, or what is no finite number.
    """

    def __init__(
        self,
        c: float = 0.1,
        alpha: float = 0.01,
        normalize: str = "image",
        ignored: str = "exclude",
        weighting: str = "hl",
        ignore_index: int = 255,
        align_corners: bool = False,
        class_weight: list[float] | None = None,
        impl: str = "fused",
    ) -> None:
        super().__init__()
        _check_option("impl", impl, IMPL)
        _check_option("normalize", normalize, NORMALIZE)
        _check_option("ignored", ignored, IGNORED)
        _check_option("weighting", weighting, WEIGHTING)
        if not _is_number(c) or c <= 0:
            raise ValueError(f"c must be > 0 (Eq. 1 divides by the sum of sigmoid + c), got {c!r}")
        if not _is_number(alpha) or alpha < 0:
            raise ValueError(f"alpha must be >= 0, got {alpha!r}")
        if class_weight is not None and not all(_is_number(x) and x >= 0 for x in class_weight):
            raise ValueError(f"class_weight must be numbers >= 0, got {class_weight}")
        self.c, self.alpha = c, alpha
        self.normalize, self.ignored, self.weighting = normalize, ignored, weighting
        self.ignore_index, self.align_corners = ignore_index, align_corners
        self.impl = impl
        # Not persistent: a checkpoint without the HL branch must be plain mmseg's, key by key.
        weight = None if class_weight is None else torch.tensor(class_weight)
        self.register_buffer("class_weight", weight, persistent=False)

    def forward(self, seg_logits: Tensor, hl_logits: Tensor, seg_label: Tensor) -> HLLosses:
        """Both losses of a batch.

        Args:
            seg_logits: (N, C, h, w), any size; resized to the label's.
            hl_logits: (N, 1, h', w'), from detached features; resized likewise.
            seg_label: (N, H, W), integer, 0..C-1 or ``ignore_index``.

        Raises:
            ValueError: shapes, or the number of class weights, do not fit.
            IndexError: a label of no class (on a GPU torch's own assertion).
        """
        self._check(seg_logits, seg_label)
        valid = seg_label != self.ignore_index
        if self.impl == "fused":
            return self._fused_forward(seg_logits, hl_logits, seg_label, valid)
        pixel_loss, acc = self._pixel_loss(seg_logits, seg_label, valid)
        hl_map = self.hl_map(hl_logits, valid)
        loss_seg = self._reduce(hl_map, pixel_loss, valid)
        loss_hl = self.alpha * hardness_loss(hl_map, pixel_loss, valid, self.normalize)
        return HLLosses(loss_seg, loss_hl, hl_map.detach(), _mean(pixel_loss, valid), acc)

    def _fused_forward(
        self, seg_logits: Tensor, hl_logits: Tensor, seg_label: Tensor, valid: Tensor
    ) -> HLLosses:
        # H needs no pixel's loss: it comes first, and both gradients can be formed here.
        learns = torch.is_grad_enabled() and hl_logits.requires_grad
        with torch.enable_grad():
            leaf = _full_precision(hl_logits.detach()).requires_grad_(learns)
            hl_map = self.hl_map(leaf, valid)
        loss_seg, pixel_loss, acc = self._fused_loss(seg_logits, hl_map.detach(), seg_label, valid)
        with torch.enable_grad():
            loss_hl = self.alpha * hardness_loss(hl_map, pixel_loss, valid, self.normalize)
        grad = torch.autograd.grad(loss_hl, leaf)[0] if learns else None
        loss_hl = fused.with_gradient(loss_hl.detach(), hl_logits, grad)
        return HLLosses(loss_seg, loss_hl, hl_map.detach(), _mean(pixel_loss, valid), acc)

    def _fused_loss(
        self, seg_logits: Tensor, hl_map: Tensor, seg_label: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """L_s (or the scale-matched loss) with its gradient, L without, and the accuracy."""
        factor = hl_map.new_ones(())
        if self.class_weight is not None:  # a label of no class is refused below
            known = seg_label.long().clamp(0, len(self.class_weight) - 1)
            factor = self.class_weight.to(hl_map.dtype)[known]
        by_map = self.weighting == "hl"
        weight = None
        if torch.is_grad_enabled() and seg_logits.requires_grad:
            images = 1 if self.normalize == "batch" else _images(valid)
            weight = hl_map[:, 0] / images * factor if by_map else factor.expand(seg_label.shape)
        found = fused.cross_entropy(
            seg_logits, seg_label, weight,
            ignore_index=self.ignore_index, align_corners=self.align_corners,
        )  # fmt: skip
        pixel_loss = found.loss * factor
        value = segmentation_loss(hl_map, pixel_loss, valid, self.normalize)
        grad = found.grad
        if grad is not None and not by_map:
            total = pixel_loss.sum()
            grad = grad * (value / total.clamp_min(torch.finfo(total.dtype).tiny))
        return (
            fused.with_gradient(value, seg_logits, grad),
            pixel_loss,
            _percent(found.correct, valid),
        )

    def with_map(
        self, seg_logits: Tensor, hl_map: Tensor, seg_label: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Eq. 4 with a map that comes from elsewhere, and acc: that of a cascade's last stage for
        the earlier ones, or one that another model wrote."""
        self._check(seg_logits, seg_label)
        valid = seg_label != self.ignore_index
        if self.impl == "fused":
            loss, _, acc = self._fused_loss(seg_logits, hl_map.detach(), seg_label, valid)
            return loss, acc
        pixel_loss, acc = self._pixel_loss(seg_logits, seg_label, valid)
        return self._reduce(hl_map, pixel_loss, valid), acc

    def hl_map(self, hl_logits: Tensor, valid: Tensor) -> Tensor:
        """Eq. 1 at the size of ``valid`` (N, H, W)."""
        hl_logits = self.resize(_full_precision(hl_logits), valid.shape[-2:])
        return hardness_map(
            hl_logits, valid, c=self.c, normalize=self.normalize, ignored=self.ignored
        )

    def collected_map(self, scores: Tensor, valid: Tensor) -> Tensor:
        """Eq. 1 with ``sigmoid(D)`` given: what another model found for these pixels.

        Args:
            scores: (N, 1, H, W), 0-1, of the size of ``valid``.
            valid: bool, (N, H, W).

        Returns:
            H, as :func:`hardness_map`.
        """
        z = _full_precision(scores) + self.c
        return _normalized(z, valid, self.normalize, self.ignored)

    def extra_repr(self) -> str:
        return (
            f"c={self.c}, alpha={self.alpha}, normalize={self.normalize!r}, "
            f"ignored={self.ignored!r}, weighting={self.weighting!r}, impl={self.impl!r}"
        )

    def _reduce(self, hl_map: Tensor, pixel_loss: Tensor, valid: Tensor) -> Tensor:
        loss = segmentation_loss(hl_map, pixel_loss, valid, self.normalize)
        return loss if self.weighting == "hl" else scale_matched(pixel_loss, loss)

    def _check(self, seg_logits: Tensor, seg_label: Tensor) -> None:
        if seg_label.dim() != 3 or seg_label.shape[0] != seg_logits.shape[0]:
            raise ValueError(
                f"seg_label must be (N, H, W) with N={seg_logits.shape[0]} as seg_logits says, "
                f"got {tuple(seg_label.shape)}"
            )
        classes = seg_logits.shape[1]
        if self.class_weight is not None and len(self.class_weight) != classes:
            raise ValueError(f"{len(self.class_weight)} class weights for {classes} classes")

    def _pixel_loss(
        self, seg_logits: Tensor, seg_label: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor]:
        """L, (N, H, W), and the accuracy over V in percent."""
        seg_logits = self.resize(seg_logits, seg_label.shape[-2:])
        try:
            with _no_autocast(seg_logits):
                pixel_loss = F.cross_entropy(
                    _full_precision(seg_logits),
                    seg_label.long(),
                    weight=self.class_weight,
                    ignore_index=self.ignore_index,
                    reduction="none",
                )
        except IndexError as error:
            wrong = fused.no_class(seg_label, seg_logits.shape[1], self.ignore_index)
            raise IndexError(wrong) from error
        correct = (seg_logits.detach().argmax(dim=1) == seg_label) & valid
        return pixel_loss, _percent(correct.sum(), valid)

    def resize(self, x: Tensor, size: torch.Size) -> Tensor:
        """Bilinear, (N, K, h, w) to (N, K, *size)."""
        return F.interpolate(x, size=size, mode="bilinear", align_corners=self.align_corners)


def _check_option(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")


def _is_number(x: float) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool) and math.isfinite(x)


def _images(valid: Tensor) -> Tensor:
    """Images that have a valid pixel, at least 1."""
    return valid.flatten(1).any(dim=1).sum().clamp_min(1)


def _mean(pixel_loss: Tensor, valid: Tensor) -> Tensor:
    return pixel_loss.detach().sum() / valid.sum().clamp_min(1)


def _percent(correct: Tensor, valid: Tensor) -> Tensor:
    return 100 * correct / valid.sum().clamp_min(1)
