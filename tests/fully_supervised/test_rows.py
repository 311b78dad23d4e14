"""Every row's resolved config against the header of the authors' log.

``rows.json`` holds the configs that 43 log headers state, of their baseline runs, in the names of
mmsegmentation 0.22.1. A quantity that is another one here and there stands in DIFFERS, or fails.
"""

import json
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.optim import LinearLR, PolyLR

from core.configs import load_config
from fully_supervised import manifest

ROWS = json.loads(Path(__file__).with_name("rows.json").read_text())["rows"]

# (row, quantity) -> the log's value, ours, and why ours is another one.
CONVNEXT = ("mmcls.ConvNeXt", "mmpretrain.ConvNeXt", "the package has another name now")
DIFFERS = {
    ("cityscapes/upernet_convnext-b", "model.backbone.type"): CONVNEXT,
    ("ade20k/upernet_convnext-b-640", "model.backbone.type"): CONVNEXT,
}
# mmengine's decay and warm-up end one iteration sooner than mmseg 0.x's, and in a warm-up its
# lowest rate is not damped: relative, of the sum and of the highest rate.
RATES = 5e-5


def flat(node, prefix=""):
    """Nested dicts and lists of dicts as one dict with dotted keys; tuples as lists."""
    found = {}
    if isinstance(node, dict) and node:
        for key, value in node.items():
            found |= flat(value, f"{prefix}{key}.")
    elif isinstance(node, (list, tuple)) and node and isinstance(node[0], dict):
        for i, value in enumerate(node):
            found |= flat(value, f"{prefix}{i}.")
    else:
        found[prefix[:-1]] = list(node) if isinstance(node, tuple) else node
    return found


def network(model):
    """A model's config in one spelling: where the weights come from stands in one place."""
    found = flat(model)
    weights = None
    for key in ("pretrained", "backbone.pretrained", "backbone.init_cfg.checkpoint"):
        value = found.pop(key, None)
        weights = weights or value
    if found.pop("backbone.init_cfg.type", "Pretrained") != "Pretrained":
        raise AssertionError("another kind of initialisation")
    if weights:
        found["weights"] = weights.rpartition("/")[2] if "https://" in weights else weights
    for key in ("train_cfg", "backbone.init_cfg"):
        if not found.get(key, True):
            del found[key]
    return {f"model.{key}": value for key, value in found.items() if not key.startswith("data_pre")}


def steps(transforms):
    """Training transforms without those that only pack."""
    packing = ("PackSegInputs",)
    names = {"RandomResize": "Resize"}
    return [
        {**step, "type": names.get(step["type"], step["type"])}
        for step in transforms
        if step["type"] not in packing
    ]


def of_log(row):
    """What a log's header states, as a flat dict."""
    optimizer = dict(row["optimizer"])
    paramwise = optimizer.pop("paramwise_cfg", None)
    constructor = optimizer.pop("constructor", None)
    rates = rates_of_log(json.dumps(row["lr"]), optimizer["lr"], row["max_iters"])
    facts = dict(
        batch=row["images_per_gpu"] * row["gpus"][0],
        gpus=row["gpus"][0],
        max_iters=row["max_iters"],
        evaluation=row["evaluation_interval"],
        optimizer=optimizer,
        paramwise=paramwise,
        constructor=constructor,
        clip=row["grad_clip"],
        mixed_precision=row["fp16"] is not None,
        rates=rates,
        mean=row["normalisation"]["mean"],
        std=row["normalisation"]["std"],
        rgb=row["normalisation"]["to_rgb"],
        padding=row["padding"],
        train=row["train_transforms"],
        test=dict(scale=row["test"]["scale"], keep=row["test"]["keep"]),
        reduce_zero_label=row["reduce_zero_label"][0],
    )
    return flat(facts) | network(row["model"])


def of_config(cfg, gpus):
    """The same of a config of ours."""
    wrapper = cfg.optim_wrapper
    norm = cfg.model.data_preprocessor
    test = [step for step in cfg.test_dataloader.dataset.pipeline if step["type"] == "Resize"]
    schedule = json.dumps([dict(s) for s in cfg.param_scheduler])
    load = next(s for s in cfg.train_dataloader.dataset.pipeline if s["type"] == "LoadAnnotations")
    facts = dict(
        batch=cfg.train_dataloader.batch_size * gpus,
        gpus=gpus,
        max_iters=cfg.train_cfg.max_iters,
        evaluation=cfg.train_cfg.val_interval,
        optimizer=wrapper.optimizer.to_dict(),
        paramwise=wrapper.get("paramwise_cfg"),
        constructor=wrapper.get("constructor"),
        clip=wrapper.get("clip_grad"),
        mixed_precision=wrapper.type == "AmpOptimWrapper",
        rates=rates_of_config(schedule, wrapper.optimizer.lr, cfg.train_cfg.max_iters),
        mean=norm.mean,
        std=norm.std,
        rgb=norm.bgr_to_rgb,
        padding=dict(size=norm.size, pad_val=norm.pad_val, seg=norm.seg_pad_val),
        train=steps(cfg.train_dataloader.dataset.pipeline),
        test=dict(scale=test[0]["scale"], keep=[step["keep_ratio"] for step in test]),
        reduce_zero_label=load.get("reduce_zero_label", False),
    )
    assert cfg.train_cfg.max_iters == cfg.param_scheduler[-1]["end"]
    return flat(facts) | network(cfg.model.to_dict())


