"""iSAID in patches, as the paper trains it: 896 x 896 crops, whole patches in the test."""

_base_ = "mmseg::_base_/datasets/isaid.py"

data_root = "data/raw/isaid"
