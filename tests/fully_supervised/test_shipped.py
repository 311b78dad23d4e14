"""Configs that mmseg ships train: here one of each kind of decode head that no row of the tables
has (those: ``test_smoke.py``); all with ``python fully_supervised/smoke.py --shipped``."""

from pathlib import Path

import pytest
from mmengine.config import Config

from core.configs import mmseg_configs
from core.errors import UserError
from fully_supervised import manifest, smoke

# The smallest of each kind; the baseline where HL is refused.
TRAINED = {
    "ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024.py": "baseline",
    "pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes.py": "baseline",
    "fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024.py": "baseline",
    "segmenter/segmenter_vit-t_mask_8xb1-160k_ade20k-512x512.py": "baseline",
    "segnext/segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512.py": "hl",
    "sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024.py": "hl",
    "dnlnet/dnl_r50-d8_4xb2-40k_cityscapes-512x1024.py": "hl",
    "danet/danet_r50-d8_4xb2-40k_cityscapes-512x1024.py": "baseline",
    "dmnet/dmnet_r50-d8_4xb2-40k_cityscapes-512x1024.py": "hl",
    "encnet/encnet_r50-d8_4xb2-40k_cityscapes-512x1024.py": "baseline",
    "apcnet/apcnet_r50-d8_4xb2-40k_cityscapes-512x1024.py": "hl",
    "knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512.py": "baseline",
    "dpt/dpt_vit-b16_8xb2-160k_ade20k-512x512.py": "hl",
    "setr/setr_vit-l_pup_8xb2-160k_ade20k-512x512.py": "hl",
    "setr/setr_vit-l-mla_8xb1-160k_ade20k-512x512.py": "hl",
}
# Of these heads none can be built without another package.
ABSENT = {"PointHead", "MaskFormerHead", "Mask2FormerHead", "VPDDepthHead", "SideAdapterCLIPHead"}


def shipped(name):
    return manifest.Model(Path(name).stem, name, f"mmseg::{name}", is_own=True)


def kind(model):
    cfg = model.config()
    return cfg.model.type, smoke._last_head(cfg).get("type")


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_it_trains_in_hl_where_it_can_else_as_it_is(name, tmp_path):
    model = shipped(name)
    try:
        if TRAINED[name] == "baseline":
            with pytest.raises(UserError):
                smoke.run(model, "hl", tmp_path)
        smoke.run(model, TRAINED[name], tmp_path)
    finally:
        smoke.forget()


@pytest.mark.slow
def test_every_kind_is_trained_here_or_as_a_row():
    """By the first config of every folder and every model that others begin from."""
    kinds = {kind(manifest.model(name)) for name in smoke.one_per_architecture()}
    kinds |= {kind(shipped(name)) for name in TRAINED}
    root = mmseg_configs()
    names = [min(folder.glob("*.py")) for folder in root.iterdir() if folder.name != "_base_"]
    found = set()
    for path in [*names, *root.glob("_base_/models/*.py")]:
        cfg = Config.fromfile(path, import_custom_modules=False)
        if head := smoke._last_head(cfg).get("type"):
            found.add((cfg.model.type, head))
    assert len(found) >= 34
    assert {head for _, head in found - kinds} == ABSENT


def test_one_of_each_pair_comes_first_and_what_takes_long_last(tmp_path, monkeypatch):
    def write(name, backbone, head):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        parts = dict(backbone=dict(type=backbone), decode_head=dict(type=head))
        path.write_text(f"model = {dict(type='EncoderDecoder', **parts)!r}")

    write("_base_/base.py", "A", "X")
    write("vit/v.py", "ViT", "X")
    write("a/short.py", "A", "X")
    write("a/longer.py", "A", "X")
    write("b/b_much_longer.py", "B", "X")
    monkeypatch.setattr(smoke, "mmseg_configs", lambda: tmp_path)
    names = ["short", "b_much_longer", "v", "longer"]
    assert [model.name for model in smoke.shipped()] == names
    assert [model.name for model in smoke.shipped(2)] == names[:2]
