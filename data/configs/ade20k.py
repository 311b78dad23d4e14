"""ADE20K as the paper trains it: 512 x 512 crops, whole images in the test."""

_base_ = "mmseg::_base_/datasets/ade20k.py"

data_root = "data/raw/ade20k"
