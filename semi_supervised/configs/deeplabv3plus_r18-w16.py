"""mmseg's DeepLabV3+ on a ResNet-18 of a quarter of its width, from scratch: for a laptop."""

_base_ = "mmseg::deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-769x769.py"

model = dict(
    pretrained=None,
    backbone=dict(base_channels=16, stem_channels=16),
    decode_head=dict(in_channels=128, channels=32, c1_in_channels=16, c1_channels=16),
    auxiliary_head=dict(in_channels=64, channels=16),
)
