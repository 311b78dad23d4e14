"""The fused loss against the equations as they stand, on upsampled logits."""

import itertools
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from core import fused
from core.hardness import HardnessLoss

IGNORE = 255
# (h, w), (H, W), align_corners: whole and broken factors, one row or column, sizes that shrink.
SIZES = [
    ((9, 7), (65, 49), True),
    ((9, 7), (72, 56), False),
    ((9, 7), (70, 53), False),
    ((9, 7), (70, 53), True),
    ((1, 1), (7, 5), True),
    ((1, 6), (1, 11), False),
    ((3, 4), (4, 6), False),
    ((8, 4), (5, 6), False),
    ((5, 5), (5, 5), False),
    ((8, 8), (5, 6), True),
]


def batch(small, large, *, n=3, classes=5, scale=3.0, dtype=torch.float64, seed=0):
    g = torch.Generator().manual_seed(seed)
    seg = torch.randn(n, classes, *small, generator=g, dtype=torch.float64) * scale
    hl = torch.randn(n, 1, *small, generator=g, dtype=torch.float64) * 2
    label = torch.randint(0, classes, (n, *large), generator=g)
    label[torch.rand(n, *large, generator=g) < 0.2] = IGNORE
    return seg.to(dtype).requires_grad_(), hl.to(dtype).requires_grad_(), label


def eager(seg, label, weight, align_corners):
    """Loss of each pixel, those that are right, gradient of the weighted sum; in float64."""
    leaf = seg.detach().double().requires_grad_()
    large = F.interpolate(leaf, label.shape[1:], mode="bilinear", align_corners=align_corners)
    loss = F.cross_entropy(large, label, ignore_index=IGNORE, reduction="none")
    (grad,) = torch.autograd.grad((loss * weight).sum(), leaf)
    return loss.detach(), ((large.argmax(1) == label) & (label != IGNORE)).sum(), grad


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(fused, "CHUNK", 700)  # several chunks, the last one smaller


@pytest.mark.parametrize(("small", "large", "align"), SIZES)
@pytest.mark.parametrize("scale", [3.0, 2000.0])  # within and beyond fused.SPREAD
def test_it_is_cross_entropy_of_upsampled_logits(small_chunks, small, large, align, scale):
    seg, _, label = batch(small, large, scale=scale)
    weight = torch.rand(label.shape, dtype=torch.float64)
    loss, correct, grad = eager(seg, label, weight, align)
    found = fused.cross_entropy(seg, label, weight, align_corners=align)
    torch.testing.assert_close(found.loss, loss, rtol=1e-12, atol=1e-12 * scale)
    torch.testing.assert_close(found.grad, grad, rtol=1e-11, atol=1e-12)
    assert found.correct == correct
    assert fused.cross_entropy(seg, label, align_corners=align).grad is None


@pytest.mark.parametrize(("small", "large", "align"), SIZES)
@pytest.mark.parametrize("scale", [3.0, 2000.0])
def test_it_is_entropy_of_upsampled_logits(small_chunks, small, large, align, scale):
    seg, _, _ = batch(small, large, scale=scale)
    up = F.interpolate(seg.detach(), large, mode="bilinear", align_corners=align)
    expected = torch.special.entr(up.softmax(1)).sum(1)
    found = fused.entropy(seg, large, align_corners=align)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12 * scale)
    assert not found.requires_grad and (found >= 0).all()


@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("scale", [3.0, 20.0])
def test_float32_is_as_near_as_the_unfused_computation(align, scale):
    # Errors against float64, of the largest value: below 3 of torch's own, or 1e-5.
    seg, _, label = batch((24, 24), (185, 185), classes=19, scale=scale, dtype=torch.float32)
    weight = torch.rand(label.shape)
    exact = eager(seg, label, weight.double(), align)
    found = fused.cross_entropy(seg, label, weight, align_corners=align)
    leaf = seg.detach().requires_grad_()
    large = F.interpolate(leaf, label.shape[1:], mode="bilinear", align_corners=align)
    loss = F.cross_entropy(large, label, ignore_index=IGNORE, reduction="none")
    (grad,) = torch.autograd.grad((loss * weight).sum(), leaf)
    for ours, theirs, truth in ((found.loss, loss, exact[0]), (found.grad, grad, exact[2])):
        error, own = ((x.detach() - truth).abs().max() / truth.abs().max() for x in (ours, theirs))
        assert error < max(3 * own, 2e-6), (error, own)


