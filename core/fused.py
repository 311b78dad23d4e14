"""Cross-entropy and entropy of bilinearly upsampled logits, without the upsampled logits.

Both are computed a few rows at a time, and the gradient towards the low-resolution logits in the
same pass: what a pixel's loss is weighted with is known before it. This module needs torch alone;
on a GPU :mod:`core.fused_triton` does the same where Triton is there.

The rows are a banded matrix product. Along a row, between two columns i and i + 1 of the input, a
logit is a straight line, so its exponential is a geometric progression,

    exp(a + b * (f + k * step)) = exp(a + b * f) * exp(b * step) ** k,    k = 0, 1, ...

with a = x[i], b = x[i + 1] - x[i]: at eight times the size two exponentials serve eight pixels, and
no pixel is interpolated along its row. Before that, each input pixel's largest logit is taken off
(a softmax does not see it; interpolation being linear and convex, no exponent is positive then).
Where logits of one pixel are so far apart that a product could underflow, those rows take the
exponential of each pixel, after its own maximum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, wraps
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 800_000  # exponentials at a time: 3 MB in float32, near what a core's cache holds
# Largest difference of two logits of a pixel for which no product of exponentials underflows.
SPREAD = {torch.float32: 75.0, torch.float64: 600.0}


class Pixels(NamedTuple):
    """Of :func:`cross_entropy`.

    ``loss``: -log p(label) of each pixel, (N, H, W), 0 where ignored; no graph. ``correct``: number
    of pixels, of those not ignored, whose label has the largest logit, 0-dim. ``grad``: gradient of
    ``(weight * loss).sum()`` towards the logits, (N, C, h, w); None without a weight.
    """

    loss: Tensor
    correct: Tensor
    grad: Tensor | None


def _in_full(function: Callable) -> Callable:
    """Without a graph, and without the matrix products that autocast makes half as wide."""

    @wraps(function)
    def inner(seg_logits: Tensor, *args: Any, **kwargs: Any) -> Any:
        with torch.no_grad(), torch.autocast(seg_logits.device.type, enabled=False):
            return function(seg_logits, *args, **kwargs)

    return inner


@_in_full
def cross_entropy(
    seg_logits: Tensor,
    seg_label: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = 255,
    align_corners: bool = False,
) -> Pixels:
    """What ``F.cross_entropy(F.interpolate(seg_logits, size, mode="bilinear"), seg_label,
    reduction="none")`` gives, and its gradient.

    Float32 throughout (float64 for float64 logits), also under autocast. Where nothing is enlarged
    or a logit is not finite, the line above is what is computed.

    Args:
        seg_logits: (N, C, h, w), any float type.
        seg_label: (N, H, W), integer, 0..C-1 or ``ignore_index``.
        weight: (N, H, W), >= 0, of each pixel in the sum whose gradient is asked for.

    Raises:
        IndexError: a label of no class (a GPU's kernel makes its loss NaN).
    """
    logits = _full(seg_logits)
    size = seg_label.shape[1:]
    if _on_gpu(logits) and (kernels := _kernels()):
        found = kernels.cross_entropy(logits, seg_label, weight, ignore_index, align_corners)
        return Pixels(*found)
    if wrong := no_class(seg_label, logits.shape[1], ignore_index):
        raise IndexError(wrong)
    if size[1] <= logits.shape[3] or not logits.isfinite().all():
        return _plain(logits, seg_label, weight, ignore_index, align_corners)
    loss = torch.zeros(seg_label.shape, dtype=logits.dtype, device=logits.device)
    correct = torch.zeros((), dtype=torch.long, device=logits.device)
    grad = None if weight is None else torch.zeros_like(logits)
    walk = _Walk(logits, size, align_corners)
    for n, rows in walk.chunks():
        label = walk.spread(seg_label[n, rows].long())
        valid = (label != ignore_index) & walk.columns.real
        target = label.masked_fill_(~valid, 0).unsqueeze(1)
        exps = walk.exps(n, rows)
        total, own = exps.sum(dim=1), exps.gather(1, target)[:, 0]
        loss[n, rows] = walk.gathered((total.log() - walk.log(own, target)).mul_(valid))
        correct += (walk.is_largest(exps, own, target) & valid).sum()
        if grad is not None:
            factor = walk.spread(weight[n, rows].to(logits.dtype)).mul_(valid)
            exps.mul_((factor / total).unsqueeze(1))
            exps.scatter_add_(1, target, -factor.unsqueeze(1))
            walk.add_adjoint(exps, n, rows, grad)
    return Pixels(loss, correct, grad)


@_in_full
def entropy(seg_logits: Tensor, size: torch.Size, *, align_corners: bool = False) -> Tensor:
    """Entropy in nats of the softmax of each pixel of the upsampled logits: (N, *size), 0..log(C).

    Args:
        seg_logits: (N, C, h, w), any float type; float32 throughout, or float64.
        size: (H, W).
    """
    logits = _full(seg_logits)
    if _on_gpu(logits) and (kernels := _kernels()):
        return kernels.entropy(logits, size, align_corners)
    if size[1] <= logits.shape[3] or not logits.isfinite().all():
        log_prob = _resize(logits, size, align_corners).log_softmax(dim=1)
        return -torch.linalg.vecdot(log_prob.exp(), log_prob, dim=1)
    out = logits.new_empty(len(logits), *size)
    walk = _Walk(logits, size, align_corners)
    for n, rows in walk.chunks():
        exps = walk.exps(n, rows)
        total = exps.sum(dim=1)
        mean = walk.mean_logit(exps) / total
        out[n, rows] = walk.gathered(total.log_().sub_(mean))
    return out.clamp_min_(0)


class _Known(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, value: Tensor, grad: Tensor) -> Tensor:
        ctx.dtype = x.dtype
        ctx.save_for_backward(grad)
        return value.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_output: Tensor) -> tuple[Tensor, None, None]:
        (grad,) = ctx.saved_tensors
        # Half as wide after the scale of mixed precision, which it is there for, not before.
        return (grad * grad_output).to(ctx.dtype), None, None


def with_gradient(value: Tensor, x: Tensor, grad: Tensor | None) -> Tensor:
    """The scalar ``value`` with ``grad`` as its gradient towards ``x``; detached without one."""
    if grad is None:
        return value.detach()
    return _Known.apply(x, value, grad)


class _Columns(NamedTuple):
    """How W output columns lie between w input columns.

    Segment g (0..w) lies left of input column g; the outermost two reach beyond the image, where
    values are those of the border. A segment holds up to ``most`` output columns, ``step`` apart,
    the first at ``first[g]`` of its length. ``source``: (most * (w + 1),) the output column of each
    place; ``real``: (most, 1, w + 1) whether there is one; ``place``: (W,) the inverse.
    ``powers``: (2, most) ones and 0, 1, ...
    """

    most: int
    step: float
    first: Tensor
    source: Tensor
    real: Tensor
    place: Tensor
    powers: Tensor


@lru_cache(64)
def _columns(
    n_in: int, n_out: int, align_corners: bool, dtype: torch.dtype, device: torch.device
) -> _Columns:
    step, at = _positions(n_in, n_out, align_corners)
    segment = np.clip(np.floor(at).astype(np.int64) + 1, 0, n_in)
    count = np.bincount(segment, minlength=n_in + 1)
    most = int(count.max())
    start = np.searchsorted(segment, np.arange(n_in + 1))
    first = at[np.minimum(start, n_out - 1)] - np.arange(-1, n_in)
    first[count == 0] = 0
    real = np.arange(most)[:, None] < count
    source = np.where(real, start + np.arange(most)[:, None], 0)
    place = np.empty(n_out, np.int64)
    place[source[real]] = np.flatnonzero(real)
    powers = np.stack([np.ones(most), np.arange(most)])

    def tensor(x: np.ndarray, kind: torch.dtype | None = None) -> Tensor:
        return torch.as_tensor(x, dtype=kind, device=device)

    return _Columns(
        most, step, tensor(first, dtype), tensor(source.ravel()), tensor(real[:, None]),
        tensor(place), tensor(powers, dtype),
    )  # fmt: skip


@lru_cache(64)
def _rows(
    n_in: int, n_out: int, align_corners: bool, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """The matrix of interpolation (n_out, n_in), and the first and last input row of each output
    row."""
    at = np.clip(_positions(n_in, n_out, align_corners)[1], 0, n_in - 1)
    low = at.astype(np.int64)
    high = np.minimum(low + 1, n_in - 1)
    matrix = np.zeros((n_out, n_in))
    matrix[np.arange(n_out), low] += 1 - (at - low)
    matrix[np.arange(n_out), high] += at - low
    return torch.as_tensor(matrix, dtype=dtype, device=device), low, high


def _positions(n_in: int, n_out: int, align_corners: bool) -> tuple[float, np.ndarray]:
    """Distance of two output pixels in input pixels, and where each of them lies: torch's rule."""
    if align_corners:
        step = (n_in - 1) / (n_out - 1) if n_out > 1 else 0.0
        return step, np.arange(n_out) * step
    step = n_in / n_out
    return step, (np.arange(n_out) + 0.5) * step - 0.5


class _Walk:
    """Over the images of a batch, some rows of the output at a time.

    Arrays of a chunk are (most, C, rows, w + 1), see :class:`_Columns`; those without classes
    (most, rows, w + 1). One buffer holds the exponentials of all chunks in turn.
    """

    def __init__(self, logits: Tensor, size: torch.Size, align_corners: bool) -> None:
        self.classes, height, width = logits.shape[1:]
        self.size = size
        kind = (align_corners, logits.dtype, logits.device)
        self.columns = _columns(width, size[1], *kind)
        self.matrix, self.low, self.high = _rows(height, size[0], *kind)
        self.logits = logits - logits.amax(dim=1, keepdim=True)
        self.lowest = self.logits.amin(dim=(1, 3)).tolist()
        self.has_ties = bool(((self.logits == 0).sum(dim=1) > 1).any())
        plane = self.classes * (width + 1)
        self.step = max(1, CHUNK // (plane * self.columns.most))
        self.buffer = logits.new_empty(self.columns.most * plane * min(self.step, size[0]))

    def chunks(self) -> Iterator[tuple[int, slice]]:
        """(image, slice of output rows) after each other."""
        for n in range(len(self.logits)):
            for start in range(0, self.size[0], self.step):
                yield n, slice(start, min(start + self.step, self.size[0]))

    def _inputs(self, rows: slice) -> slice:
        """The input rows that some output rows read."""
        return slice(int(self.low[rows.start]), int(self.high[rows.stop - 1]) + 1)

    def spread(self, x: Tensor) -> Tensor:
        """(rows, W) as (most, rows, w + 1)."""
        c = self.columns
        return x.index_select(1, c.source).unflatten(1, (c.most, -1)).transpose(0, 1).contiguous()

    def gathered(self, x: Tensor) -> Tensor:
        """The inverse of :meth:`spread`."""
        return x.transpose(0, 1).flatten(1).index_select(1, self.columns.place)

    def exps(self, n: int, rows: slice) -> Tensor:
        """``exp(u)`` of the upsampled logits u, less any value per pixel."""
        c, inputs = self.columns, self._inputs(rows)
        lines = self.matrix[rows, inputs] @ self.logits[n, :, inputs]
        rise = F.pad(lines[:, :, 1:] - lines[:, :, :-1], (1, 1))
        begin = torch.cat([lines[:, :, :1], lines], dim=2).addcmul_(rise, c.first)
        rise *= c.step
        shape = (c.most, *begin.shape)
        out = self.buffer[: begin.numel() * c.most].view(shape)
        self.begin, self.rise, self.shift = begin, rise, None
        if min(self.lowest[n][inputs]) > -SPREAD[out.dtype]:
            torch.exp(begin, out=out[0])
            ratio, done = rise.exp() if c.most > 1 else rise, 1
            while done < c.most:
                more = min(done, c.most - done)
                torch.mul(out[:more], ratio, out=out[done : done + more])
                done += more
                if done < c.most:
                    ratio = ratio.square_()
        else:
            torch.addcmul(begin, rise, c.powers[1].view(-1, 1, 1, 1), out=out)
            self.shift = out.amax(dim=1, keepdim=True)
            out.sub_(self.shift).exp_()
        return out

    def log(self, own: Tensor, target: Tensor) -> Tensor:
        """u of the class ``target`` (most, 1, rows, w + 1), whose exponential is ``own``."""
        if self.shift is None:
            return own.log()
        # An exponential may be 0: from the logits themselves.
        begin, rise = (x.gather(0, target[:, 0]) for x in (self.begin, self.rise))
        return rise.mul_(self.columns.powers[1].view(-1, 1, 1)).add_(begin).sub_(self.shift[:, 0])

    def is_largest(self, exps: Tensor, own: Tensor, target: Tensor) -> Tensor:
        """Whether ``own``, of the class ``target``, is the largest; of equal ones the first is."""
        if self.has_ties:  # several times as dear
            return exps.argmax(dim=1) == target[:, 0]
        return own >= exps.amax(dim=1)

    def mean_logit(self, exps: Tensor) -> Tensor:
        """``sum(exps * u)`` over the classes, of the last chunk's u."""
        ramp = self.columns.powers[1].view(-1, 1, 1)
        out = (exps * self.begin).sum(dim=1).addcmul_((exps * self.rise).sum(dim=1), ramp)
        if self.shift is None:
            return out
        return out - self.shift[:, 0] * exps.sum(dim=1)

    def add_adjoint(self, by_pixel: Tensor, n: int, rows: slice, grad: Tensor) -> None:
        """Adds to ``grad`` what ``by_pixel``, gradients towards u, are towards the logits."""
        c, inputs = self.columns, self._inputs(rows)
        # Of a segment's two ends the right one has the share first + k * step, the left the rest.
        whole, right = (c.powers @ by_pixel.flatten(1)).view(2, *by_pixel.shape[1:])
        right = right.mul_(c.step).addcmul_(whole, c.first)
        left = whole.sub_(right)
        lines = left[:, :, 1:].contiguous()
        lines += right[:, :, :-1]
        lines[:, :, 0] += left[:, :, 0]
        lines[:, :, -1] += right[:, :, -1]
        grad[n, :, inputs] += self.matrix[rows, inputs].t() @ lines


def _plain(
    logits: Tensor, seg_label: Tensor, weight: Tensor | None, ignore_index: int, align: bool
) -> Pixels:
    with torch.enable_grad():
        leaf = logits.detach().requires_grad_()
        large = _resize(leaf, seg_label.shape[1:], align)
        loss = F.cross_entropy(large, seg_label.long(), ignore_index=ignore_index, reduction="none")
        grad = None
        if weight is not None:
            (grad,) = torch.autograd.grad((loss * weight).sum(), leaf)
    correct = (large.argmax(dim=1) == seg_label) & (seg_label != ignore_index)
    return Pixels(loss.detach(), correct.sum(), grad)


def _resize(x: Tensor, size: torch.Size, align_corners: bool) -> Tensor:
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=align_corners)


def no_class(seg_label: Tensor, classes: int, ignore_index: int) -> str:
    """Names a label that is none of the classes; empty if there is none."""
    wrong = ((seg_label < 0) | (seg_label >= classes)) & (seg_label != ignore_index)
    if not wrong.any():
        return ""
    return (
        f"seg_label holds {int(seg_label[wrong][0])}: give 0 to {classes - 1}, "
        f"or {ignore_index} (ignore_index)"
    )


def _full(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _on_gpu(logits: Tensor) -> bool:
    return logits.is_cuda and logits.dtype == torch.float32


@lru_cache(1)
def _kernels() -> ModuleType | None:
    """:mod:`core.fused_triton`, None where there is no Triton."""
    try:
        from core import fused_triton
    except ImportError:
        return None
    return fused_triton
