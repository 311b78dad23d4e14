"""How many processes a launcher started, and what follows for a config."""

import inspect

import mmengine.dist.utils
import pytest
import torch

from core.engine.launch import world_size
from core.engine.prepare import prepare, seed_of
from core.errors import ConfigError

VARIABLES = {"pytorch": "WORLD_SIZE", "slurm": "SLURM_NTASKS", "mpi": "OMPI_COMM_WORLD_SIZE"}


@pytest.mark.parametrize("launcher", VARIABLES)
def test_processes_are_counted_before_mmengine_joins_them(launcher, tiny_config, monkeypatch):
    """By the variable that mmengine reads; several on GPUs get SyncBN."""
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
        cfg = prepare(tiny_config(), work_dir="x", launcher=name)
        assert cfg.model.backbone.norm_cfg.type == norm


def test_what_a_config_sets_is_kept(tiny_config, tiny_data):
    """Seed, visualizer, its backends, hooks: a user's own stand beside what a run of ours needs."""
    cfg = tiny_config()
    cfg.merge_from_dict(tiny_data)
    cfg.randomness = dict(seed=7, deterministic=True)
    cfg.vis_backends = [dict(type="WandbVisBackend", init_kwargs=dict(project="mine"))]
    cfg.visualizer = dict(type="SegLocalVisualizer", name="mine", alpha=0.3,
                          vis_backends=cfg.vis_backends)  # fmt: skip
    cfg.custom_hooks = [dict(type="EMAHook")]
    cfg.default_hooks.checkpoint.save_best = "mIoU"
    cfg.work_dir, cfg.resume = "old", True
    run = prepare(cfg, work_dir="new")
    assert run.randomness == dict(seed=7, deterministic=True)
    assert [b["type"] for b in run.visualizer.vis_backends] == [
        "WandbVisBackend", "LocalVisBackend", "TensorboardVisBackend"]  # fmt: skip
    assert run.visualizer.vis_backends[0].init_kwargs.project == "mine"
    assert (run.visualizer.name, run.visualizer.alpha) == ("mine", 0.3)
    assert run.custom_hooks[0] == dict(type="EMAHook") and run.resume
    assert run.default_hooks.checkpoint.save_best == "mIoU"
    assert cfg.work_dir == "old" and "changed_by_engine" not in cfg  # it is left as it is


def test_what_the_engine_changes_is_named(tiny_config, tiny_data):
    cfg = tiny_config()
    cfg.merge_from_dict(tiny_data)
    changed = dict(line.split(": ", 1) for line in prepare(cfg, work_dir="x").changed_by_engine)
    assert changed["default_hooks.checkpoint.type"] == (
        "'CheckpointHook' -> 'ResumableCheckpointHook'")  # fmt: skip
    assert changed["train_dataloader.sampler.type"] == "'InfiniteSampler' -> 'PositionSampler'"
    assert changed["val_evaluator.type"] == "'IoUMetric' -> 'ClassIoUMetric'"
    ours = ("default_hooks.", "train_dataloader.", "val_dataloader.", "test_dataloader.",
            "val_evaluator.", "test_evaluator.")  # fmt: skip
    assert all(key.startswith(ours) for key in changed), changed


def test_a_prepared_config_is_not_prepared_twice(tiny_config, tiny_data):
    """A checkpoint carries one: its hooks and wrappers are there once."""
    cfg = tiny_config()
    cfg.merge_from_dict(tiny_data)
    once = prepare(cfg, work_dir="x", title="t")
    twice = prepare(once, work_dir="x", title="t")
    assert twice.to_dict() | dict(changed_by_engine=[]) == once.to_dict() | dict(
        changed_by_engine=[])  # fmt: skip


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
