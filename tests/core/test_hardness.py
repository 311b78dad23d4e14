"""Equations 1 to 5 against references written from the paper and from the authors' code."""

import math

import pytest
import torch
from torch import nn

from core.hardness import HardnessLoss, hardness_loss, hardness_map, scale_matched

IGNORE = 255


def batch(seed=0, n=3, classes=5, size=(7, 6), ignored=0.3, dtype=torch.float64):
    """Logits, HL logits and labels with some ignored pixels; float64 so that references agree."""
    g = torch.Generator().manual_seed(seed)
    seg = torch.randn(n, classes, *size, generator=g, dtype=dtype) * 2
    hl = torch.randn(n, 1, *size, generator=g, dtype=dtype) * 2
    label = torch.randint(0, classes, (n, *size), generator=g)
    label[torch.rand(n, *size, generator=g) < ignored] = IGNORE
    return seg.requires_grad_(), hl.requires_grad_(), label


def pixel_cross_entropy(logits, target):
    """-log softmax of one pixel, in plain floats."""
    top = max(logits)
    return top + math.log(sum(math.exp(x - top) for x in logits)) - logits[target]


def paper(seg, hl, label, c, alpha):
    """Eq. 1, 2, 4, 5 image by image, pixel by pixel, over the valid pixels; mean over images."""
    loss_s, loss_h, images = 0.0, 0.0, 0
    for image in range(seg.shape[0]):
        z, ce = [], []
        for row in range(seg.shape[2]):
            for col in range(seg.shape[3]):
                target = int(label[image, row, col])
                if target == IGNORE:
                    continue
                z.append(1 / (1 + math.exp(-hl[image, 0, row, col].item())) + c)
                ce.append(pixel_cross_entropy(seg[image, :, row, col].tolist(), target))
        if z:
            images += 1
            loss_s += sum(zi / sum(z) * li for zi, li in zip(z, ce, strict=True))
            loss_h -= sum(zi / sum(z) * li for zi, li in zip(z, ce, strict=True))
    images = max(images, 1)
    return loss_s / images, alpha * loss_h / images


def authors(seg, hl, label, c, alpha):
    """the released code: one sum over the whole batch,
    ignored pixels in it; their cross-entropy is 0. Written with whole-tensor operations."""
    z = (torch.sigmoid(hl) + c).flatten()
    weight = z / z.sum()
    log_p = seg - seg.exp().sum(1, keepdim=True).log()
    one_hot = nn.functional.one_hot(label.clamp(max=seg.shape[1] - 1), seg.shape[1])
    ce = -(log_p * one_hot.permute(0, 3, 1, 2)).sum(1) * (label != IGNORE)
    total = (weight * ce.flatten()).sum()
    return total, -alpha * total


@pytest.mark.parametrize("c", [0.01, 0.1, 0.5])
def test_losses_equal_the_paper(c):
    seg, hl, label = batch()
    out = HardnessLoss(c=c, alpha=0.03)(seg, hl, label)
    loss_s, loss_h = paper(seg, hl, label, c, 0.03)
    assert out.loss_seg.item() == pytest.approx(loss_s, rel=1e-12)
    assert out.loss_hl.item() == pytest.approx(loss_h, rel=1e-12)
    assert out.total.item() == pytest.approx(loss_s + loss_h, rel=1e-12)  # Eq. 5


def test_losses_equal_the_authors_variant():
    seg, hl, label = batch(seed=1)
    out = HardnessLoss(c=0.1, alpha=0.01, normalize="batch", ignored="include")(seg, hl, label)
    loss_s, loss_h = authors(seg, hl, label, 0.1, 0.01)
    torch.testing.assert_close(out.loss_seg, loss_s, rtol=1e-12, atol=0)
    torch.testing.assert_close(out.loss_hl, loss_h, rtol=1e-12, atol=0)


def test_the_two_variants_differ_where_images_differ():
    seg, hl, label = batch(seed=2)
    label[0] = IGNORE  # the batch sum then spends weight on an image without labels
    ours = HardnessLoss()(seg, hl, label).loss_seg
    theirs = HardnessLoss(normalize="batch", ignored="include")(seg, hl, label).loss_seg
    assert abs(ours - theirs) > 0.01 * ours


def test_map_by_hand():
    # D = 0, ln 3: Z = 0.5 + 0.1, 0.75 + 0.1; the third pixel is ignored.
    hl = torch.tensor([[[[0.0, math.log(3)], [5.0, 0.0]]]], dtype=torch.float64)
    valid = torch.tensor([[[True, True], [False, True]]])
    want = torch.tensor([[[[0.6, 0.85], [0.0, 0.6]]]], dtype=torch.float64) / 2.05
    torch.testing.assert_close(hardness_map(hl, valid), want)


