"""Class weights: pixels counted as training reads them, and the formula."""

import json
import math

import cv2
import numpy as np
import pytest

from core.errors import ConfigError
from core.rivals.class_weights import balanced, class_pixels, read
from data.roots import Roots
from fully_supervised.loaders import data_of
from fully_supervised.manifest import HERE


def test_pixels_are_those_of_the_training_labels(camvid):
    classes, pixels = class_pixels(data_of("camvid", Roots.parse([str(camvid)])))
    labels = [cv2.imread(str(p), -1) for p in (camvid / "labels/train").glob("*.png")]
    want = [sum(int((label == i).sum()) for label in labels) for i in range(11)]
    assert len(classes) == 11 and pixels.tolist() == want
    assert sum(want) < sum(label.size for label in labels)  # there is void, and it counts nowhere


def test_weights_follow_the_formula():
    pixels = [800, 150, 50, 0]
    raw = [1 / math.log(1.02 + n / 1000) for n in pixels]
    want = [x / (sum(raw) / 4) for x in raw]
    assert balanced(pixels) == pytest.approx(want, abs=1e-6)
    assert np.mean(balanced(pixels)) == pytest.approx(1)
    assert balanced(pixels)[3] / balanced(pixels)[0] < 50  # bounded for a class that is absent


def test_files_are_read_and_bad_ones_are_told(tmp_path):
    assert len(read(HERE / "configs/cityscapes_class_weights.json")) == 19
    path = tmp_path / "w.json"
    path.write_text(json.dumps([1, 2.5]))
    assert read(path) == [1.0, 2.5]
    for text in ("{", '{"a": 1}', '["x"]'):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"w\.json: no class weights"):
            read(path)
    with pytest.raises(ConfigError, match=r"none\.json: no class weights"):
        read(tmp_path / "none.json")
