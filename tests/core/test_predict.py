"""A checkpoint as a predictor: what mmseg's own prediction is, at the picture's size."""

import numpy as np
import pytest
import torch

from core.engine.measuring import looking
from core.predict import load, read_picture


@pytest.fixture
def picture(tiny_data):
    folder = tiny_data["val_dataloader"]["dataset"]["data_root"]
    return read_picture(f"{folder}/img/3.png")


def test_it_is_what_mmseg_predicts(checkpoints, picture):
    predictor = load(checkpoints["hl"], device="cpu")
    found = predictor.predict(picture)
    with looking(predictor.model):
        batch = dict(inputs=[torch.from_numpy(picture[..., ::-1].transpose(2, 0, 1).copy())])
        data = predictor.model.data_preprocessor(batch, False)
        want = predictor.model.predict(data["inputs"])[0]
    assert (found.labels == want.pred_sem_seg.data[0].numpy()).all()
    p = want.seg_logits.data.softmax(0).amax(0).numpy()
    np.testing.assert_allclose(found.confidence, p, atol=1e-6)
    assert found.hardness.shape == picture.shape[:2] and 0 <= found.hardness.min()
    assert predictor.classes == tuple(f"class {k}" for k in range(5))


def test_a_baseline_has_no_map(checkpoints, picture):
    assert load(checkpoints["baseline"], device="cpu").predict(picture).hardness is None
