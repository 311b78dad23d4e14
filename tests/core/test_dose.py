"""The dose of a schedule, and the alpha that gives the published one."""

import math

import pytest
import torch
from mmengine.config import Config

from core.configs import load_config
from core.convert import to_hl
from core.dose import alpha_for, dose_of, given
from core.errors import CannotConvert
from core.measures import PUBLISHED_DOSE as PUBLISHED
from core.schedule import scale_schedule

MODEL = dict(
    type="EncoderDecoder",
    backbone=dict(type="ResNetV1c", depth=18),
    decode_head=dict(type="FCNHead", in_channels=8, channels=8, num_classes=3),
)


def config(optimizer, schedulers, iters, **wrapper):
    return Config(
        dict(
            model=MODEL,
            optim_wrapper=dict(type="OptimWrapper", optimizer=optimizer, **wrapper),
            param_scheduler=schedulers,
            train_cfg=dict(type="IterBasedTrainLoop", max_iters=iters),
        )
    )


def poly(lr, power, eta_min, iters):
    """mmengine's PolyLR, which is at ``eta_min`` in the last iteration."""
    return [(lr - eta_min) * (1 - i / (iters - 1)) ** power + eta_min for i in range(iters)]


SGD = dict(type="SGD", lr=0.01, momentum=0.9)
POLY = dict(type="PolyLR", power=0.9, eta_min=1e-4, by_epoch=False)
HEADS = dict(custom_keys={"head": dict(lr_mult=10.0)})
BRANCH = dict(custom_keys={"hl_head": dict(lr_mult=0.5), "head": dict(lr_mult=10.0)})
WARM = [
    dict(type="LinearLR", start_factor=0.1, begin=0, end=10, by_epoch=False),
    dict(POLY, begin=10, end=60),
]
STEP = dict(type="MultiStepLR", milestones=[5], gamma=0.1, by_epoch=False)
# A schedule, and the sum of the branch's rates over its steps, by hand.
SCHEDULES = {
    "poly": (config(SGD, [dict(POLY, end=40)], 40), sum(poly(0.01, 0.9, 1e-4, 40)) / 0.1),
    "constant": (config(dict(type="SGD", lr=0.3), [], 7), 7 * 0.3),
    "rate of the heads": (
        config(SGD, POLY, 40, paramwise_cfg=HEADS),
        sum(poly(0.1, 0.9, 1e-4, 40)) / 0.1,
    ),
    "rate of its own": (
        config(SGD, dict(POLY, eta_min=0), 40, paramwise_cfg=BRANCH),
        sum(poly(0.005, 0.9, 0, 40)) / 0.1,
    ),
    "warm-up": (
        config(dict(SGD, dampening=0.5), WARM, 60),
        5 * sum([*(0.01 * (0.1 + 0.1 * i) for i in range(10)), *poly(0.01, 0.9, 1e-4, 50)]),
    ),
    "gathered gradients": (
        config(dict(type="SGD", lr=0.1), STEP, 10, accumulative_counts=4),
        0.1 + 0.01 + 0.01,  # steps after 4, 8 and 10 iterations
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
def test_auto_gives_the_published_dose_on_any_schedule(name):
    cfg, rates = SCHEDULES[name]
    found = dose_of(cfg)
    assert found.rates == pytest.approx(rates, rel=1e-6) and not found.cancels
    alpha = to_hl(cfg, alpha="auto").model.hl.alpha
    assert type(alpha) is float
    assert alpha * rates == pytest.approx(PUBLISHED["SGD"], rel=1e-3)
    assert alpha_for(cfg, "auto@200") * rates == pytest.approx(200, rel=1e-3)
    assert cfg.model.type == "EncoderDecoder" and "hl" not in cfg.model


def test_to_ask_draws_no_random_number():
    """A run asks before its weights are drawn: those of the baseline of the same seed."""
    torch.manual_seed(0)
    state = torch.get_rng_state()
    dose_of(SCHEDULES["rate of the heads"][0])
    assert torch.equal(torch.get_rng_state(), state)


def test_the_sum_is_that_of_the_steps_that_sgd_takes():
    """A constant gradient moves a weight by the dose, less what momentum has not repeated yet."""
    weight = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.01, momentum=0.9, dampening=0.5)
    weight.grad = torch.ones_like(weight)
    for _ in range(4000):
        optimizer.step()
    found = dose_of(config(dict(SGD, dampening=0.5), [], 4000))
    assert -weight.item() == pytest.approx(found.at(1.0), rel=0.01)


def test_the_published_schedules_have_the_published_dose():
    sgd = load_config("mmseg::pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-769x769.py")
    assert dose_of(sgd).at(0.01) == pytest.approx(PUBLISHED["SGD"], rel=1e-3)
    assert alpha_for(sgd, "auto") == pytest.approx(0.01, rel=1e-3)
    adam = load_config("domain_gen/configs/deeplabv3plus_r101.py")
    assert dose_of(adam).cancels
    assert dose_of(adam).at(0.01) == pytest.approx(PUBLISHED["Adam"], rel=1e-3)
    scale_schedule(sgd, 400)  # a hundredth as long: a hundredth of the dose
    assert dose_of(sgd).at(0.01) == pytest.approx(PUBLISHED["SGD"] / 100, rel=0.01)


def test_under_adam_alpha_cancels():
    cfg = config(dict(type="AdamW", lr=1e-3), [dict(POLY, power=1.0, eta_min=0)], 50)
    found = dose_of(cfg)
    assert found.at(0.01) == found.at(1) == pytest.approx(sum(poly(1e-3, 1, 0, 50)))
    assert alpha_for(cfg, "auto") == 0.01
    with pytest.raises(CannotConvert, match=r"hl_head\.lr_mult"):
        alpha_for(cfg, "auto@20")


def test_what_a_config_gives_its_branch():
    cfg, rates = SCHEDULES["rate of the heads"]
    assert given(cfg) is None
    found = given(to_hl(cfg, alpha=0.5))
    assert found.alpha == 0.5 and found.published == PUBLISHED["SGD"]
    assert found.dose == pytest.approx(0.5 * rates)
    pair = Config(dict(cfg, model=dict(type="U2PL", student=to_hl(cfg, alpha=0.5).model)))
    assert given(pair) == found
    unknown = given(to_hl(Config(dict(model=MODEL)), alpha=0.5))
    assert (unknown.alpha, unknown.dose) == (0.5, None)


def test_the_branch_has_the_factor_of_the_head_that_it_copies():
    """Named so that it misses the copy: to_hl gives the factor to the branch, too."""
    heads = dict(custom_keys={"decode_head": dict(lr_mult=10.0)})
    cfg = to_hl(config(SGD, POLY, 40, paramwise_cfg=heads), alpha="auto")
    assert given(cfg).dose == pytest.approx(PUBLISHED["SGD"], rel=1e-3)


def test_a_training_that_was_stopped_got_less():
    cfg = to_hl(config(dict(type="SGD", lr=0.3), [], 10), alpha=1.0)
    assert given(cfg).dose == pytest.approx(3.0)
    assert given(cfg, done=4).dose == pytest.approx(1.2)


def test_rates_that_fall_from_layer_to_layer():
    cfg = load_config("mmseg::convnext/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py")
    scale_schedule(cfg, 40)
    assert dose_of(cfg).rates > 0  # the constructor asks what the backbone is


@pytest.mark.parametrize(
    ("cfg", "words"),
    [
        (config(dict(type="Rprop", lr=0.1), [], 5), "the optimizer is Rprop, of which no dose"),
        (config(SGD, [dict(type="Unknown")], 5), "cannot be followed: .*; give alpha a number"),
        (config(dict(SGD, momentum=1.0), [], 5), r"momentum is 1\.0"),
        (Config(dict(config(SGD, [], 5), auto_scale_lr=dict(enable=True, base_batch_size=8))),
         "auto_scale_lr changes the rates"),
        (config(SGD, [], None), "not in iterations"),
        (Config(dict(model=MODEL)), "the optimizer is None"),
        (config(SGD, [], 5, paramwise_cfg=dict(custom_keys={"hl_head": dict(lr_mult=0.0)})),
         "learning rate is 0 throughout"),
    ],
)  # fmt: skip
def test_what_has_no_dose_is_refused_in_one_line(cfg, words):
    with pytest.raises(CannotConvert, match=words) as error:
        to_hl(cfg, alpha="auto")
    assert "\n" not in str(error.value)


def test_a_schedule_in_epochs_needs_their_length():
    by_epoch = dict(type="StepLR", step_size=1, gamma=0.5, by_epoch=True)
    cfg = config(dict(type="SGD", lr=1.0), [by_epoch], None)
    cfg.train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=3)
    with pytest.raises(CannotConvert, match="not in iterations"):
        dose_of(cfg)
    assert dose_of(cfg, epoch_length=4).rates == pytest.approx(4 * (1 + 0.5 + 0.25))
    cfg.param_scheduler[0].convert_to_iter_based = True
    assert math.isfinite(dose_of(cfg, epoch_length=4).rates)


def test_the_laptops_adamw_gives_the_branch_a_rate_of_its_own():
    cfg = load_config("domain_gen/configs/deeplabv3plus_lite0-adamw.py")
    assert dose_of(cfg).at(0.01) == pytest.approx(PUBLISHED["Adam"], rel=0.1)
    assert cfg.train_cfg.max_iters == 1000  # of its own: another config than the source's has that
