"""A trained model goes on training on one image."""

import json

import cv2
import numpy as np
import pytest

from core.predict import load, read_picture
from fully_supervised.seeing.evolve import OneImage
from fully_supervised.seeing.inputs import NO_CLASS

SCRIPT = "fully_supervised/hardness.py"


@pytest.fixture
def evolve(call, checkpoints):
    def run(out, *more, name="hl"):
        # Images stand beside the checkpoint: argparse takes none behind the flags.
        return call(SCRIPT, "evolve", checkpoints[name], *more, "--device", "cpu", "--out", out)

    return run


@pytest.fixture
def pair(tiny_data):
    root = tiny_data["val_dataloader"]["dataset"]["data_root"]
    label = cv2.imread(f"{root}/ann/2.png", 0).astype(np.int64)
    return read_picture(f"{root}/img/2.png"), np.where(label == 255, NO_CLASS, label)


@pytest.mark.slow
def test_twice_is_equal_and_loss_falls(evolve, checkpoints, tmp_path):
    before = checkpoints["hl"].read_bytes()
    found = []
    for out in (tmp_path / "a", tmp_path / "b"):
        code, table, err = evolve(out, "--iterations", 5, "--index", 2, "--lr", "0.02")
        assert code == 0, err
        assert "| Iteration " in table and "mmengine" not in table + err
        found.append((out / "evolve/evolve.png", json.loads((out / "evolve/section.json")
                                                            .read_text())))  # fmt: skip
    (a, section), (b, again) = found
    assert section["figures"] == again["figures"] and a.read_bytes() == b.read_bytes()
    states, curves = section["figures"]["states"], section["figures"]["curves"]
    assert list(states) == ["0", "1", "5"]
    assert states["5"]["ce"] < 0.99 * states["0"]["ce"]
    assert [x for x, _ in curves["consecutive"]] == list(range(1, 6))
    assert curves["consecutive"][0] == curves["first"][0]
    assert checkpoints["hl"].read_bytes() == before


@pytest.mark.slow
def test_iteration_0_is_the_trained_model(checkpoints, pair):
    picture, label = pair
    predictor = load(checkpoints["hl"], device="cpu")
    want = predictor.predict(picture)
    training = OneImage(predictor, picture, label, None, checkpoints["hl"])
    assert training.settings["lr"] == pytest.approx(0.005)  # a tenth of the config's
    state = training.state()
    assert (state.hardness == want.hardness).all()
    assert state.wrong == (want.labels != label)[label != NO_CLASS].mean()
    assert (state.loss[label == NO_CLASS] == 0).all()
    training.step(1)
    assert (training.state().hardness != want.hardness).any()


def test_the_step_is_the_models_own(checkpoints, pair):
    """One step of SGD from rest: each weight moves by its rate times its gradient."""
    picture, label = pair
    predictor = load(checkpoints["hl"], device="cpu")
    training = OneImage(predictor, picture, label, 0.01, checkpoints["hl"])
    model = predictor.model
    before = {k: v.detach().clone() for k, v in model.named_parameters()}
    statistics = {k: v.clone() for k, v in model.named_buffers()}
    training.step(1)
    for name, weight in model.named_parameters():
        if weight.grad is not None:
            assert (weight.detach() - (before[name] - 0.01 * weight.grad)).abs().max() < 1e-6, name
    assert any(k.startswith("hl_head.") and (v != before[k]).any()
               for k, v in model.named_parameters())  # fmt: skip
    assert any(k.endswith("running_mean") for k in statistics)
    assert all((v == statistics[k]).all() for k, v in model.named_buffers())


def test_a_rate_that_diverges_is_said_in_one_line(evolve, tmp_path):
    code, _, err = evolve(tmp_path, "--lr", "1e20", "--iterations", 5)
    assert code == 1 and err.strip().splitlines()[-1].endswith("give a lower one: --lr")
    assert not (tmp_path / "evolve/section.json").exists()


def test_what_is_missing_is_said_in_one_line(evolve, tiny_data, tmp_path, checkpoints):
    image = f"{tiny_data['val_dataloader']['dataset']['data_root']}/img/0.png"
    for more, line in (
        ([image], f"{image}: has no label"),
        (["nowhere.png"], "nowhere.png: no such picture"),
        ([image, "--labels", "nowhere"], "nowhere: no such picture or folder"),
        (["--index", "8"], "--index 8: BaseSegDataset, val holds 8 images, 0 to 7"),
    ):
        code, out, err = evolve(tmp_path, *more)
        assert code == 1 and not out
        assert err.strip().splitlines()[-1].startswith(f"error: {line}"), err
    code, _, err = evolve(tmp_path, name="baseline")
    assert code == 1 and "has no HL branch" in err


@pytest.mark.slow
def test_a_file_with_its_label(evolve, tiny_data, tmp_path):
    root = tiny_data["val_dataloader"]["dataset"]["data_root"]
    by_file = evolve(tmp_path / "a", f"{root}/img/3.png", "--labels", f"{root}/ann/3.png",
                     "--iterations", 1)  # fmt: skip
    by_index = evolve(tmp_path / "b", "--index", 3, "--iterations", 1)
    assert by_file[0] == by_index[0] == 0
    a, b = (json.loads((tmp_path / x / "evolve/section.json").read_text()) for x in "ab")
    assert a["figures"] == b["figures"]
