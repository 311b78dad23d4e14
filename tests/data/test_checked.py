"""mmseg data sets, ours and a user's, whose files are asked when a sample is read."""

import os

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS, TRANSFORMS
from PIL import Image

from data.checked import CheckedDataset, with_checked_samples
from data.errors import DataError

LOAD = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations")]


@pytest.fixture
def user_set(tmp_path):
    """``user_set(...)``: config of two images and labels of ids 0-2 in a layout of a user."""
    for i in range(2):
        for part in ("img", "ann"):
            (tmp_path / part).mkdir(exist_ok=True)
        Image.new("RGB", (16, 12)).save(tmp_path / f"img/{i}.jpg")
        label = np.arange(192, dtype=np.uint8).reshape(12, 16) % 3
        Image.fromarray(label).save(tmp_path / f"ann/{i}.png")

    def make(**more):
        pipeline = more.pop("pipeline", [*LOAD, dict(type="PackSegInputs")])
        return dict(
            type="BaseSegDataset", data_root=str(tmp_path), metainfo=dict(classes=("a", "b", "c")),
            data_prefix=dict(img_path="img", seg_map_path="ann"), pipeline=pipeline,
            **more)  # fmt: skip

    return make


def wrapped(dataset, **more):
    cfg = with_checked_samples(Config(dict(train_dataloader=dict(dataset=dataset), **more)))
    return cfg.train_dataloader.dataset


@pytest.mark.parametrize(
    "wrap",
    [
        lambda d: d,
        lambda d: dict(type="RepeatDataset", times=2, dataset=d),
        lambda d: dict(type="ConcatDataset", datasets=[d, dict(d)]),
        lambda d: dict(type="RepeatDataset", times=2, dataset=dict(type="ConcatDataset",
                       datasets=[d, dict(d)])),
        lambda d: dict(type="MultiImageMixDataset", dataset=dict(d, pipeline=LOAD),
                       pipeline=[dict(type="RandomMosaic", prob=1.0, img_scale=(12, 16)),
                                 dict(type="PackSegInputs")]),
    ],
)  # fmt: skip
def test_a_bad_file_is_named_in_any_wrapper(wrap, user_set, tmp_path):
    config = wrapped(wrap(user_set()))
    assert wrapped(config) == config  # once
    dataset = DATASETS.build(dict(config, _scope_="mmseg"))
    assert dataset.metainfo["classes"] == ("a", "b", "c")
    assert {*dataset[1]["data_samples"].gt_sem_seg.data.unique().tolist()} <= {0, 1, 2, 255}
    Image.new("L", (16, 12), 7).save(tmp_path / "ann/0.png")
    Image.new("L", (16, 12), 7).save(tmp_path / "ann/1.png")
    with pytest.raises(DataError, match=r"ann/[01]\.png: label id 7 \(192 pixels\) is out of ran"):
        dataset[0]


@pytest.mark.slow
def test_the_ignored_value_is_that_of_the_head_and_of_the_metric(user_set, tmp_path):
    Image.new("L", (16, 12), 250).save(tmp_path / "ann/0.png")
    cfg = Config(dict(
        model=dict(decode_head=dict(ignore_index=250)),
        train_dataloader=dict(dataset=user_set()), val_dataloader=dict(dataset=user_set()),
        test_dataloader=dict(dataset=user_set(ignore_index=250)),
        val_evaluator=dict(type="IoUMetric", ignore_index=250)))  # fmt: skip
    cfg = with_checked_samples(cfg)
    for key in ("train", "val", "test"):
        sample = DATASETS.build(cfg[f"{key}_dataloader"].dataset)[0]
        assert int(sample["data_samples"].gt_sem_seg.data[0, 0, 0]) == 250
    with pytest.raises(DataError, match=r"label id 250 .* there are 0-2, 255"):
        CheckedDataset(user_set())[0]
    Image.new("L", (16, 12), 255).save(tmp_path / "ann/0.png")
    with pytest.raises(DataError, match=r"label id 255 .* there are 0-2, 250"):
        CheckedDataset(user_set(), ignore_index=250)[0]


