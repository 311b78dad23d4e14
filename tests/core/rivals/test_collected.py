"""Collected maps: what is written is what weights, wherever the crop and the flip put it."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.registry import DATASETS

from core.convert import to_collected, to_hl
from core.engine.prepare import prepare
from core.engine.run import train
from core.errors import CannotConvert, MapError
from core.maps import FULL, encode
from core.result import Result
from core.rivals.collected import map_path
from data.checked import with_checked_samples

KINDS = ["plain", "cascade"]

RUN = Result("fully_supervised", "tiny", "tiny", "collected", 0)


@pytest.fixture
def maps(tiny_data, tmp_path):
    """A map for each training image, equal to its red channel: folder and config of the data."""
    data = Config(tiny_data)
    root = data.train_dataloader.dataset.data_root
    for image in Path(root).glob("img/*.png"):
        red = cv2.imread(str(image))[..., 2] / 255
        path = map_path(tmp_path / "maps", root, image)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(red))
    return tmp_path / "maps", data


def config(tiny_config, data, folder, kind="plain", **hl):
    cfg = tiny_config(kind)
    cfg.merge_from_dict(data.to_dict())
    cfg.data_root = data.train_dataloader.dataset.data_root
    return to_collected(cfg, folder, **hl)


def test_map_goes_where_the_image_goes(maps, tiny_config):
    """The map is the image's red channel: after crop, flip and resize it still is."""
    folder, data = maps
    steps = [s for s in data.train_dataloader.dataset.pipeline if s["type"] != "RandomResize"]
    data.train_dataloader.dataset.pipeline = [
        *steps[:2],
        # Twice the size by repeating pixels, as the map is resized.
        dict(type="Resize", scale_factor=2.0, keep_ratio=True, interpolation="nearest"),
        *[s for s in steps[2:] if s["type"] != "PhotoMetricDistortion"],
    ]
    cfg = config(tiny_config, data, folder)
    dataset = DATASETS.build(
        dict(with_checked_samples(cfg).train_dataloader.dataset, _scope_="mmseg")
    )
    flipped = set()
    for seed in range(8):
        np.random.seed(seed)
        sample = dataset[seed]
        scores, label = sample["data_samples"].gt_hardness.data, sample["data_samples"].gt_sem_seg
        assert scores.shape == label.data.shape == (1, 32, 48)
        red = sample["inputs"][2].float() / 255
        torch.testing.assert_close(scores[0], red, atol=1 / FULL, rtol=0)
        flipped.add(bool(sample["data_samples"].flip))
    assert flipped == {True, False}


@pytest.mark.parametrize("kind", KINDS)
def test_loss_is_that_of_the_model_that_wrote_the_map(kind, tiny_config, tiny_batch, build):
    """Scores of an HL model, fed to a plain model with the same weights: the same losses."""
    images, samples = tiny_batch()
    cfg = tiny_config(kind)
    for head in cfg.model.decode_head if kind == "cascade" else [cfg.model.decode_head]:
        head.dropout_ratio = 0
    hl = build(to_hl(cfg)).train()
    cfg.train_dataloader = dict(dataset=dict(pipeline=[
        dict(type="LoadAnnotations"), dict(type="PackSegInputs")]))  # fmt: skip
    plain = build(to_collected(cfg, "nowhere")).train()
    plain.load_state_dict({k: v for k, v in hl.state_dict().items() if "hl_head" not in k})
    assert not any("hl_head" in key for key in plain.state_dict())
    with torch.no_grad():
        features = hl.extract_feat(images)
        scores = hl.hl_loss.resize(
            hl.hl_logits(features, images.shape[-2:]), images.shape[-2:]
        ).sigmoid()
    hl.load_state_dict(plain.state_dict(), strict=False)  # the pass above moved BatchNorm
    for sample, score in zip(samples, scores, strict=True):
        sample.set_data(dict(gt_hardness=PixelData(data=score)))
    a, b = hl.loss(images, samples), plain.loss(images, samples)
    for key in b:
        torch.testing.assert_close(b[key], a[key], rtol=1e-4, atol=1e-6)
    grads = torch.autograd.grad(sum(v for k, v in b.items() if "loss" in k), plain.parameters())
    assert all(torch.isfinite(g).all() for g in grads)


def test_padding_carries_no_weight(tiny_config, tiny_batch, build):
    """A crop that is smaller than the batch: its map is padded with its label."""
    cfg = tiny_config()
    cfg.train_dataloader = dict(dataset=dict(pipeline=[
        dict(type="LoadAnnotations"), dict(type="PackSegInputs")]))  # fmt: skip
    model = build(to_collected(cfg, "nowhere"))
    _, samples = tiny_batch(ignored=0)
    for sample in samples:
        sample.gt_sem_seg.data[:, 20:] = 255
        sample.gt_sem_seg.data[:, :, 30:] = 255
        sample.set_data(dict(gt_hardness=PixelData(data=torch.ones(1, 20, 30))))
    label = torch.cat([s.gt_sem_seg.data for s in samples])
    h = model.collected_map(samples, label)[:, 0]
    assert h[:, 20:].abs().max() == 0 and h[:, :, 30:].abs().max() == 0
    torch.testing.assert_close(h[:, :20, :30], torch.full((2, 20, 30), 1 / 600))


def test_training_on_maps_through_the_engine(maps, tiny_config, tmp_path, fresh_mmengine):
    folder, data = maps
    fresh_mmengine()
    cfg = config(tiny_config, data, folder, c=0.5)
    cfg.train_cfg.max_iters = 6
    cfg = prepare(cfg, work_dir=tmp_path / "work", seed=0)
    assert 0 <= train(cfg, RUN, pictures=1).metrics.miou <= 1


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.unlink(), "no hardness map; collect the maps"),
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), "not a whole 16-bit map"),
        (lambda path: cv2.imwrite(str(path), np.zeros((32, 48), np.uint8)), "not a whole 16-bit"),
        (lambda path: path.write_bytes(encode(np.zeros((3, 4)))), "is 4x3, its image 48x32"),
    ],
)
def test_a_bad_map_is_named(damage, words, maps, tiny_config):
    folder, data = maps
    cfg = config(tiny_config, data, folder)
    damage(folder / "img/0.png")
    # As a run reads it: the line is that of the map, whatever is wrapped around.
    dataset = DATASETS.build(
        dict(with_checked_samples(cfg).train_dataloader.dataset, _scope_="mmseg")
    )
    with pytest.raises(MapError, match=words) as error:
        dataset[0]
    assert "img/0.png" in str(error.value) and "\n" not in str(error.value)


def test_a_pipeline_without_labels_is_refused(tiny_config):
    cfg = tiny_config()
    cfg.train_dataloader = dict(dataset=dict(pipeline=[dict(type="LoadImageFromFile")]))
    with pytest.raises(CannotConvert, match="no training pipeline with LoadAnnotations"):
        to_collected(cfg, "maps")