@cache
def rates_of_log(policy, lr, max_iters):
    """Highest rate and sum over the iterations by mmseg 0.x: a poly decay, which the warm-up
    multiplies."""
    p = json.loads(policy)
    assert p["policy"] == "poly" and not p["by_epoch"]
    warm, ratio = p.get("warmup_iters", 0), p.get("warmup_ratio", 0.1)
    rates = []
    for i in range(max_iters):
        rate = (lr - p["min_lr"]) * (1 - i / max_iters) ** p["power"] + p["min_lr"]
        if "warmup" in p and i < warm:
            rate *= 1 - (1 - i / warm) * (1 - ratio)
        rates.append(rate)
    return dict(sum=sum(rates), highest=max(rates))


def stepped(schedulers, lr, max_iters):
    """The rate of every iteration as mmengine steps it: each scheduler changes the last one's."""
    rates = []
    for i in range(max_iters):
        for s in schedulers:
            assert not s["by_epoch"]
            n = s["end"] - s["begin"]
            at = i - s["begin"]
            if not 0 <= at < n:
                continue
            if s["type"] == "LinearLR":
                start, steps = s["start_factor"], n - 1
                lr *= start if at == 0 else 1 + (1 - start) / (steps * start + (at - 1) * (
                    1 - start))  # fmt: skip
            else:
                assert s["type"] == "PolyLR"
                eta = s["eta_min"]
                if at:
                    lr = (lr - eta) * (1 - 1 / (n - at)) ** s["power"] + eta
        rates.append(lr)
    return rates


@cache
def rates_of_config(schedule, lr, max_iters):
    rates = stepped(json.loads(schedule), lr, max_iters)
    return dict(sum=sum(rates), highest=max(rates))


def same(key, theirs, ours):
    return theirs == (pytest.approx(ours, rel=RATES) if key.startswith("rates.") else ours)


def test_there_are_43_rows_and_all_are_models_of_ours():
    assert len(ROWS) == 43 and ROWS.keys() <= manifest.models().keys()


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_what_the_log_says(name):
    model = manifest.model(name)
    theirs, ours = of_log(ROWS[name]), of_config(model.config(), model.gpus)
    found = {
        key: (theirs.get(key), ours.get(key))
        for key in theirs.keys() | ours.keys()
        if not same(key, theirs.get(key), ours.get(key))
    }
    known = {key: pair for (row, key), (*pair, _) in DIFFERS.items() if row == name}
    assert found.keys() == known.keys(), {k: found.get(k) for k in found.keys() ^ known.keys()}
    assert {key: list(pair) for key, pair in found.items()} == known


def test_rates_are_stepped_as_mmengine_does():
    schedulers = [
        dict(type="LinearLR", start_factor=0.1, begin=0, end=20, by_epoch=False),
        dict(type="PolyLR", power=0.9, eta_min=1e-4, begin=0, end=60, by_epoch=False),
    ]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.05)
    made = [
        {"LinearLR": LinearLR, "PolyLR": PolyLR}[s["type"]](
            optimizer, **{k: v for k, v in s.items() if k != "type"}
        )
        for s in schedulers
    ]
    seen = []
    for _ in range(60):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for scheduler in made:
            scheduler.step()
    assert stepped(schedulers, 0.05, 60) == pytest.approx(seen)


def test_a_decay_after_the_warm_up_would_give_more():
    """mmseg 1.x's own config of ConvNeXt-B: the sum of rates that is not the published one."""
    cfg = load_config("mmseg::convnext/convnext-base_upernet_8xb2-amp-160k_ade20k-640x640.py")
    own = rates_of_config(json.dumps([dict(s) for s in cfg.param_scheduler]), 1e-4, 160_000)
    log = of_log(ROWS["ade20k/upernet_convnext-b-640"])
    assert own["sum"] / log["rates.sum"] == pytest.approx(1.009, abs=0.001)
