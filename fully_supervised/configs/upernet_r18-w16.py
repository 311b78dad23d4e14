"""UPerNet on a ResNet-18 of a quarter of its width (0.9 M parameters), from scratch: for a laptop.

python fully_supervised/train.py fully_supervised/configs/upernet_r18-w16.py --data streets --hl
"""

_base_ = "mmseg::upernet/upernet_r18_4xb2-40k_cityscapes-512x1024.py"

model = dict(
    pretrained=None,
    backbone=dict(base_channels=16, stem_channels=16),
    decode_head=dict(in_channels=[16, 32, 64, 128], channels=32),
    auxiliary_head=dict(in_channels=64, channels=16),
)
train_cfg = dict(val_interval=10000)  # four evaluations, however short the schedule is made
optim_wrapper = dict(optimizer=dict(lr=0.05))  # from scratch; 0.01 is for pretrained backbones