@pytest.mark.parametrize("normalize", ["image", "batch"])
@pytest.mark.parametrize("ignored", ["exclude", "include"])
def test_map_sums_to_one_and_keeps_its_bounds(normalize, ignored):
    _, hl, label = batch(seed=3, ignored=0.2)
    valid = label != IGNORE
    h = hardness_map(hl * 20, valid, c=0.1, normalize=normalize, ignored=ignored)
    sums = h.sum((1, 2, 3)) if normalize == "image" else h.sum()[None]
    torch.testing.assert_close(sums, torch.ones_like(sums))
    assert (h[~valid.unsqueeze(1)] > 0).all() == (ignored == "include")
    for one in [h] if normalize == "batch" else h:
        counted = one[one > 0]
        assert counted.max() / counted.min() <= 1.1 / 0.1 + 1e-9  # (1 + c) / c


def test_gradients_stay_in_their_branch():
    """Eq. 2 reaches the HL branch only, Eq. 4 the segmentation branch only: exactly zero."""
    seg, hl, label = batch(seed=4)
    out = HardnessLoss()(seg, hl, label)
    to_seg, to_hl = torch.autograd.grad(
        out.loss_hl, (seg, hl), retain_graph=True, allow_unused=True
    )
    assert to_seg is None and to_hl.abs().max() > 0
    to_seg, to_hl = torch.autograd.grad(out.loss_seg, (seg, hl), allow_unused=True)
    assert to_hl is None and to_seg.abs().max() > 0


def test_gradient_of_the_hl_loss_is_the_negated_loss():
    """Eq. 3, at H itself."""
    _, hl, label = batch(seed=5)
    valid = label != IGNORE
    pixel_loss = torch.rand(valid.shape, dtype=torch.float64) * valid
    h = hardness_map(hl, valid).detach().requires_grad_()
    (grad,) = torch.autograd.grad(hardness_loss(h, pixel_loss, valid, "image"), h)
    torch.testing.assert_close(grad[:, 0], -pixel_loss / valid.shape[0])


def test_hl_gradient_against_finite_differences():
    seg, hl, label = batch(seed=6, n=2, size=(3, 4))
    criterion = HardnessLoss(alpha=1.0)
    assert torch.autograd.gradcheck(lambda x: criterion(seg.detach(), x, label).loss_hl, hl)
    assert torch.autograd.gradcheck(lambda x: criterion(x, hl.detach(), label).loss_seg, seg)


def test_hl_branch_learns_where_the_loss_is():
    """Ascent on Eq. 2 raises D at the pixel with the larger loss and lowers it elsewhere."""
    hl = torch.zeros(1, 1, 1, 2, requires_grad=True)
    valid = torch.ones(1, 1, 2, dtype=torch.bool)
    h = hardness_map(hl, valid)
    hardness_loss(h, torch.tensor([[[3.0, 1.0]]]), valid, "image").backward()
    assert hl.grad[0, 0, 0, 0] < 0 < hl.grad[0, 0, 0, 1]


@pytest.mark.parametrize("weighting", ["hl", "ce-scaled"])
@pytest.mark.parametrize("normalize", ["image", "batch"])
def test_only_ignored_pixels_give_zero_not_nan(weighting, normalize):
    seg, hl, label = batch(seed=7)
    label[:] = IGNORE
    out = HardnessLoss(weighting=weighting, normalize=normalize)(seg, hl, label)
    out.total.backward()
    assert out.total == 0
    for grad in (seg.grad, hl.grad):
        assert grad is None or grad.abs().max() == 0


def test_an_ignored_image_does_not_dilute_the_others():
    seg, hl, label = batch(seed=8, ignored=0)
    label[1] = IGNORE
    keep = [0, 2]
    out = HardnessLoss()(seg, hl, label)
    alone = HardnessLoss()(seg[keep], hl[keep], label[keep])
    torch.testing.assert_close(out.loss_seg, alone.loss_seg)


def test_values_under_ignored_pixels_do_not_matter():
    seg, hl, label = batch(seed=9)
    out = HardnessLoss()(seg, hl, label).total
    void = (label == IGNORE).unsqueeze(1)
    other = HardnessLoss()(seg.detach() + 7 * void, hl.detach() - 9 * void, label).total
    torch.testing.assert_close(out.detach(), other)


def test_large_c_is_the_plain_mean():
    seg, hl, label = batch(seed=10, ignored=0)
    out = HardnessLoss(c=1e9)(seg, hl, label)
    torch.testing.assert_close(out.loss_seg, nn.functional.cross_entropy(seg, label))


def test_half_precision_logits_are_summed_in_float32():
    """769 x 769 weights near 1.7e-6 vanish in float16, whose smallest normal is 6e-5."""
    hl = torch.zeros(1, 1, 769, 769, dtype=torch.float16)
    h = hardness_map(hl, torch.ones(1, 769, 769, dtype=torch.bool))
    assert h.dtype == torch.float32
    assert h.sum().item() == pytest.approx(1, abs=1e-4)


