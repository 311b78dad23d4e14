"""Attention without compiled operators: against the definition, and against mmcv's."""

import importlib.util
from pathlib import Path

import mmcv
import numpy as np
import pytest
import torch
from mmseg.models.decode_heads import cc_head, psa_head

from core import mmfixes
from core.attention import CrissCrossAttention, PSAMask
from core.configs import walk
from core.convert import to_hl

# Outputs and gradients of mmcv 2.3.6's compiled CPU operator: its psamask.cpp, built with
# torch.utils.cpp_extension, on the inputs that `torch.manual_seed(case)` gives below.
COMPILED = np.load(Path(__file__).parent / "psamask_compiled.npz")
CASES = range(sum(name.startswith("case") for name in COMPILED))


def mask_by_definition(mask, kind, size):
    """Zhao et al.: a loop over pairs of pixels, in the precision of the input."""
    (mask_h, mask_w), (n, _, height, width) = size, mask.shape
    out = mask.new_zeros(n, height, width, height, width)  # of the looking pixel, to the other
    for y in range(height):
        for x in range(width):
            for v in range(height):
                for u in range(width):
                    i, j = v - y + (mask_h - 1) // 2, u - x + (mask_w - 1) // 2
                    if 0 <= i < mask_h and 0 <= j < mask_w:
                        out[:, y, x, v, u] = mask[:, i * mask_w + j, y, x]
    out = out.view(n, height * width, height * width)
    out = out.transpose(1, 2) if kind == "collect" else out
    return out.reshape(n, height * width, height, width)


@pytest.mark.parametrize("kind", ["collect", "distribute"])
@pytest.mark.parametrize(
    ("size", "features"), [((5, 5), (3, 3)), ((3, 4), (4, 5)), ((9, 2), (2, 3))]
)
def test_psa_mask_is_the_definition(kind, size, features):
    g = torch.Generator().manual_seed(0)
    mask = torch.randn(2, size[0] * size[1], *features, generator=g, dtype=torch.float64)
    mask.requires_grad_()
    out = PSAMask(kind, size)(mask)
    assert torch.equal(out, mask_by_definition(mask, kind, size))
    assert torch.autograd.gradcheck(PSAMask(kind, size), mask)


@pytest.mark.parametrize("case", CASES)
def test_psa_mask_equals_the_compiled_operator(case):
    kind, *shape = COMPILED[f"case{case}"].tolist()
    size, features = shape[:2], shape[2:]
    g = torch.Generator().manual_seed(case)
    mask = torch.randn(2, size[0] * size[1], *features, generator=g, requires_grad=True)
    out = PSAMask(["collect", "distribute"][kind], tuple(size))(mask)
    grad = torch.randn(out.shape, generator=g)
    (found,) = torch.autograd.grad(out, mask, grad)
    np.testing.assert_allclose(out.detach().numpy(), COMPILED[f"out{case}"], atol=1e-5)
    np.testing.assert_allclose(found.numpy(), COMPILED[f"grad{case}"], atol=1e-5)


def test_psa_mask_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="8 channels for a mask of 3x3"):
        PSAMask("collect", 3)(torch.zeros(1, 8, 2, 2))
    with pytest.raises(ValueError, match="must be collect or distribute"):
        PSAMask("spread", 3)


def criss_cross_by_definition(module, x):
    """For each pixel the softmax over its column and its row, itself once."""
    q, k, v = (conv(x) for conv in module._convs())
    n, _, height, width = x.shape
    out = torch.zeros_like(x)
    for b in range(n):
        for y in range(height):
            for u in range(width):
                places = [(i, u) for i in range(height) if i != y]
                places += [(y, j) for j in range(width)]
                scores = torch.stack([q[b, :, y, u] @ k[b, :, i, j] for i, j in places])
                values = torch.stack([v[b, :, i, j] for i, j in places])
                out[b, :, y, u] = scores.softmax(0) @ values
    return module.gamma.scale * out + x


@pytest.mark.parametrize("features", [(3, 5), (4, 2), (1, 3)])
def test_criss_cross_attention_is_the_definition(features):
    torch.manual_seed(0)
    module = CrissCrossAttention(16).double()
    module.gamma.scale.data.fill_(0.7)
    x = torch.randn(2, 16, *features, dtype=torch.float64, requires_grad=True)
    out, want = module(x), criss_cross_by_definition(module, x)
    torch.testing.assert_close(out, want, rtol=1e-12, atol=1e-12)
    a = torch.autograd.grad(out.square().sum(), [x, *module.parameters()])
    b = torch.autograd.grad(want.square().sum(), [x, *module.parameters()])
    for ours, theirs in zip(a, b, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_criss_cross_attention_starts_as_the_identity():
    x = torch.randn(1, 8, 3, 4)
    assert torch.equal(CrissCrossAttention(8)(x), x)


def test_criss_cross_attention_equals_mmcvs():
    """mmcv's is plain torch too, but lies where it cannot be imported: read by its path."""
    path = Path(mmcv.__file__).parent / "ops/cc_attention.py"
    spec = importlib.util.spec_from_file_location("mmcv_cc_attention", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except KeyError:  # registered already: the compiled operators are here
        module = importlib.import_module("mmcv.ops.cc_attention")
    torch.manual_seed(0)
    ours, theirs = CrissCrossAttention(24), module.CrissCrossAttention(24)
    theirs.gamma.scale.data.fill_(1.3)
    ours.load_state_dict(theirs.state_dict())  # strict: the same keys
    x = torch.randn(2, 24, 7, 9, requires_grad=True)
    a, b = ours(x), theirs(x)
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
    grad = torch.randn_like(a)
    (grad_a,), (grad_b,) = (torch.autograd.grad(out, x, grad) for out in (a, b))
    torch.testing.assert_close(grad_a, grad_b, rtol=0, atol=1e-5)


def test_compiled_operators_are_left_in_place(monkeypatch):
    monkeypatch.setattr(psa_head, "PSAMask", torch.nn.Identity)
    monkeypatch.setattr(cc_head, "CrissCrossAttention", None)
    mmfixes.install.__wrapped__()  # it is called once
    assert psa_head.PSAMask is torch.nn.Identity
    assert cc_head.CrissCrossAttention is CrissCrossAttention


@pytest.mark.parametrize(
    "name",
    [
        "mmseg::ccnet/ccnet_r50-d8_4xb2-40k_cityscapes-769x769.py",
        "mmseg::psanet/psanet_r50-d8_4xb2-40k_cityscapes-769x769.py",
    ],
)
def test_ccnet_and_psanet_train_with_hl(name, shrunk, build, tiny_batch):
    cfg = shrunk(name)

    def change(node):
        for key, value in dict(channels=16, in_channels=64, mask_size=(9, 9)).items():
            if key in node:
                node[key] = value

    walk([cfg.model.decode_head, cfg.model.auxiliary_head], change)
    cfg.model.backbone.update(depth=18, base_channels=8, stem_channels=8)
    cfg.model.auxiliary_head.in_channels = 32
    model = build(to_hl(cfg)).train()
    losses = model.loss(*tiny_batch(classes=19))
    total = sum(value for key, value in losses.items() if "loss" in key)
    names, params = zip(*model.named_parameters(), strict=True)
    for key, grad in zip(names, torch.autograd.grad(total, params), strict=True):
        assert torch.isfinite(grad).all(), key
    model.eval().predict(*tiny_batch(classes=19))
