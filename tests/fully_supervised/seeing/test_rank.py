import csv
import gc
import json
import shutil
import tracemalloc
from argparse import Namespace
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from PIL import Image

from core.analysis import ranking
from core.predict import load
from core.section import read

SCRIPT = "fully_supervised/hardness.py"
FEW = ("--min-area", 4)


@pytest.fixture
def copies(tiny_data, tmp_path):
    """Images that nobody was trained on, as files: a folder of images and one of labels."""
    root = Path(tiny_data["train_dataloader"]["dataset"]["data_root"])
    for part in ("img", "ann"):
        shutil.copytree(root / part, tmp_path / part)
    for path in (tmp_path / "img").iterdir():  # a copy byte for byte would be known
        cv2.imwrite(str(path), cv2.imread(str(path)), [cv2.IMWRITE_PNG_COMPRESSION, 0])
    return tmp_path / "img", tmp_path / "ann"


@pytest.fixture(autouse=True)
def _few_crops(monkeypatch):
    monkeypatch.setattr("fully_supervised.seeing.ranked_section.SHOWN", 3)


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def run(call, checkpoints, copies, out, *flags):
    code, told, err = call(SCRIPT, "rank", checkpoints["hl"], copies[0], "--labels", copies[1],
                           *FEW, "--out", out, *flags)  # fmt: skip
    assert code == 0, err
    return told


