"""The lite branch, the interval, and how a branch is run: gradients stay apart, one head is run."""

import copy
from unittest import mock

import pytest
import torch

from core.arms import Arm
from core.convert import to_hl
from core.errors import CannotConvert
from core.hl_head import Branch, LiteHead, classifier_input, lite_head
from core.weighting import with_weighting

KINDS = ("plain", "cascade")


def total(losses):
    return sum(value for key, value in losses.items() if "loss" in key)


def grads(model, loss):
    names, params = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, params, allow_unused=True, retain_graph=True)
    return dict(zip(names, found, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_the_lite_branchs_loss_moves_the_lite_branch_only(kind, tiny_config, tiny_batch, build):
    model = build(to_hl(tiny_config(kind), head="lite")).train()
    assert isinstance(model.hl_head, LiteHead)
    losses = model.loss(*tiny_batch())
    (hl,) = [value for key, value in losses.items() if key.endswith("loss_hl")]
    for name, grad in grads(model, hl).items():
        assert (grad is not None) == name.startswith("hl_head."), name
    others = {key: value for key, value in losses.items() if not key.endswith("loss_hl")}
    for name, grad in grads(model, total(others)).items():
        assert (grad is None) == name.startswith("hl_head."), name


@pytest.mark.parametrize("kind", KINDS)
def test_other_weights_get_the_gradient_they_would_without_alpha(
    kind, tiny_config, tiny_batch, build
):
    results = []
    for alpha in (0.0, 1.0):
        model = build(to_hl(tiny_config(kind), alpha=alpha, head="lite")).train()
        torch.manual_seed(1)
        grad = grads(model, total(model.loss(*tiny_batch())))
        results.append({k: v for k, v in grad.items() if not k.startswith("hl_head.")})
    assert results[0]
    for name in results[0]:
        assert torch.equal(results[0][name], results[1][name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_statistics_are_those_of_the_baseline(kind, tiny_config, tiny_batch, build):
    plain, hl = build(tiny_config(kind)).train(), build(to_hl(tiny_config(kind), head="lite"))
    shared = plain.state_dict()
    own = hl.train().state_dict()
    assert own.keys() - shared.keys() == {k for k in own if k.startswith("hl_head.")}
    assert all(torch.equal(shared[k], own[k]) for k in shared)
    for model in (plain, hl):
        torch.manual_seed(1)
        model.loss(*tiny_batch())
    own = dict(hl.named_buffers())
    for name, buffer in plain.named_buffers():  # a head that ran twice would have moved twice
        assert torch.equal(own[name], buffer), name


def test_no_head_is_run_twice(tiny_config, tiny_batch, build):
    model = build(to_hl(tiny_config(), head="lite")).train()
    forward = model.decode_head.forward
    with mock.patch.object(model.decode_head, "forward", side_effect=forward) as ran:
        model.loss(*tiny_batch())
    assert ran.call_count == 1
    assert not model.decode_head.conv_seg._forward_pre_hooks


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_of_what_the_classifier_reads(kind, tiny_config, tiny_batch, build):
    model = build(to_hl(tiny_config(kind), head="lite")).eval()
    images, _ = tiny_batch()
    head = model.decode_head if kind == "plain" else model.decode_head[-1]
    with torch.no_grad(), classifier_input(head) as seen:
        model.encode_decode(images, [dict(img_shape=images.shape[2:])] * 2)
        d = model.hl_loss.resize(model.hl_head(seen[-1], images.shape[2:]), images.shape[2:])
    scores = model.predict_scores(images)
    torch.testing.assert_close(scores, d.sigmoid())
    assert scores.shape == (2, 1, *images.shape[2:])


@pytest.mark.parametrize(("side", "expected"), [(16, 8), (8, 8), (4, 4), (2, 2), (64, 8), (17, 9)])
def test_finer_inputs_are_averaged_to_an_eighth(side, expected):
    out = LiteHead(5, dict(type="BN")).eval()(torch.randn(1, 5, side, side), (64, 64))
    assert out.shape == (1, 1, expected, expected)


def test_a_head_without_a_classifier_is_refused():
    with pytest.raises(ValueError, match=r"Linear has no conv_seg, .* take head=faithful"):
        lite_head(torch.nn.Linear(1, 1))


def test_the_branch_is_dropped_from_an_export(tiny_config, build):
    model = build(to_hl(tiny_config(), head="lite"))
    plain = build(tiny_config())
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("hl_head.")}
    plain.load_state_dict(state, strict=True)


def test_options_of_the_branch_are_an_arms(tiny_config):
    cfg = with_weighting(tiny_config(), Arm.parse("hl head=lite every=4"))
    assert cfg.model.hl.head == "lite" and cfg.model.hl.every == 4
    plain = with_weighting(tiny_config(), Arm.parse("hl head=faithful every=1"))
    assert not {"head", "every"} & plain.model.hl.keys()  # a config says what differs
    assert with_weighting(tiny_config(), Arm.parse("ce-scaled head=lite")).model.hl.head == "lite"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hl head=heavy", "head must be one of faithful, lite; got heavy"),
        ("hl every=0", "every must be a whole number >= 1; got 0"),
        ("hl every=1.5", "every must be a whole number >= 1; got 1.5"),
        ("collected head=lite", "collected has no option 'head'"),
    ],
)
def test_wrong_options_are_refused_by_name(text, words):
    with pytest.raises(CannotConvert, match=words):
        Arm.parse(text)


def test_wrong_options_of_a_config_are_refused_by_name(tiny_config):
    with pytest.raises(CannotConvert, match="head must be one of faithful, lite; got 'heavy'"):
        to_hl(tiny_config(), head="heavy")
    with pytest.raises(CannotConvert, match="every must be a whole number >= 1, got 0"):
        to_hl(tiny_config(), every=0)
    with pytest.raises(ValueError, match=r"hl_runtime must be some of channels_last, .*'fast'"):
        Branch(runtime=["fast"])


@pytest.mark.parametrize("head", ["faithful", "lite"])
def test_every_third_step_the_branch_learns_three_times_as_much(
    head, tiny_config, tiny_batch, build
):
    often = build(to_hl(tiny_config(), head=head)).train()
    seldom = build(to_hl(tiny_config(), head=head, every=3)).train()
    assert seldom.state_dict().keys() - often.state_dict().keys() == {"hl_head.steps"}
    for step in range(7):
        found = []
        for model in (often, seldom):
            torch.manual_seed(step)
            losses = model.loss(*tiny_batch())
            found.append((losses, grads(model, total(losses))))
        torch.testing.assert_close(found[1][0], found[0][0])
        for name, grad in found[0][1].items():
            factor = 1 if not name.startswith("hl_head.") else 0 if step % 3 else 3
            # Never None: DDP waits for each of them.
            torch.testing.assert_close(found[1][1][name], factor * grad, rtol=1e-4, atol=1e-9)
    assert seldom.hl_head.steps == 7
    resumed = copy.deepcopy(seldom)
    resumed.load_state_dict(seldom.state_dict())
    assert resumed.hl_head.steps == 7


@pytest.mark.parametrize("head", ["faithful", "lite"])
@pytest.mark.parametrize("word", ["channels_last", "stream"])
def test_how_a_branch_is_run_changes_no_result(word, head, tiny_config, tiny_batch, build):
    cfg = to_hl(tiny_config(), head=head)
    plain = build(cfg).train().double()
    cfg.model.hl_runtime = [word]
    other = build(cfg).train().double()
    images, samples = tiny_batch()
    found = []
    for model in (plain, other):
        torch.manual_seed(1)
        losses = model.loss(images.double(), samples)
        found.append((losses, grads(model, total(losses))))
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-12)
    assert plain.state_dict().keys() == other.state_dict().keys()
