"""GTAV in its published format: palette and RGB labels, odd pairs, broken files, cut runs."""

import json
import os
import struct
import zlib
from functools import partial

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from mmseg.utils import register_all_modules
from PIL import Image
from scipy.io import savemat

from data import registry
from data.errors import DataError
from data.sets import gtav
from data.sets.cityscapes import CLASSES, ID_TO_TRAIN_ID, LABEL_COLORS

register_all_modules(init_default_scope=True)

SIZE = (12, 20)  # height, width
PALETTE = [v for color in LABEL_COLORS for v in color] + list(LABEL_COLORS[26])  # 34: as cars


def ids_of(i):
    ids = np.random.default_rng(i).integers(0, 35, SIZE).astype(np.uint8)
    ids.flat[:35] = np.arange(35)
    return ids


def write_label(root, name, ids):
    label = Image.fromarray(ids)
    label.putpalette(PALETTE)
    label.save(root / f"labels/{name}.png")


@pytest.fixture
def root(tmp_path):
    """Ten pairs as they are downloaded."""
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    for i in range(1, 11):
        write_label(tmp_path, f"{i:05d}", ids_of(i))
        image = np.random.default_rng(i).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"images/{i:05d}.png"), image)
    return tmp_path


def train_ids(root, name):
    return cv2.imread(str(root / f"train_ids/{name}.png"), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize("tool", ["adaptive", "reversed", "grey", "static"])
def test_a_palette_of_an_image_tool_is_read_by_its_colours(tool, root):
    ids = np.array([[7, 11, 26, 4]], np.uint8).repeat(12, 0).repeat(5, 1)
    label = Image.fromarray(ids)
    label.putpalette([i for i in range(256) for _ in range(3)] if tool == "grey" else PALETTE)
    if tool == "adaptive":
        label = label.convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE, colors=5)
    elif tool == "reversed":
        label.putpalette([*PALETTE, *[0] * (768 - len(PALETTE))])
        label = label.remap_palette(range(255, -1, -1))
    elif tool == "static":
        label.putpalette([*PALETTE[:12], 20, 20, 20, *PALETTE[15:]])
    label.save(root / "labels/00001.png")
    gtav.convert(root)
    assert (train_ids(root, "00001") == np.append(ID_TO_TRAIN_ID[:34], 255)[ids]).all()


def test_a_palette_of_other_colours_is_refused(root):
    label = Image.fromarray(np.full(SIZE, 7, np.uint8))
    label.putpalette([1, 2, 3] * 256)
    label.save(root / "labels/00001.png")
    with pytest.raises(DataError, match=r"00001\.png: unknown colour \(1, 2, 3\)"):
        gtav.convert(root)


LISTS = dict(
    bom=b"\xef\xbb\xbf00001\n", utf16="00001\r\n".encode("utf-16"), path=b"images/00001.png\n",
    columns=b"images/00001.png labels/00001.png\n", absolute=b"/data/gtav/images/00001.png\n",
    number=b"1\n1\n", windows=b"images\\00001.png\r\n")  # fmt: skip


@pytest.mark.parametrize("form", LISTS)
def test_forms_of_lists(form, root):
    gtav.convert(root)
    (root / "train.txt").write_bytes(LISTS[form])
    assert gtav.names(root, "train") == ["00001"]


def statistics(root):
    return json.loads((root / "train_ids/statistics.json").read_text())


def expected(i):
    return np.append(ID_TO_TRAIN_ID[:34], 255).astype(np.uint8)[ids_of(i)]


def test_palette_labels_become_train_ids(root):
    assert gtav.convert(root) == 10
    for i in range(1, 11):
        assert (train_ids(root, f"{i:05d}") == expected(i)).all()
    assert train_ids(root, "00001").flat[7] == CLASSES.index("road")
    assert train_ids(root, "00001").flat[34] == 255  # a license plate
    assert gtav.convert(root) == 0


