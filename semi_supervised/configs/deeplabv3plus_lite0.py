"""DeepLabV3+ on an EfficientNet-lite0 with ImageNet weights: for a laptop."""

_base_ = "../../core/networks/deeplabv3plus_lite0.py"
