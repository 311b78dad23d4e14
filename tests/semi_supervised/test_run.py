"""Whole runs on a tiny data set: killed and resumed, on two processes, exported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmseg.registry import MODELS

from core.configs import parse_config
from core.engine import run
from core.engine.checkpoint import load_checkpoint
from core.export import export_checkpoint
from core.result import Result
from core.schedule import save_often

RUN = Result("semi_supervised", "tiny", "1/2", "hl", 0)


def losses_of(work_dir):
    curves = run.read_curves(work_dir)
    return {name: curve for name, curve in curves.items() if "loss" in name}


@pytest.fixture(scope="module")
def _runs(tmp_path_factory):
    """Finished runs that several tests compare with."""
    return dict(folder=tmp_path_factory.mktemp("runs"))


@pytest.fixture
def config(u2pl_config):
    """``u2pl_config`` with checkpoints as :mod:`core.schedule` has them, validated every 2
    iterations, logged every 5, an average of 4."""

    def make(*args, kill=None, **more):
        cfg = u2pl_config(*args, **more)
        save_often(cfg)
        cfg.merge_from_dict({"train_cfg.val_interval": 2, "log_processor.window_size": 4,
                             "default_hooks.logger.interval": 5})  # fmt: skip
        if kill:
            step, in_val = kill
            killing = dict(type="KillHook", step=step, in_val=in_val)
            cfg.custom_hooks = [*cfg.get("custom_hooks", []), killing]
        return cfg

    return make


@pytest.fixture
def finished(_runs, config):
    """The work_dir and result of one uninterrupted run of U²PL + HL."""
    work_dir = _runs["folder"] / "finished"
    if "result" not in _runs:
        _runs["result"] = run.train(config(work_dir), RUN, pictures=1)
    return work_dir, _runs["result"]


@pytest.mark.slow
@pytest.mark.parametrize("kills", [[(2, False), (6, True)], [(7, False), (12, True)]])
def test_resumed_run_equals_the_uninterrupted_one(
    kills, finished, config, killed, told_by, tmp_path
):
    """Killed in the first epoch, between two checkpoints, in a validation, in the last one: the
    result but for times, the teacher, the banks, the optimizer are equal to the bit."""
    whole, work_dir = finished[0], tmp_path / "cut"
    for kill in kills:
        with pytest.raises(killed):
            run.train(config(work_dir, resume=True, kill=kill), RUN, pictures=1)
    run.train(config(work_dir, resume=True), RUN, pictures=1)

    assert told_by(work_dir) == told_by(whole)
    expected, found = losses_of(whole), losses_of(work_dir)
    assert {"loss_sup", "loss_hl", "loss_unsup", "loss_contrastive"} <= expected.keys()
    assert any(value > 0 for _, value in expected["loss_contrastive"])
    assert found == expected
    first, second = (load_checkpoint(d / "iter_12.pth") for d in (whole, work_dir))
    assert first["state_dict"]["contrastive.bank.counts"].sum() > 50
    assert first["state_dict"].keys() == second["state_dict"].keys()
    for key, value in first["state_dict"].items():
        assert torch.equal(second["state_dict"][key], value), key
    for old, new in zip(
        first["optimizer"]["state"].values(), second["optimizer"]["state"].values(), strict=True
    ):
        assert torch.equal(old["momentum_buffer"], new["momentum_buffer"])


@pytest.mark.slow
def test_result_pictures_and_export(finished, u2pl_config, tiny_config, tmp_path):
    """The exported teacher is a plain mmseg model, bit by bit what the run evaluated."""
    work_dir, result = finished
    (stem,) = result.pictures
    names = {p.name for p in (work_dir / "pictures").iterdir()}
    assert names == {f"{stem}_{kind}.png" for kind in ("image", "label", "pred", "err", "hl")}
    assert result.strength.images and result.strength.alpha == 0.01
    assert 0 <= result.metrics.miou <= result.metrics.best_miou <= 1

    source = work_dir / "iter_12.pth"
    export_checkpoint(source, tmp_path / "plain.pth")
    exported = torch.load(tmp_path / "plain.pth", weights_only=True)
    assert parse_config(exported["meta"]["cfg"]).model == tiny_config().model
    plain = MODELS.build(tiny_config().model)
    plain.load_state_dict(exported["state_dict"], strict=True)
    state = load_checkpoint(source)["state_dict"]
    for key, value in plain.state_dict().items():
        assert torch.equal(value, state[f"teacher.{key}"]), key
    assert not torch.equal(
        state["teacher.decode_head.conv_seg.weight"], state["student.decode_head.conv_seg.weight"]
    )

    cfg = u2pl_config(tmp_path / "sup", hl=False, sup_only=True)
    assert 0 <= run.train(cfg, RUN, pictures=1).metrics.miou <= 1
    export_checkpoint(tmp_path / "sup" / "iter_12.pth", tmp_path / "sup.pth")
    plain.load_state_dict(torch.load(tmp_path / "sup.pth")["state_dict"], strict=True)


def torchrun(script, *arguments):
    process = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
         str(script), *map(str, arguments)],
        capture_output=True, text=True, timeout=300, check=False,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path), OMP_NUM_THREADS="1"),
    )  # fmt: skip
    assert process.returncode == 0, process.stderr[-4000:]
    return process.stdout


@pytest.mark.slow
def test_two_processes_agree_with_the_published_algorithm():
    """Banks, both losses, gradient, percentiles and mixing on two processes (gloo)."""
    out = torchrun(Path(__file__).parent / "two_processes.py")
    assert all(f"rank {rank} of 2: all equal" in out for rank in (0, 1))


@pytest.mark.slow
def test_two_processes_train_one_model(u2pl_config, tmp_path):
    """torchrun: one bank, one student, one teacher."""
    cfg = u2pl_config(tmp_path / "two")
    cfg.train_cfg.val_interval = 12
    cfg.launcher = "pytorch"
    cfg.dump(tmp_path / "config.py")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, torch, torch.distributed as dist\n"
        "from mmengine.config import Config\n"
        "from core.engine.runner import HLRunner\n"
        "import core.engine.run\n"
        "runner = HLRunner.from_cfg(Config.fromfile(sys.argv[1]))\n"
        "model = runner.train().module\n"
        "state = {k: v for k, v in model.state_dict().items() if 'running' not in k}\n"
        "both = [None, None]\n"
        "dist.all_gather_object(both, state)\n"
        "assert all(torch.equal(both[0][k], both[1][k]) for k in state)\n"
        "assert state['contrastive.bank.counts'].sum() > 50\n"
        "print('one model')\n"
    )
    assert torchrun(script, tmp_path / "config.py").count("one model") == 2
    assert len(load_checkpoint(tmp_path / "two" / "iter_12.pth")["random_states"]) == 2
