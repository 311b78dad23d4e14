"""PSPNet on a ResNet-18 of a quarter of its width (0.9 M parameters), from scratch: for a laptop.

python fully_supervised/train.py fully_supervised/configs/pspnet_r18-w16.py --data streets --hl
"""

_base_ = "mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-769x769.py"

model = dict(
    pretrained=None,
    backbone=dict(base_channels=16, stem_channels=16),
    decode_head=dict(in_channels=128, channels=32),
    auxiliary_head=dict(in_channels=64, channels=16),
)
train_cfg = dict(val_interval=20000)  # four evaluations, however short the schedule is made
optim_wrapper = dict(optimizer=dict(lr=0.05))  # from scratch; 0.01 is for pretrained backbones
