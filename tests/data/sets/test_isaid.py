"""iSAID: patches of aerial images, colours to ids, as downloaded and as mmseg reads them."""

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmseg.datasets import iSAIDDataset

from data import registry
from data.errors import DataError
from data.sets import isaid
from data.sets.isaid import COLORS, LABEL_SUFFIX, OVERLAP, PATCH, VOID, convert, windows

PALETTE = np.array(iSAIDDataset.METAINFO["palette"], np.uint8)


@pytest.fixture(autouse=True)
def small_patches(monkeypatch):
    """Patches of 56 with an overlap of 24: the same rule, a fraction of the work."""
    monkeypatch.setattr(isaid, "PATCH", 56)
    monkeypatch.setattr(isaid, "OVERLAP", 24)


def write(folder, name, height, width, seed=0):
    """An image of noise with labels in the published colours; the ids."""
    rng = np.random.default_rng(seed)
    ids = np.kron(rng.integers(0, 16, (-(-height // 8), -(-width // 8))), np.ones((8, 8), int))
    ids = ids[:height, :width]
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    for path, pixels in (
        (folder / "images" / f"{name}.png", image),
        (folder / "Semantic_masks/images" / f"{name}{LABEL_SUFFIX}", PALETTE[ids]),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.ascontiguousarray(pixels[..., ::-1]))
    return image, ids


@pytest.fixture
def download(tmp_path):
    """A download of three images, one smaller than a patch: its folder and {name: pair}."""
    src = tmp_path / "src"
    pairs = {
        "P0000": write(src / "train", "P0000", 130, 100),
        "P0001": write(src / "train", "P0001", 40, 70, 1),
        "P0003": write(src / "val", "P0003", 56, 56, 2),
    }
    return src, pairs


def test_the_published_size_and_rule():
    """A 2000x1500 image in patches of 896 that overlap by 384: 4 rows of 3, to the border."""
    assert (PATCH, OVERLAP) == (896, 384)
    places = [(y, x) for y in (0, 512, 1024, 1104) for x in (0, 512, 604)]
    saved = isaid.PATCH, isaid.OVERLAP
    isaid.PATCH, isaid.OVERLAP = PATCH, OVERLAP
    try:
        assert list(windows(2000, 1500)) == places
        assert list(windows(896, 500)) == [(0, 0)]
        assert list(windows(897, 896)) == [(0, 0), (1, 0)]
    finally:
        isaid.PATCH, isaid.OVERLAP = saved


def test_patches_are_the_image_and_cover_it(download, tmp_path):
    src, pairs = download
    assert convert(src, tmp_path / "out", workers=1) == 3
    out = tmp_path / "out"
    for split, name in (("train", "P0000"), ("train", "P0001"), ("val", "P0003")):
        image, ids = pairs[name]
        seen = np.zeros(ids.shape, bool)
        for path in (out / "img_dir" / split).glob(f"{name}_*.png"):
            y, end_y, x, end_x = map(int, path.stem.split("_")[1:])
            assert (end_y - y, end_x - x) == (56, 56)
            pixels = cv2.imread(str(path))[..., ::-1]
            label = cv2.imread(
                str(out / "ann_dir" / split / f"{path.stem}{LABEL_SUFFIX}"), cv2.IMREAD_UNCHANGED
            )
            assert pixels.shape == (56, 56, 3) and label.shape == (56, 56)
            h, w = (min(end, size) for end, size in zip((end_y, end_x), ids.shape, strict=True))
            assert np.array_equal(pixels[: h - y, : w - x], image[y:h, x:w])
            assert np.array_equal(label[: h - y, : w - x], ids[y:h, x:w])
            assert (label[h - y :] == VOID).all() and (label[:, w - x :] == VOID).all()
            assert not pixels[h - y :].any()
            seen[y:h, x:w] = True
        assert seen.all()


def test_all_colours_are_the_ids_of_mmsegs_palette():
    assert COLORS.ids(PALETTE[None]).tolist() == [list(range(16))]
    assert tuple(iSAIDDataset.METAINFO["classes"]) == isaid.CLASSES
    with pytest.raises(DataError, match=r"unknown colour \(1, 2, 3\) \(2 pixels\) and 1 more"):
        COLORS.ids(np.array([[[1, 2, 3], [1, 2, 3], [9, 9, 9], [0, 0, 0]]], np.uint8))


def test_once_and_what_was_cut_goes_on(download, tmp_path):
    src, _ = download
    out = tmp_path / "out"
    convert(src, out, workers=1)
    paths = sorted(out.rglob("*.png"))
    before = [path.stat().st_mtime_ns for path in paths]
    assert convert(src, out, workers=1) == 0
    assert [path.stat().st_mtime_ns for path in paths] == before
    content = paths[0].read_bytes()
    paths[0].unlink()
    assert convert(src, out, workers=1) == 1
    assert paths[0].read_bytes() == content


def test_files_that_are_wrong_are_all_named(download, tmp_path):
    src, _ = download
    for i in range(4, 8):
        write(src / "train", f"P000{i}", 60, 60, i)
    labels = src / "train/Semantic_masks/images"
    image = src / "train/images/P0004.png"
    image.write_bytes(image.read_bytes()[:-30])
    bad = PALETTE[np.zeros((60, 60), int)].copy()
    bad[0, :3] = (7, 7, 7)
    cv2.imwrite(str(labels / f"P0005{LABEL_SUFFIX}"), bad)
    (labels / f"P0006{LABEL_SUFFIX}").unlink()
    cv2.imwrite(str(labels / f"P0007{LABEL_SUFFIX}"), bad[:30])
    with pytest.raises(DataError) as error:
        convert(src, tmp_path / "out", workers=1)
    lines = "\n".join(error.value.problems)
    for words in ("P0004.png: damaged or truncated", "(7, 7, 7) (3 pixels); replace the file",
                  "P0006_instance_color_RGB.png: missing, but its image is there"):  # fmt: skip
        assert words in lines
    assert len(error.value.problems) == 4
    assert list((tmp_path / "out/img_dir/train").glob("P0000_*"))  # the others are there
    with pytest.raises(DataError, match=r"no \*\.png; unpack DOTA"):
        convert(tmp_path / "none", tmp_path / "out2")


def test_mmseg_reads_it_through_our_config(download, tmp_path):
    src, _ = download
    convert(src, tmp_path / "out", workers=1)
    root = registry.locate("isaid", tmp_path / "out")
    from mmseg.registry import DATASETS

    from core.configs import load_config, set_data_root

    cfg = load_config(registry.get("isaid").config)
    assert isinstance(cfg, Config)
    set_data_root(cfg, root)
    loader = cfg.train_dataloader.dataset
    loader.pipeline = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations")]
    dataset = DATASETS.build(dict(loader, _scope_="mmseg"))
    assert len(dataset) == len(list((root / "img_dir/train").glob("*.png")))
    assert set(np.unique(dataset[0]["gt_seg_map"])) <= {*range(16), 255}
