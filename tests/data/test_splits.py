"""Labeled and unlabeled parts: sizes, order, balance, list files, and what is refused."""

import os
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS

from data import registry, splits
from data.errors import DataError
from data.splits import Split, num_labeled, parse_fraction, partition, read_lists

VOID = registry.get("camvid").void


def touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def write_label(root, name, label):
    path = root / f"labels/train/{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), label)


def camvid(root, presence, names=None):
    """CamVid's training layout: image i has the classes that row i of ``presence`` lists."""
    names = names or [f"0016E5_{i:05d}" for i in range(len(presence))]
    for name, classes in zip(names, presence, strict=True):
        touch(root, f"images/train/{name}.jpg")
        write_label(root, name, np.resize(np.array([*classes, VOID], np.uint8), (4, 8)))
    return names


def unlabeled_camvid(root, count, reverse=False):
    for i in sorted(range(count), reverse=reverse):
        touch(root, f"images/train/0016E5_{i:05d}.jpg")


def random_presence(count, seed=0):
    """Common classes, rare ones, and two that one image alone has."""
    rng = np.random.default_rng(seed)
    rows = rng.random((count, 11)) < np.linspace(0.9, 0.03, 11)
    rows[:, 9:] = False
    rows[[3, 7]] = False
    rows[3, 9] = rows[7, 10] = True
    return [np.flatnonzero(row).tolist() for row in rows]


@pytest.fixture
def cityscapes(tmp_path):
    """Three training images, two of them with labels, and one for validation."""
    for i in range(3):
        touch(tmp_path, f"leftImg8bit/train/aachen/aachen_{i:06d}_000019_leftImg8bit.png")
    for i in range(2):
        touch(tmp_path, f"gtFine/train/aachen/aachen_{i:06d}_000019_gtFine_labelTrainIds.png")
    touch(tmp_path, "leftImg8bit/val/ulm/ulm_000000_000019_leftImg8bit.png")
    return tmp_path


AACHEN = [f"leftImg8bit/train/aachen/aachen_{i:06d}_000019_leftImg8bit.png" for i in range(3)]
NAMES = tuple(f"aachen/aachen_{i:06d}_000019" for i in range(3))


def lists(root, labeled, unlabeled):
    """Read two lists that hold these texts."""
    paths = root / "labeled_list.txt", root / "unlabeled_list.txt"
    for path, text in zip(paths, (labeled, unlabeled), strict=True):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_lists("cityscapes", root, *paths)


def test_fractions():
    assert [parse_fraction(f"1/{n}") for n in (2, 8, 16, 30)] == [
        Fraction(1, n) for n in (2, 8, 16, 30)
    ]


@pytest.mark.parametrize(
    "text",
    ["0.125", "8/1", "1/0", "0/8", "2/1", "1/1", "2/8", "-1/8", "1/-8", "1/08", "1/8 ", " 1/8",
     "1/8\n", "1 / 8", "1/8/2", "1/", "/8", "8", "", "half", "1/٨", "1/" + "9" * 5000],
)  # fmt: skip
def test_other_fractions_are_refused(text):
    with pytest.raises(DataError, match=r"give 1/N with N at least 2, such as 1/16, 1/8 or 1/30$"):
        parse_fraction(text)


@pytest.mark.parametrize(
    ("total", "n", "published"),
    [(2975, 16, 186), (2975, 8, 372), (2975, 4, 744), (2975, 2, 1488), (2975, 30, 100),
     (10582, 16, 662), (10582, 8, 1323), (10582, 4, 2646), (10582, 2, 5291), (5, 999, 1)],
)  # fmt: skip
def test_the_published_numbers_come_from_rounding_up(total, n, published):
    assert num_labeled(total, Fraction(1, n)) == published


@pytest.mark.parametrize("fraction", [Fraction(0), Fraction(1), Fraction(2), Fraction(-1, 8)])
def test_a_part_is_more_than_nothing_and_less_than_all(fraction, tmp_path):
    with pytest.raises(DataError, match="between 0 and 1"):
        num_labeled(10, fraction)
    unlabeled_camvid(tmp_path, 10)
    with pytest.raises(DataError, match="between 0 and 1"):
        partition("camvid", tmp_path, fraction)


