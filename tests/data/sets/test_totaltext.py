"""Total-Text: polygons and masks of characters to labels, from the published formats."""

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from data import registry
from data.errors import DataError
from data.sets.totaltext import VOID, convert, draw, parse_matlab, parse_text

# As published, one polygon over two lines.
TEXT = """x: [[10 30 30 10]], y: [[5 5 15 15]], ornt: [u'h'], transcriptions: [u'IT']
x: [[40 60
 60 40]], y: [[20 20 30 30]], ornt: [u'#'], transcriptions: [u'#']
x: [[70 80 75]], y: [[10 10 19]], ornt: [u'c'], transcriptions: [u"DON'T [x]"]
"""


@pytest.fixture
def download(tmp_path):
    """Two images a split in the published folders; one has a ``.mat`` and an upper-case suffix."""
    src = tmp_path / "src"
    rng = np.random.default_rng(0)
    for split in ("Train", "Test"):
        for part in ("Images", "Groundtruth/Polygon", "Groundtruth/Pixel"):
            (src / part / split).mkdir(parents=True)
        for name in ("img1.jpg", "img2.JPG"):
            image = rng.integers(0, 256, (40, 100, 3)).astype(np.uint8)
            Image.fromarray(image).save(src / "Images" / split / name, "JPEG")
            mask = np.zeros((40, 100), np.uint8)
            mask[5:16, 10:15] = 255
            Image.fromarray(mask).save(
                src / "Groundtruth/Pixel" / split / f"{name[:4]}.jpg", quality=95
            )
        folder = src / "Groundtruth/Polygon" / split
        (folder / "poly_gt_img1.txt").write_text(TEXT)
        savemat(folder / "poly_gt_img2.mat", dict(polygt=rows()))
    return src


def rows():
    """The polygons of TEXT as the MATLAB files hold them."""
    content = np.empty((3, 6), object)
    for i, (x, y, text) in enumerate(
        [
            ([10, 30, 30, 10], [5, 5, 15, 15], "IT"),
            ([40, 60, 60, 40], [20, 20, 30, 30], "#"),
            ([70, 80, 75], [10, 10, 19], "DON'T [x]"),
        ]
    ):
        content[i] = ["x:", np.array(x, np.int16), "y:", np.array(y, np.int16),
                      np.array([text]), np.array(["h"])]  # fmt: skip
    return content


def test_text_and_matlab_give_the_same_label(tmp_path):
    savemat(tmp_path / "a.mat", dict(polygt=rows()))
    label = draw(parse_text(TEXT), 40, 100)
    assert np.array_equal(label, draw(parse_matlab(tmp_path / "a.mat"), 40, 100))
    assert (label[5:16, 10:31] == 1).all()  # 11 x 21 pixels: both borders are text
    assert (label[20:31, 40:61] == VOID).all()
    assert (label == 1).sum() > 11 * 21  # the triangle
    assert (label == VOID).sum() == 11 * 21
    assert label[12, 75] == 1 and label[19, 79] == 0


def test_text_that_can_be_read_wins_over_what_cannot():
    boxes = "x: [[0 9 9 0]], y: [[0 0 9 9]], ornt: [u'h'], transcriptions: [u'{}']\n"
    for order in ("A#", "#A"):
        label = draw(parse_text("".join(boxes.format(t) for t in order)), 10, 10)
        assert (label == 1).all()


def test_conversion_links_images_and_draws_labels(download, tmp_path):
    out = tmp_path / "out"
    assert convert(download, out, workers=1) == 4
    for split in ("train", "test"):
        first, second = (cv2.imread(str(out / f"labels/{split}/img{i}.png"), -1) for i in (1, 2))
        assert np.array_equal(first, second) and set(np.unique(first)) == {0, 1, VOID}
        assert (out / f"images/{split}/img2.jpg").is_symlink()
        assert cv2.imread(str(out / f"images/{split}/img2.jpg")).shape == (40, 100, 3)
    times = [p.lstat().st_mtime_ns for p in sorted(out.rglob("img*"))]
    assert convert(download, out, workers=1) == 0
    assert [p.lstat().st_mtime_ns for p in sorted(out.rglob("img*"))] == times
    (out / "labels/train/img1.png").unlink()
    assert convert(download, out, workers=1) == 1


