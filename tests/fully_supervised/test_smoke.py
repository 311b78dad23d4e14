"""Rows of the tables train: one of each architecture here, all with fully_supervised/smoke.py."""

import runpy
import sys

import pytest

from fully_supervised import manifest, smoke


def test_every_row_and_arm_is_tried_once():
    found = [(model.name, arm) for model, arm in smoke.trainings(None, None)]
    assert len(found) == len(set(found))
    names = {name for table in manifest.tables().values() for name in table.rows}
    assert {name for name, _ in found} == names
    for arm in ("balanced", "ohem", "focal", "hl c=0.01", "hl alpha=1"):
        assert ("cityscapes/pspnet_r101", arm) in found


def test_one_row_of_each_architecture_trains(root, monkeypatch, capsys, fresh_mmengine):
    """Baseline and HL, two steps and an evaluation each, through the engine."""
    fresh_mmengine()
    script = str(root / "fully_supervised/smoke.py")
    monkeypatch.setattr(sys, "argv", [script, "--one-per-architecture"])
    runpy.run_path(script, run_name="__main__")
    out = capsys.readouterr().out
    assert "0 failed" in out
    heads = len(smoke.one_per_architecture())
    assert out.count("\nok ") + out.startswith("ok ") == 2 * heads >= 2 * 15


def test_a_row_that_fails_is_told(root, monkeypatch, capsys, fresh_mmengine):
    fresh_mmengine()
    script = str(root / "fully_supervised/smoke.py")
    monkeypatch.setattr(sys, "argv", [script, "--only", "cityscapes/segformer_b0", "--arms", "hl"])
    monkeypatch.setattr(manifest.Model, "config", lambda self: 1 / 0)
    with pytest.raises(SystemExit, match="error: cityscapes/segformer_b0 hl: ZeroDivisionError"):
        runpy.run_path(script, run_name="__main__")
    assert "0 trainings of 2 steps, 0 rows skipped, 1 failed" in capsys.readouterr().out
