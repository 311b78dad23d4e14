"""Cityscapes as the paper trains it: 769 x 769 crops of images scaled 0.5 to 2, sliding test."""

_base_ = "mmseg::_base_/datasets/cityscapes_769x769.py"

data_root = "data/raw/cityscapes"
model_test_cfg = dict(mode="slide", crop_size=(769, 769), stride=(513, 513))
