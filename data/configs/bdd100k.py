"""BDD100K, its 10k images with semantic labels, 1280x720, in the 19 classes of Cityscapes."""

_base_ = "mmseg::_base_/datasets/bdd100k.py"

data_root = "data/raw/bdd100k"
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]
val_dataloader = dict(dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
