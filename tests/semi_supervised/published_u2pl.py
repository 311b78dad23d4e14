"""U²PL's unsupervised and contrastive loss, step by step as the released code computes them.

The reference for tests and for benchmarks/u2pl_step.py: slow on purpose (host copies, whole sorts,
boolean gathers, one class at a time), written from the published algorithm, with its accidents.
`paper=True` takes the paper's definitions where the code departs from them.
"""

import numpy as np
import torch
import torch.nn.functional as F


def entropy_of(logits):
    p = torch.softmax(logits, dim=1)
    return -(p * torch.log(p + 1e-10)).sum(dim=1)


def percentile_of(entropy, label, percent):
    return float(np.percentile(entropy[label != 255].cpu().numpy().flatten(), percent))


def unsupervised(student_logits, pseudo_label, teacher_logits, percent):
    n, _, h, w = student_logits.shape
    entropy = entropy_of(teacher_logits)
    limit = percentile_of(entropy, pseudo_label, percent)
    target = pseudo_label.clone()
    target[(entropy >= limit) & (pseudo_label != 255)] = 255
    factor = n * h * w / (target != 255).sum()
    return factor * F.cross_entropy(student_logits, target, ignore_index=255)


def one_hot(label, num_classes, paper):
    n, h, w = label.shape
    out = torch.zeros(num_classes, n, h, w)
    index = torch.where(label == 255, 0, label)
    # Without the fix, position 0 of the batch collects the labels of all images.
    out.scatter_(0, index[None] if paper else index[:, None], 1.0)
    out[:, label == 255] = 0
    return out.transpose(0, 1)


def masks_of(label_l, label_u, teacher_logits_u, alpha, size, num_classes, paper):
    """(one-hot labels, reliable, unreliable) at the size of the representation."""
    entropy = entropy_of(teacher_logits_u)
    low = entropy <= percentile_of(entropy, label_u, alpha)
    high = entropy >= percentile_of(entropy, label_u, 100 - alpha)
    valid_l, valid_u = label_l != 255, label_u != 255

    def small(x):
        return F.interpolate(x.float(), size=size, mode="nearest")

    onehot_l = small(one_hot(label_l, num_classes, paper))
    onehot_u = small(one_hot(label_u, num_classes, paper))
    low_all = small(torch.cat([valid_l, low & valid_u])[:, None])
    high_all = small(torch.cat([valid_l, high & valid_u])[:, None])
    return onehot_l, onehot_u, low_all, high_all


def enqueue(queue, keys, size):
    """A list that holds one CPU tensor."""
    queue[0] = torch.cat([queue[0], keys.detach().clone().cpu()])
    if len(queue[0]) >= size:
        queue[0] = queue[0][-size:]


def contrastive(rep, rep_teacher, prob_l, prob_u, masks, queues, sizes, settings, paper=False):
    s = settings
    onehot_l, onehot_u, low_mask, high_mask = masks
    onehot = torch.cat([onehot_l, onehot_u])
    num_classes = onehot.shape[1]
    low_valid, high_valid = onehot * low_mask, onehot * high_mask
    rep, rep_teacher = rep.permute(0, 2, 3, 1), rep_teacher.permute(0, 2, 3, 1)
    ranked_l = prob_l.sort(dim=1, descending=True).indices.permute(0, 2, 3, 1)
    ranked_u = prob_u.sort(dim=1, descending=True).indices.permute(0, 2, 3, 1)
    prob = torch.cat([prob_l, prob_u])

    anchors_of, prototype_of, present = [], [], []
    for c in range(num_classes):
        is_low, is_high = low_valid[:, c].bool(), high_valid[:, c].bool()
        anchors_of.append(rep[is_low & (prob[:, c] > s.current_class_threshold)])
        prototype_of.append(rep_teacher[is_low].detach().mean(dim=0, keepdim=True))
        near_l = (ranked_l[..., : s.low_rank] == c).any(dim=3) & (onehot_l[:, c] == 0)
        middle_u = (ranked_u[..., s.low_rank : s.high_rank] == c).any(dim=3)
        if paper:  # any label but c, or any unreliable pixel
            is_high = high_mask[:, 0].bool()
        is_high = is_high & (prob[:, c] < s.current_class_negative_threshold)
        enqueue(queues[c], rep_teacher[is_high & torch.cat([near_l, middle_u])], sizes[c])
        if is_low.sum() > 0:
            present.append(c)
    if len(present) <= 1:
        return rep.sum() * 0

    prototypes = torch.cat(prototype_of)
    loss = torch.tensor(0.0, dtype=rep.dtype)
    for i, c in enumerate(present):
        at = c if paper else i  # the released code looks up the i-th of all classes
        if len(anchors_of[at]) == 0 or len(queues[c][0]) == 0:
            loss = loss + 0 * rep.sum()
            continue
        anchors = anchors_of[at][torch.randint(len(anchors_of[at]), (s.num_queries,))].clone()
        with torch.no_grad():
            bank = queues[c][0].clone()
            drawn = bank[torch.randint(len(bank), (s.num_queries * s.num_negatives,))]
            drawn = drawn.view(s.num_queries, s.num_negatives, -1)
            positive = prototypes[at].expand(s.num_queries, 1, -1)
            keys = torch.cat([positive, drawn], dim=1)
        logits = torch.cosine_similarity(anchors[:, None], keys, dim=2) / s.temperature
        loss = loss + F.cross_entropy(logits, torch.zeros(s.num_queries, dtype=torch.long))
    return loss / len(present)


def made_up_batch(seed, num_classes=7, absent=(), size=9, dim=6):
    """2 + 2 images in float64 whose labels have regions; the classes `absent` are in no label."""
    g = torch.Generator().manual_seed(seed)

    def noise(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    large = 4 * (size - 1) + 1
    smooth = F.interpolate(noise(4, num_classes, 4, 4), (size, size), mode="bicubic") * 3
    smooth[:, list(absent)] -= 100
    teacher = smooth + noise(4, num_classes, size, size)  # the second pass is not the first
    teacher[:, list(absent)] += 100

    def enlarge(x):
        return F.interpolate(x, (large, large), mode="bilinear", align_corners=True)

    label = enlarge(smooth).argmax(dim=1)
    label[torch.rand(label.shape, generator=g) < 0.1] = 255
    return dict(
        rep=noise(4, dim, size, size).requires_grad_(),
        rep_teacher=noise(4, dim, size, size),
        teacher=teacher,
        teacher_u=enlarge(teacher[2:]),
        student_u=enlarge(smooth[2:] + noise(2, num_classes, size, size)).requires_grad_(),
        label=label,
    )