OPTIONS = [
    dict(zip(("normalize", "ignored", "weighting"), values, strict=True))
    for values in itertools.product(("image", "batch"), ("exclude", "include"), ("hl", "ce-scaled"))
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o.values()))
@pytest.mark.parametrize("class_weight", [None, [1.0, 0.5, 2.0, 0.0, 3.0]])
def test_both_losses_and_their_gradients_are_those_of_eager(small_chunks, options, class_weight):
    found = []
    for impl in ("eager", "fused"):
        seg, hl, label = batch((9, 7), (70, 53))
        label[1] = IGNORE  # an image without a valid pixel
        loss = HardnessLoss(**options, class_weight=class_weight, impl=impl).double()
        out = loss(seg, hl, label)
        (3 * out.loss_seg + 5 * out.loss_hl).backward()
        found.append((*out, seg.grad, hl.grad))
        assert not out.hl_map.requires_grad
    for fast, slow in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-14)
    # The two stops: each loss moves one branch.
    assert found[0][5].abs().max() > 0 and found[0][6].abs().max() > 0


def test_a_map_from_elsewhere(small_chunks):
    found = []
    for impl in ("eager", "fused"):
        seg, _, label = batch((9, 7), (70, 53))
        hl_map = torch.rand(3, 1, 70, 53, dtype=torch.float64, generator=torch.manual_seed(1))
        loss, acc = HardnessLoss(impl=impl).with_map(seg, hl_map.requires_grad_(), label)
        loss.backward()
        assert hl_map.grad is None
        found.append((loss, acc, seg.grad))
    for fast, slow in zip(*found, strict=True):
        torch.testing.assert_close(fast, slow)


