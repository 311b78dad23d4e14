"""How many processes a launcher started, and what follows for a config."""

import inspect

import mmengine.dist.utils
import pytest
import torch

from core.engine.launch import world_size
from core.engine.prepare import prepare

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
