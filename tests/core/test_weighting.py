"""The rivals of Table 6: each loss against a float64 reference, and nothing else touched."""

import pytest
import torch
import torch.nn.functional as F

from core.arms import WEIGHTINGS, Arm, Asked
from core.configs import load_config
from core.errors import CannotConvert
from core.rivals.balanced import PixelMeanCrossEntropy
from core.rivals.focal import SoftmaxFocalLoss
from core.weighting import arm_of_config, with_weighting

KINDS = ["plain", "cascade"]
WEIGHTS = [0.5, 1.0, 2.0, 0.25, 1.25]


def stage_losses(model, images, samples):
    """mmseg's own decode loss, and logits at label size with labels, of each stage."""
    losses = model.loss(images, samples)
    features = model.extract_feat(images)
    label = torch.cat([s.gt_sem_seg.data for s in samples])
    stages = model.decode_head if isinstance(model.decode_head, torch.nn.ModuleList) else None
    logits, previous = [], ()
    for stage in stages or [model.decode_head]:
        out = stage.forward(features, *previous)
        previous = (out,)
        logits.append(F.interpolate(out, size=label.shape[-2:], mode="bilinear").double())
    return losses, logits, label


def quiet(cfg):
    """No dropout, so that two forward passes agree."""
    for head in (
        cfg.model.decode_head
        if isinstance(cfg.model.decode_head, list)
        else [cfg.model.decode_head]
    ):
        head.dropout_ratio = 0
    return cfg


@pytest.mark.parametrize("reduction", [None, "pixels", "weights"])
@pytest.mark.parametrize("kind", KINDS)
def test_balanced_is_a_weighted_mean_of_cross_entropy(
    kind, reduction, tiny_config, tiny_batch, build
):
    """Over all pixels, void ones included, as in mmseg 0.x, which the paper's runs used; or divided
    by the weights of the valid ones."""
    arm = Arm.parse(f"balanced reduction={reduction}" if reduction else "balanced")
    cfg = with_weighting(quiet(tiny_config(kind)), arm, class_weight=WEIGHTS)
    losses, logits, label = stage_losses(build(cfg).train(), *tiny_batch())
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    for i, stage in enumerate(logits):
        want = F.cross_entropy(stage, label, weights, ignore_index=255, reduction="sum")
        assert (label == 255).any()
        want /= weights[label[label != 255]].sum() if reduction == "weights" else label.numel()
        key = "decode.loss_ce" if kind == "plain" else f"decode_{i}.loss_ce"
        factor = 0.4 if kind == "cascade" and i == 0 else 1.0
        assert losses[key].item() == pytest.approx(factor * want.item(), rel=1e-5)


@pytest.mark.parametrize("kept", [10, 1500])
def test_ohem_keeps_unsure_pixels_and_at_least_so_many(kept, tiny_config, tiny_batch, build):
    """Fewer than ``min_kept`` below the threshold: the hardest are taken, two images at a time."""
    thresh = 0.2
    cfg = with_weighting(quiet(tiny_config()), Arm.parse(f"ohem thresh={thresh} min_kept={kept}"))
    losses, (logits,), label = stage_losses(build(cfg).train(), *tiny_batch())
    valid = label != 255
    ce = F.cross_entropy(logits, label, ignore_index=255, reduction="none")
    prob = torch.exp(-ce)[valid]
    last = prob.sort().values[min(2 * kept, prob.numel() - 1)]
    taken = prob < max(last.item(), thresh)
    assert 0 < taken.sum() < prob.numel()
    assert taken.sum() >= min(2 * kept, prob.numel() - 1)
    want = ce[valid][taken].sum() / label.numel()
    assert losses["decode.loss_ce"].item() == pytest.approx(want.item(), rel=1e-4)