@pytest.mark.slow
def test_regions_are_where_label_and_prediction_differ(call, checkpoints, copies, tmp_path):
    told = run(call, checkpoints, copies, tmp_path / "a", "--top", 500, "--export", "labelme",
               "cvat")  # fmt: skip
    folder = tmp_path / "a/rank"
    found = rows(folder / "regions.csv")
    assert len(found) > 10
    scores = [float(r["score"]) for r in found]
    assert scores == sorted(scores, reverse=True)
    content = json.loads((folder / "regions.json").read_text())
    assert [a["score"] for a in content["annotations"]] == pytest.approx(scores, rel=1e-5)
    predictor = load(checkpoints["hl"])
    names = {i["id"]: i["name"] for i in content["images"]}
    for a, row in zip(content["annotations"], found, strict=True):
        label = cv2.imread(str(copies[1] / f"{names[a['image_id']]}.png"), 0)
        counts = a["segmentation"]["counts"]
        flat = np.repeat(np.arange(len(counts)) % 2, counts)
        mask = flat.reshape(a["segmentation"]["size"][::-1]).T.astype(bool)
        assert mask.sum() == a["area"] == int(row["area"])
        y, x = np.nonzero(mask)
        assert a["bbox"] == [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
        assert set(label[mask]) == {a["given_category_id"]}
        if a["id"] % 10 == 1:
            picture = copies[0] / f"{names[a['image_id']]}.png"
            assert set(predictor.predict(picture).labels[mask]) == {a["category_id"]}
    section = read(folder)
    assert section.figures["regions"] == len(found)
    assert sum(int(n) for _, n, _ in section.tables[0].rows) == len(found)
    assert (folder / "gallery.html").stat().st_size < 9e6
    assert "http" not in (folder / "gallery.html").read_text().replace("http-equiv", "")
    assert "gallery.html" in told

    shapes = [s for p in (folder / "labelme").glob("*.json")
              for s in json.loads(p.read_text())["shapes"]]  # fmt: skip
    one = json.loads((folder / "labelme/0.json").read_text())
    assert (folder / "labelme" / one["imagePath"]).resolve() == (copies[0] / "0.png").resolve()
    drawn = ElementTree.parse(folder / "cvat.xml").getroot().findall("image/polygon")
    assert len(shapes) == len(drawn) >= len(found)
    assert {s["label"] for s in shapes} == {found_["suggested"] for found_ in found}


def test_the_same_command_leaves_the_same_files(call, checkpoints, copies, tmp_path):
    for name in "ab":
        run(call, checkpoints, copies, tmp_path / name, "--budget", 3, "--by", "hardness*loss")
    for name in ("regions.csv", "regions.json", "images.csv", "budget.txt"):
        one, other = ((tmp_path / f"{k}/rank" / name).read_bytes() for k in "ab")
        assert one == other, name
    assert len((tmp_path / "a/rank/budget.txt").read_text().splitlines()) == 3
    for row in rows(tmp_path / "a/rank/regions.csv"):
        assert float(row["score"]) == pytest.approx(
            float(row["hardness"]) * float(row["loss"]), rel=1e-4)  # fmt: skip


def test_classes_area_and_top_choose(call, checkpoints, copies, tmp_path):
    run(call, checkpoints, copies, tmp_path / "a", "--top", 500)
    run(call, checkpoints, copies, tmp_path / "b", "--top", 3, "--classes", "class 1", "2",
        "--min-area", 20)  # fmt: skip
    every = rows(tmp_path / "a/rank/regions.csv")
    wanted = [r for r in every if {r["given"], r["suggested"]} & {"class 1", "class 2"}
              and int(r["area"]) >= 20]  # fmt: skip
    some = rows(tmp_path / "b/rank/regions.csv")
    assert [dict(r, rank="") for r in some] == [dict(r, rank="") for r in wanted[:3]]


def test_ignored_pixels_are_in_no_region(call, checkpoints, copies, tmp_path):
    for path in copies[1].glob("*.png"):
        label = cv2.imread(str(path), 0)
        label[:, 24:] = 255
        cv2.imwrite(str(path), label)
    run(call, checkpoints, copies, tmp_path / "a", "--top", 500)
    found = rows(tmp_path / "a/rank/regions.csv")
    assert found
    assert all(int(r["x"]) + int(r["width"]) <= 24 and int(r["y"]) >= 2 for r in found)


def test_images_without_labels_are_ordered(call, checkpoints, copies, tmp_path):
    for name in ("hl", "baseline"):
        code, _, err = call(SCRIPT, "rank", checkpoints[name], copies[0], "--budget", 4, "--out",
                            tmp_path / name)  # fmt: skip
        assert code == 0, err
        folder = tmp_path / name / "rank"
        key = "hardness" if name == "hl" else "entropy"
        values = [float(r[key]) for r in rows(folder / "images.csv")]
        assert len(values) == 8
        assert values == sorted(values, reverse=True)
        assert not (folder / "regions.csv").exists()
        assert sorted(r["chosen"] for r in rows(folder / "images.csv") if r["chosen"]) == list(
            "1234"
        )


def test_images_of_the_training_are_refused_or_marked(call, refused, checkpoints, tmp_path):
    flags = ["rank", checkpoints["hl"], *FEW, "--out", tmp_path]
    line = refused(call(SCRIPT, *flags))  # its validation images are its training images
    assert "--folds" in line
    assert "8 of 8" in line
    code, _, err = call(SCRIPT, *flags, "--in-sample")
    assert code == 0, err
    for name in ("regions.csv", "images.csv"):
        assert {r["in_sample"] for r in rows(tmp_path / "rank" / name)} == {"1"}
    images = json.loads((tmp_path / "rank/regions.json").read_text())["images"]
    assert all(image["in_sample"] for image in images)
    assert "trained on" in (tmp_path / "rank/gallery.html").read_text()
    assert "8 of the images" in read(tmp_path / "rank").facts["Trained on"]


def test_what_cannot_be_ranked_is_one_line(call, refused, checkpoints, copies, tmp_path):
    def line(name, *flags):
        return refused(call(SCRIPT, "rank", checkpoints[name], copies[0], "--labels", copies[1],
                            "--out", tmp_path / "x", *flags))  # fmt: skip

    assert "HL branch" in line("baseline", "--by", "hardness*loss")
    assert "--classes lorry" in line("hl", "--classes", "lorry")
    cv2.imwrite(str(copies[1] / "3.png"), np.full((32, 48), 9, np.uint8))
    assert "label id 9" in line("hl")
    code, _, err = call(SCRIPT, "rank", checkpoints["hl"], copies[0], "--by", "loss*lost")
    assert code == 2
    assert "give one of" in err
    assert not (tmp_path / "x/rank/section.json").exists()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_images(checkpoints, copies, monkeypatch):
    """What is kept of the regions of 200 images is no more than of those of 10."""
    from fully_supervised.seeing import rank
    from fully_supervised.seeing.inputs import Images, Item

    predictor = load(checkpoints["hl"])
    item = Item("0", copies[0] / "0.png", copies[1] / "0.png")
    look = predictor.look(cv2.imread(str(item.image)))
    monkeypatch.setattr(predictor, "look", lambda _: look)  # the network is not what is measured

    def kept(count):
        images = Images([item] * count, "copies")
        seen = rank.Seen(np.zeros((count, 4)), np.zeros((count, 5)), np.zeros((count, 192)), {},
                         np.zeros((5, 5)), [0])  # fmt: skip
        with open(copies[0].parent / f"spool-{count}", "w+b") as spool:
            tracemalloc.start()
            rank._look(
                Namespace(min_area=4), predictor, images, np.arange(count), None, seen, spool
            )
            best = rank._best(spool, "surprise", 20, seen.confusion)
            gc.collect()  # a decoder leaves circles
            size = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
        assert len(best.sorted()) == 20
        return size, sum(n for n, _ in seen.swaps.values())

    kept(10)  # what is imported and cached by the way
    (few, of_few), (many, of_many) = kept(10), kept(200)
    assert of_many == 20 * of_few > 1000
    # Bytes: the progress bar keeps some of its steps; the regions would take several times this.
    assert many < few + 100_000 < 400 * of_many


def test_best_holds_no_more_than_asked():
    best = ranking.Best(5)
    for i in range(1000):
        best.add(i % 7, i)
    assert len(best._heap) == 5
    assert [item for _, item in best.sorted()] == [6, 13, 20, 27, 34]


@pytest.mark.slow
def test_folds_rank_each_image_with_a_model_that_has_not_seen_it(
    call, checkpoints, tmp_path, monkeypatch
):
    from fully_supervised.seeing import folds

    flags = ["rank", checkpoints["hl"], "--split", "train", "--folds", 2, *FEW, "--out", tmp_path]
    code, _, err = call(SCRIPT, *flags)
    assert code == 0, err
    assert {r["in_sample"] for r in rows(tmp_path / "rank/images.csv")} == {"0"}
    before = (tmp_path / "rank/regions.csv").read_bytes()
    seen = []
    for k in (1, 2):
        (path,) = (tmp_path / f"folds-2/fold-{k}").glob("iter_12.pth")
        seen.append(folds.trained_on(load(path).cfg).paths)
    assert len(seen[0]) == len(seen[1]) == 4
    assert not seen[0] & seen[1]
    # What is trained is not trained again.
    monkeypatch.setattr(folds.subprocess, "run", lambda *_, **__: pytest.fail("trains again"))
    code, _, err = call(SCRIPT, *flags)
    assert code == 0, err
    assert (tmp_path / "rank/regions.csv").read_bytes() == before


def test_labels_of_files_are_stored_as_the_own_ones(call, checkpoints, tiny_data, tmp_path):
    root = Path(tiny_data["val_dataloader"]["dataset"]["data_root"])
    code, _, err = call(SCRIPT, "rank", checkpoints["hl"], root / "img", "--labels", root / "ann",
                        "--in-sample", "--out", tmp_path)  # fmt: skip
    assert code == 0, err
    section = json.loads((tmp_path / "rank/section.json").read_text())
    assert "8 with a label" in section["facts"]["Images"] and "cannot be told" not in err
    assert str(root / "ann") in section["title"]


def test_labels_that_match_no_image_are_refused(call, refused, checkpoints, tiny_data, tmp_path):
    root = Path(tiny_data["val_dataloader"]["dataset"]["data_root"])
    (tmp_path / "labels").mkdir()
    shutil.copy(root / "ann/0.png", tmp_path / "labels/0_L.png")
    line = refused(call(SCRIPT, "rank", checkpoints["hl"], root / "img/0.png", "--labels",
                        tmp_path / "labels", "--in-sample", "--out", tmp_path / "out"))  # fmt: skip
    assert "has no label 0.png" in line and "1 of 1" in line


def test_a_copy_of_a_training_image_is_known(call, refused, checkpoints, tiny_data, tmp_path):
    root = Path(tiny_data["val_dataloader"]["dataset"]["data_root"])
    shutil.copy(root / "img/3.png", tmp_path / "3.png")
    line = refused(call(SCRIPT, "rank", checkpoints["hl"], tmp_path / "3.png", "--out",
                        tmp_path / "out"))  # fmt: skip
    assert "was trained on it" in line


def test_a_turned_picture_with_a_label_is_refused(call, refused, checkpoints, tiny_data, tmp_path):
    root = Path(tiny_data["val_dataloader"]["dataset"]["data_root"])
    exif = Image.Exif()
    exif[0x0112] = 3
    (tmp_path / "img").mkdir()
    Image.open(root / "img/0.png").save(tmp_path / "img/0.jpg", exif=exif)
    line = refused(call(SCRIPT, "rank", checkpoints["hl"], tmp_path / "img", "--labels",
                        root / "ann", "--out", tmp_path / "out"))  # fmt: skip
    assert "EXIF orientation 3" in line


def test_checkpoints_of_two_arms_are_refused(call, refused, checkpoints, tmp_path):
    line = refused(call(SCRIPT, "rank", checkpoints["hl"], "--checkpoints",
                        checkpoints["baseline"], "--in-sample", "--out", tmp_path))  # fmt: skip
    assert "one arm" in line