@pytest.mark.parametrize("channels", [3, 4])
def test_rgb_labels_give_the_same(root, channels):
    """But for license plates and groups of poles, which have the colour of cars and of poles."""
    table = np.array(PALETTE, np.uint8).reshape(-1, 3)
    for i in range(1, 11):
        colors = table[ids_of(i)]
        if channels == 4:
            colors = np.concatenate([colors, np.full((*SIZE, 1), 255, np.uint8)], axis=2)
        Image.fromarray(colors).save(root / f"labels/{i:05d}.png")
    assert gtav.convert(root, workers=1) == 10
    for i in range(1, 11):
        want = expected(i)
        want[ids_of(i) == 34] = CLASSES.index("car")
        want[ids_of(i) == 18] = CLASSES.index("pole")
        assert (train_ids(root, f"{i:05d}") == want).all()


def test_statistics_are_counts(root):
    gtav.convert(root)
    labels = np.array([expected(i) for i in range(1, 11)])
    found = statistics(root)
    assert found["converted"] == 10 and found["void_pixels"] == (labels == 255).sum()
    for k, name in enumerate(CLASSES):
        assert found["classes"][name]["pixels"] == (labels == k).sum()
        assert found["classes"][name]["images"] == (labels == k).any(axis=(1, 2)).sum()


def test_sizes_that_differ_are_listed_and_skipped(root, capsys):
    cv2.imwrite(str(root / "images/00003.png"), np.zeros((6, 8, 3), np.uint8))
    assert gtav.convert(root) == 9
    assert "1 pairs skipped, sizes differ" in capsys.readouterr().err
    assert (root / gtav.SKIPPED).read_text() == "00003\tlabel 20x12, image 8x6\n"
    assert statistics(root)["skipped"] == 1
    assert "00003" not in gtav.names(root, "all") and len(gtav.names(root, "all")) == 9
    (root / "train.txt").write_text("00002\n00003\n")
    assert gtav.names(root, "train") == ["00002"]
    assert registry.locate("gtav", root) == root  # and does not complain
    # Mended, it is converted.
    os.unlink(root / "images/00003.png")
    cv2.imwrite(str(root / "images/00003.png"), np.zeros((*SIZE, 3), np.uint8))
    (root / gtav.STATISTICS).unlink()
    assert gtav.convert(root) == 1 and not (root / gtav.SKIPPED).exists()


def spoil(path, how):
    if how == "missing":
        path.unlink()
    else:
        data = path.read_bytes()
        path.write_bytes(dict(truncated=data[:-20], broken=b"PNG?" + data[4:], empty=b"")[how])


@pytest.mark.parametrize("how", ["truncated", "broken", "empty", "missing"])
@pytest.mark.parametrize("part", ["images", "labels"])
def test_bad_files_are_named_and_the_others_converted(root, part, how):
    path = root / part / "00004.png"
    spoil(path, how)
    with pytest.raises(DataError) as caught:
        gtav.convert(root)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{path}: ") and ("copy it" in problem)
    made = {p.stem for p in (root / "train_ids").glob("*.png")}
    assert made == {f"{i:05d}" for i in range(1, 11) if i != 4}
    assert not (root / gtav.STATISTICS).exists()


def test_unknown_colours_and_ids_are_named(root):
    colors = np.zeros((*SIZE, 3), np.uint8)
    colors[0, :3] = (1, 2, 3)
    colors[1, :2] = (255, 255, 255)
    Image.fromarray(colors).save(root / "labels/00002.png")
    write_label(root, "00005", np.full(SIZE, 35, np.uint8))
    deep = np.zeros(SIZE, np.uint16)
    cv2.imwrite(str(root / "labels/00006.png"), deep)
    with pytest.raises(DataError) as caught:
        gtav.convert(root)
    color, number, depth = caught.value.problems
    assert f"{root}/labels/00002.png: unknown colour (1, 2, 3) (3 pixels) and 1 more" in color
    assert f"{root}/labels/00005.png: unknown label id 35 (240 pixels)" in number
    assert f"{root}/labels/00006.png: neither ids nor colours" in depth
    assert len(list((root / "train_ids").glob("*.png"))) == 7