@pytest.mark.parametrize("balanced", [False, True])
def test_a_partition_is_whole_nested_and_of_its_seed(balanced, tmp_path):
    names = camvid(tmp_path, random_presence(40))
    before = ()
    for n in (16, 8, 4, 2):
        split = partition("camvid", tmp_path, f"1/{n}", seed=3, balanced=balanced)
        assert len(split.labeled) == num_labeled(40, Fraction(1, n))
        assert sorted(split.labeled + split.unlabeled) == names
        assert list(split.unlabeled) == sorted(split.unlabeled)
        assert split.labeled[: len(before)] == before
        before = split.labeled
    assert split == partition("camvid", tmp_path, Fraction(1, 2), seed=3, balanced=balanced)
    other = partition("camvid", tmp_path, "1/2", seed=4, balanced=balanced)
    assert set(other.labeled) != set(split.labeled)


@pytest.mark.parametrize(
    ("seed", "labeled"),
    [(0, ["00011", "00003", "00002", "00001"]), (1, ["00009", "00002", "00004", "00007"])],
)
def test_a_random_split_is_the_same_on_any_machine(seed, labeled, tmp_path):
    for reverse in (False, True):
        root = tmp_path / str(reverse)
        unlabeled_camvid(root, 12, reverse)
        for name in labeled:
            touch(root, f"labels/train/0016E5_{name}.png")  # no other label is needed, or read
        split = partition("camvid", root, "1/3", seed=seed, balanced=False)
        assert [name[-5:] for name in split.labeled] == labeled


def test_random_orders_are_uniform(tmp_path):
    first = Counter(splits._shuffled(6, seed)[0] for seed in range(600))
    assert len(first) == 6 and min(first.values()) > 60


def test_names_keep_their_folders_and_other_files_are_no_data(cityscapes):
    touch(cityscapes, "leftImg8bit/train/aachen/._aachen_000000_000019_leftImg8bit.png")
    touch(cityscapes, "leftImg8bit/train/aachen/notes.txt")
    for i in range(3):
        touch(cityscapes, f"gtFine/train/aachen/aachen_{i:06d}_000019_gtFine_labelTrainIds.png")
    split = partition("cityscapes", cityscapes, "1/2", balanced=False)
    assert sorted(split.labeled + split.unlabeled) == list(NAMES)


def test_as_many_images_as_classes_have_every_class(tmp_path):
    presence = random_presence(22)
    names = camvid(tmp_path, presence)
    assert set().union(*presence) == set(range(11))

    def classes(seed, balanced):
        split = partition("camvid", tmp_path, "1/2", seed=seed, balanced=balanced)
        assert len(split.labeled) == 11
        return set().union(*(presence[names.index(name)] for name in split.labeled))

    for seed in range(8):
        assert classes(seed, True) == set(range(11)), seed
    assert any(classes(seed, False) != set(range(11)) for seed in range(8)), "too easy a set"


def test_common_classes_do_not_keep_a_rare_one_out():
    """One image has class 18 and nothing else; 40 have all the others."""
    presence = np.arange(19) < np.full((41, 1), 18)
    presence[40] = np.arange(19) == 18
    assert list(splits._balanced_order(presence, 4)) == [0, 40, 1, 2]


def test_the_balanced_order_is_the_greedy_one():
    """Against exact fractions, on a set where rounding to fixed point breaks no tie."""
    rng = np.random.default_rng(5)
    presence = rng.random((30, 7)) < [1, 0.9, 0.6, 0.4, 0.2, 0.1, 0]
    seen, left, expected = [0] * 7, list(range(30)), []
    while left:
        worth = [Fraction(1, 1 + n) if n else Fraction(7) for n in seen]
        scores = {i: sum((presence[i] * worth).tolist()) for i in left}
        best = max(left, key=scores.get)  # the first of the best
        expected.append(best)
        left.remove(best)
        seen = [n + int(p) for n, p in zip(seen, presence[best], strict=True)]
    assert list(splits._balanced_order(presence, 30)) == expected


