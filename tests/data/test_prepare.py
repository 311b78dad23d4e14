"""The registry, the checks and the command line, on good and on broken data sets."""

import os
from pathlib import Path

import cv2
import mmengine.config.utils as mmengine_config
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS, METRICS

from data import registry
from data.checks import check, stems, told
from data.errors import DataError
from data.files import mirror
from data.pairs import Problem

mmengine_config.MODULE2PACKAGE["mmseg"] = "onedl-mmsegmentation"


def checked(name, folder):
    entry = registry.get(name)
    return [str(line) for line in check(folder, entry.layouts, entry.allowed_ids)]


def loaders(name, folder):
    cfg = Config.fromfile(registry.get(name).config)
    for key in ("train_dataloader", "val_dataloader"):
        dataset = cfg[key].dataset
        dataset.data_root = str(folder)
        yield DATASETS.build(dataset)


def test_good_data_sets_have_no_problems(fake_camvid):
    assert checked("camvid", fake_camvid) == []


def test_missing_halves_are_named(fake_camvid):
    (fake_camvid / "labels/train/0016E5_00001.png").unlink()
    (fake_camvid / "images/val/0016E5_00000.jpg").unlink()
    problems = checked("camvid", fake_camvid)
    assert len(problems) == 2
    assert "labels/train/0016E5_00001.png: missing, but its image is there" in problems[0]
    assert "images/val/0016E5_00000.jpg: missing, but its label is there" in problems[1]
    with pytest.raises(DataError, match=r"0016E5_00001\.png: missing.*\(and 1 more: "):
        registry.locate("camvid", fake_camvid)


@pytest.mark.parametrize("file", ["images/train/0016E5_00001.jpg", "labels/val/0016E5_00002.png"])
def test_links_to_nothing_are_named(file, fake_camvid):
    path = fake_camvid / file
    path.unlink()
    path.symlink_to(fake_camvid / "gone")
    assert checked("camvid", fake_camvid) == [
        f"{path}: cannot be found; copy it, or remove the pair"
    ]


@pytest.mark.parametrize("file", ["images/train/0016E5_00001.jpg", "labels/val/0016E5_00002.png"])
def test_truncated_files_are_named(file, fake_camvid):
    path = fake_camvid / file
    whole = path.read_bytes()
    # Pillow alone takes a PNG without its last 22 bytes.
    for cut in (*range(1, 25), 60, len(whole) // 2, len(whole) - 4):
        path.write_bytes(whole[:-cut])
        (problem,) = checked("camvid", fake_camvid)
        assert problem.startswith(f"{path}: ") and problem.endswith("; copy it again"), cut
    path.write_bytes(b"")
    assert checked("camvid", fake_camvid) == [
        f"{path}: not an image that can be read; copy it again"
    ]


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_goes_on_in_zeros_is_named(progressive, fake_camvid):
    path = fake_camvid / "images/train/0016E5_00001.jpg"
    image = np.random.default_rng(1).integers(0, 255, (36, 48, 3), dtype=np.uint8)
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)])
    assert checked("camvid", fake_camvid) == []
    whole = path.read_bytes()
    half = len(whole) // 2
    path.write_bytes(whole[:half] + bytes(max(len(whole) - half, 1100)))
    (problem,) = checked("camvid", fake_camvid)
    assert problem.startswith(f"{path}: damaged or truncated")


def test_labels_elsewhere_are_one_problem(fake_camvid):
    (fake_camvid / "labels/train").rename(fake_camvid / "labels/trian")
    assert checked("camvid", fake_camvid) == [
        f"{fake_camvid}/labels/train: no such folder, but 3 images in {fake_camvid}/images/train; "
        "put or link their labels there, as 0016E5_00000.png"
    ]


def test_many_problems_of_a_kind_are_one_line():
    many = [Problem("too small", f"{i}.png", f"is {i}x{i}", "enlarge it") for i in range(21)]
    other = Problem("other", "x.png", "is odd", "mend it")
    assert told([*many, other]) == [
        "21 files: too small: 0.png, 1.png, 2.png, …; enlarge it", "x.png: is odd; mend it"
    ]  # fmt: skip
    assert told(many[:20]) == [str(problem) for problem in many[:20]]


