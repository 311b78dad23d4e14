"""Two processes (gloo) and one process with the joined batch: the same gradients."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from core.configs import walk
from core.convert import to_hl


@pytest.mark.slow
def test_two_processes_have_the_gradients_of_the_joined_batch(
    tiny_config, tiny_batch, tmp_path, root
):
    """Plain and cascade, in float64; the two images have different numbers of valid pixels.

    Without BatchNorm and dropout, which look at the batch, or draw, by themselves.
    """

    def change(node):
        if node.get("type") == "BN":
            node.update(type="GN", num_groups=2)
        if "dropout_ratio" in node:
            node["dropout_ratio"] = 0

    images, samples = tiny_batch()
    samples[0].gt_sem_seg.data[:, :20] = 255
    torch.save((images, samples), tmp_path / "batch.pth")
    paths = []
    for kind in ("plain", "cascade"):
        cfg = to_hl(tiny_config(kind))
        walk(cfg.model, change)
        cfg.dump(tmp_path / f"{kind}.py")
        paths.append(tmp_path / f"{kind}.py")
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
         str(Path(__file__).parent / "two_processes.py"), str(tmp_path / "batch.pth"),
         *map(str, paths)],
        env=dict(os.environ, PYTHONPATH=str(root), OMP_NUM_THREADS="1"),
        capture_output=True, text=True, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = re.findall(r"worst (\S+), one image alone (\S+)", done.stdout)
    assert len(found) == 2, done.stdout
    for worst, alone in found:
        assert float(worst) < 1e-9
        assert float(alone) > 1e-6  # the other image does matter
