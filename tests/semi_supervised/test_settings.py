"""The YAML file: published values, overrides, and what is refused in one line."""

import dataclasses
from itertools import pairwise

import pytest
import yaml

from core.errors import ConfigError
from semi_supervised.u2pl.settings import load_settings


@pytest.fixture
def configs(root):
    return root / "semi_supervised" / "configs"


def test_cityscapes_has_the_published_values(configs):
    s = load_settings(configs / "cityscapes.yaml")
    assert s.dataset.train.crop.size == (769, 769) and s.dataset.batch_size == 2
    assert s.dataset.train.rand_resize == (0.5, 2.0)
    assert (s.trainer.epochs, s.trainer.sup_only_epoch) == (200, 0)
    assert dataclasses.astuple(s.trainer.optimizer.kwargs) == (0.01, 0.9, 0.0005)
    assert s.trainer.lr_scheduler.kwargs.power == 0.9
    assert dataclasses.astuple(s.trainer.unsupervised) == (80, "cutmix", 0.5, 1)
    contrastive = (True, 3, 20, 0.3, 1, 20, 50, 256, 0.5, 1, 30000, 50000)
    assert dataclasses.astuple(s.trainer.contrastive) == contrastive
    assert dataclasses.astuple(s.criterion.kwargs) == (0.7, 100_000)
    assert [s.criterion.kept(n) for n in (2, 4, 1)] == [100_000, 200_000, 50_000]
    assert (s.net.ema_decay, s.net.rep_planes, s.net.aux_loss.loss_weight) == (0.99, 256, 0.4)
    assert not any(dataclasses.astuple(s.as_released))


def test_file_states_every_value(configs):
    """Nothing is hidden in a default: what the YAML says is all that there is."""
    path = configs / "cityscapes.yaml"
    stated = yaml.safe_load(path.read_text())

    def keys(value):
        return {k: keys(v) for k, v in value.items()} if isinstance(value, dict) else None

    assert keys(stated) == keys(dataclasses.asdict(load_settings(path)))


def test_a_base_is_completed_and_values_are_overridden(configs):
    base = load_settings(configs / "cityscapes.yaml")
    s = load_settings(
        configs / "camvid.yaml",
        ["trainer.epochs=17", "hl.weighting=ce-scaled", "dataset.train.crop.size=[64, 96]",
         "trainer.optimizer.kwargs.lr=1e-3"],
    )  # fmt: skip
    assert s.dataset.type == "camvid" and s.trainer.epochs == 17
    assert s.dataset.train.crop.size == (64, 96) and s.hl.weighting == "ce-scaled"
    assert s.trainer.optimizer.kwargs.lr == 0.001
    assert s.trainer.contrastive.num_queries == base.trainer.contrastive.num_queries
    assert s.net.config == str(configs / "deeplabv3plus_lite0.py")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.epoch=3", "unknown key trainer.epoch; did you mean epochs?"),
        ("foo.bar=3", "unknown key foo; there are: dataset, net"),
        ("trainer.epochs=many", "trainer.epochs must be int, got 'many'"),
        ("trainer.epochs=0", "trainer.epochs must be from 1 to 1000000000; got 0"),
        ("trainer.epochs", "an override is KEY=VALUE"),
        ("dataset.train.crop.size=769", "dataset.train.crop.size must be 2 values, got 769"),
        ("criterion.type=focal", "criterion.type must be one of ohem, ce; got 'focal'"),
        ("trainer.unsupervised.apply_aug=mix", "must be one of cutmix, classmix, cutout, none"),
        ("net.ema_decay=1.5", "net.ema_decay must be from 0 to 1; got 1.5"),
        ("trainer=3", "trainer must be a mapping, got 3"),
        ("trainer.max_iters=9999999999999", "trainer.max_iters must be from 0 to 1000000000"),
        ("trainer.contrastive.memory_size=99999999", "memory_size must be from 1 to 10000000"),
        ("net.rep_planes=99999999999", "net.rep_planes must be from 1 to 100000"),
        ("dataset.train.crop.size=[999999999, 9]", "crop.size must be from 3 to 100000"),
        ("dataset.train.rand_resize=[1, 1.0e9]", "rand_resize must be from 0 to 100"),
        ("trainer.epochs=" + "[" * 3000, "the value is not YAML"),
        ("net.config=[", "the value is not YAML"),
        ("net.config=2020-13-45", "the value is not YAML"),
        ("net=[1]", "net must be a mapping, got [1]"),
        ("hl.weighting=ce_scaled", "hl.weighting must be one of hl, ce-scaled; got 'ce_scaled'"),
        ("hl.normalize=pixel", "hl.normalize must be one of image, batch; got 'pixel'"),
        ("hl.ignored=drop", "hl.ignored must be one of exclude, include; got 'drop'"),
        ("hl.c=0", "hl.c must be > 0; got 0"),
        ("hl.alpha=null", "hl.alpha must be float | str, got None"),
        ("hl.alpha=-1", "hl.alpha must be >= 0, auto"),
        ("net.ema_decay=.nan", "net.ema_decay must be from 0 to 1; got nan"),
        ("net.rep_planes=0", "net.rep_planes must be from 1 to 100000"),
        ("net.aux_loss.loss_weight=.inf", "net.aux_loss.loss_weight must be 0 or more; got inf"),
        ("dataset.batch_size=0", "dataset.batch_size must be 1 or more"),
        ("dataset.workers=-1", "dataset.workers must be 0 or more"),
        ("dataset.mean=[1, 2, 300]", "dataset.mean must be from 0 to 255"),
        ("dataset.std=[1, 0, 1]", "dataset.std must be > 0"),
        ("dataset.train.crop.size=[0, 64]", "dataset.train.crop.size must be from 3 to 100000"),
        ("dataset.train.rand_resize=[0, 1]", "dataset.train.rand_resize must be > 0"),
        ("dataset.train.rand_resize=[2, 1]", "dataset.train.rand_resize must be [low, high]"),
        ("trainer.sup_only_epoch=999", "trainer.sup_only_epoch must be from 0 to 20; got 999"),
        ("trainer.optimizer.kwargs.lr=0", "trainer.optimizer.kwargs.lr must be > 0"),
        ("trainer.optimizer.kwargs.lr=.nan", "trainer.optimizer.kwargs.lr must be > 0; got nan"),
        ("trainer.optimizer.kwargs.momentum=2", "momentum must be from 0 to 1"),
        ("trainer.optimizer.kwargs.weight_decay=-1", "weight_decay must be 0 or more"),
        ("trainer.lr_scheduler.kwargs.power=-1", "power must be 0 or more"),
        ("trainer.unsupervised.drop_percent=101", "drop_percent must be from 0 to 100"),
        ("trainer.unsupervised.aug_prob=.nan", "aug_prob must be from 0 to 1; got nan"),
        ("trainer.contrastive.low_rank=-1", "low_rank must be 0 or more"),
        ("trainer.contrastive.temperature=0", "temperature must be > 0"),
        ("trainer.contrastive.low_entropy_threshold=.nan", "must be from 0 to 100; got nan"),
        ("trainer.contrastive.current_class_threshold=30", "must be from 0 to 1; got 30"),
        ("trainer.contrastive.memory_size=0", "memory_size must be from 1 to 10000000"),
        ("criterion.kwargs.thresh=7", "criterion.kwargs.thresh must be from 0 to 1"),
        ("criterion.kwargs.min_kept=-1", "criterion.kwargs.min_kept must be 0 or more"),
    ],
)
def test_bad_values_are_refused_in_one_line(configs, override, message):
    with pytest.raises(ConfigError) as error:
        load_settings(configs / "streets.yaml", [override])
    assert message in str(error.value) and "\n" not in str(error.value)