def test_linked_folders_are_read_and_loops_are_refused(fake_camvid, tmp_path_factory):
    away = tmp_path_factory.mktemp("away") / "seq"
    (away / "inner").mkdir(parents=True)
    for part, suffix in (("images", ".jpg"), ("labels", ".png")):
        path = fake_camvid / part / "train" / f"0016E5_00000{suffix}"
        (away / part).mkdir()
        path.rename(away / part / path.name)
        (fake_camvid / part / "train/seq").symlink_to(away / part)
    assert stems(fake_camvid / "images/train", ".jpg") == {
        "seq/0016E5_00000", "0016E5_00001", "0016E5_00002"}  # fmt: skip
    assert checked("camvid", fake_camvid) == []
    (away / "labels/0016E5_00000.png").write_bytes(b"broken")
    assert len(checked("camvid", fake_camvid)) == 1
    mirror(fake_camvid, fake_camvid.parent / "links")
    assert (fake_camvid.parent / "links/images/train/seq/0016E5_00000.jpg").is_symlink()
    (away / "images/up").symlink_to(fake_camvid / "images")
    with pytest.raises(DataError, match=r"a link to a folder that holds it; remove the link"):
        stems(fake_camvid / "images", ".jpg")


def test_hidden_files_are_not_data(fake_camvid):
    (fake_camvid / "images/train/._0016E5_00001.jpg").write_bytes(b"left by macOS")
    assert checked("camvid", fake_camvid) == []
    assert len(next(iter(loaders("camvid", fake_camvid)))) == 3


def test_label_ids_out_of_range_and_sizes_are_named(fake_camvid):
    wrong = fake_camvid / "labels/train/0016E5_00000.png"
    label = np.zeros((36, 48), np.uint8)
    label[0, :3] = 37
    cv2.imwrite(str(wrong), label)
    small = fake_camvid / "labels/train/0016E5_00001.png"
    cv2.imwrite(str(small), np.zeros((18, 24), np.uint8))
    color = fake_camvid / "labels/train/0016E5_00002.png"
    cv2.imwrite(str(color), np.zeros((36, 48, 3), np.uint8))
    problems = checked("camvid", fake_camvid)
    assert f"{wrong}: label id 37 (3 pixels) is out of range; there are 0-11" in problems[0]
    assert f"{small}: is 24x18, its image 48x36" in problems[1]
    assert f"{color}: not a single-channel label (RGB, 3 channels)" in problems[2]


def test_camvids_void_is_ignored_in_training_and_evaluation(fake_camvid):
    train, val = loaders("camvid", fake_camvid)
    assert train.metainfo["classes"] == registry.get("camvid").classes
    label = val[0]["data_samples"].gt_sem_seg.data
    assert set(label.unique().tolist()) == {*range(11), 255}
    seen = set()
    for i in range(3):
        seen |= set(train[i]["data_samples"].gt_sem_seg.data.unique().tolist())
    assert 11 not in seen and 255 in seen


def test_camvid_by_sequence(fake_camvid):
    for part, suffix in (("images", "jpg"), ("labels", "png")):
        folder = fake_camvid / part / "train"
        (folder / f"0016E5_00002.{suffix}").rename(folder / f"0001TP_00002.{suffix}")
    cfg = Config.fromfile(registry.get("camvid").config).train_dataloader.dataset
    cfg.data_root = str(fake_camvid)
    for sequences, count in ((["0016E5"], 2), (["0001TP", "0016E5"], 3), (["0001TP"], 1)):
        dataset = DATASETS.build(dict(cfg, filter_cfg=dict(sequences=sequences)))
        assert len(dataset) == count
    assert Path(dataset.get_data_info(0)["img_path"]).name == "0001TP_00002.jpg"
    with pytest.raises(DataError, match="no image of the sequences 0006R0 in"):
        DATASETS.build(dict(cfg, filter_cfg=dict(sequences=["0006R0"])))


def test_a_perfect_prediction_scores_100_whatever_stands_on_void(fake_camvid):
    _, val = loaders("camvid", fake_camvid)
    metric = METRICS.build(dict(type="IoUMetric", iou_metrics=["mIoU"]))
    metric.dataset_meta = val.metainfo
    for i in range(len(val)):
        sample = pseudo_collate([val[i]])["data_samples"][0]
        label = sample.gt_sem_seg.data.clone()
        label[label == 255] = i
        metric.process({}, [dict(gt_sem_seg=dict(data=sample.gt_sem_seg.data),
                                 pred_sem_seg=dict(data=label))])  # fmt: skip
    assert metric.evaluate(len(val))["mIoU"] == 100


def test_cityscapes_config_reads_what_the_converter_made(fake_cityscapes):
    folder = registry.locate("cityscapes", fake_cityscapes())
    for dataset in loaders("cityscapes", folder):
        assert len(dataset) == 3
        label = dataset[0]["data_samples"].gt_sem_seg.data
        assert label.dtype == torch.int64
        assert set(label.unique().tolist()) <= {*range(19), 255}


