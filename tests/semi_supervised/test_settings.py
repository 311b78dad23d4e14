"""The YAML file: published values, overrides, and what is refused in one line."""

import dataclasses

import pytest
import yaml

from core.engine.configs import ConfigError
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
        ["trainer.epochs=7", "hl.weighting=ce-scaled", "dataset.train.crop.size=[64, 96]",
         "trainer.optimizer.kwargs.lr=1e-3"],
    )  # fmt: skip
    assert s.dataset.type == "camvid" and s.trainer.epochs == 7
    assert s.dataset.train.crop.size == (64, 96) and s.hl.weighting == "ce-scaled"
    assert s.trainer.optimizer.kwargs.lr == 0.001
    assert s.trainer.contrastive.num_queries == base.trainer.contrastive.num_queries
    assert s.net.config == str(configs / "deeplabv3plus_r18-w16.py")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.epoch=3", "unknown key trainer.epoch; did you mean epochs?"),
        ("foo.bar=3", "unknown key foo; there are: dataset, net"),
        ("trainer.epochs=many", "trainer.epochs must be int, got 'many'"),
        ("trainer.epochs=0", "trainer.epochs must be 1 or more; got 0"),
        ("trainer.epochs", "an override is KEY=VALUE"),
        ("dataset.train.crop.size=769", "dataset.train.crop.size must be 2 values, got 769"),
        ("criterion.type=focal", "criterion.type must be one of ohem, ce; got 'focal'"),
        ("trainer.unsupervised.apply_aug=mix", "must be one of cutmix, classmix, cutout, none"),
        ("net.ema_decay=1.5", "net.ema_decay must be from 0 to 1; got 1.5"),
        ("trainer=3", "trainer must be a mapping, got 3"),
        ("net.config=[", "the value is not YAML"),
    ],
)
def test_bad_values_are_refused_in_one_line(configs, override, message):
    with pytest.raises(ConfigError) as error:
        load_settings(configs / "streets.yaml", [override])
    assert message in str(error.value) and "\n" not in str(error.value)


def test_bad_files_are_refused_in_one_line(tmp_path):
    for text, message in (
        ("a: [", "not YAML"),
        ("- 1", "must be a mapping"),
        ("base: x.yaml", "is its own base"),
        ("net: {config: a.py}", "dataset is missing"),
    ):
        path = tmp_path / "x.yaml"
        path.write_text(text)
        with pytest.raises(ConfigError) as error:
            load_settings(path)
        assert message in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="no such settings file"):
        load_settings(tmp_path / "none.yaml")
