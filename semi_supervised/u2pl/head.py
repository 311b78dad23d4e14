"""The decoder of the published network, and the representation head of any network."""

from __future__ import annotations

from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads import ASPPHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from core.errors import ConfigError
from core.hl_head import classifier_channels


def _three_convs(in_channels: int, channels: int, out_channels: int, **conv: Any) -> nn.Sequential:
    """3x3, 3x3, 1x1; a dropout of whole channels after the first two, as published."""
    layers = []
    for width in (in_channels, channels):
        layers += [ConvModule(width, channels, 3, padding=1, **conv), nn.Dropout2d(0.1)]
    return nn.Sequential(*layers, nn.Conv2d(channels, out_channels, 1))


@MODELS.register_module()
class U2PLHead(ASPPHead):
    """U²PL's DeepLabV3+ decoder: ASPP and low-level features side by side, then three convolutions.

    Unlike mmseg's ``DepthwiseSeparableASPPHead`` the convolutions are whole, and the classifier
    (``conv_seg``) is 3x3, 3x3, 1x1 of ``channels`` planes.

    Args:
        c1_in_channels: channels of the first feature map of the backbone.
        c1_channels: what they are brought to.
    """

    def __init__(self, c1_in_channels: int, c1_channels: int, **kwargs: Any) -> None:
        # mmseg would draw every weight of the classifier from N(0, 0.01), BatchNorm's too.
        super().__init__(**(dict(init_cfg=None) | kwargs))
        conv = dict(norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
        self.c1_bottleneck = ConvModule(c1_in_channels, c1_channels, 1, **conv)
        self.conv_seg = _three_convs(
            self.channels + c1_channels, self.channels, self.out_channels, **conv
        )

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Features of the backbone -> logits (N, C, h, w) at the size of the first of them."""
        c1 = self.c1_bottleneck(inputs[0])
        x = self._forward_feature(inputs)
        if self.dropout is not None:
            x = self.dropout(x)
        x = resize(x, size=c1.shape[2:], mode="bilinear", align_corners=self.align_corners)
        return self.conv_seg(torch.cat([c1, x], dim=1))


def representation_head(decode_head: BaseDecodeHead, planes: int) -> nn.Sequential:
    """The head that gives ``planes`` values a pixel from what the classifier reads.

    Raises:
        ConfigError: ``decode_head`` has no ``conv_seg``.
    """
    width = classifier_channels(decode_head)
    if width is None:
        name = type(decode_head).__name__
        raise ConfigError(f"{name} has no conv_seg, whose input the representation head reads")
    return _three_convs(width, planes, planes, norm_cfg=decode_head.norm_cfg)
