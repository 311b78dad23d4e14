"""Mapillary Vistas v1.2 in the 19 classes of Cityscapes, fitted into 2048x1024 for the network and
evaluated at the size of the labels."""

_base_ = "mmseg::_base_/datasets/mapillary_v1.py"

custom_imports = dict(imports=["data.sets.mmseg_datasets"], allow_failed_imports=False)
dataset_type = "MapillaryDataset"
data_root = "data/raw/mapillary"
train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = val_dataloader
