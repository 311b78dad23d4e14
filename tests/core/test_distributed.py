"""Two processes (gloo) and one process with the joined batch: the same gradients."""

import copy
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.structures import PixelData

from core.arms import KINDS, Arm
from core.configs import walk
from core.convert import to_hl
from core.weighting import with_weighting


@pytest.fixture
def two(root):
    """``two(script, *arguments)``: what two processes of it print."""

    def run(script, *arguments):
        done = subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
             str(Path(__file__).with_name(script)), *map(str, arguments)],
            env=dict(os.environ, PYTHONPATH=str(root), OMP_NUM_THREADS="1"),
            capture_output=True, text=True, timeout=300)  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.slow
def test_two_processes_have_the_gradients_of_the_joined_batch(
    tiny_config, tiny_batch, tmp_path, two
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
    out = two("two_processes.py", tmp_path / "batch.pth", *paths)
    found = re.findall(r"worst (\S+), one image alone (\S+)", out)
    assert len(found) == 2, out
    for worst, alone in found:
        assert float(worst) < 1e-9
        assert float(alone) > 1e-6  # the other image does matter


ARMS = ["baseline", "balanced", "balanced reduction=weights", "ohem min_kept=50", "focal",
        "ce-scaled", "collected", "hl", "hl alpha=0", "hl alpha=1e-12",
        "hl normalize=batch ignored=include"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cascade"])
def test_no_arm_leaves_a_parameter_unused(kind, tiny_config, tiny_batch, tmp_path, two):
    """Whatever is stopped on its way, and where one process has no valid pixel."""
    assert {Arm.parse(text).weighting for text in ARMS} == {k.weighting for k in KINDS.values()}
    images, samples = tiny_batch()
    for sample in samples:
        score = torch.rand(1, *images.shape[-2:], generator=torch.Generator().manual_seed(0))
        sample.set_data(dict(gt_hardness=PixelData(data=score)))
    cfg = tiny_config(kind)
    cfg.train_dataloader = dict(dataset=dict(pipeline=[
        dict(type="LoadAnnotations"), dict(type="PackSegInputs")]))  # fmt: skip
    paths = [tmp_path / f"{i}.py" for i in range(len(ARMS))]
    for text, path in zip(ARMS, paths, strict=True):
        arm = Arm.parse(text)
        with_weighting(cfg, arm, class_weight=[1, 2, 3, 4, 5], hardness="nowhere").dump(path)
    void = copy.deepcopy(samples)
    void[0].gt_sem_seg.data[:] = 255
    torch.save([(images, samples), (images, void)], tmp_path / "batches.pth")
    out = two("two_arms.py", tmp_path / "batches.pth", *paths)
    found = re.findall(r"(\d+) of (\d+)", out)
    assert len(found) == 2 * len(ARMS), out
    assert all(shared == total for shared, total in found), out
