"""Channels last in memory."""

from types import SimpleNamespace

import torch
from torch import nn

from core.engine.layout import ChannelsLastHook


def test_the_figures_are_the_same_and_so_is_the_checkpoint():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 6, 3, groups=6))
    x = torch.randn(2, 3, 9, 11)
    plain = model(x)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    weight = model[2].weight
    ChannelsLastHook().before_train(SimpleNamespace(model=model))
    assert model[2].weight is weight  # what the optimizer holds
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items()
               if "running" not in key and "num_batches" not in key)  # fmt: skip
    out = model(x)
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(out, plain, atol=1e-6)
