"""Triton kernels of :mod:`core.fused`: one pass over the pixels, one over the logits' cells.

Forward: a program takes some pixels, interpolates their logits class by class from the four around
and keeps a running maximum and sum. Backward: a program takes some cells of the logits and some
classes and goes over the pixels around each cell, whose log-sum-exp the first pass left; nothing is
added atomically, so that a gradient is the same every time.

Of N images of H x W pixels must be moved, whatever the kernel: labels (8 bytes a pixel, int64, in
each pass), weights (4), the loss (4), the log-sum-exp written and read (8), and logits and gradient
of the small size: 32 bytes a pixel, 38 MB for two crops of 769, some 11 us at 3.35 TB/s. That is
the bound; the kernels themselves were run by Triton's interpreter alone, on no GPU yet.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

PIXELS = 256  # of a program of the first pass
CELLS, CLASSES = 32, 16  # of the second


@triton.jit
def _bilinear(base, top, bottom, left, right, fy, fx, mask):
    a = tl.load(base + top + left, mask=mask, other=0.0)
    b = tl.load(base + top + right, mask=mask, other=0.0)
    c = tl.load(base + bottom + left, mask=mask, other=0.0)
    d = tl.load(base + bottom + right, mask=mask, other=0.0)
    return (1 - fy) * ((1 - fx) * a + fx * b) + fy * ((1 - fx) * c + fx * d)


@triton.jit
def _pixels(
    logits, label, loss, lse, right_count, entropy,
    row_low, row_share, col_low, col_share,
    C, h, w, H, W, ignore_index,
    HAS_LABEL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Loss and log-sum-exp of each pixel, or the entropy."""
    n = tl.program_id(1).to(tl.int64)
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = p < H * W
    y, x = p // W, p % W
    top = tl.load(row_low + y, mask=inside, other=0)
    left = tl.load(col_low + x, mask=inside, other=0)
    fy = tl.load(row_share + y, mask=inside, other=0.0)
    fx = tl.load(col_share + x, mask=inside, other=0.0)
    bottom, right = tl.minimum(top + 1, h - 1) * w, tl.minimum(left + 1, w - 1)
    top = top * w
    highest = tl.full((BLOCK,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    weighted = tl.zeros((BLOCK,), tl.float32)
    best = tl.zeros((BLOCK,), tl.int64)
    own = tl.full((BLOCK,), float("nan"), tl.float32)  # stays, if the label is of no class
    target = tl.zeros((BLOCK,), tl.int64)
    if HAS_LABEL:
        target = tl.load(label + n * H * W + p, mask=inside, other=0).to(tl.int64)
    for c in range(C):
        u = _bilinear(logits + (n * C + c) * h * w, top, bottom, left, right, fy, fx, inside)
        new = tl.maximum(highest, u)
        stable = tl.where(new == float("-inf"), 0.0, new)
        shrink, term = tl.exp(highest - stable), tl.exp(u - stable)
        total = total * shrink + term
        if HAS_LABEL:
            own = tl.where(target == c, u, own)
            best = tl.where(u > highest, c, best)
        else:
            weighted = weighted * shrink + tl.where(term > 0, term * u, 0.0)
        highest = new
    log_sum = highest + tl.log(total)
    at = n * H * W + p
    if HAS_LABEL:
        valid = target != ignore_index
        tl.store(loss + at, tl.where(valid, log_sum - own, 0.0), mask=inside)
        tl.store(lse + at, log_sum, mask=inside)
        is_right = (valid & inside & (best == target)).to(tl.int32)
        tl.atomic_add(right_count, tl.sum(is_right))  # whole numbers: in any order the same
    else:
        tl.store(entropy + at, tl.maximum(log_sum - weighted / total, 0.0), mask=inside)


@triton.jit
def _cells(
    logits, label, weight, lse, grad,
    row_low, row_share, col_low, col_share, row_first, row_last, col_first, col_last,
    C, h, w, H, W, ignore_index, ROWS, COLS,
    CELLS: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
    """The gradient of the weighted sum of the losses towards the logits."""
    n = tl.program_id(2).to(tl.int64)
    cell = tl.program_id(0) * CELLS + tl.arange(0, CELLS)
    c = (tl.program_id(1) * CLASSES + tl.arange(0, CLASSES))[None, :]
    exists = cell < h * w
    i, j = cell // w, cell % w
    first_y = tl.load(row_first + i, mask=exists, other=0)
    last_y = tl.load(row_last + i, mask=exists, other=-1)
    first_x = tl.load(col_first + j, mask=exists, other=0)
    last_x = tl.load(col_last + j, mask=exists, other=-1)
    base = logits + (n * C + c) * h * w
    out = tl.zeros((CELLS, CLASSES), tl.float32)
    for ky in range(ROWS):
        y = first_y + ky
        in_rows = exists & (y <= last_y)
        top = tl.load(row_low + y, mask=in_rows, other=0)
        fy = tl.load(row_share + y, mask=in_rows, other=0.0)
        bottom = tl.minimum(top + 1, h - 1)
        by_row = tl.where(top == i, 1 - fy, 0.0) + tl.where(bottom == i, fy, 0.0)
        for kx in range(COLS):
            x = first_x + kx
            seen = in_rows & (x <= last_x)
            left = tl.load(col_low + x, mask=seen, other=0)
            fx = tl.load(col_share + x, mask=seen, other=0.0)
            right = tl.minimum(left + 1, w - 1)
            by_column = tl.where(left == j, 1 - fx, 0.0) + tl.where(right == j, fx, 0.0)
            at = n * H * W + y * W + x
            target = tl.load(label + at, mask=seen, other=0).to(tl.int64)
            factor = tl.load(weight + at, mask=seen, other=0.0)
            factor = tl.where(seen & (target != ignore_index), factor * by_row * by_column, 0.0)
            log_sum = tl.load(lse + at, mask=seen, other=0.0)
            mask = seen[:, None] & (c < C)
            u = _bilinear(base, (top * w)[:, None], (bottom * w)[:, None], left[:, None],
                          right[:, None], fy[:, None], fx[:, None], mask)  # fmt: skip
            by_logit = tl.exp(u - log_sum[:, None]) - tl.where(target[:, None] == c, 1.0, 0.0)
            out += tl.where(factor[:, None] != 0, factor[:, None] * by_logit, 0.0)
    tl.store(grad + (n * C + c) * h * w + cell[:, None], out, mask=exists[:, None] & (c < C))


class _Axis(NamedTuple):
    """Of each output position the input position below and the share of the next one; of each
    input position the output positions it is read at, and the largest number of them."""

    low: Tensor
    share: Tensor
    first: Tensor
    last: Tensor
    most: int


@lru_cache(64)
def _axis(n_in: int, n_out: int, align_corners: bool, device: torch.device) -> _Axis:
    at = torch.arange(n_out, dtype=torch.float64)
    if align_corners:
        at *= (n_in - 1) / (n_out - 1) if n_out > 1 else 0.0
    else:
        at = (at + 0.5) * (n_in / n_out) - 0.5
    at.clamp_(0, n_in - 1)
    low = at.long()
    cells = torch.arange(n_in)
    first = torch.searchsorted((low + 1).clamp(max=n_in - 1), cells)
    last = torch.searchsorted(low, cells, right=True) - 1
    most = max(0, int((last - first).max()) + 1)
    whole = (x.to(device, torch.int32) for x in (first, last))
    return _Axis(low.to(device, torch.int32), (at - low).to(device, torch.float32), *whole, most)


def cross_entropy(
    logits: Tensor, seg_label: Tensor, weight: Tensor | None, ignore_index: int, align: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """See :func:`core.fused.cross_entropy`; logits are float32. A label of no class gives NaN."""
    logits, seg_label = logits.contiguous(), seg_label.contiguous()
    n, classes, h, w = logits.shape
    height, width = seg_label.shape[1:]
    rows, cols = (_axis(h, height, align, logits.device), _axis(w, width, align, logits.device))
    loss = logits.new_empty(seg_label.shape)
    lse = torch.empty_like(loss)
    right = torch.zeros((), dtype=torch.int32, device=logits.device)
    if seg_label.numel():
        _pixels[(triton.cdiv(height * width, PIXELS), n)](
            logits, seg_label, loss, lse, right, loss,
            rows.low, rows.share, cols.low, cols.share,
            classes, h, w, height, width, ignore_index, HAS_LABEL=True, BLOCK=PIXELS,
        )  # fmt: skip
    if weight is None:
        return loss, right.long(), None
    grad = torch.zeros_like(logits)
    if seg_label.numel():
        _cells[(triton.cdiv(h * w, CELLS), triton.cdiv(classes, CLASSES), n)](
            logits, seg_label, weight.float().contiguous(), lse, grad,
            rows.low, rows.share, cols.low, cols.share,
            rows.first, rows.last, cols.first, cols.last,
            classes, h, w, height, width, ignore_index, rows.most, cols.most,
            CELLS=CELLS, CLASSES=CLASSES,
        )  # fmt: skip
    return loss, right.long(), grad


def entropy(logits: Tensor, size: tuple[int, int], align: bool) -> Tensor:
    """See :func:`core.fused.entropy`; logits are float32."""
    logits = logits.contiguous()
    n, classes, h, w = logits.shape
    rows, cols = (_axis(i, o, align, logits.device) for i, o in zip((h, w), size, strict=True))
    out = logits.new_empty(n, *size)
    if out.numel():
        _pixels[(triton.cdiv(size[0] * size[1], PIXELS), n)](
            logits, out, out, out, out, out, rows.low, rows.share, cols.low, cols.share,
            classes, h, w, *size, 0, HAS_LABEL=False, BLOCK=PIXELS,
        )  # fmt: skip
    return out
