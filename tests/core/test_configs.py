"""Configs that checkpoints carry as text: read back whole, and never run."""

import importlib

import pytest
import torch
from mmengine.config import Config

from core.configs import changes, imports_of, load_config, parse_config
from core.convert import to_hl
from core.errors import ConfigError
from core.export import export_checkpoint


@pytest.mark.parametrize(
    "name",
    [
        "mmseg::deeplabv3plus/deeplabv3plus_r101-d8_4xb2-40k_cityscapes-512x1024.py",
        "mmseg::segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py",
        "mmseg::ocrnet/ocrnet_hr18s_4xb2-40k_cityscapes-512x1024.py",
    ],
)
def test_a_written_config_is_read_back_whole(name):
    cfg = to_hl(load_config(name), c=0.1)
    cfg.extra = dict(low=-1e-6, top=float("inf"), none=None, names=("a", "b"), yes=True)
    cfg.odd = {"key with. dots": 1, 3: [dict(a=(1,))]}
    assert parse_config(cfg.pretty_text).to_dict() == cfg.to_dict()


def test_modules_that_have_moved_are_found():
    """What the configs of checkpoints of version 0.4 import."""
    names = ["core.segmentors", "core.focal", "core.collected", "data.camvid_dataset",
             "data.gtav_dataset", "semi_supervised.u2pl.pairs", "my.data.x"]  # fmt: skip
    cfg = parse_config(f"custom_imports = dict(imports={names!r}, allow_failed_imports=False)")
    moved = imports_of(cfg)
    assert moved == ["core.segmentors", "core.rivals.focal", "core.rivals.collected",
                     "data.sets.mmseg_datasets", "data.sets.mmseg_datasets",
                     "semi_supervised.u2pl.pairs", "my.data.x"]  # fmt: skip
    for name in moved[:-1]:
        importlib.import_module(name)
    assert imports_of(parse_config("custom_imports = dict(imports='a.b')")) == ["a.b"]


def test_changes_are_named_key_by_key():
    before = Config(dict(a=dict(b=1, c=2), d=[1, 2], e=dict(f=1)))
    after = Config(dict(a=dict(b=1, c=3), d=[1, 2, 3], g=dict(h=4)))
    assert changes(before, after) == {
        "a.c": (2, 3), "d": ([1, 2], [1, 2, 3]), "e.f": (1, None), "g.h": (None, 4)}  # fmt: skip
    assert changes(before, before) == {}


@pytest.mark.parametrize(
    "text",
    [
        "import os",
        "a = __import__('os').getcwd()",
        "a = [x for x in (1, 2)]",
        "a = dict(b=open('/dev/null'))",
        "a = b",
        "a.b = 1",
        "a = (",
    ],
)
def test_code_is_refused(text):
    with pytest.raises(ConfigError, match="cannot be read"):
        parse_config(text)


def test_export_does_not_run_the_config_of_a_checkpoint(tmp_path):
    spoiled = tmp_path / "was_run"
    code = f"model = dict(type=open({str(spoiled)!r}, 'w').name)"
    state = {"a": torch.zeros(1), "hl_head.a": torch.zeros(1)}
    torch.save(dict(state_dict=state, meta=dict(cfg=code)), tmp_path / "x.pth")
    with pytest.raises(ConfigError):
        export_checkpoint(tmp_path / "x.pth", tmp_path / "y.pth")
    assert not spoiled.exists()