def test_balance_evens_the_classes_out(tmp_path):
    presence = random_presence(60)
    names = camvid(tmp_path, presence)
    counts = {}
    for balanced in (True, False):
        split = partition("camvid", tmp_path, "1/4", balanced=balanced)
        have = Counter(c for name in split.labeled for c in presence[names.index(name)])
        counts[balanced] = [have[c] for c in range(11)]
    assert min(counts[True]) >= 1 > min(counts[False])
    assert sum(counts[True][5:]) > sum(counts[False][5:])


def test_a_thousandth_of_the_pixels_is_in_and_void_is_not(tmp_path):
    label = np.full((40, 50), VOID, np.uint8)
    label.flat[:3] = 0, 1, 1
    write_label(tmp_path, "a", label)
    entry = registry.get("camvid")
    found = splits._classes_in(entry, tmp_path, tmp_path / "labels/train/a.png")
    assert found.tolist() == [c == 1 for c in range(11)]


def test_only_a_balanced_split_needs_every_label(tmp_path):
    camvid(tmp_path, random_presence(16))
    drawn = partition("camvid", tmp_path, "1/4", balanced=False)
    for name in drawn.unlabeled[:2]:
        (tmp_path / f"labels/train/{name}.png").unlink()
    assert partition("camvid", tmp_path, "1/4", balanced=False) == drawn
    missing = rf"labels/train/{drawn.unlabeled[0]}\.png: missing.*\(and 1 more: .*prepare\.py camv"
    with pytest.raises(DataError, match=missing):
        partition("camvid", tmp_path, "1/4")
    (tmp_path / f"labels/train/{drawn.labeled[2]}.png").unlink()
    with pytest.raises(DataError, match=rf"{drawn.labeled[2]}\.png: missing, but its image is th"):
        partition("camvid", tmp_path, "1/4", balanced=False)


@pytest.mark.parametrize(
    ("label", "what"),
    [
        (
            np.full((4, 8), 37, np.uint8),
            r"label id 37 \(32 pixels\) is out of range; .*; to see all: python data/",
        ),
        (np.zeros((4, 8, 3), np.uint8), "not a single-channel label"),
        (None, "damaged or truncated"),
    ],
)
def test_wrong_labels_are_named(label, what, tmp_path):
    camvid(tmp_path, random_presence(16))
    path = tmp_path / "labels/train/0016E5_00005.png"
    if label is None:
        path.write_bytes(path.read_bytes()[:-20])
    else:
        cv2.imwrite(str(path), label)
    with pytest.raises(DataError, match=what) as error:
        partition("camvid", tmp_path, "1/4")
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images(count, tmp_path):
    unlabeled_camvid(tmp_path, count)
    with pytest.raises(DataError, match=rf"images/train: {count} images \*\.jpg are too few"):
        partition("camvid", tmp_path, "1/2")


def test_unknown_names_and_seeds(tmp_path):
    with pytest.raises(DataError, match="did you mean camvid"):
        partition("camvd", tmp_path, "1/2")
    with pytest.raises(DataError, match="did you mean camvid"):
        read_lists("camvd", tmp_path, tmp_path, tmp_path)
    with pytest.raises(DataError, match="seed -1: give 0 or more"):
        partition("camvid", tmp_path, "1/2", seed=-1)


def test_a_written_split_is_read_by_us_and_by_mmseg(tmp_path):
    presence = random_presence(8)
    camvid(tmp_path, presence, [f"0016E5 {i:05d}" for i in range(8)])  # spaces are no columns
    split = partition("camvid", tmp_path, "1/4")
    paths = split.write(tmp_path / "new" / "lists")
    assert [path.name for path in paths] == ["labeled.txt", "unlabeled.txt"]
    assert paths[0].read_bytes() == f"{split.labeled[0]}\n{split.labeled[1]}\n".encode()
    assert read_lists("camvid", tmp_path, *paths) == split
    cfg = Config.fromfile(registry.get("camvid").config).train_dataloader.dataset
    for path, names in zip(paths, (split.labeled, split.unlabeled), strict=True):
        dataset = DATASETS.build(dict(cfg, data_root=str(tmp_path), ann_file=str(path)))
        infos = [dataset.get_data_info(i) for i in range(len(dataset))]
        assert [Path(info["img_path"]).stem for info in infos] == list(names)
        assert all(Path(info[key]).is_file() for info in infos for key in ("img_path",
                   "seg_map_path"))  # fmt: skip


