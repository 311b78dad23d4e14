"""Configs of the track: what the released one says, and that a target is never trained on."""

import numpy as np
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmseg.registry import DATASETS, PARAM_SCHEDULERS

import core.engine.run  # noqa: F401  (registers what prepare() names)
from core.configs import load_config, parse_config, walk
from core.convert import to_hl
from core.errors import ConfigError
from data import domains, registry
from data.roots import Roots
from domain_gen import build as track
from domain_gen import manifest

NAMES = ("deeplabv3plus_r101", "deeplabv3plus_r50", "deeplabv3plus_r18-w16")


@pytest.fixture
def released(gtav):
    """The released configuration on the tiny GTAV."""
    root = manifest.locate(domains.parse("gtav"), Roots.parse([f"gtav={gtav}"]))
    cfg = load_config(manifest.config_path(NAMES[0]))
    return track.source_config(cfg, domains.parse("gtav"), root)


def test_the_released_settings(released):
    cfg = released
    assert cfg.model.backbone.type == "ResNetV1c" and cfg.model.backbone.depth == 101
    assert cfg.model.pretrained == "open-mmlab://resnet101_v1c"
    assert cfg.model.decode_head.num_classes == cfg.model.auxiliary_head.num_classes == 19
    assert cfg.model.auxiliary_head.loss_decode.loss_weight == 0.4
    assert cfg.model.data_preprocessor["size"] == (512, 512)
    assert cfg.model.test_cfg == dict(mode="whole")
    optimizer = cfg.optim_wrapper.optimizer
    assert optimizer == dict(type="AdamW", lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01)
    assert cfg.train_cfg.max_iters == 40000 and cfg.train_dataloader.batch_size == 2
    steps = {step["type"]: step for step in cfg.train_dataloader.dataset.pipeline}
    assert steps["Resize"]["scale"] == (1280, 720) and steps["Resize"]["keep_ratio"]
    assert steps["RandomCrop"]["crop_size"] == (512, 512)
    assert "PhotoMetricDistortion" in steps and "RandomResize" not in steps


