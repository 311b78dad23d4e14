"""Config conversion over mmseg's own configs, and what is refused."""

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from core.configs import load_config, walk
from core.convert import to_hl
from core.errors import CannotConvert, ConfigError

# One config per head; every other number of theirs is as mmseg ships it.
CONVERTED = {
    "FCNHead": "fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "PSPHead": "pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-769x769.py",
    "NLHead": "nonlocal_net/nonlocal_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "ANNHead": "ann/ann_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "ASPPHead": "deeplabv3/deeplabv3_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "DepthwiseSeparableASPPHead": "deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py",  # noqa: E501
    "EMAHead": "emanet/emanet_r50-d8_4xb2-80k_cityscapes-512x1024.py",
    "GCHead": "gcnet/gcnet_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "ISAHead": "isanet/isanet_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "OCRHead": "ocrnet/ocrnet_hr18s_4xb2-40k_cityscapes-512x1024.py",
    "UPerHead": "upernet/upernet_r18_4xb2-40k_cityscapes-512x1024.py",
    "DMHead": "dmnet/dmnet_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "DNLHead": "dnlnet/dnl_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "SegformerHead": "segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py",
    "FPNHead": "sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024.py",
    "LRASPPHead": "mobilenet_v3/mobilenet-v3-d8-s_lraspp_4xb4-320k_cityscapes-512x1024.py",
}


def heads_of(cfg):
    head = cfg.model.decode_head
    return list(head) if isinstance(head, (list, tuple)) else [head]


@pytest.mark.slow
@pytest.mark.parametrize("head", CONVERTED)
def test_converted_config_builds_and_only_adds_the_branch(head, shrunk):
    plain = shrunk(f"mmseg::{CONVERTED[head]}")
    before = plain.pretty_text
    cfg = to_hl(plain)
    assert plain.pretty_text == before  # the caller's config is left as it is
    assert heads_of(cfg)[-1].type == head
    assert cfg.custom_imports["imports"][-1] == "core.segmentors"

    base, hl = MODELS.build(plain.model), MODELS.build(cfg.model)
    added = hl.state_dict().keys() - base.state_dict().keys()
    assert added and all(key.startswith("hl_head.") for key in added)
    assert not base.state_dict().keys() - hl.state_dict().keys()


@pytest.mark.slow
@pytest.mark.parametrize(
    "head", ["PSPHead", "EMAHead", "OCRHead", "UPerHead", "SegformerHead", "DNLHead", "FPNHead"]
)
def test_converted_config_trains_a_step(head, shrunk, tiny_batch):
    cfg = to_hl(shrunk(f"mmseg::{CONVERTED[head]}"))
    model = MODELS.build(cfg.model).train()
    losses = model.loss(*tiny_batch(classes=19, size=(64, 96)))
    sum(value for key, value in losses.items() if "loss" in key).backward()
    for name, p in model.named_parameters():
        if p.requires_grad:
            assert p.grad is not None and torch.isfinite(p.grad).all(), name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("encnet/encnet_r50-d8_4xb2-40k_cityscapes-512x1024.py", "it has 2 losses|loss of its own"),
        ("danet/danet_r50-d8_4xb2-40k_cityscapes-512x1024.py", "it computes a loss of its own"),
        ("point_rend/pointrend_r50_4xb2-80k_cityscapes-512x1024.py", r"decode_head\[1\].*loss of"),
        ("stdc/stdc1_4xb12-80k_cityscapes-512x1024.py", "sampler OHEMPixelSampler"),
        ("fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024.py", "binary"),
        ("knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512.py", "loss of its own"),
        ("segmenter/segmenter_vit-t_mask_8xb1-160k_ade20k-512x512.py", "constant for one channel"),
        ("pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes.py", "losses; HL weights a single"),
        ("unet/unet-s5-d16_deeplabv3_4xb4-ce-1.0-dice-3.0-40k_drive-64x64.py", "2 losses"),
    ],
)
def test_what_cannot_be_weighted_is_refused_with_the_reason(name, reason):
    with pytest.raises(CannotConvert, match=reason) as error:
        to_hl(load_config(f"mmseg::{name}"))
    assert "\n" not in str(error.value)


def test_options_reach_the_model_and_wrong_ones_are_refused(tiny_config, build):
    model = build(to_hl(tiny_config(), c=0.5, alpha=0.1, normalize="batch", weighting="ce-scaled"))
    assert (model.hl_loss.c, model.hl_loss.alpha) == (0.5, 0.1)
    assert (model.hl_loss.normalize, model.hl_loss.weighting) == ("batch", "ce-scaled")
    with pytest.raises(CannotConvert, match="gamma"):
        to_hl(tiny_config(), gamma=2.0)
    with pytest.raises(CannotConvert, match="normalize must be one of"):
        to_hl(tiny_config(), normalize="pixel")


def test_twice_is_refused(tiny_config):
    with pytest.raises(CannotConvert, match="HLEncoderDecoder"):
        to_hl(to_hl(tiny_config()))


def test_learning_rate_factors_of_the_head_hold_for_the_branch(tiny_config):
    cfg = tiny_config()
    cfg.optim_wrapper.paramwise_cfg = dict(
        custom_keys={"decode_head": dict(lr_mult=10.0), "backbone": dict(lr_mult=0.1)}
    )
    keys = to_hl(cfg).optim_wrapper.paramwise_cfg["custom_keys"]
    assert keys["hl_head"] == dict(lr_mult=10.0)
    assert set(keys) == {"decode_head", "backbone", "hl_head"}


def test_custom_imports_of_a_config_are_kept(tiny_config):
    cfg = tiny_config()
    cfg.custom_imports = dict(imports="my.module", allow_failed_imports=False)
    assert to_hl(cfg).custom_imports["imports"] == ["my.module", "core.segmentors"]


def test_class_weights_of_the_head_are_kept(tiny_config, build):
    cfg = tiny_config()
    cfg.model.decode_head.loss_decode.class_weight = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert build(to_hl(cfg)).hl_loss.class_weight.tolist() == [1, 2, 3, 4, 5]


def test_a_config_without_a_model_is_refused():
    with pytest.raises(CannotConvert, match="no model"):
        to_hl(Config(dict(train_cfg=dict(max_iters=1))))


def test_sync_bn_and_pretrained_are_nowhere_left(shrunk):
    cfg = shrunk("mmseg::ocrnet/ocrnet_hr18s_4xb2-40k_cityscapes-512x1024.py")
    text = cfg.model.pretty_text if hasattr(cfg.model, "pretty_text") else str(cfg.model)
    assert "SyncBN" not in text and "Pretrained" not in text

    found = []
    walk(cfg.model, lambda node: found.append(node.get("pretrained")))
    assert not any(found)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mmseg::pspnet/no_such.py", "mmseg ships no such config; in that folder: pspnet_"),
        ("nowhere/config.py", "nowhere/config.py: no such config file"),
    ],
)
def test_missing_configs_are_named(name, words):
    with pytest.raises(ConfigError, match=words):
        load_config(name)
