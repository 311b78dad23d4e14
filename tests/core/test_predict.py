"""A checkpoint as a predictor: what mmseg's own prediction is, at the picture's size."""

import copy
import os
import shutil

import cv2
import numpy as np
import pytest
import torch
from mmseg.apis import inference_model, init_model
from mmseg.registry import TRANSFORMS
from PIL import Image, ImageOps

from core.analysis.overlays import Sheet
from core.engine.checkpoint import to_bytes
from core.engine.measuring import looking
from core.errors import ConfigError, PictureError
from core.export import export_checkpoint
from core.mmfixes import unformatted
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


def test_two_lines_of_python(checkpoints, tiny_data):
    folder = tiny_data["val_dataloader"]["dataset"]["data_root"]
    found = load(checkpoints["hl"]).predict(f"{folder}/img/3.png")
    assert found.labels.shape == found.hardness.shape == (32, 48)


@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (2000, 3), (31, 33), (500, 20)])
@pytest.mark.parametrize("resize", [None, (48, 32)])
def test_any_size_has_a_prediction(size, resize, checkpoints):
    """With and without a Resize, which would round a side to no pixel."""
    predictor = load(checkpoints["hl"], device="cpu")
    if resize:
        step = dict(type="Resize", scale=resize, keep_ratio=True)
        predictor._pipeline.transforms.insert(0, TRANSFORMS.build(step))
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    found = predictor.predict(picture)
    assert found.labels.shape == found.hardness.shape == found.confidence.shape == size
    assert found.labels.max() < 5 and 0 <= found.hardness.min() <= found.hardness.max() <= 1


def test_what_is_added_to_a_small_picture_is_cut_off(checkpoints):
    """A picture of 20 rows is seen as one of 32 whose last row is repeated, and of it 20 rows."""
    predictor = load(checkpoints["hl"], device="cpu")
    small = np.random.default_rng(0).integers(0, 256, (20, 48, 3), dtype=np.uint8)
    found = predictor.look(small)
    whole = predictor.look(np.concatenate([small, np.repeat(small[-1:], 12, 0)]))
    torch.testing.assert_close(found.seg_logits, whole.seg_logits[:, :20])
    torch.testing.assert_close(found.scores, whole.scores[:20])


def test_one_channel_tells_two_classes(tiny_config, tiny_data, tmp_path, build, picture):
    """sigmoid > threshold of mmseg, as class and as confidence."""
    cfg = tiny_config()
    cfg.merge_from_dict(copy.deepcopy(tiny_data))
    loss = dict(type="CrossEntropyLoss", use_sigmoid=True)
    cfg.model.decode_head.update(num_classes=2, out_channels=1, threshold=0.47, loss_decode=loss)
    cfg.model.auxiliary_head = None
    model = build(cfg)
    meta = dict(cfg=unformatted(cfg).pretty_text)
    (tmp_path / "x.pth").write_bytes(to_bytes(dict(meta=meta, state_dict=model.state_dict())))
    predictor = load(tmp_path / "x.pth", device="cpu")
    margin = predictor.look(picture).seg_logits[1]  # of the logit over the threshold's
    head = predictor.model.decode_head
    head.threshold = (margin + torch.tensor(0.47).logit()).sigmoid().median().item()
    found = predictor.predict(picture)
    with looking(predictor.model):
        batch = dict(inputs=[torch.from_numpy(picture[..., ::-1].transpose(2, 0, 1).copy())])
        data = predictor.model.data_preprocessor(batch, False)
        want = predictor.model.predict(data["inputs"])[0].pred_sem_seg.data[0].numpy()
    assert (found.labels == want).mean() > 0.99 and 0.3 < found.labels.mean() < 0.7


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_picture_is_upright(turn, tmp_path):
    """As its EXIF tag says, whatever the kind of file."""
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:8, :12], pixels[8:, 12:] = (255, 0, 0), (0, 0, 255)
    exif = Image.Exif()
    exif[0x112] = turn
    for ending in ("png", "tiff", "webp"):
        path = tmp_path / f"ä b.{ending}"
        Image.fromarray(pixels).save(path, exif=exif)
        with Image.open(path) as image:
            want = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        found = read_picture(path)
        assert found.shape == want.shape and np.abs(found.astype(int) - want).mean() <= 8