def test_every_number_has_a_range(configs):
    """No field is forgotten: NaN, or a number far below or above, is refused wherever it stands."""

    def numbers(value, where=""):
        for key, part in value.items():
            name = f"{where}{key}"
            if isinstance(part, dict):
                yield from numbers(part, f"{name}.")
            elif not isinstance(part, (str, bool)):
                yield name, part

    stated = yaml.safe_load((configs / "cityscapes.yaml").read_text())
    for name, value in numbers(stated):
        if name == "trainer.contrastive.high_rank":  # the model compares it with low_rank
            continue
        bad = [-1e9] * len(value) if isinstance(value, list) else -1_000_000_000
        for override in (f"{name}={bad}", f"{name}={str(bad).replace('-1', '.nan #')}"):
            with pytest.raises(ConfigError, match=name):
                load_settings(configs / "cityscapes.yaml", [override])


def test_bad_files_are_refused_in_one_line(tmp_path):
    for text, message in (
        ("a: [", "not YAML"),
        ("- 1", "must be a mapping"),
        ("base: x.yaml", "is its own base"),
        ("net: {config: a.py}", "dataset is missing"),
        ("net: [1]", "dataset is missing"),
        ("{net: [1], dataset: {type: a, train: {crop: {size: [9, 9]}}}}", "net must be a mapping"),
        ("base: [a]", "base must be the name of a file, got ['a']"),
        ("base: {a: 1}", "base must be the name of a file"),
        ("a: 2020-13-45", "not YAML"),
    ):
        path = tmp_path / "x.yaml"
        path.write_text(text)
        with pytest.raises(ConfigError) as error:
            load_settings(path)
        assert message in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="no such settings file"):
        load_settings(tmp_path / "none.yaml")


def test_files_that_stand_for_more_than_they_hold(configs, tmp_path):
    """Brackets in brackets, and a few aliases that stand for gigabytes: one line, at once."""
    path = tmp_path / "deep.yaml"
    path.write_text("[" * 3000)
    with pytest.raises(ConfigError, match=r"deep\.yaml: not YAML"):
        load_settings(path)
    levels = "abcdefghij"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{y}: &{y} [{', '.join([f'*{x}'] * 9)}]" for x, y in pairwise(levels)]
    path.write_text("\n".join([*lines, "net: {config: *j}"]))
    with pytest.raises(ConfigError) as error:
        load_settings(path)
    path.write_text(f"base: {configs}/camvid.yaml\nbomb: &a {lines[0][6:]}\nnet: *a\n")
    with pytest.raises(ConfigError):
        load_settings(path)
    assert len(str(error.value)) < 1000
