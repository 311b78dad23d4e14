"""Memory bank and contrastive loss against the transcription of the released algorithm."""

import pytest
import torch
import torch.nn.functional as F

from core.fused import entropy
from semi_supervised.u2pl.contrastive import ContrastiveLoss, Pixels, _rows
from semi_supervised.u2pl.losses import split_by_entropy
from semi_supervised.u2pl.memory_bank import MemoryBank, _surviving
from semi_supervised.u2pl.settings import AsReleased, Contrastive

RELEASED = AsReleased(
    negatives_of_own_class=True, one_hot_on_first_image=True, shifted_class_list=True
)
SMALL = dict(high_rank=6, num_queries=16, num_negatives=5, memory_size=60, memory_size_first=90)


def made_loss(as_released=None, classes=7, dim=6, **settings):
    loss = ContrastiveLoss(Contrastive(**(SMALL | settings)), classes, dim, as_released)
    return loss.double()


def pixels_of(data, alpha=20.0):
    uncertainty = entropy(data["teacher_u"], data["teacher_u"].shape[2:])
    split = split_by_entropy(uncertainty, data["label"][2:], kept=80, reliable=alpha)
    return Pixels.at_size_of(
        data["rep"], data["rep_teacher"], data["teacher"].softmax(dim=1), data["label"],
        low=split.low, high=split.high)  # fmt: skip


def theirs_of(published, data, queues, loss, paper, alpha=20.0):
    label, prob = data["label"], data["teacher"].softmax(dim=1)
    classes, size = prob.shape[1], data["rep"].shape[2:]
    masks = published.masks_of(
        label[:2], label[2:], data["teacher_u"], alpha, size, classes, paper=paper
    )
    return published.contrastive(
        data["rep"], data["rep_teacher"], prob[:2], prob[2:], masks, queues, loss.bank.sizes,
        loss.settings, paper=paper)  # fmt: skip


@pytest.mark.parametrize("paper", [True, False])
@pytest.mark.parametrize("absent", [(), (1, 4)])
@pytest.mark.parametrize("change", [{}, dict(current_class_negative_threshold=0.2)])
def test_loss_gradient_and_bank_are_the_published_ones(published, batch, paper, absent, change):
    """Over six steps, in which rings fill and wrap, with the same random numbers."""
    loss = made_loss(None if paper else RELEASED, **change)
    queues = [[torch.zeros(0, 6, dtype=torch.float64)] for _ in range(7)]
    values = []
    for step in range(6):
        data = batch(step, absent=absent)
        torch.manual_seed(step)
        theirs = theirs_of(published, data, queues, loss, paper)
        (gradient,) = torch.autograd.grad(theirs, data["rep"])
        torch.manual_seed(step)
        ours = loss(pixels_of(data))
        ours.backward()
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-10)
        assert torch.allclose(data["rep"].grad, gradient, atol=1e-12)
        for c, (keys,) in enumerate(queues):
            assert torch.allclose(loss.bank.keys(c), F.normalize(keys, dim=1), atol=1e-12), c
        values.append(ours.item())
    assert all(values) and len(set(values)) == 6
    if paper and not change:
        assert any(
            count == size for count, size in zip(loss.bank.counts, loss.bank.sizes, strict=True)
        )


def test_released_negatives_come_from_unlabeled_pixels_of_the_class_alone(batch):
    pixels = pixels_of(batch(0))
    counts = {}
    for name, as_released in (("paper", None), ("own", AsReleased(negatives_of_own_class=True))):
        _, _, negative = made_loss(as_released)._select(pixels)
        labeled, unlabeled = negative.unflatten(1, (4, -1)).split(2, dim=1)
        counts[name] = int(labeled.sum()), int(unlabeled.sum())
    assert min(counts["paper"]) > 0
    assert counts["own"][0] == 0 and 0 < counts["own"][1] < counts["paper"][1]


def test_one_or_no_class_gives_zero_with_a_graph(batch):
    data = batch(0)
    loss = made_loss()
    for label in (0, 255):
        data["label"][:] = label
        value = loss(pixels_of(data))
        value.backward()
        assert value == 0 and not data["rep"].grad.any()


def test_empty_bank_gives_zero(batch):
    """Anchors without a key to be pushed from."""
    pixels = pixels_of(batch(0))._replace(high=torch.zeros(4, 9, 9, dtype=torch.bool))
    assert made_loss()(pixels) == 0


