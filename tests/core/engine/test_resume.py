"""What a run that was cut says at its end is what the undisturbed one says."""

import copy
import os
import subprocess
import sys

import pytest
import torch
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from core.convert import to_hl
from core.engine import run
from core.engine.checkpoint import load_checkpoint
from core.engine.prepare import prepare
from core.result import Result

RUN = Result("fully_supervised", "tiny", "tiny data", "hl", 0)


@pytest.fixture
def config(tiny_config, tiny_data, fresh_mmengine):
    """``config(work_dir, options, ...)``: 12 iterations, validated every 4, saved every 3 and
    logged every 5, an average of 4."""

    def make(work_dir, options=(), hl=True, kill=None):
        fresh_mmengine()
        cfg = tiny_config()
        cfg.merge_from_dict(tiny_data)
        cfg.merge_from_dict({"train_cfg.val_interval": 4, "log_processor.window_size": 4,
                             "default_hooks.logger.interval": 5,
                             **copy.deepcopy(dict(options))})  # fmt: skip
        cfg = to_hl(cfg) if hl else cfg
        cfg = prepare(cfg, work_dir=work_dir, title="tiny", seed=0, resume=True)
        if kill:
            step, in_val = kill
            killing = dict(type="KillHook", step=step, in_val=in_val)
            cfg.custom_hooks = [*cfg.get("custom_hooks", []), killing]
        return cfg

    return make


def cut(config, killed, work_dir, kills, **more):
    """A run that is killed at each of (step, in its validation), and goes on to its end."""
    for kill in kills:
        with pytest.raises(killed):
            run.train(config(work_dir, kill=kill, **more), RUN, pictures=1)
    return run.train(config(work_dir, **more), RUN, pictures=1)


EVERY = {"default_hooks.checkpoint.interval": 4}
PLATEAU = dict(type="ReduceOnPlateauLR", monitor="mIoU", rule="greater", patience=0, threshold=9.0,
               factor=0.5, by_epoch=True)  # fmt: skip
EPOCHS = {
    "train_cfg": dict(_delete_=True, type="EpochBasedTrainLoop", max_epochs=3, val_interval=1,
                      val_begin=2),
    "train_dataloader.sampler.type": "DefaultSampler",
    "param_scheduler": [dict(type="ExponentialLR", gamma=0.5, by_epoch=True)],
    "default_hooks.checkpoint": dict(interval=1, by_epoch=True),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hl", "options", "kills"),
    [
        (False, EVERY, [(4, True), (8, True), (12, True)]),
        (True, {}, [(4, True), (9, False), (11, False)]),  # in a validation, at a save, between
        (True, EPOCHS | {"param_scheduler": [PLATEAU]}, [(8, False), (12, True)]),
        (True, EPOCHS, [(4, False), (8, True), (12, True)]),
        (True, {"train_cfg.val_begin": 5, "train_cfg.dynamic_intervals": [(8, 2)]}, [(9, False)]),
    ],
)
def test_result_equals_the_undisturbed_runs(hl, options, kills, config, killed, told_by, tmp_path):
    """Everything but times: metrics, the best, curves, the checkpoint's revision."""
    whole = run.train(config(tmp_path / "whole", options, hl), RUN, pictures=1)
    cut(config, killed, tmp_path / "cut", kills, options=options, hl=hl)
    assert len(whole.curves["mIoU"]) >= 2 and len(whole.curves["loss"]) >= 2
    assert told_by(tmp_path / "cut") == told_by(tmp_path / "whole")


@pytest.mark.slow
def test_early_stopping_and_the_best_survive_a_kill(config, killed, told_by, tmp_path):
    """The run stops in its third validation, where the second resume begins."""
    options = EVERY | {"train_cfg.max_iters": 40, "default_hooks.checkpoint.save_best": "mIoU"}
    stopping = dict(type="EarlyStoppingHook", monitor="mIoU", min_delta=100.0, patience=2)
    options["custom_hooks"] = [stopping]
    whole = run.train(config(tmp_path / "whole", options), RUN, pictures=0)
    assert whole.iterations == 12 and whole.facts["stopped_early"]
    cut(config, killed, tmp_path / "cut", [(4, False), (8, True)], options=options)
    a, b = told_by(tmp_path / "cut"), told_by(tmp_path / "whole")
    assert a.pop("pictures") and b.pop("pictures") == []
    assert a == b
    names = [{p.name for p in (tmp_path / d).glob("best_*")} for d in ("cut", "whole")]
    assert names[0] == names[1] and len(names[0]) == 1


