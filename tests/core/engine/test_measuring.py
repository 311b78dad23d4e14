"""What is measured of a model on a data set: against the loss itself, and leaving no trace."""

import copy

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS

from core.convert import to_hl
from core.engine.measuring import StrengthHook, looking, measure, see, spread


@pytest.fixture
def dataset(tiny_data):
    """``dataset(**metainfo)``: 8 images of 48 x 32 in 5 classes."""

    def make(**metainfo):
        config = copy.deepcopy(tiny_data["val_dataloader"]["dataset"])
        config["metainfo"].update(metainfo)
        return DATASETS.build(config)

    return make


@pytest.fixture
def model(tiny_config, build):
    """``model(kind, hl)``: neither its map nor its losses are flat."""

    def make(kind="plain", hl=True):
        cfg = tiny_config(kind)
        model = build(to_hl(cfg, c=0.2, alpha=0.5) if hl else cfg)
        for name, tensor in model.named_parameters():
            if name.endswith("conv_seg.weight"):
                with torch.no_grad():
                    tensor.mul_(1000)
        return model

    return make


@pytest.mark.parametrize("kind", ["plain", "cascade"])
def test_gain_is_the_ratio_of_the_losses(kind, model, dataset):
    """That of HardnessLoss on each whole image, and the wrong pixels are those of the metric."""
    net, images = model(kind), dataset()
    strength, parts = measure(net, images, 100)
    assert (strength.images, strength.alpha, strength.dose) == (8, 0.5, None)
    weighted, plain, right = [], [], []
    with looking(net):
        for i in range(len(images)):
            sample = pseudo_collate([images[i]])
            seen = see(net, sample, images.metainfo)
            scores = seen.scores[None, None]
            label, valid = seen.label[None], seen.label[None] != 255
            hl_map = net.hl_loss.collected_map(scores, valid)
            loss, acc = net.hl_loss.with_map(seen.seg_logits[None], hl_map, label)
            weighted.append(loss.item())
            plain.append(net.hl_loss(seen.seg_logits[None], scores, label).ce.item())
            right.append(acc.item() / 100)
    assert strength.gain == pytest.approx(np.mean(weighted) / np.mean(plain), rel=1e-5)
    assert strength.gain != pytest.approx(1, abs=1e-3) and strength.contrast > 1.1
    assert 0 < strength.auc < 1 and -1 < strength.rank < 1
    pixels = {name: parts[name].accuracy * parts[name].share for name in ("boundary", "inside")}
    assert sum(pixels.values()) == pytest.approx(np.mean(right))  # all are 30 x 48
    assert len(parts["thin"].classes) == 2


def test_measuring_leaves_no_trace(model, dataset):
    net, images = model().train(), dataset()
    before = copy.deepcopy(net.state_dict())
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = measure(net, images, 3)
    assert torch.equal(torch.get_rng_state(), state) and net.training and net.backbone.training
    for key, value in net.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert all(p.grad is None for p in net.parameters())
    assert measure(net, images, 3) == first and first[0].images == 3


@pytest.mark.parametrize(
    ("hl", "metainfo"),
    [
        (False, {}),
        (True, dict(prediction_map=[4, 3, 2, 1, 255])),
        (True, dict(classes=("a", "b", "c", "d"))),  # labels of the fifth count as void
    ],
)
def test_parts_alone_where_there_is_no_map_of_these_classes(hl, metainfo, model, dataset):
    images = dataset()
    images._metainfo.update(metainfo)
    strength, parts = measure(model(hl=hl), images, 2)
    assert strength is None
    assert parts["inside"].share + parts["boundary"].share == pytest.approx(1)
    assert parts["boundary"].accuracy is not None


def test_a_head_with_one_channel_has_parts(tiny_config, build, dataset):
    cfg = tiny_config()
    cfg.model.decode_head.update(num_classes=2, out_channels=1, threshold=0.3)
    cfg.model.auxiliary_head.num_classes = 2
    images = dataset()
    images._metainfo.update(classes=("no", "yes"))
    strength, parts = measure(build(cfg), images, 2)
    assert strength is None and 0 < parts["inside"].accuracy + parts["boundary"].accuracy < 2


def test_the_hook_asks_nothing_of_a_baseline(model):
    class Runner:
        pass

    Runner.model = model(hl=False)
    StrengthHook().after_val_epoch(Runner())  # no data set is read


def test_images_are_spread_over_the_data_set():
    assert spread(5, 500) == [0, 1, 2, 3, 4]
    assert spread(1000, 3) == [0, 500, 999] and spread(10, 1) == [0]
