"""DeepLabV3+ on an EfficientNet-lite0 with ImageNet weights: for a laptop.

python fully_supervised/train.py deeplabv3plus_lite0 --data streets --hl --options alpha=auto
"""

_base_ = "../../core/networks/deeplabv3plus_lite0.py"
