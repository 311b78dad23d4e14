"""DeepLabV3+ on ResNet-101-v1c, trained on GTAV as the authors' released configuration says: AdamW,
40,000 iterations of 4 x 2 crops of 512 x 512.

torchrun --nproc_per_node 4 domain_gen/train_gtav.py --launcher pytorch
Published mIoU on Cityscapes at 1024x512: 36.56, with HL 43.06 (Table 11); ours: not trained yet.
"""

_base_ = "mmseg::deeplabv3plus/deeplabv3plus_r101-d8_4xb2-40k_cityscapes-512x1024.py"

optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
)
# Both factors from the start, as mmseg 0.x multiplies them.
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, begin=0, end=1500, by_epoch=False),
    dict(type="PolyLR", power=1.0, eta_min=0.0, begin=0, end=40000, by_epoch=False),
]
