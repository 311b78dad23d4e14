"""Facts about the embedded data set that could be false."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.sets.cityscapes import CLASSES, ID_TO_TRAIN_ID, PALETTE
from data.streets import DOMAINS, generate, write_cityscapes, write_gtav
from data.streets import writers as writers_module
from data.streets.renderer import render
from data.streets.scene import FEATURES, sample_scene
from data.streets.world import Building, Camera, Clutter, Scene, Side, Street, Vehicle

SMALL = (128, 64)
FEW = {"num_train": 2, "num_val": 1, "size": SMALL}
# What streets may contain: ego vehicle, static, and the 19 trained classes.
KNOWN_IDS = {1, 4, 7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33}


def tree_hash(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


@pytest.fixture(scope="module")
def many() -> dict[tuple[str, str], np.ndarray]:
    """Pixel counts per picture and labelId, (pictures, 256) per domain and split."""
    amounts = {"train": 10, "val": 20}
    keys = [(domain, split) for domain in DOMAINS for split in amounts]
    tasks = [(*key, k, (128, 64)) for key in keys for k in range(amounts[key[1]])]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        pictures = pool.map(generate, *zip(*tasks, strict=True), chunksize=10)
        counts = [np.bincount(labels.ravel(), minlength=256) for _, labels in pictures]
    return {
        key: np.stack([c for c, task in zip(counts, tasks, strict=True) if task[:2] == key])
        for key in keys
    }


@pytest.fixture
def plain() -> Scene:
    """A straight empty road, seen from its middle, without bonnet, blur, noise or sky line."""
    look = replace(sample_scene(rng(), "game").look, haze_distance=1e6)
    side = Side(strip=0.0, walk=3.0, setback=0.0, yard="sidewalk")
    street = Street(
        half_width=4.0, curvature=0.0, lanes=1, lane_width=3.5, parking=False, left=side,
        right=side, crossing=None, crossing_half=0.0, zebra=False, centre_line="none", rails=(),
        worn=0.0,
    )  # fmt: skip
    return Scene(Camera(u=0.0, height=1.5, fov=0.9, pitch=0.0, yaw=0.0), look, street)


def car(z: float, kind: str = "car", u: float = 0.0) -> Vehicle:
    return Vehicle(kind, u, z, 0.0, 4.4, 1.8, 1.5, (180, 30, 30), (200, 200, 200))


@pytest.mark.parametrize("domain", DOMAINS)
def test_generate_is_pure(domain: str) -> None:
    first = generate(domain, "train", 3, SMALL)
    generate(domain, "val", 9, SMALL)
    again = generate(domain, "train", 3, SMALL)
    assert first[0].shape == (64, 128, 3) and first[0].dtype == np.uint8
    assert first[1].shape == (64, 128) and first[1].dtype == np.uint8
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_seed_split_domain_and_index_all_matter() -> None:
    base = generate("real", "train", 0, SMALL)[0]
    others = [("game", "train", 0, 0), ("real", "val", 0, 0), ("real", "train", 6, 0),
              ("real", "train", 0, 1)]  # fmt: skip
    for domain, split, index, seed in others:
        assert not np.array_equal(base, generate(domain, split, index, SMALL, seed)[0])


@pytest.mark.slow
@pytest.mark.parametrize("domain", DOMAINS)
def test_all_classes_appear_with_plausible_shares(many, domain: str) -> None:
    counts = np.concatenate([many[domain, "train"], many[domain, "val"]])
    present = {k for k in range(256) if counts[:, k].any()}
    assert present <= KNOWN_IDS
    by_class = np.stack([counts[:, ID_TO_TRAIN_ID == k].sum(1) for k in range(19)], 1)
    often = (by_class > 0).mean(0)
    assert (often >= 0.15).all(), dict(zip(CLASSES, often, strict=True))
    shares = dict(zip(CLASSES, by_class.sum(0) / by_class.sum(), strict=True))
    bounds = {
        "road": (0.22, 0.45), "sidewalk": (0.02, 0.12), "building": (0.10, 0.32),
        "vegetation": (0.05, 0.25), "sky": (0.03, 0.25), "car": (0.03, 0.16),
        "pole": (0.004, 0.03), "person": (0.002, 0.04), "traffic light": (0.0003, 0.01),
        "traffic sign": (0.001, 0.02), "rider": (0.0005, 0.015), "bicycle": (0.0003, 0.015),
        "train": (0.002, 0.04), "bus": (0.004, 0.06), "truck": (0.004, 0.07),
    }  # fmt: skip
    for name, (low, high) in bounds.items():
        assert low < shares[name] < high, (name, shares[name])


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_class_appears_in_the_small_val_split(many, domain: str) -> None:
    seen = [(many[domain, "val"][:, ID_TO_TRAIN_ID == k].sum(1) > 0).sum() for k in range(19)]
    assert min(seen) >= 3, dict(zip(CLASSES, seen, strict=True))


def test_the_domains_look_different() -> None:
    def saturation(domain: str) -> float:
        images = [generate(domain, "train", k, SMALL)[0].astype(float) for k in range(3)]
        return float(np.mean([(i.max(2) - i.min(2)).mean() for i in images]))

    assert saturation("game") > 1.5 * saturation("real")


def test_nearer_hides_farther(plain: Scene) -> None:
    far_alone = render(replace(plain, actors=[car(30.0, "bus")]), SMALL)[1]
    assert (far_alone == 28).sum() > 20
    for actors in ([car(9.0), car(30.0, "bus")], [car(30.0, "bus"), car(9.0)]):
        near_alone = render(replace(plain, actors=[car(9.0)]), SMALL)[1]
        both = render(replace(plain, actors=actors), SMALL)[1]
        assert ((both == 26) == (near_alone == 26)).all()
        assert (both == 28).sum() < 0.2 * (far_alone == 28).sum()


def test_twice_as_far_is_half_as_large_and_higher(plain: Scene) -> None:
    def extent(z: float) -> tuple[float, float, int]:
        # The rear of the car, not its middle, is what the camera sees.
        labels = render(replace(plain, actors=[car(z + 2.2)]), (384, 192))[1]
        rows, cols = np.nonzero(labels == 26)
        return np.ptp(rows) + 1.0, np.ptp(cols) + 1.0, int(rows.max())

    near, far = extent(10.0), extent(20.0)
    assert near[0] / far[0] == pytest.approx(2.0, rel=0.12)
    assert near[1] / far[1] == pytest.approx(2.0, rel=0.2)  # mirrors stick out
    assert near[2] > far[2]


def test_labels_lie_under_their_pixels(plain: Scene) -> None:
    # Half of an edge pixel's colour may come from the other side, never a whole pixel.
    base = replace(plain, look=replace(plain.look, saturation=1.0, contrast=1.0, shadow=0.0))
    box = Clutter(0.0, 10.0, 1.5, 1.2, (250, 250, 20))
    empty, full = render(base, (384, 192)), render(replace(base, actors=[box]), (384, 192))
    changed = np.abs(full[0].astype(int) - empty[0].astype(int)).sum(2) > 90
    labelled = full[1] == 4
    assert labelled.sum() > 1000
    assert (labelled & changed).sum() / (labelled | changed).sum() > 0.95


def test_the_street_converges_at_the_horizon(plain: Scene) -> None:
    labels = render(plain, (384, 192))[1]
    widths = (labels == 7).sum(1)
    rows = np.nonzero(widths)[0]
    assert widths[rows[4]] < widths[rows[30]] < widths[rows[60]]
    assert set(np.unique(labels[rows[20] :])) <= {7, 8}


def test_a_house_stands_beside_the_road(plain: Scene) -> None:
    house = Building(1, 7.0, 15.0, 30.0, 12.0, 9.0, (150, 140, 120), (90, 60, 50), "brick",
                     True, True, 5)  # fmt: skip
    without = render(plain, (384, 192))[1] == 11
    with_house = render(replace(plain, buildings=[house]), (384, 192))[1] == 11
    added = with_house & ~without
    assert added[:, 200:].sum() > 500
    assert not added[:, :192].any()


@pytest.mark.parametrize("feature", FEATURES)
def test_features_are_visible(feature: str) -> None:
    """In most scenes: now and then a van stands before it."""
    wanted = {"train": 31, "bus": 28, "truck": 27, "motorcycle": 32, "rider": 25, "wall": 12,
              "fence": 13, "signal": 19, "bicycle": 33}  # fmt: skip
    scenes = (sample_scene(rng(seed), "real", [feature]) for seed in range(5))
    seen = [(render(scene, (384, 192))[1] == wanted[feature]).sum() for scene in scenes]
    assert sum(count >= 50 for count in seen) >= 4, seen


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="domain 'dream'"):
        generate("dream", "train", 0)
    with pytest.raises(ValueError, match="split 'test'"):
        generate("real", "test", 0)
    with pytest.raises(ValueError, match="negative"):
        generate("real", "train", -1)
    with pytest.raises(ValueError, match="16x16"):
        generate("real", "train", 0, (8, 8))


@pytest.mark.parametrize("size", [(65, 33), (48, 96), (16, 16)])
def test_any_size(size: tuple[int, int]) -> None:
    image, labels = generate("game", "train", 1, size)
    assert image.shape == (size[1], size[0], 3) and labels.shape == (size[1], size[0])


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_cityscapes, write_gtav])
def test_bytes_do_not_depend_on_the_workers(tmp_path: Path, write) -> None:
    write(tmp_path / "one", workers=1, **FEW)
    write(tmp_path / "two", workers=2, **FEW)
    assert tree_hash(tmp_path / "one") == tree_hash(tmp_path / "two")
    write(tmp_path / "more", workers=1, **{**FEW, "seed": 1})
    one, more = tree_hash(tmp_path / "one"), tree_hash(tmp_path / "more")
    assert one.keys() == more.keys() and one != more


def test_cityscapes_layout_and_train_ids(tmp_path: Path) -> None:
    write_cityscapes(tmp_path, workers=1, **FEW)
    images = sorted(tmp_path.glob("leftImg8bit/*/*/*_000019_leftImg8bit.png"))
    assert len(images) == 3
    towns = {p.parts[-3]: set() for p in images}
    for path in images:
        town, sequence, frame = path.name.split("_")[:3]
        assert town == path.parent.name and len(sequence) == 6 and frame == "000019"
        towns[path.parts[-3]].add(town)
        base = str(path).replace("leftImg8bit/", "gtFine/").replace("_leftImg8bit.png", "_gtFine_")
        ids = Image.open(base + "labelIds.png")
        train_ids = Image.open(base + "labelTrainIds.png")
        assert Image.open(path).mode == "RGB" and ids.mode == train_ids.mode == "L"
        assert ids.size == SMALL
        assert np.array_equal(ID_TO_TRAIN_ID[np.asarray(ids)], np.asarray(train_ids))
    assert len(towns["train"]) in (2, 3) and not towns["train"] & towns["val"]
    image, _ = generate("real", "train", 0, SMALL)
    assert np.array_equal(np.asarray(Image.open(images[0])), image)


def test_gtav_palette_maps_back(tmp_path: Path) -> None:
    write_gtav(tmp_path, workers=1, **FEW)
    assert (tmp_path / "train.txt").read_text().split() == ["00001", "00002"]
    assert (tmp_path / "val.txt").read_text().split() == ["00003"]
    colors = {tuple(c): k for k, c in enumerate(PALETTE)}
    for name, split, index in (("00001", "train", 0), ("00003", "val", 0)):
        label = Image.open(tmp_path / "labels" / f"{name}.png")
        assert label.mode == "P"
        ids = np.asarray(label)
        assert np.array_equal(ids, generate("game", split, index, SMALL)[1])
        flat = np.asarray(label.convert("RGB")).reshape(-1, 3)
        back = [colors.get(tuple(int(v) for v in c), 255) for c in flat]
        assert np.array_equal(ID_TO_TRAIN_ID[ids].ravel(), back)


def test_second_call_does_nothing(tmp_path: Path) -> None:
    write_cityscapes(tmp_path, workers=1, **FEW)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    write_cityscapes(tmp_path, workers=2, **FEW)
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    write_gtav(tmp_path, workers=1, **FEW)
    before = tree_hash(tmp_path)
    with pytest.raises(ValueError, match=r"seed is 0, asked for 7.*delete the folder") as error:
        write_gtav(tmp_path, workers=1, **{**FEW, "seed": 7})
    assert "\n" not in str(error.value) and "num_train" not in str(error.value)
    assert tree_hash(tmp_path) == before
    (tmp_path / "streets.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        write_gtav(tmp_path, workers=1, **FEW)


@pytest.mark.parametrize("write", [write_cityscapes, write_gtav])
def test_interrupted_write_completes(tmp_path: Path, write) -> None:
    write(tmp_path, workers=1, **FEW)
    whole = tree_hash(tmp_path)
    files = sorted(p for p in tmp_path.rglob("*") if p.is_file())
    for path in [*files[::3], tmp_path / "streets.json"]:
        path.unlink(missing_ok=True)
    write(tmp_path, workers=1, **FEW)
    assert tree_hash(tmp_path) == whole


def test_full_disk_leaves_no_half_file(tmp_path: Path, monkeypatch) -> None:
    write_gtav(tmp_path / "whole", workers=1, **FEW)
    calls = {"count": 0}
    replace_file = writers_module.os.replace

    def full(source: str, target: str) -> None:
        calls["count"] += 1
        if calls["count"] > 3:
            raise OSError(28, "No space left on device")
        replace_file(source, target)

    monkeypatch.setattr(writers_module.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_gtav(tmp_path / "torn", workers=1, **FEW)
    whole, torn = tree_hash(tmp_path / "whole"), tree_hash(tmp_path / "torn")
    assert len(torn) == 3 and torn.items() <= whole.items()
    assert json.loads((tmp_path / "whole" / "streets.json").read_text())["domain"] == "game"
