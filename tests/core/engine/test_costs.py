"""What HL takes: its parameters, and nothing at inference; a branch that runs is found."""

from __future__ import annotations

import io
import json
import time
from types import SimpleNamespace

import pytest
import torch

from core.arms import Arm
from core.engine import costs
from core.engine.costs import Setting
from core.errors import CannotConvert, ConfigError

SETTING = Setting((48, 48), 2, 1)


@pytest.mark.parametrize("kind", ["plain", "cascade"])
def test_inference_takes_nothing_extra(tiny_config, one_thread, kind):
    found = costs.inference(tiny_config(kind), SETTING)
    assert found.is_free
    assert found.params == found.plain_params + found.branch_params
    assert found.branch_params > 0 and found.flops > 0 and found.operators > 20
    assert len(found.ratios) == 3


def test_a_branch_that_runs_at_inference_is_found(tiny_config, build, one_thread):
    from core.convert import to_hl

    hl, plain = build(to_hl(tiny_config())), build(tiny_config())
    assert costs.compare(hl, plain, SETTING, time.process_time).is_free
    decode = hl.encode_decode
    hl.encode_decode = lambda inputs, metas: (
        hl.hl_logits(hl.extract_feat(inputs), (64, 64)), decode(inputs, metas))[1]  # fmt: skip
    found = costs.compare(hl, plain, SETTING, time.process_time)
    assert not found.is_free
    assert not found.same_operators and found.flops > found.plain_flops and found.same_outputs


def test_other_weights_are_found(tiny_config, build, one_thread):
    from core.convert import to_hl

    hl, plain = build(to_hl(tiny_config())), build(tiny_config(), seed=1)
    found = costs.compare(hl, plain, SETTING, time.process_time)
    assert found.same_operators and not found.same_outputs and not found.is_free


def test_the_branch_adds_its_parameters_in_training(tiny_config, one_thread):
    cfg = tiny_config()
    base, hl = (costs.training(cfg, Arm.parse(arm), SETTING) for arm in ("baseline", "hl"))
    found = costs.inference(cfg, SETTING)
    assert (base.params, hl.params) == (found.plain_params, found.params)
    assert base.seconds > 0 and base.device == costs.device_name()
    assert cfg.model.type == "EncoderDecoder"  # left as it is


def test_the_configs_own_optimizer_trains(tiny_config, monkeypatch, one_thread):
    seen = []
    init = torch.optim.AdamW.__init__
    monkeypatch.setattr(torch.optim.AdamW, "__init__",
                        lambda *a, **k: (seen.append(k["betas"]), init(*a, **k))[1])  # fmt: skip
    cfg = tiny_config()
    cfg.optim_wrapper.optimizer = dict(type="AdamW", lr=1.0, betas=(0.5, 0.9))
    costs.training(cfg, Arm.parse("baseline"), SETTING)
    assert seen == [(0.5, 0.9)]


def test_a_config_without_an_hl_version_is_refused(tiny_config):
    cfg = tiny_config()
    cfg.model.decode_head.loss_decode = dict(type="DiceLoss")
    with pytest.raises(CannotConvert, match="DiceLoss"):
        costs.inference(cfg, SETTING)


def test_why_a_process_failed_is_its_last_line(tiny_config, monkeypatch, capsys, one_thread):
    cfg = tiny_config()
    cfg.model.decode_head.loss_decode = dict(type="DiceLoss")
    asked = dict(cfg=cfg.pretty_text, arm="hl", size=[48, 48], batch=2, steps=1)
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(asked)))
    with pytest.raises(SystemExit, match=r"^error: decode_head .FCNHead.: .*DiceLoss"):
        costs.child()

    def run(*_, **__):
        return SimpleNamespace(returncode=1, stderr="Traceback\nerror: too small", stdout="")

    monkeypatch.setattr(costs.subprocess, "run", run)
    with pytest.raises(ConfigError, match=r"^too small$"):
        costs.alone(cfg, Arm.parse("hl"), SETTING)


@pytest.mark.slow
def test_a_process_of_its_own_finds_the_same(tiny_config, tmp_path, monkeypatch):
    (tmp_path / "core").mkdir()  # is not taken for ours
    (tmp_path / "core" / "__init__.py").write_text("raise RuntimeError")
    monkeypatch.chdir(tmp_path)
    found = costs.alone(tiny_config(), None, SETTING)
    assert found.is_free and len(found.ratios) == 3
    assert found.params == costs.inference(tiny_config(), SETTING).params
