"""The label table against an independent one, and the converter on the published layout."""

import cv2
import numpy as np
import pytest
from mmseg.datasets import CityscapesDataset

from data.errors import DataError
from data.sets.cityscapes import (
    CLASSES,
    ID_TO_TRAIN_ID,
    KNOWN_IDS,
    LABEL_COLORS,
    PALETTE,
    convert_label_ids,
    make_label_train_ids,
)

# Typed from the published table: name, id, trainId.
TABLE = """
unlabeled 0 255|ego vehicle 1 255|rectification border 2 255|out of roi 3 255|static 4 255
dynamic 5 255|ground 6 255|road 7 0|sidewalk 8 1|parking 9 255|rail track 10 255|building 11 2
wall 12 3|fence 13 4|guard rail 14 255|bridge 15 255|tunnel 16 255|pole 17 5|polegroup 18 255
traffic light 19 6|traffic sign 20 7|vegetation 21 8|terrain 22 9|sky 23 10|person 24 11
rider 25 12|car 26 13|truck 27 14|bus 28 15|caravan 29 255|trailer 30 255|train 31 16
motorcycle 32 17|bicycle 33 18
"""


def rows():
    for row in TABLE.replace("\n", "|").strip("|").split("|"):
        name, label_id, train_id = row.rsplit(" ", 2)
        yield name, int(label_id), int(train_id)


def test_table_is_the_published_one():
    published = list(rows())
    assert [label_id for _, label_id, _ in published] == list(range(34))
    for name, label_id, train_id in published:
        assert ID_TO_TRAIN_ID[label_id] == train_id, name
        if train_id != 255:
            assert CLASSES[train_id] == name
    assert list(CLASSES) == list(CityscapesDataset.METAINFO["classes"])
    assert [list(c) for c in PALETTE] == CityscapesDataset.METAINFO["palette"]


def test_every_id_is_converted():
    want = np.array([[train_id for _, _, train_id in rows()]], dtype=np.uint8)
    np.testing.assert_array_equal(convert_label_ids(np.arange(34, dtype=np.uint8)[None]), want)


def test_colors_of_the_ids():
    assert len(LABEL_COLORS) == 34
    for name, label_id, train_id in rows():
        if train_id != 255:
            assert list(LABEL_COLORS[label_id]) == PALETTE[train_id], name
    # Some that are not trained, from the published table.
    assert LABEL_COLORS[9] == (250, 170, 160) and LABEL_COLORS[14] == (180, 165, 180)
    assert LABEL_COLORS[6] == (81, 0, 81) and LABEL_COLORS[30] == (0, 0, 110)


def test_unknown_ids_are_refused():
    assert np.flatnonzero(KNOWN_IDS).tolist() == list(range(34)) and KNOWN_IDS.shape == (256,)
    for value in range(34, 256):  # 255, too: a labelTrainIds file under the wrong name
        with pytest.raises(DataError, match=f"label ids {value} are not"):
            convert_label_ids(np.full((2, 2), value, np.uint8))
    with pytest.raises(DataError, match="label ids 34, 77 are not Cityscapes'"):
        convert_label_ids(np.array([[7, 77, 34]], dtype=np.uint8))


@pytest.mark.parametrize("workers", [1, 2])
def test_label_train_ids_are_made_once(workers, fake_cityscapes):
    root = fake_cityscapes(5)
    assert make_label_train_ids(root, workers) == 10
    made = sorted(root.glob("gtFine/*/*/*_labelTrainIds.png"))
    for path in made:
        ids = cv2.imread(str(path).replace("TrainIds", "Ids"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(
            cv2.imread(str(path), cv2.IMREAD_UNCHANGED), ID_TO_TRAIN_ID[ids]
        )
    times = [path.stat().st_mtime_ns for path in made]
    made[3].unlink()
    assert make_label_train_ids(root, workers) == 1  # a cut call goes on
    assert [p.stat().st_mtime_ns for p in made[:3]] == times[:3]


def test_bad_labels_are_named_and_the_others_made(fake_cityscapes):
    root = fake_cityscapes()
    first, second, *_ = sorted(root.glob("gtFine/train/*/*_labelIds.png"))
    cv2.imwrite(str(first), np.full((16, 32), 99, np.uint8))
    second.write_bytes(b"no png")
    with pytest.raises(DataError) as error:
        make_label_train_ids(root, 1)
    assert f"{first}: label ids 99" in str(error.value)
    assert "and 1 more" in str(error.value) and "\n" not in str(error.value)
    for path, line in zip((first, second), error.value.problems, strict=True):
        assert line.startswith(f"{path}: ")
    assert len(list(root.glob("gtFine/*/*/*_labelTrainIds.png"))) == 4


def test_a_truncated_label_is_not_converted(fake_cityscapes):
    root = fake_cityscapes(1)
    path = next(root.glob("gtFine/train/*/*_labelIds.png"))
    whole = path.read_bytes()
    for cut in (1, 13, 21, 100, len(whole) - 40):
        path.write_bytes(whole[:-cut])
        with pytest.raises(DataError, match="copy it again"):
            make_label_train_ids(root, 1)
    assert not list(root.glob("gtFine/train/*/*_labelTrainIds.png"))


def test_files_that_macos_leaves_are_not_labels(fake_cityscapes):
    root = fake_cityscapes(1)
    (root / "gtFine/val/ulm/._ulm_000000_000019_gtFine_labelIds.png").write_bytes(b"no png")
    assert make_label_train_ids(root, 1) == 2


def test_a_folder_without_labels_is_refused(tmp_path):
    with pytest.raises(DataError, match="unpack gtFine"):
        make_label_train_ids(tmp_path)
