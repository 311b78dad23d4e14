"""predict.py as a user starts it."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from core.maps import FULL, decode, quantized
from core.predict import load

SCRIPT = "fully_supervised/predict.py"
U2PL = "semi_supervised/train_u2pl_hl.py"


@pytest.fixture
def pictures(tmp_path):
    """Two of one name, one in a folder with a space and an umlaut."""
    folder = tmp_path / "in put"
    rng = np.random.default_rng(0)
    for name, size in (("a.png", (40, 60)), ("a.jpg", (33, 70)), ("straße ü/b.png", (1, 1))):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / name)
    return folder


def tree(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_what_is_written_is_what_is_predicted(call, checkpoints, pictures, tmp_path):
    out = tmp_path / "out"
    code, said, err = call(SCRIPT, checkpoints["hl"], pictures, "--out", out, "--device", "cpu")
    assert code == 0 and not said, err
    kinds = ("labels", "overlays", "hardness", "hardness-color")
    assert len(tree(out)) == 2 + 3 * len(kinds)
    assert all((out / kind / "straße ü/b.png").is_file() for kind in kinds), tree(out)
    predictor = load(checkpoints["hl"], device="cpu")
    sizes = set()
    for path in (out / "labels").rglob("*.png"):
        name = path.relative_to(out / "labels")
        with Image.open(path) as image:
            labels, mode, palette = np.asarray(image), image.mode, image.getpalette()[:15]
        assert mode == "P" and palette == predictor.palette.ravel().tolist()
        assert decode(out / "hardness" / name).shape == labels.shape
        assert cv2.imread(str(out / "overlays" / name)).shape[:2] == labels.shape
        sizes.add(labels.shape)
    assert sizes == {(40, 60), (33, 70), (1, 1)}
    (png,) = [p for p in (out / "labels").rglob("*.png") if Image.open(p).size == (60, 40)]
    want = predictor.predict(pictures / "a.png")
    assert (np.asarray(Image.open(png)) == want.labels).all()
    values = decode(out / "hardness" / png.relative_to(out / "labels"))
    assert (values == quantized(want.hardness)).all()
    assert np.abs(values / FULL - want.hardness).max() <= 0.51 / FULL
    told = json.loads((out / "predictions.json").read_text())
    assert [c["name"] for c in told["classes"]] == list(predictor.classes)
    names = {Path(path).relative_to(pictures): name for path, name in told["pictures"].items()}
    ways = {"a.jpg": "a.png", "a.png": "a_png.png", "straße ü/b.png": "straße ü/b.png"}
    assert names == {Path(path): name for path, name in ways.items()} and told["failed"] == []
    colors = np.asarray(Image.open(out / "legend.png")).reshape(-1, 3)
    assert all((colors == color).all(axis=1).sum() > 100 for color in predictor.palette)


def test_a_damaged_picture_stops_no_other(call, checkpoints, pictures, tmp_path, refused):
    (pictures / "c.jpg").write_bytes((pictures / "a.jpg").read_bytes()[:-300])
    done = call(SCRIPT, checkpoints["hl"], pictures, "--out", tmp_path / "out", "--no-hl")
    assert "1 of 4 pictures could not be predicted" in refused(done)
    assert f"error: {pictures}/c.jpg: cannot be read as a picture" in done[2]
    assert len(tree(tmp_path / "out")) == 2 + 3 * 2  # labels and overlays, no map


def test_another_commands_files_stay(call, checkpoints, pictures, tmp_path, refused):
    out = tmp_path / "out"
    first = (SCRIPT, checkpoints["baseline"], pictures / "a.png", "--out", out)
    assert call(*first)[0] == 0
    assert tree(out) == {"predictions.json", "legend.png", "labels/a.png", "overlays/a.png"}
    assert call(*first)[0] == 0  # the same command again
    other = call(SCRIPT, checkpoints["hl"], pictures / "a.png", "--out", out)
    assert "out: holds what was written by: python fully_supervised/predict.py" in refused(other)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/labels.txt").write_text("x")
    other = call(SCRIPT, checkpoints["hl"], pictures, "--out", tmp_path / "mine")
    assert "mine: holds files of something else; name a new folder" in refused(other)
    assert tree(tmp_path / "mine") == {"labels.txt"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x.jpg"], "name a folder for what is predicted: --out DIR"),
        (["--export", "x.pb"], "--export x.pb: its ending says what is written: .onnx or .pt2"),
        (["x.jpg", "--export", "x.onnx"], "--export writes the network and predicts nothing"),
        (["IN", "--out", "IN/new"], "/in put/new: lies in "),
        (["nowhere.jpg", "--out", "OUT"], "nowhere.jpg: no such picture or folder"),
    ],
)
def test_refusals(arguments, words, call, checkpoints, pictures, tmp_path, refused):
    places = {"OUT": tmp_path / "out", "IN": pictures, "IN/new": pictures / "new"}
    arguments = [places.get(word, word) for word in arguments]
    assert words in refused(call(SCRIPT, checkpoints["hl"], *arguments))
    assert not (tmp_path / "out").exists() and not (pictures / "new").exists()


def test_export_is_one_command(call, checkpoints, tmp_path):
    code, out, err = call(SCRIPT, checkpoints["hl"], "--export", tmp_path / "model.onnx")
    assert code == 0 and (tmp_path / "model.onnx").is_file(), err
    assert "images (N, 3, H, W) float32, RGB, 0-255 -> seg_logits (N, 5, H, W)" in out


@pytest.mark.slow
def test_u2pl_predicts_with_its_teacher(call, camvid, tmp_path):
    """Its map is the student's: the teacher has no branch."""
    data = ("--data", "camvid", "--data-root", camvid, "--split", "1/2")
    more = ("--split-order", "balanced", "--hl", "--max-iters", 2, "--no-pretrained")
    code, _, err = call(U2PL, *data, *more, "--work-dir", tmp_path / "run")
    assert code == 0, err
    checkpoint = tmp_path / "run/iter_2.pth"
    call("core/export.py", checkpoint, tmp_path / "plain.pth")
    picture = camvid / "images/val/0.jpg"
    found, plain = (load(p, device="cpu") for p in (checkpoint, tmp_path / "plain.pth"))
    ours, theirs = found.predict(picture), plain.predict(picture)
    assert (ours.labels == theirs.labels).all()
    assert ours.hardness.shape == (180, 240) and theirs.hardness is None
    assert found.hl_model is not found.model
    code, _, err = call(SCRIPT, checkpoint, picture, "--out", tmp_path / "out")
    assert code == 0 and "hardness, hardness-color of 1 picture;" in err