def test_kinds_of_pictures(tmp_path):
    """Grey, palette, alpha, 16 bits, CMYK: red is red."""
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[..., 0] = 255
    image = Image.fromarray(pixels)
    for mode, name in (("P", "p.png"), ("RGBA", "a.png"), ("CMYK", "c.jpg"), ("CMYK", "c.tif")):
        image.convert(mode).save(tmp_path / name)
        assert np.abs(read_picture(tmp_path / name).astype(int) - pixels).max() <= 6, name
    deep = np.zeros((16, 24, 3), np.uint16)
    deep[..., 2] = 65535
    cv2.imwrite(str(tmp_path / "d.png"), deep)
    assert (read_picture(tmp_path / "d.png") == pixels).all()
    image.convert("L").save(tmp_path / "g.png")
    assert (read_picture(tmp_path / "g.png") == 76).all()


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "bmp"])
def test_half_a_picture_is_named(ending, tmp_path):
    path = tmp_path / f"half.{ending}"
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(PictureError, match=rf"half\.{ending}: ") as error:
        read_picture(path)
    assert "\n" not in str(error.value)
    path.write_text("no picture")
    with pytest.raises(PictureError, match=rf"half\.{ending}: cannot be read as a picture"):
        read_picture(path)


def test_an_export_predicts_the_same(checkpoints, tmp_path, picture):
    """In plain mmseg, too: a pair of weights and config."""
    path = tmp_path / "ü 1.png"
    cv2.imwrite(str(path), picture[..., ::-1])
    export_checkpoint(checkpoints["hl"], tmp_path / "plain.pth")
    want = load(checkpoints["hl"], device="cpu").predict(path)
    found = load(tmp_path / "plain.pth", device="cpu").predict(path)
    assert (found.labels == want.labels).all() and found.hardness is None
    state = torch.load(tmp_path / "plain.pth", weights_only=True)["state_dict"]
    torch.save(dict(state_dict=state, meta={}), tmp_path / "bare.pth")
    with pytest.raises(ConfigError, match="carries no config; name its config: --config"):
        load(tmp_path / "bare.pth")
    bare = load(tmp_path / "bare.pth", config=tmp_path / "plain.py", device="cpu").predict(path)
    assert (bare.labels == want.labels).all()
    model = init_model(str(tmp_path / "plain.py"), str(tmp_path / "plain.pth"), device="cpu")
    theirs = inference_model(model, str(path)).pred_sem_seg.data[0].numpy()
    assert (theirs == want.labels).all()


def test_a_name_that_is_no_utf_8_is_read(tiny_data, tmp_path):
    folder = tiny_data["val_dataloader"]["dataset"]["data_root"]
    path = tmp_path / os.fsdecode(b"stra\xdfe.png")
    shutil.copy(f"{folder}/img/3.png", path)
    assert (read_picture(path) == read_picture(f"{folder}/img/3.png")).all()
    sheet = Sheet(1, "x")
    sheet.add(path.stem, *[np.zeros((8, 8, 3), np.uint8)] * 2)
    assert sheet.picture().any()


def test_a_device_that_is_not_there_is_one_line(checkpoints):
    with pytest.raises(ConfigError, match="--device gpu"):
        load(checkpoints["hl"], device="gpu")


def test_loading_and_predicting_warn_of_nothing_that_is_of_mmseg(checkpoints, picture, recwarn):
    load(checkpoints["hl"], device="cpu").predict(picture)
    assert not [w for w in recwarn if "/mmseg/" in w.filename]
