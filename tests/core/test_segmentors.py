"""The two segmentors against plain mmseg, and the walls between the branches."""

import pytest
import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead

from core.configs import walk
from core.convert import to_hl

KINDS = ["plain", "cascade"]


def total(losses):
    return sum(value for key, value in losses.items() if "loss" in key)


def grads(model, loss):
    """Gradient of every parameter by name, None where the loss does not reach it."""
    names, params = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, params, allow_unused=True, retain_graph=True)
    return dict(zip(names, found, strict=True))


def without_dropout(cfg):
    """The branch draws masks too: two models can only be compared without."""
    walk(cfg.model, lambda node: node.update(dropout_ratio=0) if "dropout_ratio" in node else None)
    return cfg


@pytest.mark.parametrize("kind", KINDS)
def test_branch_is_the_head_with_one_channel(kind, tiny_config, build):
    model = build(to_hl(tiny_config(kind)))
    head = {k: v.shape for k, v in model.decode_head.state_dict().items()}
    copy = {k: v.shape for k, v in model.hl_head.state_dict().items()}
    assert head.keys() == copy.keys()
    changed = {k for k in head if head[k] != copy[k]}
    last = "" if kind == "plain" else "1."
    assert changed == {f"{last}conv_seg.weight", f"{last}conv_seg.bias"}
    assert copy[f"{last}conv_seg.weight"][0] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_hl_loss_moves_the_hl_branch_only(kind, tiny_config, tiny_batch, build):
    model = build(to_hl(tiny_config(kind))).train()
    losses = model.loss(*tiny_batch())
    (hl,) = [value for key, value in losses.items() if key.endswith("loss_hl")]
    for name, grad in grads(model, hl).items():
        if not name.startswith("hl_head."):
            assert grad is None, name
    others = {key: value for key, value in losses.items() if not key.endswith("loss_hl")}
    for name, grad in grads(model, total(others)).items():
        assert (grad is None) == name.startswith("hl_head."), name


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_of_the_branch_learns(kind, tiny_config, tiny_batch, build):
    """DDP would wait for ever for one that does not."""
    model = build(to_hl(tiny_config(kind))).train()
    for name, grad in grads(model, total(model.loss(*tiny_batch()))).items():
        assert grad is not None, name


@pytest.mark.parametrize("kind", KINDS)
def test_step_moves_backbone_as_if_the_branch_were_absent(kind, tiny_config, tiny_batch, build):
    """With alpha = 0 or 1 all other weights get the same gradient, bit by bit."""
    results = []
    for alpha in (0.0, 1.0):
        model = build(to_hl(tiny_config(kind), alpha=alpha)).train()
        torch.manual_seed(1)
        grad = grads(model, total(model.loss(*tiny_batch())))
        results.append({k: v for k, v in grad.items() if not k.startswith("hl_head.")})
    for name in results[0]:
        assert torch.equal(results[0][name], results[1][name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_uniform_map_is_the_baseline(kind, tiny_config, tiny_batch, build):
    """c -> infinity: same losses, gradients and BatchNorm statistics as mmseg's own segmentor."""
    cfg = without_dropout(tiny_config(kind))
    images, samples = tiny_batch(ignored=0)
    plain, hl = build(cfg).train(), build(to_hl(cfg, c=1e9, alpha=0.0)).train()
    shared = plain.state_dict()
    assert all(torch.equal(shared[k], v) for k, v in hl.state_dict().items() if k in shared)
    want, got = plain.loss(images, samples), hl.loss(images, samples)
    for key in want:
        torch.testing.assert_close(got[key].squeeze(), want[key].squeeze(), rtol=1e-5, atol=1e-6)
    want_grads, got_grads = grads(plain, total(want)), grads(hl, total(got))
    for name, grad in want_grads.items():
        torch.testing.assert_close(got_grads[name], grad, rtol=1e-4, atol=1e-6)
    for name, buffer in plain.named_buffers():
        assert torch.equal(dict(hl.named_buffers())[name], buffer), name


@pytest.mark.parametrize("kind", KINDS)
def test_inference_does_not_run_the_branch(kind, tiny_config, tiny_batch, build):
    cfg = tiny_config(kind)
    plain, hl = build(cfg).eval(), build(to_hl(cfg)).eval()
    for module in hl.hl_head.modules():
        if isinstance(module, BaseDecodeHead):
            module.forward = lambda *_: pytest.fail("the HL branch ran at inference")
    images, samples = tiny_batch()
    want, got = plain.predict(images, samples), hl.predict(images, samples)
    for a, b in zip(want, got, strict=True):
        assert torch.equal(a.seg_logits.data, b.seg_logits.data)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_slide_where_the_prediction_does(kind, tiny_config, tiny_batch, build):
    cfg = to_hl(tiny_config(kind))
    cfg.model.test_cfg = dict(mode="slide", crop_size=(32, 32), stride=(32, 16))
    model = build(cfg).eval()
    images = tiny_batch()[0]
    left, right = (
        model.hl_logits(model.extract_feat(x), x.shape[2:])
        for x in (images[..., :32], images[..., 16:])
    )
    left, right = (model.hl_loss.resize(x.detach(), (32, 32)) for x in (left, right))
    want = torch.cat([left[..., :16], (left[..., 16:] + right[..., :16]) / 2, right[..., 16:]], -1)
    torch.testing.assert_close(model.predict_scores(images), want.sigmoid())


def test_cascade_weighs_every_stage_with_one_map(tiny_config, tiny_batch, build):
    """Both stages' losses from their logits and the last map, computed apart."""
    cfg = without_dropout(tiny_config("cascade"))
    model = build(to_hl(cfg)).train()
    images, samples = tiny_batch()
    label = torch.cat([s.gt_sem_seg.data for s in samples])
    x = model.extract_feat(images)
    first = model.decode_head[0].forward(x)
    stages = [first, model.decode_head[1].forward(x, first)]
    h = model.hl_loss.hl_map(model.hl_logits(x, label.shape[1:]), label != 255)[:, 0]
    losses = model._decode_head_forward_train(x, samples)
    for i, (logits, weight) in enumerate(zip(stages, (0.4, 1.0), strict=True)):
        up = torch.nn.functional.interpolate(logits, size=(32, 48), mode="bilinear")
        ce = torch.nn.functional.cross_entropy(up, label, ignore_index=255, reduction="none")
        want = weight * (h * ce).sum((1, 2)).mean()
        torch.testing.assert_close(losses[f"decode_{i}.loss_ce"], want)
    torch.testing.assert_close(losses["decode_1.loss_hl"], -0.01 * losses["decode_1.loss_ce"])


def test_auxiliary_head_is_as_before(tiny_config, tiny_batch, build):
    cfg = without_dropout(tiny_config())
    images, samples = tiny_batch()
    plain, hl = build(cfg).train(), build(to_hl(cfg)).train()
    a, b = plain.loss(images, samples), hl.loss(images, samples)
    assert torch.equal(a["aux.loss_ce"], b["aux.loss_ce"])


def test_autocast_step_is_finite(tiny_config, tiny_batch, build):
    model = build(to_hl(tiny_config())).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model.loss(*tiny_batch())
    assert losses["decode.loss_ce"].dtype == torch.float32
    total(losses).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_a_sampler_is_refused(tiny_config, build):
    cfg = to_hl(tiny_config())
    cfg.model.decode_head.sampler = dict(type="OHEMPixelSampler", thresh=0.7, min_kept=10)
    with pytest.raises(ValueError, match="sampler selects pixels"):
        build(cfg)
