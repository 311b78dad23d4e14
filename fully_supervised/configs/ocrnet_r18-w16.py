"""OCRNet on a ResNet-18 of a quarter of its width (0.8 M parameters), from scratch: for a laptop.

python fully_supervised/train.py fully_supervised/configs/ocrnet_r18-w16.py --data streets --hl
"""

_base_ = "mmseg::ocrnet/ocrnet_r101-d8_4xb2-40k_cityscapes-512x1024.py"

norm_cfg = dict(type="SyncBN", requires_grad=True)
model = dict(
    pretrained=None,
    backbone=dict(base_channels=16, stem_channels=16, depth=18),
    # A list replaces that of the base as a whole.
    decode_head=[
        dict(
            type="FCNHead",
            in_channels=64,
            in_index=2,
            channels=16,
            num_convs=1,
            concat_input=False,
            dropout_ratio=0.1,
            num_classes=19,
            norm_cfg=norm_cfg,
            align_corners=False,
            loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=0.4),
        ),
        dict(
            type="OCRHead",
            in_channels=128,
            in_index=3,
            channels=32,
            ocr_channels=16,
            dropout_ratio=0.1,
            num_classes=19,
            norm_cfg=norm_cfg,
            align_corners=False,
            loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
        ),
    ],
)
train_cfg = dict(val_interval=10000)  # four evaluations, however short the schedule is made
optim_wrapper = dict(optimizer=dict(lr=0.05))  # from scratch; 0.01 is for pretrained backbones
