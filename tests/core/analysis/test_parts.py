"""Parts of the pixels against brute force, pixel by pixel."""

import numpy as np
import pytest

from core.analysis import parts
from core.analysis.parts import PartMeter, small_components, trimap

NAMES = ("road", "pole", "tree", "sky")


@pytest.fixture
def images():
    """Labels in blocks with specks and void, and predictions that are partly wrong or no class."""
    rng = np.random.default_rng(0)
    found = []
    for height, width in ((24, 40), (17, 31)):
        label = np.kron(rng.integers(0, 3, (3, 4)), np.ones((8, 10), int))[:height, :width]
        label[rng.random(label.shape) < 0.03] = 2
        label[5:7] = 255
        pred = np.where(rng.random(label.shape) < 0.3, rng.integers(0, 4, label.shape), label)
        pred[0, :5] = 255
        found.append((label, pred))
    return found


def near(label):
    """The trimap by looking around every pixel."""
    out = np.zeros(label.shape, dtype=bool)
    for y, x in np.argwhere(label != 255):
        around = label[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4]
        out[y, x] = ((around != 255) & (around != label[y, x])).any()
    return out


def sizes(label):
    """The number of pixels of each pixel's component, by filling."""
    out = np.zeros(label.shape, dtype=int)
    for start in map(tuple, np.argwhere(label != 255)):
        if out[start]:
            continue
        seen, todo = {start}, [start]
        while todo:
            y, x = todo.pop()
            for at in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                inside = 0 <= at[0] < label.shape[0] and 0 <= at[1] < label.shape[1]
                if inside and at not in seen and label[at] == label[start]:
                    seen.add(at)
                    todo.append(at)
        for at in seen:
            out[at] = len(seen)
    return out


def iou(label, pred, k):
    return ((label == k) & (pred == k)).sum() / ((label == k) | (pred == k)).sum()


def flat(images, mask):
    """Labels and predictions of the pixels of a part, of all images."""
    picked = [(label[m], pred[m]) for label, pred in images if (m := mask(label)).size]
    return (np.concatenate(side) for side in zip(*picked, strict=True))


def measured(images, classes=NAMES):
    meter = PartMeter(classes)
    for image in images:
        meter.add(*image)
    return meter.result()


@pytest.mark.parametrize("small", [0.001, 0.004, 0.02])
def test_parts_are_those_of_their_definitions(small, images, monkeypatch):
    monkeypatch.setattr(parts, "SMALL", small)
    masks = dict(
        boundary=near,
        inside=lambda label: (label != 255) & ~near(label),
        small=lambda label: (label != 255) & (sizes(label) < small * label.size),
    )
    found = measured(images)
    total = sum((label != 255).sum() for label, _ in images)
    for name, mask in masks.items():
        label, pred = flat(images, mask)
        held = np.unique(label)
        part = found[name]
        assert part["classes"] == ()
        assert part["share"] == pytest.approx(len(label) / total)
        if len(label):
            assert part["accuracy"] == pytest.approx((label == pred).mean())
            assert part["miou"] == pytest.approx(np.mean([iou(label, pred, k) for k in held]))
        else:
            assert (part["accuracy"], part["miou"]) == (None, None)
    assert found["boundary"]["share"] + found["inside"]["share"] == pytest.approx(1)


def test_thin_is_the_third_of_the_classes_that_lies_most_near_boundaries(images):
    """Of the three that occur it is one; its IoU is the ordinary one."""
    label, pred = flat(images, lambda label: label != 255)
    edge, _ = flat([(near(x), x) for x, _ in images], lambda x: np.ones(x.shape, bool))
    classes, _ = flat(images, lambda label: np.ones(label.shape, bool))
    thinnest = max(range(3), key=lambda k: edge[classes == k].mean())
    found = measured(images)["thin"]
    assert found["classes"] == (NAMES[thinnest],)
    assert found["miou"] == pytest.approx(iou(label, pred, thinnest))
    assert found["accuracy"] == pytest.approx((pred == label)[label == thinnest].mean())
    assert found["share"] == pytest.approx((label == thinnest).mean())


def test_a_thin_column_is_thin_and_void_is_no_boundary():
    label = np.zeros((20, 40), dtype=np.uint8)
    label[:, 20] = 1
    label[:, 30:] = 255
    meter = PartMeter(NAMES)
    meter.add(label, label)
    found = meter.result()
    assert found["thin"]["classes"] == ("pole",)
    valid = label != 255
    band = np.flatnonzero(trimap(label, valid).any(axis=0))
    assert band.tolist() == list(range(17, 24))  # nothing along the void, which begins at 30


def test_small_is_a_component_not_a_class():
    """Two specks that touch at a corner are two; a class may be large in all."""
    label = np.zeros((60, 100), dtype=np.int64)
    label[10, 10:15] = label[11, 15:20] = 1  # five pixels each, under 0.1 % of 6000
    label[30, 10:16] = 1  # six are not
    small = small_components(label, label != 255)
    assert small.sum() == 10 and not small[30].any()


def test_nothing_measured_has_no_number():
    void = np.full((8, 8), 255, dtype=np.uint8)
    for found in (measured([]), measured([(void, void)])):
        assert {part["miou"] for part in found.values()} == {None}
        assert found["thin"]["classes"] == () and found["inside"]["share"] is None
    with pytest.raises(ValueError, match=r"label is \(8, 8\), the prediction \(4, 8\)"):
        measured([(void, void[:4])])