def test_ohem_keeps_the_published_share_of_a_crop():
    cfg = load_config("mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-769x769.py")
    sampler = with_weighting(cfg, Arm.parse("ohem")).model.decode_head.sampler
    assert sampler == dict(type="OHEMPixelSampler", thresh=0.7, min_kept=100_000)
    cfg.crop_size = (128, 192)
    share = with_weighting(cfg, Arm.parse("ohem")).model.decode_head.sampler.min_kept / (128 * 192)
    assert share == pytest.approx(100_000 / 769**2, rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_focal_damps_what_is_sure(kind, tiny_config, tiny_batch, build):
    cfg = with_weighting(quiet(tiny_config(kind)), Arm.parse("focal gamma=1.5"))
    losses, logits, label = stage_losses(build(cfg).train(), *tiny_batch())
    for i, stage in enumerate(logits):
        p = stage.softmax(1).gather(1, label.clamp(max=4)[:, None])[:, 0]
        want = ((1 - p) ** 1.5 * -p.log() * (label != 255)).mean()
        key = "decode.loss_focal" if kind == "plain" else f"decode_{i}.loss_focal"
        factor = 0.4 if kind == "cascade" and i == 0 else 1.0
        assert losses[key].item() == pytest.approx(factor * want.item(), rel=1e-5)


def test_focal_leaves_the_label_alone_and_gamma_0_is_cross_entropy():
    """The loss behind the paper's table wrote class 0 over the ignored pixels of the label."""
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 6, 7, dtype=torch.float64, requires_grad=True)
    label = torch.randint(0, 5, (2, 6, 7))
    label[:, :2] = 255
    before = label.clone()
    loss = SoftmaxFocalLoss(gamma=0)(logits, label, ignore_index=255)
    assert torch.equal(label, before)
    want = F.cross_entropy(logits, label, ignore_index=255, reduction="sum") / label.numel()
    torch.testing.assert_close(loss, want)

    def focal(x):
        return SoftmaxFocalLoss()(x, label, ignore_index=255)

    assert torch.autograd.gradcheck(focal, logits)
    (grad,) = torch.autograd.grad(focal(logits), logits)
    assert grad[:, :, :2].abs().max() == 0


def test_balanced_gradients_and_factor_per_pixel():
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 3, 4, dtype=torch.float64, requires_grad=True)
    label = torch.randint(0, 5, (2, 3, 4))
    label[0, :2] = 255
    factor = torch.rand(2, 3, 4, dtype=torch.float64)
    loss = PixelMeanCrossEntropy(WEIGHTS, loss_weight=0.4)
    assert torch.autograd.gradcheck(lambda x: loss(x, label), logits)
    ce = F.cross_entropy(logits, label, ignore_index=255, reduction="none")
    weights = torch.tensor([*WEIGHTS, 0.0], dtype=torch.float64)[label.clamp(max=5)]
    want = 0.4 * (weights * ce * factor).mean()
    torch.testing.assert_close(loss(logits, label, weight=factor), want)


def test_focal_is_exact_and_finite_where_a_pixel_is_sure():
    logits = torch.tensor([[[[40.0]], [[0.0]]]], requires_grad=True)
    loss = SoftmaxFocalLoss()(logits, torch.zeros(1, 1, 1, dtype=torch.long))
    loss.backward()
    assert loss >= 0 and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("weighting", ["balanced", "ohem", "focal"])
def test_auxiliary_head_inference_and_given_config_are_as_before(
    weighting, tiny_config, tiny_batch, build
):
    cfg = quiet(tiny_config())
    cfg.crop_size = (32, 48)
    before = cfg.pretty_text
    weights = WEIGHTS if weighting == "balanced" else None
    changed = with_weighting(cfg, Arm.parse(weighting), class_weight=weights)
    assert cfg.pretty_text == before
    plain, other = build(cfg).train(), build(changed).train()
    images, samples = tiny_batch()
    a, b = plain.loss(images, samples), other.loss(images, samples)
    assert torch.equal(a["aux.loss_ce"], b["aux.loss_ce"])
    assert plain.state_dict().keys() == other.state_dict().keys()  # a plain checkpoint
    want, got = plain.eval().predict(images, samples), other.eval().predict(images, samples)
    assert torch.equal(want[0].seg_logits.data, got[0].seg_logits.data)


