"""hardness.py map: exact files, one scale, figures of all pixels."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from core import section
from core.maps import FULL, decode, quantized
from core.predict import load, read_picture

SCRIPT = "fully_supervised/hardness.py"


@pytest.fixture
def images(tiny_data):
    return tiny_data["val_dataloader"]["dataset"]["data_root"] + "/img"


def test_maps_are_exact_and_figures_are_theirs(call, checkpoints, images, tmp_path):
    """Of the images that the config reads, without a word about them."""
    code, out, err = call(SCRIPT, "map", checkpoints["hl"], "--out", tmp_path, "--sheet", 3)
    assert code == 0, err
    folder = tmp_path / "map"
    found = section.read(folder)
    predictor = load(checkpoints["hl"])
    maps = {k: decode(folder / f"maps/img/{k}.png") for k in range(8)}
    for k, values in maps.items():
        want = predictor.predict(f"{images}/{k}.png").hardness
        assert (values == quantized(want)).all()
        assert cv2.imread(str(folder / f"overlays/img/{k}.png")).shape[0] > 32  # and its bar
    pixels = np.concatenate([values.ravel() for values in maps.values()]) / FULL
    assert found.figures["mean"] == pytest.approx(pixels.mean())
    assert found.figures["above_half"] == np.mean(pixels > 0.5) and found.figures["images"] == 8
    rows = list(csv.DictReader((folder / "maps.csv").open()))
    assert [row["image"] for row in rows] == [f"img/{k}" for k in range(8)]
    assert float(rows[5]["mean"]) == pytest.approx(maps[5].mean() / FULL, abs=1e-6)
    assert next(strip.title for strip in found.strips) == "3 of 8, spread over them, on one sheet"
    assert all((folder / p.file).is_file() for s in found.strips for p in s.pictures)
    assert "| all 8 " in out
    image = cv2.imread(str(folder / "strips/1_image.png"))[..., ::-1]
    assert (image == read_picture(f"{images}/0.png")).all()


def test_a_damaged_picture_is_named_and_left_out(call, checkpoints, images, tmp_path, refused):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/good ü.png").write_bytes(open(f"{images}/0.png", "rb").read())
    (tmp_path / "in/bad.png").write_bytes(open(f"{images}/0.png", "rb").read()[:900])
    arguments = (SCRIPT, "map", checkpoints["hl"], tmp_path / "in", "--out", tmp_path / "out")
    done = call(*arguments)
    assert "1 pictures could not be read" in refused(done)
    assert f"error: {tmp_path}/in/bad.png: cannot be read as a picture" in done[2]
    found = section.read(tmp_path / "out/map")
    assert "bad.png" in found.words[1] and len(found.failed) == 1
    assert (tmp_path / "out/map/maps/good ü.png").is_file()
    (tmp_path / "in/good ü.png").unlink()
    assert "none of the 1 pictures could be read" in refused(call(*arguments))


def test_a_model_without_a_branch_is_refused(call, checkpoints, images, tmp_path, refused):
    line = refused(call(SCRIPT, "map", checkpoints["baseline"], images, "--out", tmp_path / "out"))
    assert "has no HL branch, so no HL map; take a checkpoint of a training with --hl" in line
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_read_is_not_written_to(call, checkpoints, images, tmp_path, refused):
    done = call(SCRIPT, "map", checkpoints["hl"], images, "--out", f"{images}/a/b")
    assert f"{images}/a/b: lies in {images}, whose pictures are read" in refused(done)
    assert not Path(images, "a").exists()


def test_page_writes_over_no_page_of_others(call, tmp_path, refused):
    (tmp_path / "index.html").write_text("mine")
    assert "index.html: is no page of this project" in refused(call(SCRIPT, "page", tmp_path))
    assert (tmp_path / "index.html").read_text() == "mine"
