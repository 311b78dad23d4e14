"""Domains: names and sizes, images and classes, targets in their published layout."""

import cv2
import numpy as np
import pytest
from mmseg.registry import DATASETS
from mmseg.utils import register_all_modules
from PIL import Image

from core.configs import load_config
from data import domains, registry
from data.errors import DataError
from data.sets import camvid, cityscapes, mapillary

register_all_modules(init_default_scope=True)


def test_names_parts_and_sizes():
    assert domains.parse("camvid:dusk").dataset == "camvid"
    assert domains.parse("cityscapes").size is None
    published, full = map(domains.parse, ("cityscapes@1024x512", "cityscapes@full"))
    assert published.size == (1024, 512) and full.size == "full"
    assert published.title != full.title != domains.parse("cityscapes").title
    assert len({published, full, domains.parse("cityscapes")}) == 3


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("camvid:dawn", "did you mean camvid:d"),
        ("citiscapes", "did you mean cityscapes"),
        ("streets", "there are: "),
        ("cityscapes@", "after @ comes a size"),
        ("cityscapes@1024", "after @ comes a size"),
        ("cityscapes@0x512", "after @ comes a size"),
        ("cityscapes@half", "after @ comes a size"),
    ],
)
def test_unknown_names_and_sizes_are_refused(name, says):
    with pytest.raises(DataError, match=says):
        domains.parse(name)


def test_every_domain_has_a_data_set_with_a_config():
    for domain in domains.DOMAINS.values():
        data = load_config(domain.entry.config)
        assert data.test_dataloader.dataset.pipeline[-1]["type"] == "PackSegInputs"


def test_day_and_dusk_share_no_image(tmp_path):
    rng = np.random.default_rng(0)
    for split, names in (
        ("train", ("0006R0_f1", "0016E5_1", "0016E5_2", "0001TP_1", "0001TP_2")),
        ("val", ("0016E5_8",)),
    ):
        for name in names:
            for part, suffix in (("images", "jpg"), ("labels", "png")):
                path = tmp_path / part / split / f"{name}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), rng.integers(0, 12, (8, 8), dtype=np.uint8))

    def read(name, loader, changes):
        dataset = load_config(domains.DOMAINS[name].entry.config)[loader].dataset
        dataset.update(changes, data_root=str(tmp_path))
        dataset = DATASETS.build(dataset)
        paths = [dataset.get_data_info(i)["img_path"] for i in range(len(dataset))]
        return {path.rsplit("/", 1)[-1].removesuffix(".jpg") for path in paths}

    day, dusk = domains.DOMAINS["camvid:day"], domains.DOMAINS["camvid:dusk"]
    trained = read("camvid:day", "train_dataloader", day.train)
    assert trained == {"0006R0_f1", "0016E5_1", "0016E5_2"}
    assert read("camvid:day", "val_dataloader", day.val) == {"0016E5_8"}
    assert read("camvid:dusk", "test_dataloader", dusk.val) == {"0001TP_1", "0001TP_2"}


def test_the_19_classes_fall_into_camvids_11():
    mapping = domains.prediction_map(cityscapes.CLASSES, camvid.CLASSES)
    by_name = {a: camvid.CLASSES[i] for a, i in zip(cityscapes.CLASSES, mapping, strict=True)}
    assert by_name["sidewalk"] == "pavement" and by_name["wall"] == "building"
    assert by_name["rider"] == by_name["motorcycle"] == "bicyclist"
    assert by_name["traffic light"] == "sign" and by_name["train"] == "car"
    assert set(by_name.values()) == set(camvid.CLASSES)
    same = domains.prediction_map(cityscapes.CLASSES, registry.get("bdd100k").classes)
    assert same is None
    with pytest.raises(DataError, match="no mapping from 11 classes"):
        domains.prediction_map(camvid.CLASSES, cityscapes.CLASSES)


def test_mapillary_labels_are_read_as_train_ids(tmp_path):
    """Palette images whose indices are the 66 ids, as v1.2 has them."""
    ids = np.arange(66, dtype=np.uint8).reshape(6, 11)
    label = Image.fromarray(ids)
    label.putpalette(list(np.random.default_rng(0).integers(0, 256, 768)))
    for folder in ("validation/images", "validation/v1.2/labels"):
        (tmp_path / folder).mkdir(parents=True)
    label.save(tmp_path / "validation/v1.2/labels/a_b-c.png")
    cv2.imwrite(str(tmp_path / "validation/images/a_b-c.jpg"), np.zeros((6, 11, 3), np.uint8))

    root = registry.locate("mapillary", tmp_path)
    dataset = load_config(registry.get("mapillary").config).test_dataloader.dataset
    dataset.data_root = str(root)
    dataset = DATASETS.build(dataset)
    assert tuple(dataset.metainfo["classes"]) == cityscapes.CLASSES
    read = dataset[0]["data_samples"].gt_sem_seg.data[0].numpy()
    assert read.shape == (6, 11)
    for i, name in ((13, "road"), (24, "road"), (2, "sidewalk"), (21, "rider"), (61, "truck")):
        assert cityscapes.CLASSES[read.flat[i]] == name
    assert all(read.flat[i] == 255 for i in (0, 7, 8, 16, 49, 65))
    assert (read != 255).sum() == 25 and set(read[read != 255]) == set(range(19))
    # mmseg names the ids: the ones that are classes of Cityscapes by name are mapped to them.
    from mmseg.datasets.mapillary import MapillaryDataset_v1

    for i, name in enumerate(MapillaryDataset_v1.METAINFO["classes"]):
        if name.lower() in cityscapes.CLASSES:
            assert cityscapes.CLASSES[mapillary.ID_TO_TRAIN_ID[i]] == name.lower(), name


def test_bdd100k_is_read_in_its_published_layout(tmp_path):
    for folder in ("images/10k/val", "labels/sem_seg/masks/val"):
        (tmp_path / folder).mkdir(parents=True)
    label = np.array([[0, 18], [255, 10]], np.uint8)
    cv2.imwrite(str(tmp_path / "labels/sem_seg/masks/val/7d1.png"), label)
    cv2.imwrite(str(tmp_path / "images/10k/val/7d1.jpg"), np.zeros((2, 2, 3), np.uint8))
    dataset = load_config(registry.get("bdd100k").config).test_dataloader.dataset
    dataset.data_root = str(registry.locate("bdd100k", tmp_path))
    read = DATASETS.build(dataset)[0]["data_samples"].gt_sem_seg.data[0].numpy()
    assert (read == label).all()
    (tmp_path / "images/10k/val/7d1.jpg").unlink()
    with pytest.raises(DataError, match="bdd100k"):
        registry.locate("bdd100k", tmp_path)