@HOOKS.register_module()
class CountValidations(Hook):
    def before_val(self, runner) -> None:
        type(self).counted.append(runner.iter)


@pytest.mark.slow
def test_each_validation_is_made_once(config, tmp_path):
    """Also by a resume of a run that is at its end."""
    count = {"custom_hooks": [dict(type="CountValidations")], "train_cfg.max_iters": 6}
    CountValidations.counted = []
    first = run.train(config(tmp_path, count), RUN, pictures=0)
    assert CountValidations.counted == [4, 6]
    again = run.train(config(tmp_path, count), RUN, pictures=0)
    assert CountValidations.counted == [4, 6, 6]
    assert (first.curves, first.metrics) == (again.curves, again.metrics)


@pytest.mark.slow
def test_history_is_saved_as_far_as_averages_take_it(config, tmp_path):
    custom = [dict(data_src="loss", log_name="all", method_name="mean", window_size="global")]
    options = {"log_processor.custom_cfg": custom, "train_cfg.max_iters": 6}
    run.train(config(tmp_path, options), RUN, pictures=0)
    scalars = load_checkpoint(tmp_path / "iter_6.pth")["message_hub"]["log_scalars"]
    assert scalars["train/loss"].shape == (2, 6) and scalars["train/lr"].shape == (2, 4)
    assert torch.isfinite(scalars["train/loss"]).all()
    (tmp_path / "iter_6.pth").unlink()
    content = load_checkpoint(tmp_path / "iter_3.pth")
    content["message_hub"]["log_scalars"] = {}  # as versions before had it
    torch.save(content, tmp_path / "iter_3.pth")
    assert run.train(config(tmp_path, options), RUN, pictures=0).iterations == 6


# argv: configs of an undisturbed run, one that dies, and its resume.
TWO = """
import sys
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.visualization import Visualizer
from mmseg.registry import HOOKS
from mmseg.visualization import SegLocalVisualizer
from core.engine import run
from core.engine.cli import main_line
from core.result import Result

class Died(BaseException):
    pass

@HOOKS.register_module()
class DieHook(Hook):
    priority = "LOWEST"
    def after_train_iter(self, runner, *_, **__):
        if runner.iter + 1 == 3:
            raise Died

def train(path):
    for manager in (MMLogger, MessageHub, Visualizer, SegLocalVisualizer):
        manager._instance_dict.clear()
    RUN = Result("fully_supervised", "tiny", "tiny data", "hl", 0)
    run.train(Config.fromfile(path), RUN, pictures=0)

def main():
    train(sys.argv[1])
    try:
        train(sys.argv[2])
    except Died:
        train(sys.argv[3])

main_line(main)
"""


@pytest.mark.slow
def test_two_processes_have_one_network(config, told_by, tmp_path):
    """Their running statistics are one: a resume is exact, what is measured is what is saved. One
    result is written. (That they share one gradient: tests/core/test_distributed.py.)"""
    (tmp_path / "two.py").write_text(TWO)
    for name, folder in (("whole", "whole"), ("dies", "cut"), ("resumed", "cut")):
        cfg = config(tmp_path / folder, {"train_cfg.max_iters": 6})
        cfg.launcher = "pytorch"
        if name == "dies":
            cfg.custom_hooks = [*cfg.get("custom_hooks", []), dict(type="DieHook")]
        cfg.dump(tmp_path / f"{name}.py")
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
         *(str(tmp_path / f"{name}.py") for name in ("two", "whole", "dies", "resumed"))],
        capture_output=True, text=True, timeout=300, check=False,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path), OMP_NUM_THREADS="1"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert "iter_3.pth" in done.stdout + done.stderr  # resumed from there
    whole, resumed = (load_checkpoint(tmp_path / d / "iter_6.pth") for d in ("whole", "cut"))
    for key, value in whole["state_dict"].items():
        assert torch.equal(resumed["state_dict"][key], value), key
    assert len(whole["random_states"]) == 2
    told = told_by(tmp_path / "whole")
    assert told == told_by(tmp_path / "cut") and told["iterations"] == 6
    alone = run.test(config(tmp_path / "alone"), tmp_path / "whole/iter_6.pth")
    assert alone["mIoU"] / 100 == pytest.approx(told["metrics"]["miou"], abs=1e-9)
