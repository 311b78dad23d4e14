"""ADE20K as published: found in its folder, checked, read with the zero taken off."""

import cv2
import numpy as np
import pytest
from mmseg.datasets import ADE20KDataset
from mmseg.registry import DATASETS

from core.configs import load_config, set_data_root
from data import registry
from data.checks import check
from data.errors import DataError


@pytest.fixture
def ade(tmp_path):
    """The folder that holds what the archive unpacks to: two pairs a split, ids 0 to 150."""
    rng = np.random.default_rng(0)
    for split, kind in (("training", "train"), ("validation", "val")):
        for part in ("images", "annotations"):
            (tmp_path / "ADEChallengeData2016" / part / split).mkdir(parents=True)
        for i in (1, 2):
            folder = tmp_path / "ADEChallengeData2016"
            label = rng.integers(0, 151, (20, 30)).astype(np.uint8)
            label[0, :3] = (0, 1, 150)
            name = f"ADE_{kind}_{i:08d}"
            cv2.imwrite(str(folder / f"images/{split}/{name}.jpg"), np.zeros((20, 30, 3)))
            cv2.imwrite(str(folder / f"annotations/{split}/{name}.png"), label)
    return tmp_path


def test_it_is_found_in_its_folder_or_by_it(ade):
    inner = ade / "ADEChallengeData2016"
    assert registry.locate("ade20k", ade) == registry.locate("ade20k", inner) == inner
    entry = registry.get("ade20k")
    assert check(inner, entry.layouts, entry.allowed_ids) == []
    assert entry.allowed_ids == set(range(151))


def test_classes_are_mmsegs():
    want = [name.strip() for name in ADE20KDataset.METAINFO["classes"]]
    assert list(registry.get("ade20k").classes) == want


def test_an_id_beyond_150_is_named(ade):
    path = next((ade / "ADEChallengeData2016/annotations/training").glob("*.png"))
    cv2.imwrite(str(path), np.full((20, 30), 151, np.uint8))
    entry = registry.get("ade20k")
    (line,) = map(str, check(entry.folder(ade), entry.layouts, entry.allowed_ids))
    assert str(path) in line and "label id 151 (600 pixels) is out of range" in line
    path.unlink()
    with pytest.raises(DataError, match="missing, but its image is there"):
        registry.locate("ade20k", ade)


def test_mmseg_takes_the_zero_off(ade):
    cfg = load_config(registry.get("ade20k").config)
    set_data_root(cfg, registry.locate("ade20k", ade))
    dataset = cfg.val_dataloader.dataset
    sample = DATASETS.build(dict(dataset, _scope_="mmseg"))[0]
    assert sample["data_samples"].gt_sem_seg.data[0, 0, :3].tolist() == [255, 0, 149]
