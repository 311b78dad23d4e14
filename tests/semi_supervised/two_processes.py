"""Run by torchrun from test_run.py: each process against a reference that holds both batches."""

import importlib.util
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F

from core.fused import entropy
from semi_supervised.u2pl.augment import augment
from semi_supervised.u2pl.contrastive import ContrastiveLoss, Pixels
from semi_supervised.u2pl.losses import split_by_entropy, unsupervised_loss
from semi_supervised.u2pl.settings import AsReleased, Contrastive

spec = importlib.util.spec_from_file_location(
    "published_u2pl", Path(__file__).parent / "published_u2pl.py"
)
published = importlib.util.module_from_spec(spec)
spec.loader.exec_module(published)

dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
SETTINGS = Contrastive(
    high_rank=6, num_queries=16, num_negatives=5, memory_size=60, memory_size_first=90
)
RELEASED = AsReleased(
    negatives_of_own_class=True, one_hot_on_first_image=True, shifted_class_list=True
)


def gathered(keys):
    """As the released code does: objects of all processes, one after the other."""
    everything = [None] * world
    dist.all_gather_object(everything, keys)
    return torch.cat(everything)


alone = published.enqueue
published.enqueue = lambda queue, keys, size: alone(queue, gathered(keys.detach()), size)

for paper in (True, False):
    loss = ContrastiveLoss(SETTINGS, 7, 6, None if paper else RELEASED).double()
    queues = [[torch.zeros(0, 6, dtype=torch.float64)] for _ in range(7)]
    for step in range(4):
        data = published.made_up_batch(10 * step + rank)  # another batch in each process
        if step == 2 and rank == 1:
            data["label"][:] = 255  # no key from this one
        label, prob = data["label"], data["teacher"].softmax(dim=1)
        label_u = label[2:] if (label[2:] != 255).any() else torch.zeros_like(label[2:])
        label = torch.cat([label[:2], label_u])
        split = split_by_entropy(
            entropy(data["teacher_u"], data["teacher_u"].shape[2:]), label_u, kept=80, reliable=20
        )

        theirs = published.unsupervised(data["student_u"], label_u, data["teacher_u"], 80)
        ours = unsupervised_loss(data["student_u"], label_u, split.kept)
        assert torch.allclose(ours, theirs, rtol=1e-12)

        masks = published.masks_of(
            label[:2], label_u, data["teacher_u"], 20, (9, 9), 7, paper=paper
        )
        torch.manual_seed(rank)
        theirs = published.contrastive(
            data["rep"], data["rep_teacher"], prob[:2], prob[2:], masks, queues, loss.bank.sizes,
            SETTINGS, paper=paper)  # fmt: skip
        (gradient,) = torch.autograd.grad(theirs, data["rep"])
        torch.manual_seed(rank)
        ours = loss(Pixels.at_size_of(data["rep"], data["rep_teacher"], prob, label,
                                      low=split.low, high=split.high))  # fmt: skip
        ours.backward()
        assert torch.allclose(ours, theirs, rtol=1e-10)
        assert torch.allclose(data["rep"].grad, gradient, atol=1e-12)
        for c, (keys,) in enumerate(queues):
            assert torch.allclose(loss.bank.keys(c), F.normalize(keys, dim=1), atol=1e-12)
    rows = gathered(torch.cat([loss.bank.keys(c) for c in range(7)])).chunk(world)
    assert torch.equal(*rows)  # the banks of the processes are one

np.random.seed(rank)
images, label = torch.rand(2, 3, 20, 30), torch.randint(0, 5, (2, 20, 30))
mixed, mixed_label = augment(images, label, "cutmix")
same = (mixed == images).all(dim=1)
assert torch.equal(torch.where(same, label, label.flip(0)), mixed_label)
assert abs(int(same[0].sum()) - 300) < 30  # mixing stays within the process
print(f"rank {rank} of {world}: all equal", flush=True)
dist.destroy_process_group()
