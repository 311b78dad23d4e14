"""CamVid's published forms, converted to the layout that is read."""

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image

from data import prepare, registry
from data.errors import DataError
from data.sets import camvid

# One image of each sequence, and which split the published lists have it in.
NAMES = {"0001TP_006690": "train", "0001TP_008550": "test", "0006R0_f00930": "train",
         "0016E5_00390": "train", "0016E5_07959": "val", "0016E5_07980": "train",
         "Seq05VD_f00000": "test"}  # fmt: skip
COLORS = np.array([*camvid.PALETTE, (0, 0, 0), (192, 0, 64), (64, 192, 128)], np.uint8)
IDS = np.array([*range(11), camvid.VOID, 3, 4], np.uint8)


def labels(seed, shape):
    return np.random.default_rng(seed).integers(0, len(IDS), shape)


@pytest.fixture
def authors(tmp_path):
    """960x720; labels in 32 colours, in 2x2 blocks, in a folder of their own."""
    src = tmp_path / "src"
    for part in ("raw/701_StillsRaw_full", "LabeledApproved_full"):
        (src / part).mkdir(parents=True)
    for i, name in enumerate(NAMES):
        image = np.full((720, 960, 3), 30 * i, np.uint8)
        blocks = COLORS[labels(i, (360, 480))].repeat(2, 0).repeat(2, 1)
        Image.fromarray(image).save(src / f"raw/701_StillsRaw_full/{name}.png", compress_level=1)
        Image.fromarray(blocks).save(src / f"LabeledApproved_full/{name}_L.png", compress_level=1)
    return src


@pytest.fixture
def tutorial(tmp_path):
    src = tmp_path / "src"
    for split in camvid.SPLITS:
        for part in (split, f"{split}annot"):
            (src / part).mkdir(parents=True)
    for i, (name, split) in enumerate(NAMES.items()):
        Image.new("RGB", (480, 360), (30 * i,) * 3).save(src / f"{split}/{name}.png")
        Image.fromarray(IDS[labels(i, (360, 480))]).save(src / f"{split}annot/{name}.png")
    return src


@pytest.mark.parametrize("form", ["authors", "tutorial"])
def test_both_forms_give_the_same(form, request, tmp_path, capsys):
    src, out = request.getfixturevalue(form), tmp_path / "out"
    prepare.main(["camvid", "--src", str(src), "--out", str(out)])
    text = capsys.readouterr().out
    assert "7 images converted" in text and "all files are whole" in text
    for i, (name, split) in enumerate(NAMES.items()):
        image = cv2.imread(str(out / f"images/{split}/{name}.png"))
        assert image.shape == (360, 480, 3) and (image == 30 * i).all()
        found = cv2.imread(str(out / f"labels/{split}/{name}.png"), cv2.IMREAD_UNCHANGED)
        assert (found == IDS[labels(i, (360, 480))]).all()
    prepare.main(["camvid", "--src", str(src), "--out", str(out)])
    assert "0 images converted" in capsys.readouterr().out


def test_what_was_converted_is_read(tutorial, tmp_path):
    out = tmp_path / "out"
    camvid.convert(tutorial, out)
    root = registry.locate("camvid", out)
    cfg = Config.fromfile(registry.get("camvid").config)
    for loader, count in (("train_dataloader", 4), ("val_dataloader", 1)):
        dataset = DATASETS.build(dict(cfg[loader].dataset, data_root=str(root), _scope_="mmseg"))
        assert len(dataset) == count
        assert dataset[0]["data_samples"].gt_sem_seg.data.max() in (10, 255)


def test_lists_stand_in_the_place_of_the_published_split(authors, tmp_path):
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text(
        "/SegNet/CamVid/train/0001TP_006690.png /SegNet/CamVid/trainannot/0001TP_006690.png\n"
    )
    (lists / "val.txt").write_text("Seq05VD_f00000\n")
    assert camvid.convert(authors, tmp_path / "out", lists=str(lists)) == 2
    assert (tmp_path / "out/images/val/Seq05VD_f00000.png").is_file()
    (lists / "val.txt").write_text("0001TP_006690_L.png\n")
    with pytest.raises(DataError, match=r"val\.txt, line 1: 0001TP_006690 is in train\.txt, too"):
        camvid.convert(authors, tmp_path / "out", lists=str(lists))
    (lists / "val.txt").write_text("0001TP_1\n")
    with pytest.raises(DataError, match="0001TP_1 and 0 more are not in"):
        camvid.convert(authors, tmp_path / "out", lists=str(lists))


def test_bad_downloads_are_told(authors, tmp_path):
    with pytest.raises(DataError, match="as it is published; name a folder to convert it to: --o"):
        prepare.main(["camvid", "--src", str(authors)])
    with pytest.raises(DataError, match=r"neither NAME\.png and NAME_L\.png nor train/"):
        camvid.convert(tmp_path / "none", tmp_path / "out")
    label = authors / "LabeledApproved_full/0016E5_00390_L.png"
    Image.new("RGB", (960, 720), (1, 2, 3)).save(label)
    (authors / "raw/701_StillsRaw_full/0006R0_f00930.png").unlink()
    with pytest.raises(DataError, match=r"0006R0_f00930\.png: cannot be found") as error:
        camvid.convert(authors, tmp_path / "out")
    assert "unknown colour (1, 2, 3)" in str(error.value.problems[1])
    label.rename(label.with_name("mine_L.png"))
    with pytest.raises(DataError, match="mine and 0 more are in no published split"):
        camvid.convert(authors, tmp_path / "out")


def test_the_32_colours_are_all_there():
    assert len({color for group in camvid._GROUPS for color in group} | {(0, 0, 0)}) == 32
    for i, color in enumerate(camvid.PALETTE):
        assert color in camvid._GROUPS[i]