def test_autocast_changes_nothing():
    seg, hl, label = (x.detach() for x in batch(seed=11))
    seg, hl = seg.float(), hl.float()
    plain = HardnessLoss()(seg, hl, label)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = HardnessLoss()(seg, hl, label)
    assert cast.loss_seg.dtype == torch.float32
    assert cast.loss_seg == plain.loss_seg and cast.loss_hl == plain.loss_hl


def test_scale_matched_has_the_value_of_hl_and_the_direction_of_ce():
    seg, hl, label = batch(seed=12)
    matched = HardnessLoss(weighting="ce-scaled")(seg, hl, label).loss_seg
    weighted = HardnessLoss()(seg, hl, label).loss_seg
    torch.testing.assert_close(matched, weighted)
    (grad,) = torch.autograd.grad(matched, seg)
    plain = nn.functional.cross_entropy(seg, label, ignore_index=IGNORE)
    (ce_grad,) = torch.autograd.grad(plain, seg)
    torch.testing.assert_close(grad, ce_grad * (weighted / plain).detach())


def test_scale_matched_ignores_how_void_enters_the_mean():
    loss = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    padded = torch.cat([loss, torch.zeros(5)])
    (short,) = torch.autograd.grad(scale_matched(loss, torch.tensor(4.0)), loss)
    (long,) = torch.autograd.grad(scale_matched(padded, torch.tensor(4.0)), loss)
    torch.testing.assert_close(short, long)


def test_logits_are_resized_as_torch_does():
    seg, hl, label = batch(seed=13, size=(12, 10))
    small = HardnessLoss(align_corners=True)
    seg, hl = seg.detach()[..., ::2, ::2], hl.detach()[..., ::3, ::3]
    up = [
        nn.functional.interpolate(x, size=(12, 10), mode="bilinear", align_corners=True)
        for x in (seg, hl)
    ]
    torch.testing.assert_close(small(seg, hl, label).total, small(*up, label).total)


def test_class_weights_scale_the_pixel_loss():
    seg, hl, label = batch(seed=14)
    double = HardnessLoss(class_weight=[2.0] * 5).double()(seg, hl, label).loss_seg
    torch.testing.assert_close(double, 2 * HardnessLoss()(seg, hl, label).loss_seg)


def test_the_loss_module_has_no_state():
    """A checkpoint without the HL branch must be plain mmseg's."""
    assert not HardnessLoss(class_weight=[1.0, 2.0]).state_dict()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(normalize="pixel"), "normalize must be one of image, batch"),
        (dict(ignored="drop"), "ignored must be one of exclude, include"),
        (dict(weighting="focal"), "weighting must be one of hl, ce-scaled"),
        (dict(c=0), "c must be > 0"),
        (dict(alpha=-1), "alpha must be >= 0"),
    ],
)
def test_wrong_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        HardnessLoss(**options)


def test_wrong_shapes_are_refused():
    seg, hl, label = batch()
    with pytest.raises(ValueError, match=r"hl_logits must be \(N, 1, H, W\)"):
        HardnessLoss()(seg, hl.expand(-1, 2, -1, -1), label)
    with pytest.raises(ValueError, match=r"seg_label must be \(N, H, W\)"):
        HardnessLoss()(seg, hl, label.unsqueeze(1))


@pytest.mark.parametrize(
    "options",
    [dict(c="0.1"), dict(c=math.nan), dict(c=math.inf), dict(c=True), dict(c=None),
     dict(alpha="1"), dict(alpha=math.nan), dict(alpha=math.inf), dict(alpha=False),
     dict(class_weight=[1.0, math.inf]), dict(class_weight=["a"]), dict(class_weight=[-1.0])],
)  # fmt: skip
def test_what_is_no_finite_number_is_refused(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"^{name} must be"):
        HardnessLoss(**options)


@pytest.mark.parametrize("weighting", ["hl", "ce-scaled"])
@pytest.mark.parametrize("normalize", ["image", "batch"])
@pytest.mark.parametrize("ignored", ["exclude", "include"])
def test_an_empty_batch_gives_zero(weighting, normalize, ignored):
    seg, hl, label = batch()
    seg.requires_grad_(True)
    loss = HardnessLoss(weighting=weighting, normalize=normalize, ignored=ignored)
    out = loss(seg[:0], hl[:0], label[:0])
    assert (out.loss_seg, out.loss_hl, out.ce, out.acc) == (0, 0, 0, 0)
    out.total.backward()
    assert (seg.grad == 0).all()


def test_a_label_of_no_class_is_named():
    seg, hl, label = batch()
    for wrong in (7, -3):
        bad = label.long().clone()
        bad[0, 0, 0] = wrong
        with pytest.raises(IndexError, match=f"seg_label holds {wrong}: give 0 to 4, or 255"):
            HardnessLoss()(seg, hl, bad)


def test_class_weights_are_one_a_class():
    with pytest.raises(ValueError, match="3 class weights for 5 classes"):
        HardnessLoss(class_weight=[1.0, 2.0, 3.0])(*batch())