def test_streets_are_drawn_on_first_use(tmp_path, monkeypatch):
    monkeypatch.setitem(registry.STREETS, "num_train", 2)
    monkeypatch.setitem(registry.STREETS, "num_val", 1)
    folder = registry.locate("streets", tmp_path / "streets")
    train, val = loaders("streets", folder)
    assert (len(train), len(val)) == (2, 1)
    assert val[0]["inputs"].shape == (3, 192, 384)
    monkeypatch.setitem(registry.STREETS, "num_val", 2)
    with pytest.raises(DataError, match="num_val"):
        registry.locate("streets", tmp_path / "streets")


def test_unknown_names_and_missing_folders(tmp_path):
    with pytest.raises(
        DataError, match=r"'camvd'.*streets, .*camvid, cityscapes, .*; did you mean camvid"
    ):
        registry.get("camvd")
    with pytest.raises(DataError, match=r"'camvid' not found: no .*images/train.*--data-root"):
        registry.locate("camvid", tmp_path)


def test_help_lists_every_data_set(call):
    _, out, _ = call("data/prepare.py", "--help")
    for entry in registry.DATASETS.values():
        assert entry.name in out


def test_a_wrong_path_is_one_line(finish, tmp_path):
    """The script as it is started: its own lines turn an error into one."""
    code, _, err = finish("data/prepare.py", "camvid", "--src", tmp_path / "nowhere")
    assert code == 1
    assert err.count("\n") == 1 and err.startswith("error: data set 'camvid' not")


def test_problems_are_listed_and_fail_the_command(call, refused, fake_camvid):
    (fake_camvid / "labels/train/0016E5_00001.png").unlink()
    done = call("data/prepare.py", "camvid", "--src", fake_camvid)
    assert refused(done).startswith("error: 1 problem in")
    assert "labels/train/0016E5_00001.png: missing" in done[1]


def test_every_bad_label_is_listed_by_the_command(call, refused, fake_cityscapes):
    folder = fake_cityscapes()
    bad = sorted(folder.glob("gtFine/*/*/*_labelIds.png"))[1:5]
    for path in bad:
        cv2.imwrite(str(path), np.full((16, 32), 99, np.uint8))
    done = call("data/prepare.py", "cityscapes", "--src", folder)
    assert refused(done) == f"error: 4 problems in {folder}, listed above"
    assert [f"{path}: label ids 99" in done[1] for path in bad] == [True] * 4
    assert len(list(folder.glob("gtFine/*/*/*_labelTrainIds.png"))) == 2


@pytest.mark.parametrize("layout", ["cityscapes", "gtav"])
def test_streets_are_drawn_and_checked_by_the_command(layout, call, tmp_path):
    out = tmp_path / "streets"
    flags = ["--out", out, "--format", layout, "--size", "64x32", "--workers", 1]
    flags += ["--num-train", 2, "--num-val", 1]
    code, text, err = call("data/prepare.py", "streets", *flags)
    assert code == 0, err
    assert "all files are whole" in text


def test_streets_are_checked_by_the_command(call, tmp_path):
    code, _, err = call("data/prepare.py", "streets", "--out", tmp_path, "--check-only")
    assert code == 1
    assert err.startswith(f"error: {tmp_path}: no finished streets")
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "00001.png"), np.full((8, 8), 34, np.uint8))
    (tmp_path / "streets.json").write_text("{}")
    flags = ["--out", tmp_path, "--format", "gtav", "--check-only"]
    code, text, _ = call("data/prepare.py", "streets", *flags)
    assert code == 1
    assert "00001.png: label id 34 (64 pixels) is out of range; there are 0-33" in text


def test_the_real_camvid(root):
    folder = Path(os.environ.get("HL_CAMVID", root.parent / "shared" / "camvid"))
    if not folder.is_dir():
        pytest.skip("no CamVid beside the project, and HL_CAMVID names none")
    entry = registry.get("camvid")  # checked in full by: python data/prepare.py camvid
    assert check(folder, entry.layouts[1:], entry.allowed_ids) == []
    for path in (folder / "labels" / "train").iterdir():
        label = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert label.shape == (360, 480) and label.max() <= 11, path
    train, val = loaders("camvid", registry.locate("camvid", folder))
    assert (len(train), len(val)) == (367, 101)
    assert val[0]["data_samples"].gt_sem_seg.data.shape == (1, 360, 480)
