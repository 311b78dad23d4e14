"""How many processes a launcher started, and what follows for a config."""

import inspect

import mmengine.dist.utils
import pytest
import torch

from core.configs import changes
from core.engine.launch import world_size
from core.engine.prepare import prepare, seed_of
from core.errors import ConfigError

VARIABLES = {"pytorch": "WORLD_SIZE", "slurm": "SLURM_NTASKS", "mpi": "OMPI_COMM_WORLD_SIZE"}


@pytest.mark.parametrize("launcher", VARIABLES)
def test_processes_are_counted_before_mmengine_joins_them(launcher, tiny_config, monkeypatch):
    """By the variable that mmengine reads; several on GPUs keep SyncBN."""
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    assert world_size(launcher) == 1
    monkeypatch.setenv(VARIABLES[launcher], "4")
    assert world_size(launcher) == 4 and world_size("none") == 1
    if launcher != "pytorch":  # torch itself reads that one
        reader = getattr(mmengine.dist.utils, f"_init_dist_{launcher}")
        assert f"os.environ['{VARIABLES[launcher]}']" in inspect.getsource(reader)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name, norm in ((launcher, "SyncBN"), ("none", "BN")):
        given = tiny_config()
        given.model.backbone.norm_cfg.type = "SyncBN"
        cfg = prepare(given, work_dir="x", launcher=name)
        assert cfg.model.backbone.norm_cfg.type == norm
        assert cfg.model.decode_head.norm_cfg.type == "BN"  # as it was written


def test_only_declared_keys_change(tiny_config, tiny_data):
    """Loaders, hooks, metrics and backends stay as they were written; the config is left alone."""
    cfg = tiny_config()
    cfg.merge_from_dict(tiny_data)
    cfg.randomness = dict(seed=7, deterministic=True)
    cfg.vis_backends = [dict(type="WandbVisBackend")]
    cfg.custom_hooks = [dict(type="EMAHook")]
    cfg.work_dir, cfg.resume = "old", True
    before = cfg.to_dict()
    run = prepare(cfg, work_dir="new", title="t")
    assert cfg.to_dict() == before
    found = {key: new for key, (_, new) in changes(cfg, run).items()}
    assert found == dict(work_dir="new", title="t", default_scope="mmseg", launcher="none",
                         verbose=False, changed_by_engine=["work_dir: 'old' -> 'new'"])  # fmt: skip
    assert run.resume and run.randomness.seed == 7


def test_a_prepared_config_is_not_prepared_twice(tiny_config, tiny_data):
    """A checkpoint carries one."""
    cfg = tiny_config()
    cfg.merge_from_dict(tiny_data)
    once = prepare(cfg, work_dir="x", title="t")
    twice = prepare(once, work_dir="x", title="t")
    assert twice.to_dict() | dict(changed_by_engine=[]) == once.to_dict() | dict(
        changed_by_engine=[])  # fmt: skip


def test_what_cannot_be_prepared_is_one_line(tiny_config):
    cfg = tiny_config()
    for seed in (-1, 2**32, 1.5):
        cfg.randomness = dict(seed=seed)
        with pytest.raises(ConfigError, match=r"randomness\.seed=.*: give a whole number, 0 to 4"):
            prepare(cfg, work_dir="x")
    cfg.pop("model")
    with pytest.raises(ConfigError, match="the config has no model"):
        prepare(cfg, work_dir="x")


def test_two_seeds_are_refused(tiny_config):
    cfg = tiny_config()
    assert seed_of(cfg, None) == 0 and seed_of(cfg, 3) == 3
    cfg.randomness = dict(seed=5)
    assert seed_of(cfg, None) == seed_of(cfg, 5) == 5
    with pytest.raises(ConfigError, match=r"--seed is 3, but the config says randomness\.seed=5"):
        prepare(cfg, work_dir="x", seed=3)


def test_a_custom_import_that_fails_is_one_line(tiny_config):
    cfg = tiny_config()
    cfg.custom_imports = dict(imports=["no.such.module"], allow_failed_imports=False)
    with pytest.raises(ConfigError, match=r"custom_imports: .*no\.such\.module"):
        prepare(cfg, work_dir="x")


def test_padding_that_the_loss_does_not_ignore_is_told(tiny_config, tiny_data, capsys):
    cfg = tiny_config()
    cfg.merge_from_dict(tiny_data)
    prepare(cfg, work_dir="x")
    assert capsys.readouterr().err == ""
    cfg.model.decode_head.ignore_index = 9
    prepare(cfg, work_dir="x")
    assert "padded with 255 (model.data_preprocessor.seg_pad_val)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optim_wrapper.optimizer.lr": float("nan")}, r"optimizer\.lr=nan: give a finite number"),
        ({"optim_wrapper.optimizer.lr": float("inf")}, r"optim_wrapper\.optimizer\.lr=inf"),
        ({"optim_wrapper.optimizer.lr": "x"}, r"optimizer\.lr='x': give a finite number"),
        ({"optim_wrapper.optimizer.lr": True}, r"optimizer\.lr=True"),
        ({"optim_wrapper.optimizer.momentum": float("nan")}, r"optimizer\.momentum=nan"),
        ({"optim_wrapper.optimizer.betas": (0.9, "x")}, r"optimizer\.betas=\(0\.9, 'x'\)"),
        ({"optim_wrapper.clip_grad": dict(max_norm=float("inf"))}, r"clip_grad\.max_norm=inf"),
        ({"optim_wrapper.paramwise_cfg": dict(custom_keys=dict(head=dict(lr_mult=float("nan"))))},
         r"custom_keys\.head\.lr_mult=nan"),
        ({"model.decode_head.loss_decode.class_weight": [1.0] * 4},
         r"FCNHead\.loss_decode\.class_weight: 4 class weights for 5 classes"),
        ({"model.decode_head.loss_decode.class_weight": [1, 1, 1, 1, float("inf")]},
         r"class_weight=\[1, 1, 1, 1, inf\]: give numbers"),
    ],
)  # fmt: skip
def test_numbers_that_are_none_are_refused(options, words, tiny_config):
    cfg = tiny_config()
    cfg.merge_from_dict(options)
    with pytest.raises(ConfigError, match=words):
        prepare(cfg, work_dir="x")


def test_what_is_a_number_is_taken(tiny_config):
    cfg = tiny_config()
    cfg.optim_wrapper.clip_grad = dict(max_norm=1, norm_type=float("inf"))
    cfg.model.decode_head.loss_decode.class_weight = [0, 1, 1.5, 2, 1e-3]
    cfg.optim_wrapper.optimizer.lr = 1
    assert prepare(cfg, work_dir="x").optim_wrapper.clip_grad.norm_type == float("inf")
