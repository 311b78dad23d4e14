"""The kernels by Triton's interpreter, which needs no GPU, against torch in float64."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")

# In a process of its own: the interpreter is chosen when Triton is imported.
CHECK = """
import sys
import torch, torch.nn.functional as F
from core import fused_triton as kernels

for small, large, align, classes, scale in [
    ((2, 3), (7, 11), True, 5, 3), ((3, 2), (10, 7), False, 19, 9), ((4, 3), (3, 3), True, 2, 3),
    ((1, 1), (3, 2), True, 3, 200),
]:
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(2, classes, *small, generator=g) * scale
    label = torch.randint(0, classes, (2, *large), generator=g)
    label[torch.rand(label.shape, generator=g) < 0.2] = 255
    if align:
        label = label.to(torch.uint8)
    weight = torch.rand(label.shape, generator=g)
    leaf = logits.double().requires_grad_()
    up = F.interpolate(leaf, large, mode="bilinear", align_corners=align)
    want = F.cross_entropy(up, label.long(), ignore_index=255, reduction="none")
    (grad,) = torch.autograd.grad((want * weight).sum(), leaf)
    loss, right, found = kernels.cross_entropy(logits, label, weight, 255, align)
    again = kernels.cross_entropy(logits, label, weight, 255, align)[2]
    assert torch.equal(found, again)
    torch.testing.assert_close(loss.double(), want.detach(), rtol=2e-6, atol=2e-6 * scale)
    torch.testing.assert_close(found.double(), grad, rtol=5e-6, atol=5e-6)
    assert right == ((up.argmax(1) == label) & (label != 255)).sum()
    assert kernels.cross_entropy(logits, label, None, 255, align)[2] is None
    entropy = torch.special.entr(up.softmax(1)).sum(1)
    found = kernels.entropy(logits, large, align)
    torch.testing.assert_close(found.double(), entropy.detach(), rtol=1e-5, atol=2e-6 * scale)

label = torch.tensor([[[0, 9], [255, 1]]])
loss = kernels.cross_entropy(torch.zeros(1, 2, 2, 2), label, None, 255, False)[0]
assert loss[0].isnan().tolist() == [[False, True], [False, False]] and loss[0, 1, 0] == 0
print("held")
"""


def test_the_kernels_give_what_torch_gives(root):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHECK],
        env=dict(os.environ, TRITON_INTERPRET="1", PYTHONPATH=str(root), OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
    )
    assert done.stdout == "held\n", done.stderr[-3000:]