def test_images_without_labels_and_in_test_mode_go_on(user_set, tmp_path):
    bare = [LOAD[0], dict(type="PackSegInputs")]
    (tmp_path / "ann/1.png").unlink()
    assert "gt_sem_seg" not in CheckedDataset(user_set(pipeline=bare, test_mode=True))[1][
        "data_samples"]  # fmt: skip
    with pytest.raises(DataError, match=r"ann/1\.png: cannot be found"):
        CheckedDataset(user_set())[1]


def test_who_maps_ids_by_himself_is_left_to(user_set, tmp_path):
    """Ids count as his transform leaves them."""

    @TRANSFORMS.register_module(force=True)
    class Halve:
        def __call__(self, results):
            results["gt_seg_map"] = results["gt_seg_map"] // 100
            return results

    Image.new("L", (16, 12), 200).save(tmp_path / "ann/0.png")
    pipeline = [*LOAD, dict(type="Halve"), dict(type="PackSegInputs")]
    assert CheckedDataset(user_set(pipeline=pipeline))[0]["data_samples"].gt_sem_seg.data.max() == 2
    with pytest.raises(DataError, match="label id 200"):
        CheckedDataset(user_set())[0]


def test_no_image_is_said_with_what_lies_there(user_set, tmp_path):
    with pytest.raises(DataError, match=r"/img: no image \*\.png below it \(there are 2 \*\.jpg\)"):
        CheckedDataset(user_set(img_suffix=".png"))
    with pytest.raises(DataError, match=r"/none: no image .* \(there is no such folder\); set"):
        CheckedDataset(user_set() | dict(data_prefix=dict(img_path="none")))
    with pytest.raises(DataError, match=r"/none\.txt: no such list of images; name the ann_file"):
        CheckedDataset(user_set(ann_file="none.txt"))
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(DataError, match=r"/empty\.txt: lists no image; name another ann_file"):
        CheckedDataset(user_set(ann_file="empty.txt"))


def test_a_listed_pipe_does_not_hang(user_set, tmp_path):
    (tmp_path / "list.txt").write_text("0\np\n")
    os.mkfifo(tmp_path / "img/p.jpg")
    with pytest.raises(DataError, match=r"p\.jpg: is a pipe, not a file"):
        CheckedDataset(user_set(ann_file="list.txt"))[1]


def test_every_script_that_runs_a_config_checks_its_samples(root):
    scripts = [
        path.read_text()
        for track in ("fully_supervised", "semi_supervised", "domain_gen")
        for path in (root / track).glob("*.py")
        if "import prepare" in path.read_text()
    ]
    assert len(scripts) >= 6
    assert all("with_checked_samples" in text for text in scripts)


@pytest.mark.slow
def test_class_weights_are_counted_in_any_wrapper(user_set):
    from core.rivals.class_weights import class_pixels

    one = user_set()
    for dataset, factor in ((one, 1), (dict(type="ConcatDataset", datasets=[one, one]), 2)):
        cfg = Config(dict(train_dataloader=dict(dataset=dataset)))
        for given in (cfg, with_checked_samples(cfg)):
            assert class_pixels(given)[1].tolist() == [128 * factor] * 3


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\xef\xbb\xbf0\n1\n", "begins with a byte order mark"), (b"0\n\n1\n", "line 2 is blank")],
)
def test_a_list_that_mmseg_would_misread_is_named(content, words, user_set, tmp_path):
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(DataError, match=rf"list\.txt: .*{words}|list\.txt: {words}"):
        CheckedDataset(user_set(ann_file=str(tmp_path / "list.txt")))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda p: os.symlink("/dev/zero", p),
                                  lambda p: os.symlink("nothing", p)])  # fmt: skip
def test_what_is_named_as_an_image_and_is_none_is_not_left_out(make, user_set, tmp_path):
    make(tmp_path / "img/5.jpg")
    with pytest.raises(DataError, match=r"img/5\.jpg: (is a|cannot be found)"):
        CheckedDataset(user_set())


@pytest.mark.parametrize("make", [os.mkfifo, lambda p: os.symlink("/dev/zero", p)])
def test_a_list_that_has_no_end_is_refused(make, user_set, tmp_path):
    make(tmp_path / "names.txt")
    with pytest.raises(DataError, match=r"names\.txt: is a .*, not a file"):
        CheckedDataset(user_set(ann_file="names.txt"))
