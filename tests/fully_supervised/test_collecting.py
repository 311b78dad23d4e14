"""Hardness of every training image, written by a command from a checkpoint."""

import numpy as np
import pytest
import torch

from core.engine.checkpoint import load_checkpoint
from core.maps import decode

COLLECT = "fully_supervised/collect_hardness.py"


@pytest.fixture(scope="module")
def _trained(tmp_path_factory):
    return dict(folder=tmp_path_factory.mktemp("trained"))


@pytest.fixture
def trained(_trained, call, camvid):
    """A checkpoint of HL, and one of the baseline."""
    for arm, flag in (("hl", "--hl"), ("baseline", "--no-hl")):
        work_dir = _trained["folder"] / arm
        if not work_dir.is_dir():
            code, _, err = call("fully_supervised/train.py",
                                "fully_supervised/configs/pspnet_r18-w16.py", "--data", "camvid",
                                "--data-root", camvid, "--max-iters", 2, "--work-dir", work_dir,
                                flag)  # fmt: skip
            assert code == 0, err
    return _trained["folder"] / "hl/iter_2.pth", _trained["folder"] / "baseline/iter_2.pth"


@pytest.mark.slow
def test_a_map_for_every_training_image_and_only_what_lacks(trained, call, camvid, tmp_path):
    code, _, err = call(COLLECT, trained[0], "--out", tmp_path)
    assert code == 0 and "6 maps written" in err, err
    maps = sorted((tmp_path / "images/train").glob("*.png"))
    assert [path.stem for path in maps] == [path.stem for path in sorted(
        (camvid / "images/train").glob("*.jpg"))]  # fmt: skip
    first = decode(maps[0])
    assert first.shape == (180, 240) and first.dtype == np.uint16 and np.ptp(first) > 0
    maps[0].unlink()
    maps[1].write_bytes(maps[1].read_bytes()[:-9])
    code, _, err = call(COLLECT, trained[0], "--out", tmp_path, "--data-root", camvid)
    assert code == 0 and "2 maps written" in err, err
    assert (decode(maps[0]) == first).all()


@pytest.mark.slow
def test_what_cannot_be_collected_from_is_told(trained, call, refused, tmp_path):
    assert "has no HL branch" in refused(call(COLLECT, trained[1], "--out", tmp_path))
    moved = call(COLLECT, trained[0], "--out", tmp_path, "--data-root", "/nowhere")
    assert "/nowhere: no such folder" in refused(moved)
    bare = tmp_path / "bare.pth"
    torch.save(load_checkpoint(trained[0])["state_dict"], bare)
    assert "carries no config" in refused(call(COLLECT, bare, "--out", tmp_path))


@pytest.mark.slow
def test_a_checkpoint_of_u2pl_is_refused_in_one_line(call, refused, camvid, tmp_path):
    code, _, err = call("semi_supervised/train_u2pl_hl.py", "--data", "camvid", "--data-root",
                        camvid, "--split", "1/2", "--max-iters", 1, "--work-dir", tmp_path,
                        "--cfg-options", "train_cfg.val_interval=9")  # fmt: skip
    assert code == 0, err
    line = refused(call(COLLECT, tmp_path / "iter_1.pth", "--out", tmp_path / "maps"))
    assert "was trained on a PairDataset, not on one data set; take a checkpoint of" in line
