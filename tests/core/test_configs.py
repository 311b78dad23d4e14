"""Configs that checkpoints carry as text: read back whole, and never run."""

import importlib

import pytest
import torch
from mmengine.config import Config

from core.configs import changes, imports_of, load_config, merge_options, parse_config
from core.convert import to_hl
from core.errors import ConfigError
from core.export import export_checkpoint
from core.schedule import save_often, scale_schedule


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


OF_0_5 = """
custom_hooks = [dict(type='EMAHook'), dict(type='FiniteLossHook'), dict(type='ProgressHook')]
default_hooks = dict(checkpoint=dict(type='ResumableCheckpointHook', interval=3))
train_dataloader = dict(
    sampler=dict(type='PositionSampler', shuffle=True),
    dataset=dict(type='SeededDataset', dataset=dict(type='CheckedDataset',
                 dataset=dict(type='BaseSegDataset', data_root='a'))))
val_dataloader = dict(dataset=dict(type='CheckedDataset', dataset=dict(type='BaseSegDataset')))
val_evaluator = dict(type='ClassIoUMetric', iou_metrics=['mIoU'])
"""


def test_what_former_versions_put_into_a_config_is_taken_out():
    cfg = parse_config(OF_0_5)
    sampler, dataset = cfg.train_dataloader.sampler, cfg.train_dataloader.dataset
    assert sampler == dict(type="InfiniteSampler", shuffle=True)
    assert dataset == dict(type="BaseSegDataset", data_root="a")
    assert cfg.val_dataloader.dataset == dict(type="BaseSegDataset")
    assert cfg.val_evaluator.type == "IoUMetric" and cfg.custom_hooks == [dict(type="EMAHook")]
    assert cfg.default_hooks.checkpoint == dict(type="CheckpointHook", interval=3)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("list.json", "[1, 2]", "cannot be read"),
        ("broken.json", '{"model": ', "cannot be read: JSONDecodeError"),
        ("raises.py", "raise ValueError('on purpose')", "cannot be read: ValueError: on purpose"),
        ("syntax.py", "model = dict(", "cannot be read: SyntaxError"),
        ("base.py", "_base_ = 'nowhere.py'", "cannot be read: .*nowhere"),
        ("ending.txt", "model = 1", "cannot be read"),
    ],
)
def test_a_config_that_cannot_be_read_is_one_line(name, text, words, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=rf"{name}: {words}") as caught:
        load_config(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"modle.type": "X"},
            "--cfg-options modle.type: there is no setting modle; did you mean model",
        ),
        ({"optimzer.lr": 1}, "there is no setting optimzer; did you mean optim_wrapper"),
        ({"optimizer.lr": 1}, "optimizer is a variable of the config, which has taken its value"),
        ({"data_root": "x"}, "--cfg-options data_root: a loader has taken it already; give --data"),
        ({"param_scheduler.7.end": 3}, r"--cfg-options param_scheduler\.7\.end=3: "),
        ({"model.type.x": 3}, r"--cfg-options model\.type\.x=3: "),
    ],
)
def test_an_option_that_leads_nowhere_is_named(options, words, tiny_config):
    with pytest.raises(ConfigError, match=words):
        merge_options(Config(dict(tiny_config().to_dict(), optimizer=dict(lr=2))), options)


def test_options_are_merged(tiny_config):
    cfg = tiny_config()
    merge_options(cfg, {"load_from": "x.pth", "param_scheduler.0.power": 2.0, "vis_backends": []})
    assert cfg.load_from == "x.pth" and cfg.param_scheduler[0].power == 2.0


def test_a_short_try_is_evaluated_and_saved_once(tiny_config):
    def shortened(max_iters, **more):
        cfg = load_config("mmseg::_base_/schedules/schedule_20k.py")
        cfg.merge_from_dict(more)
        scale_schedule(cfg, max_iters)
        return cfg.train_cfg.val_interval, cfg.default_hooks.checkpoint.interval

    assert shortened(12) == (12, 12)
    assert shortened(100) == (50, 50)
    assert shortened(10000) == (1000, 1000)  # shares are kept: ten in all
    assert shortened(12, train_cfg=dict(val_interval=4)) == (4, 12)  # the user's, more often


def test_every_length_of_a_schedule_shrinks():
    cfg = Config(dict(train_cfg=dict(max_iters=1000, dynamic_intervals=[(800, 100)]),
                      param_scheduler=[
        dict(type="MultiStepLR", milestones=[500, 900], begin=100, end=None),
        dict(type="StepLR", step_size=100), dict(type="CosineRestartLR", periods=[400, 600]),
        dict(type="OneCycleLR", total_steps=1000), dict(type="ExponentialLR", gamma=0.99),
    ]))  # fmt: skip
    scale_schedule(cfg, 10)
    first, step, cosine, cycle, decay = cfg.param_scheduler
    assert (first.milestones, first.begin, first.end) == ([5, 9], 1, 10)
    assert (step.step_size, cosine.periods, cycle.total_steps) == (1, [4, 6], 10)
    assert decay.gamma == pytest.approx(0.99**100)  # as small at the end
    assert cfg.train_cfg.dynamic_intervals == [(8, 1)]


LAZY = """
from mmengine.hooks import CheckpointHook
from mmseg.models import EncoderDecoder, FCNHead, ResNetV1c
model = dict(type=EncoderDecoder, backbone=dict(type=ResNetV1c), decode_head=dict(type=FCNHead))
default_hooks = dict(checkpoint=dict(type=CheckpointHook, interval=3))
"""


def test_classes_in_a_config_are_named(tmp_path):
    """mmengine's new kind of config."""
    (tmp_path / "lazy.py").write_text(LAZY)
    cfg = load_config(tmp_path / "lazy.py")
    assert (cfg.model.type, cfg.model.decode_head.type) == ("EncoderDecoder", "FCNHead")
    assert cfg.default_hooks.checkpoint.type == "CheckpointHook"
    assert to_hl(cfg).model.type == "HLEncoderDecoder"


def test_a_schedule_is_one_a_list_or_by_optimizer():
    one = dict(type="PolyLR", begin=0, end=100, by_epoch=False)
    for given in (one, [one], dict(a=[one], b=one)):
        cfg = Config(dict(train_cfg=dict(max_iters=100), param_scheduler=given))
        scale_schedule(cfg, 10)
        ends = [int(x) for x in __import__("re").findall(r"'end': (\d+)", str(cfg.to_dict()))]
        assert ends == [10] * len(ends) and ends
    with pytest.raises(ConfigError, match=r"shortened by --cfg-options train_cfg\.max_epochs"):
        scale_schedule(Config(dict(train_cfg=dict(max_epochs=3))), 10)


def test_checkpoints_of_ours_come_as_we_say_whatever_a_base_config_does():
    cfg = load_config("mmseg::_base_/schedules/schedule_80k.py")
    assert cfg.default_hooks.checkpoint.interval == 8000
    save_often(cfg)
    kept = dict(type="CheckpointHook", by_epoch=False, max_keep_ckpts=2)
    assert cfg.default_hooks.checkpoint == kept
    merge_options(cfg, {"default_hooks.checkpoint.interval": 5})  # the user's is kept
    assert cfg.default_hooks.checkpoint == dict(kept, interval=5)
