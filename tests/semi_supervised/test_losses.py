"""OHEM, percentiles, the unsupervised loss and the schedules, against independent references."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.fused import entropy
from semi_supervised.u2pl.losses import (
    ema_decay,
    kept_percent,
    ohem_cross_entropy,
    percentiles,
    split_by_entropy,
    unsupervised_loss,
)


def ohem_by_hand(logits, label, thresh, min_kept):
    """Pixel by pixel: sort the probabilities of the true class, keep the smallest."""
    prob = logits.softmax(dim=1)
    found = []
    for n, y, x in np.ndindex(*label.shape):
        if label[n, y, x] != 255:
            found.append(float(prob[n, label[n, y, x], y, x]))
    found.sort()
    limit = 2.0
    if 0 < min_kept <= len(found):
        limit = max(thresh, found[min_kept - 1])
    kept = [p for p in found if p <= limit]
    return -np.mean(np.log(kept)) if kept else 0.0


@pytest.mark.parametrize("min_kept", [0, 1, 40, 150, 10_000])
@pytest.mark.parametrize("thresh", [0.05, 0.7])
def test_ohem_keeps_the_hard_pixels(thresh, min_kept):
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 9, 10, generator=g, dtype=torch.float64) * 2
    label = torch.randint(0, 4, (2, 9, 10), generator=g)
    label[0, :3] = 255
    ours = ohem_cross_entropy(logits, label, thresh=thresh, min_kept=min_kept)
    assert float(ours) == pytest.approx(ohem_by_hand(logits, label, thresh, min_kept), rel=1e-12)


def test_ohem_of_a_batch_without_labels_is_zero():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = ohem_cross_entropy(logits, torch.full((1, 4, 4), 255), min_kept=3)
    loss.backward()
    assert loss == 0 and not logits.grad.any()


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_percentiles_are_numpys(n):
    values = torch.rand(n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    values[: n // 3] = 0.25  # ties
    wanted = (0, 13.7, 80, 50, 99.99, 80, 100)
    assert percentiles(values, wanted) == pytest.approx(
        list(np.percentile(values.numpy(), wanted)), rel=1e-12
    )


def test_entropy_is_that_of_the_softmax():
    logits = torch.randn(2, 5, 3, 3, dtype=torch.float64) * 4
    p = logits.softmax(dim=1)
    assert torch.allclose(entropy(logits, logits.shape[2:]), -(p * p.log()).sum(dim=1), atol=1e-12)
    assert float(entropy(torch.zeros(1, 8, 1, 1), (1, 1))) == pytest.approx(np.log(8))
    assert float(entropy(torch.tensor([1e4, 0.0]).view(1, 2, 1, 1), (1, 1))) == 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("progress", [0.0, 0.35, 0.99])
def test_unsupervised_loss_is_the_published_one(published, batch, seed, progress):
    data = batch(seed)
    label, percent = data["label"][2:], kept_percent(80, progress)
    theirs = published.unsupervised(data["student_u"], label, data["teacher_u"], percent)
    (gradient,) = torch.autograd.grad(theirs, data["student_u"])
    teacher = data["teacher_u"]
    split = split_by_entropy(entropy(teacher, teacher.shape[2:]), label, kept=percent, reliable=20)
    ours = unsupervised_loss(data["student_u"], label, split.kept)
    ours.backward()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)
    assert torch.allclose(data["student_u"].grad, gradient, atol=1e-12)


def test_masks_of_reliable_pixels_are_the_published_ones(published, batch):
    data = batch(0)
    label = data["label"]
    for alpha in (20, 7.3):
        teacher = data["teacher_u"]
        split = split_by_entropy(
            entropy(teacher, teacher.shape[2:]), label[2:], kept=80, reliable=alpha
        )
        size = label.shape[1:]
        _, _, low, high = published.masks_of(
            label[:2], label[2:], data["teacher_u"], alpha, size, 7, paper=True
        )
        assert torch.equal(split.low, low[2:, 0].bool())
        assert torch.equal(split.high, high[2:, 0].bool())


def test_nothing_but_padding_gives_zero():
    label = torch.full((1, 4, 4), 255)
    split = split_by_entropy(torch.rand(1, 4, 4), label, kept=80, reliable=20)
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    assert not any(mask.any() for mask in split)
    assert unsupervised_loss(logits, label, split.kept) == 0


def test_schedules():
    """drop_percent 80: 80 at the start, 100 at the end; the decay grows to its limit."""
    assert [kept_percent(80, x) for x in (0, 0.5, 1)] == [80, 90, 100]
    assert [ema_decay(t, 0.99) for t in (0, 1, 3, 98, 99, 10_000)] == pytest.approx(
        [0, 0.5, 0.75, 1 - 1 / 99, 0.99, 0.99]
    )


def test_losses_are_float32_under_autocast():
    """To the bit what they are of the same logits in float32."""
    logits = torch.randn(1, 4, 6, 6, requires_grad=True)
    label = torch.randint(0, 4, (1, 6, 6))

    def losses_of(x):
        ohem = ohem_cross_entropy(x, label, thresh=0.1, min_kept=10)
        return entropy(x, x.shape[2:]), ohem, unsupervised_loss(x, label, label > 0)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = F.conv2d(logits, torch.eye(4).view(4, 4, 1, 1))
        assert half.dtype == torch.bfloat16
        found = losses_of(half)
    expected = losses_of(half.float())
    assert all(ours.dtype == torch.float32 for ours in found)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