def test_a_cut_conversion_goes_on(root):
    gtav.convert(root)
    whole = statistics(root)
    (root / gtav.STATISTICS).unlink()
    for name in ("00002", "00009"):
        (root / f"train_ids/{name}.png").unlink()
    (root / "train_ids/.unfinished-x").write_bytes(b"half")
    kept = (root / "train_ids/00001.png").stat().st_mtime_ns
    assert gtav.convert(root) == 2
    assert statistics(root) == whole
    assert (root / "train_ids/00001.png").stat().st_mtime_ns == kept
    # A pair that comes later is seen, although the statistics are there.
    write_label(root, "00011", ids_of(11))
    cv2.imwrite(str(root / "images/00011.png"), np.zeros((*SIZE, 3), np.uint8))
    assert gtav.convert(root) == 1 and statistics(root)["converted"] == 11


def test_splits_from_matlab_and_from_text(root):
    gtav.convert(root)
    ids = dict(trainIds=[[1], [3], [2]], valIds=[[7, 8]], testIds=[[9], [10]])
    savemat(root / "split.mat", {k: np.array(v, np.uint16) for k, v in ids.items()})
    assert gtav.names(root, "train") == ["00001", "00002", "00003"]
    assert gtav.names(root, "val") == ["00007", "00008"]
    (root / "val.txt").write_text("5\n00006.png\n\n")
    assert gtav.names(root, "val") == ["00005", "00006"]
    assert len(gtav.names(root, "all")) == 10


def test_splits_that_cannot_be_had_are_told(root):
    gtav.convert(root)
    with pytest.raises(DataError, match="unknown split 'trian' of GTAV, there are: all, train"):
        gtav.names(root, "trian")
    with pytest.raises(DataError, match=r"neither val\.txt nor split\.mat is there"):
        gtav.names(root, "val")
    (root / "split.mat").write_bytes(b"MATLAB 5.0 MAT-file, cut")
    with pytest.raises(DataError, match=r"split\.mat: cannot be read"):
        gtav.names(root, "val")
    (root / "val.txt").write_text("00001\n00777\n")
    with pytest.raises(DataError, match=r"val\.txt lists 00777 and 0 more that are not in"):
        gtav.names(root, "val")
    (root / "val.txt").write_text("")
    with pytest.raises(DataError, match="no image is listed"):
        gtav.names(root, "val")


def test_mmseg_reads_it(root):
    (root / "val.txt").write_text("00002\n00004\n")
    registry.locate("gtav", root)
    cfg = Config.fromfile(registry.get("gtav").config)
    for loader in ("train_dataloader", "val_dataloader"):
        cfg[loader].dataset.data_root = str(root)
    val = DATASETS.build(cfg.val_dataloader.dataset)
    assert len(val) == 2 and tuple(val.metainfo["classes"]) == CLASSES
    sample = val[1]
    assert sample["data_samples"].img_path.endswith("images/00004.png")
    assert (sample["data_samples"].gt_sem_seg.data[0].numpy() == expected(4)).all()
    assert tuple(sample["inputs"].shape[1:]) == (720, 1200)  # 12x20 fitted into 1280x720
    train = DATASETS.build(cfg.train_dataloader.dataset)
    assert len(train) == 10
    batch = pseudo_collate([train[0], train[1]])
    assert all(tuple(x.shape) == (3, 512, 512) for x in batch["inputs"])


def test_prepare_converts_checks_and_counts(root, call):
    prepare = partial(call, "data/prepare.py", "gtav", "--src", root)
    cv2.imwrite(str(root / "images/00003.png"), np.zeros((6, 8, 3), np.uint8))
    code, text, err = prepare()
    assert code == 0, err
    assert "9 label files made" in text and "statistics.json" in text
    assert "1 pairs skipped" in err and "all files are whole" in text
    spoil(root / "images/00008.png", "truncated")
    code, text, _ = prepare("--check-only")
    assert code == 1
    assert f"{root}/images/00008.png: damaged or truncated" in text
    assert "00003" not in text
    (root / "labels/00009.png").unlink()
    (root / "train_ids/00009.png").unlink()
    assert "labels/00009.png: missing, but its image is there" in prepare()[1]


def test_a_label_of_absurd_size_is_named_and_the_others_are_converted(root):
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    (root / "labels/00002.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(header)) + chunk
        + struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\0IEND\xaeB`\x82"
    )  # fmt: skip
    with pytest.raises(DataError, match=r"labels/00002\.png: too large") as error:
        gtav.convert(root)
    assert len(error.value.problems) == 1
    assert (root / "train_ids/00003.png").is_file()