def test_masks_of_characters(download, tmp_path):
    assert convert(download, tmp_path / "out", workers=1, annotations="pixel") == 4
    label = cv2.imread(str(tmp_path / "out/labels/test/img1.png"), -1)
    want = np.zeros((40, 100), np.uint8)
    want[5:16, 10:15] = 1
    assert np.array_equal(label, want)  # whatever JPEG left at the edges
    with pytest.raises(DataError, match="its labels are of --annotations pixel"):
        convert(download, tmp_path / "out")


def test_an_image_that_is_stored_turned_fits_its_label(download, tmp_path):
    path = download / "Images/Train/img1.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    tall = Image.open(path).transpose(Image.Transpose.ROTATE_90)
    tall.save(path, exif=exif)
    out = tmp_path / "out"
    convert(download, out, workers=1)
    assert not (out / "images/train/img1.jpg").is_symlink()
    assert Image.open(out / "images/train/img1.jpg").size == (100, 40)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("x: [[1 2]], y: [[1 2]], ornt: [u'h'], transcriptions: [u'A']", "has 2 corners"),
        ("x: [[1 2 3]], y: [[1 2]], ornt: [u'h'], transcriptions: [u'A']", "has 3 x and 2 y"),
        ("x: [[1 2 3]] y: 7", "cannot be read as polygons at 'x: "),
        (TEXT + "x: [[1 2", "cannot be read as polygons at"),
        ("hello", "cannot be read as polygons at 'hello'"),
        ("x: [[900 950 920]], y: [[1 2 9]], ornt: [u'h'], transcriptions: [u'A']",
         r"around \(900, 1\) is outside of 100x40"),
    ],
)  # fmt: skip
def test_bad_polygons_are_named_and_the_others_drawn(content, words, download, tmp_path):
    path = download / "Groundtruth/Polygon/Train/poly_gt_img1.txt"
    path.write_text(content)
    with pytest.raises(DataError, match=words) as error:
        convert(download, tmp_path / "out", workers=1)
    assert str(error.value).startswith(f"{path}: ") and len(error.value.problems) == 1
    assert len(list((tmp_path / "out/labels").rglob("*.png"))) == 3


def test_an_empty_file_is_an_image_without_text(download, tmp_path):
    (download / "Groundtruth/Polygon/Train/poly_gt_img1.txt").write_text("")
    convert(download, tmp_path / "out", workers=1)
    assert not cv2.imread(str(tmp_path / "out/labels/train/img1.png"), -1).any()


def test_missing_and_truncated_files_are_named(download, tmp_path):
    image = download / "Images/Train/img1.jpg"
    image.write_bytes(image.read_bytes()[:-100])
    (download / "Groundtruth/Polygon/Train/poly_gt_img2.mat").write_bytes(b"no")
    (download / "Groundtruth/Polygon/Test/poly_gt_img1.txt").unlink()
    with pytest.raises(DataError) as error:
        convert(download, tmp_path / "out", workers=1)
    lines = "\n".join(error.value.problems)
    assert "img1.jpg: damaged or truncated (its end is missing); copy it again" in lines
    assert "poly_gt_img2.mat: cannot be read as polygons" in lines
    assert "no polygon annotation in" in lines
    with pytest.raises(DataError, match="no Images/Train; unpack Total-Text there"):
        convert(tmp_path / "none", tmp_path / "out2")


def test_mmseg_reads_it_through_our_config(download, tmp_path):
    from mmengine.utils import import_modules_from_strings
    from mmseg.registry import DATASETS

    from core.configs import load_config, set_data_root

    convert(download, tmp_path / "out", workers=1)
    entry = registry.get("totaltext")
    assert registry.foreground("totaltext") == "text" and registry.foreground("camvid") is None
    cfg = load_config(entry.config)
    import_modules_from_strings(**cfg.custom_imports)
    set_data_root(cfg, registry.locate("totaltext", tmp_path / "out"))
    dataset = DATASETS.build(dict(cfg.train_dataloader.dataset, _scope_="mmseg"))
    sample = dataset[0]
    assert sample["inputs"].shape[0] == 3 and len(dataset) == 2
    assert not cfg.train_dataloader.dataset.get("reduce_zero_label")
    assert set(np.unique(sample["data_samples"].gt_sem_seg.data)) <= {0, 1, VOID}
