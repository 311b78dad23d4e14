"""DeepLabV3+ on a ResNet-18 of a quarter of its width, from scratch: for a laptop.

python domain_gen/train_gtav.py --source streets:game
"""

_base_ = "deeplabv3plus_r101.py"

model = dict(
    pretrained=None,
    backbone=dict(depth=18, base_channels=16, stem_channels=16),
    decode_head=dict(in_channels=128, channels=32, c1_in_channels=16, c1_channels=16),
    auxiliary_head=dict(in_channels=64, channels=16),
)
train_cfg = dict(val_interval=10000)  # four evaluations, however short the schedule is made
optim_wrapper = dict(optimizer=dict(lr=4e-3))  # from scratch; 6e-5 is for pretrained backbones
