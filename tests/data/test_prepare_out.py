"""``prepare.py NAME --src … --out …`` as it is called: links, conversions, and bad input."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from data import prepare, registry
from data.errors import DataError


@pytest.fixture
def called(capsys):
    """``called(*arguments)``: what prepare.py prints; an error is raised as it is."""

    def call(*arguments):
        prepare.main([str(argument) for argument in arguments])
        return capsys.readouterr().out

    return call


def tree(folder: Path) -> dict:
    return {p.relative_to(folder): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_out_leaves_the_download_as_it_is(fake_cityscapes, tmp_path_factory, called):
    src, out = fake_cityscapes(2), tmp_path_factory.mktemp("out") / "city"
    before = tree(src)
    out_text = called("cityscapes", "--src", src, "--out", out)
    assert "4 label files made" in out_text and "all files are whole" in out_text
    assert tree(src) == before
    assert len(list(out.rglob("*_labelTrainIds.png"))) == 4
    assert all(p.is_symlink() for p in out.rglob("*_leftImg8bit.png"))
    assert registry.locate("cityscapes", out) == out
    assert "0 label files made" in called("cityscapes", "--src", src, "--out", out)
    with pytest.raises(DataError, match="lies in --src"):
        called("cityscapes", "--src", src, "--out", src / "inner")


def test_isaid_from_download_to_checked(tmp_path, called):
    src, out = tmp_path / "src", tmp_path / "out"
    for split in ("train", "val"):
        for part, name in (("images", "P0000.png"),
                           ("Semantic_masks/images", "P0000_instance_color_RGB.png")):  # fmt: skip
            (src / split / part).mkdir(parents=True)
            cv2.imwrite(str(src / split / part / name), np.zeros((900, 300, 3), np.uint8))
    text = called("isaid", "--src", src, "--out", out)
    assert "2 images converted" in text and "all files are whole" in text
    assert len(list((out / "img_dir/train").glob("*.png"))) == 2  # 900 high: two patches of 896
    assert "0 images converted" in called("isaid", "--src", src, "--out", out)
    assert "all files are whole" in called("isaid", "--out", out)
    next((out / "ann_dir/val").glob("*.png")).write_bytes(b"no")
    with pytest.raises(DataError, match=r"1 problem in .*, listed above"):
        called("isaid", "--out", out, "--check-only")


def test_totaltext_from_download_to_checked(tmp_path, called):
    src, out = tmp_path / "src", tmp_path / "out"
    line = "x: [[1 9 9 1]], y: [[1 1 9 9]], ornt: [u'h'], transcriptions: [u'A']\n"
    for split in ("Train", "Test"):
        (src / "Images" / split).mkdir(parents=True)
        (src / "Groundtruth/Polygon" / split).mkdir(parents=True)
        cv2.imwrite(str(src / f"Images/{split}/img1.jpg"), np.zeros((20, 30, 3), np.uint8))
        (src / f"Groundtruth/Polygon/{split}/poly_gt_img1.txt").write_text(line)
    assert "2 images converted" in called("totaltext", "--src", src, "--out", out)
    with pytest.raises(DataError, match="no Groundtruth/Pixel/Train; unpack Total-Text"):
        called("totaltext", "--src", src, "--out", out, "--annotations", "pixel")


@pytest.mark.parametrize("name", ["isaid", "totaltext", "ade20k"])
def test_nothing_there_is_one_line(name, tmp_path, called):
    with pytest.raises(DataError, match=r"no such folder|not found") as error:
        called(name, "--src", tmp_path / "none", "--out", tmp_path / "out")
    assert "\n" not in str(error.value)
    if name != "ade20k":
        with pytest.raises(DataError, match=rf"make it with python data/prepare.py {name} --src"):
            registry.locate(name, tmp_path / "out")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--size", "99999999x99999999"], "of at most 8192 each"),
        (["--size", "0x5"], "--size 0x5: give width x height"),
        (["--num-train", "-1"], "argument --num-train: (-1: give a number|expected one argument)"),
        (["--num-val", "99999999999"], "argument --num-val: 99999999999: give a number of images"),
        (["--workers", "0"], "argument --workers: 0: give a number of processes, 1 or more"),
    ],
)
def test_streets_that_no_disk_holds_are_refused(flags, words, tmp_path, capsys):
    with pytest.raises((SystemExit, DataError)) as error:
        prepare.main(["streets", "--out", str(tmp_path / "made"), *flags])
    assert re.search(words, f"{error.value}{capsys.readouterr().err}")
    assert not (tmp_path / "made").exists()
