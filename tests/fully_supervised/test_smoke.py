"""Rows of the tables train: one of each architecture here, all with fully_supervised/smoke.py."""

import pytest

from fully_supervised import manifest, smoke


def test_every_row_and_arm_is_tried_once():
    found = [(model.name, arm) for model, arm in smoke.trainings(None, None)]
    assert len(found) == len(set(found))
    names = {name for table in manifest.tables().values() for name in table.rows}
    assert {name for name, _ in found} == names
    for arm in ("balanced", "ohem", "focal", "hl c=0.01", "hl alpha=1"):
        assert ("cityscapes/pspnet_r101", arm) in found


@pytest.mark.slow
def test_one_row_of_each_architecture_trains(call):
    """In HL, two steps and an evaluation each, through the engine."""
    code, out, err = call("fully_supervised/smoke.py", "--one-per-architecture", "--arms", "hl")
    assert code == 0, err
    assert "0 failed" in out
    heads = len(smoke.one_per_architecture())
    assert out.count("\nok ") + out.startswith("ok ") == heads >= 15


def test_a_row_that_fails_is_told(call, refused, monkeypatch):
    monkeypatch.setattr(manifest.Model, "config", lambda self: 1 / 0)
    row = ("--only", "cityscapes/segformer_b0", "--arms", "hl")
    code, out, err = call("fully_supervised/smoke.py", *row)
    assert "0 trainings of 2 steps, 0 rows skipped, 1 failed" in out
    assert code == 1 and "error: cityscapes/segformer_b0 hl: ZeroDivisionError" in err
