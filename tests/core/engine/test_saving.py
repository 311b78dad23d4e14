"""What a checkpoint keeps, and what a strange one cannot do with it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from core.engine import run
from core.engine.checkpoint import checkpoints_in, load_checkpoint
from core.engine.prepare import prepare
from core.errors import CheckpointError
from core.result import Result


@HOOKS.register_module()
class KeepingHook(Hook):
    """Puts a value into the message hub, or into the optimizer."""

    def __init__(self, where: str) -> None:
        self.where = where

    def before_train_iter(self, runner, *_, **__) -> None:
        if self.where == "hub":
            runner.message_hub.update_info("my_folder", Path("x"))
        else:
            runner.optim_wrapper.param_groups[0]["mine"] = object()


@pytest.fixture
def start(tiny_config, tiny_data, fresh_mmengine, tmp_path):
    def make(resume=False, **options):
        fresh_mmengine()
        cfg = tiny_config()
        cfg.merge_from_dict(tiny_data)
        cfg.train_cfg.max_iters = cfg.param_scheduler[0].end = 4
        cfg.train_cfg.val_interval = cfg.default_hooks.checkpoint.interval = 2
        cfg.merge_from_dict(options)
        cfg = prepare(cfg, work_dir=tmp_path / "run", title="t", seed=0, resume=resume)
        return run.train(cfg, Result("fully_supervised", "n", "d", "baseline", 0), pictures=0)

    return make


def test_numbers_of_numpy_in_a_config_are_plain_in_a_checkpoint(start, tmp_path):
    start(**{"optim_wrapper.optimizer.lr": 0.01 * np.sqrt(2)})
    assert load_checkpoint(tmp_path / "run/iter_4.pth", to_resume=True)


def test_what_a_hook_keeps_and_no_checkpoint_can_is_told(start, tmp_path, capsys):
    start(custom_hooks=[dict(type="KeepingHook", where="hub")])
    assert capsys.readouterr().err.count("my_folder in the message hub is a PosixPath") == 1
    assert load_checkpoint(tmp_path / "run/iter_4.pth", to_resume=True)


def test_a_state_that_no_resume_could_read_ends_the_run_at_its_first_save(start, tmp_path):
    with pytest.raises(CheckpointError, match="optimizer of this run holds other than tensors"):
        start(custom_hooks=[dict(type="KeepingHook", where="optimizer")])
    assert not checkpoints_in(tmp_path / "run")


@pytest.mark.slow
def test_a_checkpoint_names_no_file_to_be_removed(start, tmp_path):
    """mmengine removes what best_ckpt says, a folder too, when there is a better one."""
    best = {"default_hooks.checkpoint.save_best": "mIoU"}
    start(**best)
    path, victim = tmp_path / "run/iter_4.pth", tmp_path / "victim"
    victim.mkdir()
    (victim / "file").touch()
    content = torch.load(path, weights_only=True)
    info = content["message_hub"]["runtime_info"]
    info |= dict(best_ckpt=str(victim), best_score=-1.0, keep_ckpt_ids=["x/../../victim"])
    content["meta"]["iter"] = 3
    torch.save(content, tmp_path / "run/iter_4.pth")
    start(resume=True, **best)
    assert (victim / "file").is_file()
    assert len(list((tmp_path / "run").glob("best_*.pth"))) >= 1