@pytest.mark.parametrize(
    ("arm", "given", "words"),
    [
        ("balanced", {}, "needs class weights"),
        ("balanced", dict(class_weight=[1.0, 2.0]), "2 class weights for 5 classes"),
        ("balanced", dict(class_weight=[1, 1, 1, 1, 0]), "must be positive"),
        ("collected", {}, "needs the folder of the maps"),
    ],
)
def test_what_an_arm_lacks_is_told(arm, given, words, tiny_config):
    with pytest.raises(CannotConvert, match=words) as error:
        with_weighting(tiny_config(), Arm.parse(arm), **given)
    assert "\n" not in str(error.value)


def test_every_weighting_refuses_a_head_with_a_loss_of_its_own():
    cfg = load_config("mmseg::danet/danet_r50-d8_4xb2-40k_cityscapes-512x1024.py")
    for weighting in set(WEIGHTINGS) - {"ce"}:
        with pytest.raises(CannotConvert, match="loss of its own"):
            with_weighting(cfg, Arm.parse(weighting), class_weight=[1.0] * 19, hardness="x")


def test_hl_options_of_a_config_are_part_of_the_arm(tiny_config):
    """``--cfg-options model.hl.c=0.5`` is what an mmseg user types first: it must count."""
    cfg = tiny_config()
    cfg.merge_from_dict({"model.hl.c": 0.5})
    arm = arm_of_config(cfg, Asked("hl", ("alpha=1",)), "baseline")
    assert str(arm) == "hl c=0.5 alpha=1"
    hl = with_weighting(cfg, arm).model.hl
    assert hl == dict(
        weighting="hl", c=0.5, alpha=1.0, normalize="image", ignored="exclude")  # fmt: skip


def test_a_config_that_is_hl_already_is_that_arm(tiny_config):
    cfg = with_weighting(tiny_config(), Arm.parse("hl c=0.3"))
    assert str(arm_of_config(cfg, Asked(), "baseline")) == "hl c=0.3"
    assert cfg.model.type == "EncoderDecoder" and "hl" not in cfg.model
    hl = with_weighting(tiny_config(), Arm.parse("hl"))
    hl.model.hl = dict(c=0.3)
    bare = arm_of_config(hl, Asked(None, ("alpha=1",)), "baseline")  # options of what it is
    assert str(bare) == "hl c=0.3 alpha=1"
    scaled = with_weighting(tiny_config(), Arm.parse("ce-scaled"))
    assert arm_of_config(scaled, Asked(), "baseline").kind.name == "ce-scaled"


@pytest.mark.parametrize(
    ("arm", "options", "words"),
    [
        ("hl c=0.3", {"model.hl.c": 0.5}, "hl: c is given twice: 0.3 and 0.5"),
        ("baseline", {"model.hl.c": 0.5}, r"model\.hl\.c: baseline has no such options; --hl"),
        (None, {"model.hl.c": 0.5}, r"model\.hl\.c: baseline has no such options; --hl"),
        ("focal", {"model.hl.c": 0.5}, "focal has no option 'c'; it has gamma"),
        ("hl", {"model.hl.c": 0}, "c must be > 0"),
        (None, {"model.hl": 3}, "model.hl is 3; it takes options"),
        (None, {"model.hl.weighting": "sup-only"}, "must be one of hl, ce-scaled; got 'sup-only'"),
        (None, {"model.type": "CollectedEncoderDecoder"}, "a training on collected maps; give"),
        ("focal", {"model.type": "HLEncoderDecoder"}, "flags say focal, the config's model says h"),
        ("baseline", {"model.type": "HLEncoderDecoder"}, "flags say baseline, .* model says hl"),
    ],
)
def test_flags_and_config_that_contradict_are_refused(arm, options, words, tiny_config):
    name, *pairs = (arm or "").split() or [None]
    asked = Asked(name, tuple(pairs))
    cfg = tiny_config()
    cfg.merge_from_dict(options)
    with pytest.raises(CannotConvert, match=words) as error:
        arm_of_config(cfg, asked, "baseline")
    assert "\n" not in str(error.value)