def test_lists_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    Split(("a",), ("b",)).write(tmp_path)
    sync, written = os.fsync, []

    def full_disk(descriptor):
        written.append(descriptor)
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        Split(("c",), ("d",)).write(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "labeled.txt": "a\n",
        "unlabeled.txt": "b\n",
    }


@pytest.mark.parametrize(
    ("labeled", "unlabeled"),
    [
        (f"{AACHEN[1]}\n", f"{AACHEN[2]}\n"),
        (AACHEN[1], AACHEN[2]),
        (f"\n{AACHEN[1]}\r\n\r\n", f"{AACHEN[2]}\r\n  \r\n"),
        (f"{AACHEN[1]} gtFine/train/x.png", f"{AACHEN[2]}\tgtFine/train/y.png\n"),
        (f"\ufeff{AACHEN[1]}\n", f"  {AACHEN[2]}  \n"),
        (f"{NAMES[1]}\n", f"{NAMES[2]}\n"),
        (f"{NAMES[1]}\r\n", f"{AACHEN[2]}"),
        (f"/{AACHEN[1]}\r", f"./{AACHEN[2]}"),
        (f"/data/city scapes/{AACHEN[1]}", f"D:\\cs\\{AACHEN[2]}".replace("/", "\\")),
        (f"{AACHEN[1]},gtFine/x.png", f"{NAMES[2]}_leftImg8bit.png;3"),
        (AACHEN[1].encode("utf-16"), f'"{AACHEN[2]}"'.encode("utf-16")),
    ],
)
def test_published_forms_of_lists(labeled, unlabeled, cityscapes):
    # The first image is in neither list, the third has no label.
    assert lists(cityscapes, labeled, unlabeled) == Split((NAMES[1],), (NAMES[2],))


def test_lists_keep_their_order(cityscapes):
    split = lists(cityscapes, f"{AACHEN[1]}\n{AACHEN[0]}\n", AACHEN[2])
    assert split == Split((NAMES[1], NAMES[0]), (NAMES[2],))


GONE = AACHEN[0].replace("000000", "000009")
VAL = "leftImg8bit/val/ulm/ulm_000000_000019_leftImg8bit.png"


@pytest.mark.parametrize(
    ("labeled", "unlabeled", "what"),
    [
        (f"{AACHEN[0]}\n\n{GONE}", AACHEN[2],
         rf"/labeled_list\.txt, line 3: {GONE} is not on disk below"),
        (AACHEN[0], f"{AACHEN[2]}\n{GONE} x", rf"unlabeled_list\.txt, line 2: {GONE} is not on"),
        (f"{AACHEN[0]}\n{AACHEN[0]}", AACHEN[2],
         rf"/labeled_list\.txt, line 2: {NAMES[0]} is listed already, in .*labeled_list.*line 1;"),
        (AACHEN[0], f"{AACHEN[2]}\n{NAMES[2]}", r"unlabeled_list\.txt, line 2: .*000002.*line 1;"),
        (AACHEN[0], f"\n{AACHEN[0]}",
         r"/unlabeled_list\.txt, line 2: .*000000.* already, in .*/labeled_list\.txt, line 1;"),
        (AACHEN[0], VAL, rf"unlabeled_list\.txt, line 1: '{VAL}' is no training image: give"),
        (VAL, AACHEN[2], rf"/labeled_list\.txt, line 1: '{VAL}' is no training image"),
        ("ulm/ulm_000000_000019", AACHEN[2], "'ulm/ulm_000000_000019' is no training image"),
        (VAL.replace("val", "train/../val"), AACHEN[2], "is not on disk"),
        ("\0\x1b\x07", AACHEN[2], r"'\\x00\\x1b\\x07' is no training image"),
        (AACHEN[2], AACHEN[0], rf"/labeled_list\.txt, line 1: {NAMES[2]} has no label: .*"
         r"/gtFine/train/aachen/aachen_000002_000019_gtFine_labelTrainIds\.png is missing"),
        ("", AACHEN[0], r"/labeled_list\.txt: no image is listed"),
        (AACHEN[0], "\r\n \n", r"unlabeled_list\.txt: no image is listed"),
        (b"\x89PNG\r\n\x1a\n", AACHEN[0], r"/labeled_list\.txt: not a text file in UTF-8 or"),
    ],
)  # fmt: skip
def test_wrong_lists_are_refused_in_a_line(labeled, unlabeled, what, cityscapes):
    with pytest.raises(DataError, match=what) as error:
        lists(cityscapes, labeled, unlabeled)
    assert len(str(error.value).splitlines()) == 1