def test_the_learning_rate_is_the_released_one(released):
    """mmcv 0.x: poly of power 1 times (1 - (1 - t / 1500)(1 - 1e-6)) while it warms up."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([parameter], lr=6e-5)
    schedulers = [
        PARAM_SCHEDULERS.build(dict(s, optimizer=optimizer)) for s in released.param_scheduler
    ]
    for t in range(40000):
        if t % 250 == 0 or t < 3:
            warm = 1 - (1 - t / 1500) * (1 - 1e-6) if t < 1500 else 1
            expected = 6e-5 * (1 - t / 40000) * warm
            assert optimizer.param_groups[0]["lr"] == pytest.approx(expected, abs=6e-8), t
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("hl", [False, True])
def test_every_network_builds(name, hl, build, shrunk):
    cfg = shrunk(manifest.config_path(name))
    cfg = to_hl(cfg) if hl else cfg
    model = build(cfg)
    assert hasattr(model, "hl_head") == hl
    stem = {"deeplabv3plus_r101": 101, "deeplabv3plus_r50": 50, "deeplabv3plus_r18-w16": 18}
    assert cfg.model.backbone.depth == stem[name]


@pytest.mark.parametrize("source", ["gtav", "gtav:train"])
def test_only_the_source_is_read_in_training(source, gtav, cityscapes):
    domain, roots = domains.parse(source), Roots.parse([f"gtav={gtav}", f"cityscapes={cityscapes}"])
    root = manifest.locate(domain, roots)
    cfg = track.source_config(load_config(manifest.config_path(NAMES[0])), domain, root)
    roots = set()
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        walk(cfg[loader], lambda node: roots.add(node.get("data_root")))
    assert roots - {None} == {str(gtav)}
    assert cfg.train_dataloader.dataset.split == ("all" if source == "gtav" else "train")
    assert cfg.val_dataloader.dataset.split == "val"


def test_targets_that_are_not_there_are_named(gtav, cityscapes, tmp_path):
    roots = Roots.parse([f"cityscapes={cityscapes}", f"bdd100k={tmp_path}"])
    targets = [domains.parse(name) for name in ("cityscapes@full", "bdd100k")]
    found, missing = manifest.find_targets(targets, roots)
    assert [t.name for t in found] == ["cityscapes@full"]
    assert [t.name for t in missing] == ["bdd100k"] and "not found" in next(iter(missing.values()))


def test_without_a_name_gtav_is_the_source_where_it_is(gtav, tmp_path, monkeypatch):
    assert manifest.find_source(None, Roots.parse([f"gtav={gtav}"])).name == "gtav"
    monkeypatch.setattr(registry, "ROOT", tmp_path)
    assert manifest.find_source(None, Roots()).name == "streets:game"


@pytest.mark.slow
def test_the_image_is_fitted_and_the_label_is_not(cityscapes):
    def shapes(name):
        target = domains.parse(name)
        data = load_config(target.entry.config)
        dataset = data.test_dataloader.dataset
        dataset.data_root = str(cityscapes)
        if target.size is not None:
            dataset.pipeline = track.resized(dataset.pipeline, target.size)
        sample = DATASETS.build(dataset)[0]
        return tuple(sample["inputs"].shape[1:]), tuple(sample["data_samples"].gt_sem_seg.shape)

    registry.locate("cityscapes", cityscapes)
    assert shapes("cityscapes@128x64") == ((63, 128), (126, 256))
    assert shapes("cityscapes@full") == ((126, 256), (126, 256))
    # As the data set's config says: (2049, 1025) goes with crops of 769.
    assert shapes("cityscapes") == ((1008, 2049), (126, 256))


def test_unknown_sources_need_a_config():
    with pytest.raises(ConfigError, match="give --config"):
        manifest.settings_of("camvid:dusk")
    ours = manifest.settings_of("camvid:day")
    assert ours["max_iters"] and ours["targets"] == ["camvid:dusk"]
    other = manifest.settings_of("camvid:day", "deeplabv3plus_r50")
    assert other["config"] == "deeplabv3plus_r50" and other["max_iters"] is None


def test_adam_undoes_alpha_down_to_its_eps(tiny_config, tiny_batch, build):
    """Only the HL branch feels alpha, and Adam divides a gradient by its size: ten times alpha is
    ten times SGD's step of the branch, and the same step of AdamW's where gradients exceed eps.
    The README says so."""
    images, samples = tiny_batch()

    def step(alpha, **optimizer):
        model = build(to_hl(tiny_config(), alpha=alpha)).train()
        before = [p.detach().clone() for p in model.hl_head.parameters()]
        wrapper = build_optim_wrapper(model, dict(type="OptimWrapper", optimizer=optimizer))
        torch.manual_seed(0)
        loss, _ = model.parse_losses(model.loss(images, samples))
        wrapper.update_params(loss)
        pairs = zip(model.hl_head.parameters(), before, strict=True)
        return torch.cat([(p.detach() - b).flatten() for p, b in pairs]).numpy()

    # A large rate, so that the difference of the weights is not rounded away.
    one, ten = (step(alpha, type="SGD", lr=1e3) for alpha in (0.01, 0.1))
    assert np.linalg.norm(ten - 10 * one) < 1e-3 * np.linalg.norm(ten)
    adamw = dict(type="AdamW", lr=1e-3, weight_decay=0.0)
    one, ten = (step(alpha, **adamw, eps=1e-16) for alpha in (0.01, 0.1))
    assert np.linalg.norm(ten - one) < 0.05 * np.linalg.norm(ten)
    # With torch's eps of 1e-8 the smallest gradients (of this tiny net: many) do not get there.
    one, ten = (step(alpha, **adamw) for alpha in (0.01, 0.1))
    assert np.linalg.norm(one) < 0.9 * np.linalg.norm(ten)


def test_a_config_survives_the_checkpoint(released):
    released.experiment = dict(source="gtav", model="x", arm="hl", seed=3)
    assert parse_config(released.pretty_text).to_dict() == released.to_dict()
