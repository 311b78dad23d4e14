"""The published network: DeepLabV3+ with U²PL's decoder on ResNet-101 of output stride 8.

The dilations of the last stage, 4, 8 and 16, are the published multi-grid (2, 2, 4) times that of
the stage before (2) for the first block and its own (4) for the others. The stem is that of the
weights which mmseg offers (32, 32, 64 channels; the authors' has 64, 64, 128).
"""

_base_ = "mmseg::deeplabv3plus/deeplabv3plus_r101-d8_4xb2-80k_cityscapes-769x769.py"

custom_imports = dict(imports=["semi_supervised.u2pl.head"], allow_failed_imports=False)
model = dict(
    backbone=dict(multi_grid=(4, 8, 16)),
    decode_head=dict(type="U2PLHead", channels=256, c1_channels=256),
)
