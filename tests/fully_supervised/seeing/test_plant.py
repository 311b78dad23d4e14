import json

import cv2
import numpy as np

from core.section import read

SCRIPT = "fully_supervised/hardness.py"


def test_copies_differ_where_the_list_says(camvid, call, tmp_path):
    flags = ["--data", "camvid", "--data-root", camvid, "--split", "train", "--share", 0.8]
    code, _, err = call(SCRIPT, "plant", *flags, "--min-area", 200, "--out", tmp_path)
    assert code == 0, err
    folder = tmp_path / "plant"
    content = json.loads((folder / "planted.json").read_text())
    planted = content["planted"]
    assert len(planted) > 5
    total = 0
    for path in sorted((camvid / "labels/train").glob("*.png")):
        name = f"images/train/{path.stem}"
        before, after, number = (cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in (
            path, folder / f"labels/{name}.png", folder / f"errors/{name}.png"))  # fmt: skip
        assert ((before != after) == (number > 0)).all()
        assert ((before == 11) == (after == 11)).all()  # void, as it is stored
        of = [e for e in planted if e["image"] == name]
        assert [(e["number"], e["area"]) for e in of] == [
            (i, (number == i).sum()) for i in range(1, len(of) + 1)]  # fmt: skip
        total += (before != after).sum()
    assert read(folder).figures == dict(errors=len(planted), pixels=int(total))
    assert len((folder / "planted.csv").read_text().splitlines()) == len(planted) + 1


def test_labels_of_a_folder_get_the_same_errors(camvid, call, tmp_path):
    more = ["--share", 0.8, "--min-area", 200, "--out", tmp_path]
    call(SCRIPT, "plant", "--data", "camvid", "--data-root", camvid, "--split", "train", *more)
    labels = camvid / "labels/train"
    code, _, err = call(SCRIPT, "plant", "--labels", labels, "--num-classes", 11,
                        "--ignore-index", 11, *more)  # fmt: skip
    assert code == 0, err
    for path in labels.glob("*.png"):
        one = (tmp_path / f"plant/labels/images/train/{path.name}").read_bytes()
        assert one == (tmp_path / f"plant-2/labels/{path.name}").read_bytes()


def test_what_cannot_be_planted_is_one_line(camvid, call, refused, tmp_path):
    def line(*flags):
        return refused(call(SCRIPT, "plant", *flags, "--out", tmp_path))

    labels = camvid / "labels/train"
    assert "--num-classes" in line("--labels", labels)
    assert "--data NAME" in line()
    assert "11" in line("--labels", labels, "--num-classes", 11)  # void is not 255
    cv2.imwrite(str(tmp_path / "rgb.png"), np.zeros((8, 8, 3), np.uint8))
    assert "3 channels" in line("--labels", tmp_path, "--num-classes", 2)
    assert not list(tmp_path.glob("*/section.json"))
