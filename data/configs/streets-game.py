"""The embedded street scenes in their game look, in the format of GTAV."""

_base_ = "streets.py"

custom_imports = dict(imports=["data.sets.mmseg_datasets"], allow_failed_imports=False)
dataset_type = "GTAVDataset"
data_root = "data/raw/streets-game"
data_prefix = dict(_delete_=True, img_path="images", seg_map_path="train_ids")
train_dataloader = dict(
    dataset=dict(type=dataset_type, data_root=data_root, data_prefix=data_prefix, split="train")
)
val_dataloader = dict(
    dataset=dict(type=dataset_type, data_root=data_root, data_prefix=data_prefix, split="val")
)
test_dataloader = val_dataloader
