"""The published batch on another number of GPUs."""

import math

import pytest

from core.batch import Batch, batch_note, fit_batch, training_note
from core.configs import load_config

SGD = "mmseg::pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-769x769.py"
ADAMW = "mmseg::segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py"


@pytest.mark.parametrize(
    ("gpus", "each", "factor"), [(4, 2, 1.0), (8, 1, 1.0), (2, 2, 0.5), (1, 2, 0.25), (16, 1, 2.0)]
)
def test_batch_rate_and_iterations_follow_the_gpus(gpus, each, factor):
    """Four GPUs with two images each were used; as many images are seen with any number."""
    cfg = load_config(SGD)
    found = fit_batch(cfg, 4, gpus)
    assert found == dict(batch_size=each * gpus, published_batch_size=8, lr_factor=factor,
                         lr_rule="linear")  # fmt: skip
    assert cfg.train_dataloader.batch_size == each
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(0.01 * factor)
    assert cfg.train_cfg.max_iters * each * gpus == 40_000 * 8
    assert cfg.param_scheduler[-1]["end"] == cfg.train_cfg.max_iters


def test_the_rate_of_adamw_goes_by_the_root():
    cfg = load_config(ADAMW)
    found = fit_batch(cfg, 8, 2)
    assert (found["lr_rule"], found["lr_factor"]) == ("square root", 0.5)
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(6e-5 / 2)
    assert cfg.train_cfg.max_iters == 640_000
    assert cfg.param_scheduler[0]["end"] == 6000  # the warm-up sees as many images


def test_what_becomes_of_a_batch_is_told():
    batch = Batch.of(2, 8, 4, "AdamW")
    assert batch.lr_factor == math.sqrt(0.5)
    assert training_note(batch, 160_000, 6e-5) == (
        "320,000 iterations, batch 8, lr 4.243e-05 (published: 160,000 of 16, lr 6e-05; "
        "square-root scaling, Malladi et al. 2022)"
    )
    assert training_note(Batch.of(2, 4, 4, "SGD"), 40_000, 0.01) == (
        "40,000 iterations, batch 8, lr 0.01"
    )
    facts = dict(batch_size=2, published_batch_size=8, lr_factor=0.5, lr_rule="square root")
    assert batch_note("The net", facts, 160_000) == (
        "The net: batch 2 in the place of the published 8; learning rate × 0.5, "
        "160,000 iterations (square-root scaling, Malladi et al. 2022)."
    )
    assert batch_note("The net", dict(lr_factor=1.0), 1) is None and batch_note("x", {}, 1) is None
