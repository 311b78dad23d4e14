"""``prepare.py check CONFIG`` on a user's config: what is wrong, in it, or in it twice."""

import numpy as np
import pytest
from PIL import Image

from data import prepare
from data.errors import DataError

CONFIG = """
def loader(part, wrap):
    leaf = dict(type="BaseSegDataset", data_root={root!r}, metainfo=dict(classes=("a", "b", "c")),
                data_prefix=dict(img_path=f"img/{{part}}", seg_map_path=f"ann/{{part}}"), pipeline=[
                    dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"),
                    dict(type="PackSegInputs")])
    return dict(dataset=dict(type="RepeatDataset", times=3, dataset=leaf) if wrap else leaf)
train_dataloader = loader("train", True)
val_dataloader = loader("val", False)
test_dataloader = val_dataloader
"""


@pytest.fixture
def checked(tmp_path, capsys):
    """``checked(train_label, val_label)``: what the command prints, and its error or None."""
    (tmp_path / "c.py").write_text(CONFIG.format(root=str(tmp_path)))

    def run(train, val, same_image=False):
        for part, label, shade in (("train", train, 10), ("val", val, 10 if same_image else 200)):
            for folder in ("img", "ann"):
                (tmp_path / folder / part).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 6), (shade,) * 3).save(tmp_path / f"img/{part}/x.jpg")
            Image.fromarray(label.astype(np.uint8)).save(tmp_path / f"ann/{part}/x.png")
        try:
            prepare.main(["check", str(tmp_path / "c.py")])
        except DataError as error:
            return capsys.readouterr().out, str(error)
        return capsys.readouterr().out, None

    return run


IDS = np.arange(48).reshape(6, 8) % 3


def test_shares_and_no_problem(checked):
    label = IDS.copy()
    label[0] = 255
    out, error = checked(label, IDS)
    assert error is None
    assert "train: 1 images, 16.67 % void" in out and "val: 1 images, 0.00 % void" in out
    assert out.count("in 1 images") == 6 and "test:" not in out
    assert "note: nothing stands out" in out


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (IDS * 0, "note: train: only class 0 (a) occurs"),
        (IDS % 2, "note: train: 1 of 3 classes never occur: c"),
        (IDS * 0 + 255, "note: train: all void"),
        ((IDS > 0) * 255, "note: train: labels look like masks of 0 and 255"),
    ],
)
def test_odd_labels_are_told_in_words(label, words, checked):
    out, error = checked(label, IDS)
    assert error is None and words in out


def test_the_same_image_in_both_parts_is_told(checked):
    out, error = checked(IDS, IDS, same_image=True)
    assert error is None
    assert "1 of 1 images of val are in train, too, pixel by pixel" in out


def test_what_cannot_be_trained_on_fails_the_command(checked, tmp_path):
    out, error = checked(np.dstack([IDS] * 3), IDS + 1)
    assert error == f"2 problems in the data of {tmp_path}/c.py, listed above"
    assert "ann/train/x.png: not a single-channel label (RGB" in out
    assert "ann/val/x.png: label id 3 (16 pixels) is out of range; there are 0-2, 255" in out


def test_a_config_that_cannot_be_read_is_a_line(tmp_path):
    for text, words in (("x = (", "SyntaxError"), ("x = 1 / 0", "ZeroDivisionError"),
                        ("x = 1", "has none of train_dataloader")):  # fmt: skip
        (tmp_path / "c.py").write_text(text)
        with pytest.raises(DataError, match=words) as error:
            prepare.main(["check", str(tmp_path / "c.py")])
        assert "\n" not in str(error.value)
    with pytest.raises(DataError, match="no such config file"):
        prepare.main(["check", "mmseg::none/none.py"])
