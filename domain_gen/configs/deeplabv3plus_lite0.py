"""DeepLabV3+ on an EfficientNet-lite0 with ImageNet weights, under SGD: for a laptop.

python domain_gen/train_gtav.py --source streets:game --options alpha=auto
"""

_base_ = "../../core/networks/deeplabv3plus_lite0.py"