def test_half_precision_does_not_reach_the_sums(batch):
    """Under autocast, with representations whose sum is beyond float16: as in float32."""
    data = {k: v.detach().float() if v.is_floating_point() else v for k, v in batch(0).items()}
    data["rep_teacher"] *= 10_000
    values = []
    for dtype in (torch.float32, torch.float16):
        loss = made_loss().float()
        half = dict(data, rep=data["rep"].detach().to(dtype).requires_grad_(),
                    rep_teacher=data["rep_teacher"].to(dtype))  # fmt: skip
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.float16):
            values.append(loss(pixels_of(half)))
        values[-1].backward()
        assert half["rep"].grad.isfinite().all() and half["rep"].grad.any()
    assert values[1].item() == pytest.approx(values[0].item(), rel=1e-3)


def test_low_rank_must_leave_classes_for_the_negatives():
    with pytest.raises(ValueError, match="low_rank is 3, but it must be less than"):
        made_loss(classes=3)
    with pytest.raises(ValueError, match=r"than high_rank \(3\)"):
        made_loss(high_rank=3)


def test_rows_are_those_of_indexing_and_so_is_their_gradient():
    features = torch.randn(3, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    pixel = torch.randint(0, 90, (200,))  # some several times
    weight = torch.randn(200, 4, dtype=torch.float64)
    out = _rows(features, pixel)
    (ours,) = torch.autograd.grad((out * weight).sum(), features)
    expected = features.permute(0, 2, 3, 1).reshape(-1, 4)[pixel]
    (theirs,) = torch.autograd.grad((expected * weight).sum(), features)
    assert torch.equal(out, expected) and torch.allclose(ours, theirs, atol=1e-12)


def test_bank_is_first_in_first_out():
    """Against lists, over enqueues of any length, some longer than a ring."""
    sizes, g = [5, 8, 1], torch.Generator().manual_seed(0)
    bank = MemoryBank(sizes, 3).double()
    lists = [[], [], []]
    for _ in range(200):
        features = torch.randn(6, 3, generator=g, dtype=torch.float64)
        counts = torch.randint(0, 13, (3,), generator=g).tolist()
        picks = torch.randint(0, 6, (sum(counts),), generator=g)
        bank.enqueue(features, picks, counts)
        for c, part in enumerate(picks.split(counts)):
            lists[c] = [*lists[c], *F.normalize(features, dim=1)[part]][-sizes[c] :]
            assert bank.counts[c] == len(lists[c])
            if lists[c]:
                assert torch.equal(bank.keys(c), torch.stack(lists[c]))
                last = bank.row_numbers(c, torch.tensor(len(lists[c]) - 1))
                assert torch.equal(bank.rows[last], lists[c][-1])


def test_processes_send_what_stays_in_the_bank():
    """Against one ring that takes the keys of all processes, as (process, number)."""
    sizes, g = [5, 8, 1], torch.Generator().manual_seed(0)
    for _ in range(50):
        counts = torch.randint(0, 7, (4, 3), generator=g).tolist()
        kept = _surviving(counts, sizes)
        for c, size in enumerate(sizes):
            every = [(i, k) for i, numbers in enumerate(counts) for k in range(numbers[c])]
            sent = [(i, k) for i, n in enumerate(counts) for k in range(n[c])[n[c] - kept[i][c] :]]
            assert sent == every[-size:]


def test_bank_is_saved_without_its_empty_rows_and_goes_on_the_same():
    bank = MemoryBank([4, 300], 3)
    one = torch.randn(7, 3)
    bank.enqueue(one, torch.arange(7).repeat(2), [7, 7])
    state = bank.state_dict()
    assert state["rows"].shape == (4 + 7, 3) and state["counts"].tolist() == [4, 7]
    other = MemoryBank([4, 300], 3)
    other.load_state_dict(state)
    for each in (bank, other):
        each.enqueue(one, torch.tensor([2, 3, 4]), [2, 1])
    for c in (0, 1):
        assert torch.equal(bank.keys(c), other.keys(c))
    with pytest.raises(RuntimeError, match="memory bank: 2 classes of 3 values saved"):
        MemoryBank([4], 3).load_state_dict(state)
