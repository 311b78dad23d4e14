"""mIoU by hardness of the pixels: the subsets are all pixels, the figures those of the models."""

import json

import cv2
import numpy as np
import pytest

from core.predict import load

SCRIPT = "fully_supervised/hardness.py"


@pytest.fixture
def section(call, checkpoints, tmp_path):
    code, out, err = call(SCRIPT, "effectiveness", checkpoints["baseline"], checkpoints["hl"],
                          "--device", "cpu", "--out", tmp_path)  # fmt: skip
    assert code == 0, err
    assert "| 0–10 % " in out
    return json.loads((tmp_path / "effectiveness/section.json").read_text())


@pytest.mark.slow
def test_the_subsets_are_all_labeled_pixels(section, tiny_data, checkpoints):
    root = tiny_data["val_dataloader"]["dataset"]["data_root"]
    labels = np.stack([cv2.imread(f"{root}/ann/{i}.png", 0) for i in range(8)])
    valid = labels != 255
    for name in ("baseline", "hl"):
        pixels = section["figures"][name]["pixels"]
        assert sum(pixels) == valid.sum() and max(pixels) - min(pixels) <= 1
    # Without leaving any out, it is the ordinary mIoU.
    model = load(checkpoints["baseline"], device="cpu")
    pred = np.stack([model.predict(f"{root}/img/{i}.png").labels for i in range(8)])
    ious = [((pred == k) & (labels == k)).sum() / (((pred == k) | (labels == k)) & valid).sum()
            for k in range(5)]  # fmt: skip
    assert section["figures"]["baseline"]["miou_from"][0] == pytest.approx(np.mean(ious))
    low, high = np.array(section["figures"]["limits"]).T
    assert (low[:-1] >= high[1:] - 1e-3).all()

    # What it draws, and that one pair cannot tell.
    assert "cannot tell a gain from the luck of a seed" in section["words"][0]
    lines = section["charts"][0]["lines"]
    assert set(lines) == {"baseline", "+HL"} and len(lines["+HL"]) == 10
    assert lines["+HL"][0][0] == 5
    assert len(section["strips"]) == 3
    scores = section["figures"]["scores"]
    # Same weights but for the branch: the models' own scores tell the same of both.
    assert scores["hl_entropy"]["hl"] == scores["baseline_entropy"]["baseline"]
    assert scores["baseline_entropy"]["baseline"]["rank"] is not None


def test_a_baseline_in_the_place_of_hl_is_refused(call, checkpoints, tmp_path):
    code, _, err = call(SCRIPT, "effectiveness", checkpoints["hl"], checkpoints["baseline"],
                        "--device", "cpu", "--out", tmp_path)  # fmt: skip
    assert code == 1 and f"{checkpoints['baseline']}: has no HL branch" in err


def test_images_without_labels_are_refused(call, checkpoints, tiny_data, tmp_path):
    image = f"{tiny_data['val_dataloader']['dataset']['data_root']}/img/0.png"
    code, _, err = call(SCRIPT, "effectiveness", checkpoints["baseline"], checkpoints["hl"], image,
                        "--device", "cpu", "--out", tmp_path)  # fmt: skip
    assert code == 1 and err.strip().splitlines()[-1].startswith(f"error: {image}: has no label")