def test_missing_lists_are_named(cityscapes):
    good = cityscapes / "good.txt"
    good.write_text(AACHEN[0])
    for gone, why in (
        (cityscapes / "gone.txt", "No such file"),
        (cityscapes / "gtFine", "is a folder, not a file"),
    ):
        with pytest.raises(DataError, match=f"{gone}: {why}"):
            read_lists("cityscapes", cityscapes, gone, good)
        with pytest.raises(DataError, match=f"{gone}: {why}"):
            read_lists("cityscapes", cityscapes, good, gone)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (os.mkfifo, "is a pipe, not a file"),
        (lambda p: os.symlink("/dev/zero", p), "is a device, not a file"),
        (lambda p: p.write_text(AACHEN[0] + " " * 2**20 + "x"), "line 1: has 1,048,"),
        (lambda p: p.write_text("a," * 2**19), "line 1: has 1,048,576 characters"),
    ],
)
def test_lists_without_end_are_refused_at_once(make, what, cityscapes):
    good = cityscapes / "good.txt"
    good.write_text(AACHEN[0])
    make(cityscapes / "odd.txt")
    with pytest.raises(DataError, match=rf"odd\.txt.* {what}|odd\.txt, {what}") as error:
        read_lists("cityscapes", cityscapes, good, cityscapes / "odd.txt")
    assert len(str(error.value)) < 500


def test_camvids_validation_images_are_not_training_images(fake_camvid):
    """There the names of both splits are alike: only the folder tells them."""
    good, leaky = fake_camvid / "good.txt", fake_camvid / "leaky.txt"
    good.write_text("images/train/0016E5_00000.jpg")
    leaky.write_text("images/val/0016E5_00001.jpg")
    with pytest.raises(DataError, match=r"leaky\.txt, line 1: 'images/val/.* is no train"):
        read_lists("camvid", fake_camvid, good, leaky)


@pytest.mark.parametrize("count", [186, 372, 744, 1488])
def test_the_published_lists(count, tmp_path):
    folder = Path(os.environ.get("U2PL_SPLITS", "nowhere")) / str(count)
    if not folder.is_dir():
        pytest.skip("U2PL_SPLITS names no folder of published lists")
    paths = folder / "labeled.txt", folder / "unlabeled.txt"
    for path in paths:
        for image in path.read_text().split():
            label = image.replace("leftImg8bit/", "gtFine/", 1).replace(
                "_leftImg8bit.png", "_gtFine_labelTrainIds.png"
            )
            touch(tmp_path, image, *([label] if path is paths[0] else []))
    split = read_lists("cityscapes", tmp_path, *paths)
    assert len(split.labeled) == count == num_labeled(2975, Fraction(count, 2975))
    assert len(split.labeled) + len(split.unlabeled) == 2975
    assert not set(split.labeled) & set(split.unlabeled)


def test_the_module_is_quick_to_import(root):
    code = "import sys, data.splits; print({'torch', 'mmseg', 'mmcv', 'mmengine'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
