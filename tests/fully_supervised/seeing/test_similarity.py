"""SSIM between the maps of two models, beside what maps reach that have less in common."""

import csv
import json

import numpy as np
import pytest
import torch

from core.predict import load
from core.section import read
from fully_supervised.seeing.similarity import untrained

SCRIPT = "fully_supervised/hardness.py"


@pytest.mark.slow
def test_a_model_is_like_itself(call, checkpoints, tmp_path):
    code, out, err = call(SCRIPT, "similarity", checkpoints["hl"], checkpoints["hl"],
                          "--device", "cpu", "--out", tmp_path)  # fmt: skip
    assert code == 0, err
    section = read(tmp_path / "similarity")
    assert section.figures["models"]["ssim"] == dict(mean=1, std=0, min=1, max=1, n=8)
    assert section.figures["untrained"]["ssim"]["max"] < 1
    assert section.figures["apart"]["ssim"]["n"] == 7
    assert section.words[0].startswith("SSIM between the HL maps of A and B is 1.000")
    assert "| A and B " in out and "mmengine" not in out + err
    for strip in section.strips:
        assert all((tmp_path / "similarity" / p.file).is_file() for p in strip.pictures)


@pytest.mark.slow
def test_two_models_image_by_image(call, checkpoints, tmp_path):
    from core.analysis.similarity import ssim
    from core.predict import read_picture

    code, _, err = call(SCRIPT, "similarity", checkpoints["hl"], checkpoints["other"], "--limit", 3,
                        "--device", "cpu", "--out", tmp_path)  # fmt: skip
    assert code == 0, err
    folder = tmp_path / "similarity"
    rows = list(csv.DictReader((folder / "similarity.csv").open()))
    told = [float(row["models_ssim"]) for row in rows]
    assert len(rows) == 3 and told == sorted(told)
    mean = json.loads((folder / "section.json").read_text())["figures"]["models"]["ssim"]["mean"]
    assert mean == pytest.approx(np.mean(told), abs=1e-6)
    a, b = (load(checkpoints[name], device="cpu") for name in ("hl", "other"))
    root = a.cfg.val_dataloader.dataset.data_root
    picture = read_picture(f"{root}/{rows[0]['image']}.png")
    want = ssim(a.predict(picture).hardness, b.predict(picture).hardness)
    assert told[0] == pytest.approx(want, abs=1e-6)


def test_the_untrained_branch_is_another_one_and_always_the_same(checkpoints):
    predictor = load(checkpoints["hl"], device="cpu")
    before = {k: v.clone() for k, v in predictor.hl_model.state_dict().items()}
    torch.manual_seed(7)
    state = torch.get_rng_state()
    one, two = (untrained(predictor).hl_model.state_dict() for _ in range(2))
    assert (torch.get_rng_state() == state).all()
    assert all((before[k] == v).all() for k, v in predictor.hl_model.state_dict().items())
    assert all((one[k] == two[k]).all() for k in one)
    differ = {k for k in one if (one[k] != before[k]).any()}
    assert "hl_head.conv_seg.weight" in differ
    assert all(k.startswith("hl_head.") for k in differ)


@pytest.mark.parametrize("order", [("baseline", "hl"), ("hl", "baseline")])
def test_a_model_without_a_branch_is_refused_in_one_line(order, call, checkpoints, tmp_path):
    code, out, err = call(SCRIPT, "similarity", *(checkpoints[x] for x in order), "--device", "cpu",
                          "--out", tmp_path)  # fmt: skip
    assert code == 1 and not out
    assert err.strip().splitlines()[-1] == (
        f"error: {checkpoints['baseline']}: has no HL branch (a baseline's, or exported without "
        "it); take the checkpoint of a training with --hl"
    )