def test_logits_of_two_sizes(small_chunks):
    found = []
    for impl in ("eager", "fused"):
        seg, _, label = batch((9, 7), (70, 53))
        _, hl, _ = batch((5, 4), (70, 53))
        out = HardnessLoss(impl=impl)(seg, hl, label)
        out.total.backward()
        found.append((out.total, seg.grad, hl.grad))
    for fast, slow in zip(*found, strict=True):
        torch.testing.assert_close(fast, slow)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_upsampled_in_float32(dtype):
    seg, hl, label = batch((9, 7), (70, 53), dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = HardnessLoss()(seg, hl, label)
    out.total.backward()
    wide = [x.detach().float().requires_grad_() for x in (seg, hl)]
    same = HardnessLoss()(*wide, label)
    same.total.backward()
    assert out.loss_seg == same.loss_seg and out.loss_hl == same.loss_hl
    assert seg.grad.dtype == dtype and torch.equal(seg.grad, wide[0].grad.to(dtype))
    assert hl.grad.dtype == dtype and torch.equal(hl.grad, wide[1].grad.to(dtype))


def test_labels_of_bytes_and_logits_of_any_layout():
    seg, hl, label = batch((9, 7), (70, 53))
    want = HardnessLoss()(seg, hl, label)
    for layout in (torch.channels_last, torch.contiguous_format):
        wide = torch.cat([seg, seg], dim=3).to(memory_format=layout)[..., :7]
        out = HardnessLoss()(wide, hl.to(memory_format=layout), label.to(torch.uint8))
        torch.testing.assert_close(out.total, want.total, rtol=1e-12, atol=0)


def test_the_scale_of_mixed_precision_comes_before_float16():
    seg, hl, label = batch((9, 9), (129, 129), dtype=torch.float16)
    scale = 2.0**14
    (HardnessLoss(alpha=1e-4)(seg, hl, label).total * scale).backward()
    wide = [x.detach().double().requires_grad_() for x in (seg, hl)]
    HardnessLoss(alpha=1e-4)(*wide, label).total.backward()
    for half, exact in zip((seg, hl), wide, strict=True):
        found = half.grad.double() / scale
        assert (found - exact.grad).norm() < 1e-2 * exact.grad.norm()


def test_of_equal_logits_the_first_is_the_prediction():
    seg, hl, label = batch((9, 7), (70, 53))
    for impl in ("fused", "eager"):
        acc = HardnessLoss(impl=impl)(seg.detach() * 0, hl, label).acc
        valid = label != IGNORE
        torch.testing.assert_close(acc, 100 * (label == 0).sum() / valid.sum())


@pytest.mark.parametrize("value", [-torch.inf, torch.inf, torch.nan])
def test_logits_that_are_not_finite_give_what_torch_gives(value):
    seg, hl, label = batch((3, 3), (8, 8))
    with torch.no_grad():
        seg[0, 0, 0, 0] = value
    fast, slow = (HardnessLoss(impl=impl)(seg, hl, label) for impl in ("fused", "eager"))
    torch.testing.assert_close(fast.loss_seg, slow.loss_seg, equal_nan=True)


def test_a_label_of_no_class_is_named():
    seg, hl, label = batch((3, 3), (8, 8))
    label[1, 2, 3] = 7
    for impl in ("fused", "eager"):
        for weights in (None, [1.0] * 5):
            with pytest.raises(IndexError, match="holds 7: give 0 to 4, or 255"):
                HardnessLoss(impl=impl, class_weight=weights).double()(seg, hl, label)


def test_batches_without_pixels_have_zero_loss_and_gradient():
    seg, hl, label = batch((3, 3), (8, 8))
    out = HardnessLoss()(seg, hl, torch.full_like(label, IGNORE))
    out.total.backward()
    assert out.total == 0 and not seg.grad.any() and not hl.grad.any()
    assert HardnessLoss()(seg[:0], hl[:0], label[:0]).total == 0


class Kept:
    def __init__(self, tensor):
        self.tensor = tensor


def kept_bytes(act):
    """Of what a graph keeps for its backward pass, each storage once."""
    kept = weakref.WeakSet()

    def pack(x):
        holder = Kept(x)
        kept.add(holder)
        return holder

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda holder: holder.tensor):
        out = act()
    storages = [holder.tensor.untyped_storage() for holder in kept]
    return sum({s.data_ptr(): s.nbytes() for s in storages}.values()), out


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that is made."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(x, torch.Tensor):
                self.elements = max(self.elements, x.numel())
        return out


def test_full_size_logits_never_exist_and_gradients_are_all_that_is_kept():
    seg, hl, label = batch((32, 32), (256, 256), classes=19, n=2, dtype=torch.float32)
    with Largest() as largest:
        kept, out = kept_bytes(lambda: HardnessLoss()(seg, hl, label).total)
    assert kept == 4 * (seg.numel() + hl.numel())
    assert largest.elements <= fused.CHUNK < 2 * 19 * 256 * 256 / 3
    plain, _ = kept_bytes(lambda: HardnessLoss(impl="eager")(seg, hl, label).total)
    assert kept < 0.02 * plain
    out.backward()


def test_nothing_is_kept_where_nothing_learns():
    seg, hl, label = batch((4, 4), (16, 16))
    with torch.no_grad():
        out = HardnessLoss()(seg, hl, label)
    assert not out.total.requires_grad
    out = HardnessLoss()(seg, hl.detach(), label)
    assert out.loss_seg.requires_grad and not out.loss_hl.requires_grad


def test_an_unknown_impl_is_refused():
    with pytest.raises(ValueError, match="impl must be one of fused, eager"):
        HardnessLoss(impl="fast")
