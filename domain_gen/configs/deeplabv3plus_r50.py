"""DeepLabV3+ on ResNet-50-v1c, the backbone that most papers on domain generalisation report.

torchrun --nproc_per_node 4 domain_gen/train_gtav.py --config deeplabv3plus_r50 --launcher pytorch
"""

_base_ = "deeplabv3plus_r101.py"

model = dict(pretrained="open-mmlab://resnet50_v1c", backbone=dict(depth=50))
