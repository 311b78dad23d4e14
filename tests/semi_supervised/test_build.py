"""From settings to a config: the published network, schedule and samples."""

import dataclasses

import pytest
import torch
from mmseg.registry import DATASETS, MODELS

import core.engine.run  # noqa: F401  (registers what prepare() names)
from core.arms import Arm, Asked
from core.configs import fit_norm, load_config
from core.dose import given
from core.engine.additions import training_loader
from core.engine.prepare import prepare
from core.errors import CannotConvert, ConfigError
from core.measures import PUBLISHED_DOSE
from data import registry
from data.splits import Split, partition
from semi_supervised.u2pl.arms import arm_and_settings
from semi_supervised.u2pl.build import build_config, fit_alpha
from semi_supervised.u2pl.settings import load_settings

HL = Arm.parse("hl")


def asked_for(text):
    """What flags say: ``"hl c=0.5"``, or None for nothing."""
    name, *pairs = (text or "").split() or [None]
    return Asked(name, tuple(pairs))


@pytest.fixture
def settings(root):
    return load_settings(root / "semi_supervised/configs/cityscapes.yaml")


def names(count, start=0):
    return tuple(f"city/{i}" for i in range(start, start + count))


def test_published_schedule(settings, tmp_path):
    """1/8 on 8 GPUs: 163 steps an epoch, 24 for SupOnly; 200 epochs; poly over all of them."""
    split = Split(names(372), names(2603, 372))
    for arm, steps in ((HL, 163), (Arm.parse("sup-only"), 24)):
        cfg = build_config(settings, split, tmp_path, tmp_path / "w", arm, world_size=8)
        assert cfg.train_cfg.max_iters == 200 * steps
        assert cfg.param_scheduler[0] == dict(
            type="PolyLR", power=0.9, eta_min=0, end=200 * steps, by_epoch=False
        )
    assert cfg.optim_wrapper.optimizer == dict(
        type="SGD", lr=0.01, momentum=0.9, weight_decay=0.0005
    )
    assert cfg.model.segmentor.test_cfg.mode == "slide"
    assert (
        build_config(settings, split, tmp_path, tmp_path, HL, max_iters=7).train_cfg.max_iters == 7
    )


@pytest.mark.slow
def test_published_network(settings, tmp_path):
    """ResNet-101 of output stride 8 with the multi-grid, 256 planes, 256 values a pixel."""
    cfg = build_config(
        settings, Split(names(9), names(9, 9)), tmp_path, tmp_path, HL, pretrained=False
    )
    fit_norm(cfg, synchronized=False)
    small = dict(cfg.model.settings)
    small["trainer"]["contrastive"].update(memory_size=10, memory_size_first=10)
    prepare(cfg, work_dir=tmp_path)  # imports what the model is made of
    model = MODELS.build(cfg.model).eval()
    last = model.teacher.backbone.layer4
    assert [block.conv2.dilation[0] for block in last] == [4, 8, 16]
    with torch.no_grad():
        out = model._run("student", torch.zeros(1, 3, 65, 65))
    assert out.rep.shape == (1, 256, 17, 17) and out.seg_logits.shape == (1, 19, 17, 17)
    assert out.features[3].shape[2:] == (9, 9)
    planes = [m.out_channels for m in model.student.decode_head.conv_seg.modules()
              if isinstance(m, torch.nn.Conv2d)]  # fmt: skip
    assert planes == [256, 256, 19]
    assert model.student.hl_head.conv_seg[-1].out_channels == 1
    assert model.student.auxiliary_head.in_channels == 1024


@pytest.fixture
def pairs(camvid, root, tmp_path):
    """The pair data set of CamVid's look-alike, and its split."""
    s = load_settings(root / "semi_supervised/configs/camvid.yaml")
    split = partition("camvid", camvid, "1/2", balanced=False)
    cfg = build_config(s, split, registry.locate("camvid", camvid), tmp_path, HL)
    cfg = prepare(cfg, work_dir=tmp_path, seed=0)
    return DATASETS.build(training_loader(cfg.train_dataloader)["dataset"]), split, cfg


def test_a_sample_is_one_image_of_each_kind(pairs):
    """Labels of unlabeled images are never opened; all pairs are a function of the seed."""
    dataset, split, _ = pairs
    kinds = dataset.dataset
    for part, stems in ((kinds.labeled, split.labeled), (kinds.unlabeled, split.unlabeled)):
        found = [part.get_data_info(i)["img_path"] for i in range(len(part))]
        assert [path.split("train/")[1] for path in found] == [f"{stem}.jpg" for stem in stems]
    assert "seg_map_path" not in kinds.unlabeled.get_data_info(0)
    sample = dataset[0, 5, (1, 2)]
    label = sample["unlabeled"]["data_samples"].gt_sem_seg.data
    assert set(label.unique().tolist()) <= {0, 255}
    assert len(sample["labeled"]["data_samples"].gt_sem_seg.data.unique()) > 1
    again = dataset[0, 5, (1, 2)]
    assert torch.equal(sample["labeled"]["inputs"], again["labeled"]["inputs"])
    assert not torch.equal(sample["labeled"]["inputs"], dataset[0, 6, (1, 2)]["labeled"]["inputs"])


def test_passes_over_both_kinds_are_shuffled_apart(pairs):
    """Every image once a pass; the pairing changes from pass to pass; skipping is exact."""
    from mmseg.registry import DATA_SAMPLERS

    dataset, _, cfg = pairs
    arguments = dict(dataset=dataset, seed=3)
    sampler = DATA_SAMPLERS.build(dict(cfg.train_dataloader.sampler), default_args=arguments)
    stream = iter(sampler)
    keys = [next(stream) for _ in range(30)]
    assert [(seed, position) for seed, position, _ in keys] == [(3, p) for p in range(30)]
    for side in (0, 1):
        for start in range(0, 30, 3):
            assert sorted(key[2][side] for key in keys[start : start + 3]) == [0, 1, 2]
    assert len({tuple(key[2] for key in keys[i : i + 3]) for i in range(0, 30, 3)}) > 3
    sampler.skip(17)
    assert next(iter(sampler)) == keys[17]


def test_half_of_the_images_shrink_and_half_grow(settings, root, tmp_path):
    cfg = build_config(settings, Split(names(9), names(9, 9)), tmp_path, tmp_path, HL)
    pipeline = cfg.train_dataloader.dataset.labeled.pipeline
    (choice,) = [t for t in pipeline if t.type == "RandomChoice"]
    assert [t[0].ratio_range for t in choice.transforms] == [(0.5, 1.0), (1.0, 2.0)]
    assert [t.type for t in pipeline] == [
        "LoadImageFromFile", "LoadAnnotations", "RandomChoice", "RandomCrop", "RandomFlip",
        "PackSegInputs"]  # fmt: skip


def test_a_part_smaller_than_a_batch_is_refused(settings, tmp_path):
    with pytest.raises(ConfigError, match="9 labeled images, but a batch takes 16"):
        build_config(settings, Split(names(9), names(90, 9)), tmp_path, tmp_path, HL, world_size=8)


def test_one_labeled_image_a_step_is_refused(settings, tmp_path):
    """In training BatchNorm of the pooled features of one image has one value; several GPUs share
    their statistics."""
    dataset = dataclasses.replace(settings.dataset, batch_size=1)
    one = dataclasses.replace(settings, dataset=dataset)
    split = Split(names(9), names(9, 9))
    with pytest.raises(ConfigError, match="batch_size is 1 on one device, but a step takes two"):
        build_config(one, split, tmp_path, tmp_path, HL)
    assert (
        build_config(one, split, tmp_path, tmp_path, HL, world_size=2).train_dataloader.batch_size
        == 1
    )


@pytest.mark.slow
def test_a_folder_with_checkpoints_keeps_its_images(settings, tmp_path):
    """--resume would go on with other labels without a word."""
    first, second = Split(names(9), names(9, 9)), Split(names(9, 1), names(9, 10))
    for split in (first, second):  # nothing was trained yet
        build_config(settings, split, tmp_path, tmp_path, HL)
    (tmp_path / "iter_2.pth").touch()
    build_config(settings, second, tmp_path, tmp_path, HL)
    reordered = Split(second.labeled[::-1], second.unlabeled)
    more = Split(second.labeled, names(10, 10))
    for split, kind in ((first, "labeled"), (reordered, "labeled"), (more, "unlabeled")):
        with pytest.raises(ConfigError, match=rf"its run used other {kind} images") as error:
            build_config(settings, split, tmp_path, tmp_path, HL)
        assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)
    assert (tmp_path / "labeled.txt").read_text().split() == [*second.labeled]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("model = None", "model.type is None; U²PL trains an EncoderDecoder"),
        (
            "_base_ = 'mmseg::ocrnet/ocrnet_hr18s_4xb2-40k_cityscapes-512x1024.py'",
            "model.type is 'CascadeEncoderDecoder'; U²PL trains an EncoderDecoder",
        ),
        (
            "_base_ = 'mmseg::encnet/encnet_r50-d8_4xb2-40k_cityscapes-512x1024.py'",
            r"decode_head \(EncHead\): it has 2 losses|decode_head \(EncHead\): it computes a loss",
        ),
        (
            "_base_ = 'mmseg::stdc/stdc1_4xb12-80k_cityscapes-512x1024.py'",
            r"decode_head \(FCNHead\): sampler OHEMPixelSampler selects pixels",
        ),
        (
            "_base_ = 'mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-769x769.py'\n"
            "model = dict(auxiliary_head=dict(num_classes=2))",
            r"auxiliary_head \(FCNHead\): num_classes is 2, decode_head's is 19",
        ),
    ],
)
def test_networks_that_cannot_be_trained_are_refused(settings, config, message, tmp_path):
    """In one line, with HL and without."""
    path = tmp_path / "network.py"
    path.write_text(config)
    mine = dataclasses.replace(settings, net=dataclasses.replace(settings.net, config=str(path)))
    for arm in (HL, Arm.parse("baseline")):
        with pytest.raises(ConfigError, match=f"network.py: ({message})") as error:
            build_config(mine, Split(names(9), names(9, 9)), tmp_path, tmp_path, arm)
        assert "\n" not in str(error.value)


@pytest.mark.slow
def test_settings_come_back_from_the_config(root, tmp_path):
    """What the model reads from a dumped config is what file and overrides said."""
    from mmengine.config import Config

    from semi_supervised.u2pl.settings import Settings, from_dict

    path = root / "semi_supervised/configs/camvid.yaml"
    said = load_settings(path, ["net.ema_decay=0.9", "as_released.shifted_class_list=true"])
    cfg = build_config(said, Split(names(9), names(9, 9)), tmp_path, tmp_path, HL)
    again = Config.fromstring(cfg.pretty_text, ".py").model.settings.to_dict()
    assert from_dict(Settings, again) == said != load_settings(path)


@pytest.fixture
def of_camvid(root, camvid, tmp_path):
    """``of_camvid(arm, ...)``: the config of an arm on the tiny CamVid."""

    def make(arm, **more):
        settings = load_settings(root / "semi_supervised/configs/camvid.yaml")
        split = partition("camvid", camvid, "1/2")
        return build_config(settings, split, camvid, tmp_path, Arm.parse(arm), **more)

    return make


@pytest.mark.slow
def test_rivals_weight_the_students_main_head_alone(of_camvid):
    """The teacher and the unlabeled images know nothing of them."""
    balanced = of_camvid("balanced").model
    assert len(balanced.student.decode_head.loss_decode.class_weight) == 11
    assert "class_weight" not in balanced.student.auxiliary_head.loss_decode
    assert not balanced.segmentor.decode_head.loss_decode.get("class_weight")
    focal = of_camvid("focal gamma=1").model
    assert focal.student.decode_head.loss_decode.type == "SoftmaxFocalLoss"
    cfg = of_camvid("collected c=0.5", hardness="maps")
    assert cfg.model.student.type == "CollectedEncoderDecoder" and cfg.model.student.hl.c == 0.5
    pair = cfg.train_dataloader.dataset
    steps = {
        name: [step["type"] for step in pair[name].pipeline] for name in ("labeled", "unlabeled")
    }
    assert "LoadHardness" in steps["labeled"] and "LoadHardness" not in steps["unlabeled"]
    hl = of_camvid("hl").model
    assert hl.student.hl == dict(
        c=0.1, alpha=0.01, normalize="image", ignored="exclude", weighting="hl")  # fmt: skip
    assert of_camvid("baseline").model.student is None


def test_ohem_is_the_baseline_already(of_camvid):
    with pytest.raises(CannotConvert, match="U²PL's own loss of the labeled images"):
        of_camvid("ohem")


@pytest.mark.parametrize(
    ("arm", "overrides", "want"),
    [
        (None, [], "hl"),
        (None, ["hl.c=0.5"], "hl c=0.5"),
        (None, ["hl.alpha=auto@20"], "hl alpha=auto@20"),
        (None, ["hl.weighting=ce-scaled", "hl.alpha=1"], "ce-scaled alpha=1"),
        ("hl alpha=1", ["hl.c=0.5"], "hl c=0.5 alpha=1"),
        ("collected", ["hl.c=0.5", "hl.alpha=1"], "collected c=0.5"),
        ("hl c=0.5", ["hl.c=0.5"], "hl c=0.5"),
        ("sup-only", ["hl.c=0.5"], "sup-only"),
    ],
)
def test_flags_and_settings_make_one_arm(root, arm, overrides, want):
    settings = load_settings(root / "semi_supervised/configs/streets.yaml", overrides)
    made, settings = arm_and_settings(settings, asked_for(arm), overrides)
    assert str(made) == want
    if made.kind.name in ("hl", "ce-scaled"):
        values = dict(made.settings, weighting=made.kind.name)
        assert vars(settings.hl) == values


def test_auto_is_by_the_schedule_of_the_settings(root, of_camvid):
    """Poly to 0 over the iterations, heads at ten times the rate, momentum 0.9."""
    cfg = of_camvid("hl alpha=auto", max_iters=50)
    alpha = cfg.model.student.hl.alpha
    lr = cfg.optim_wrapper.optimizer.lr
    assert cfg.optim_wrapper.paramwise_cfg.custom_keys.head.lr_mult == 10
    rates = sum(10 * lr * (1 - i / 49) ** 0.9 for i in range(50)) / 0.1
    assert alpha * rates == pytest.approx(PUBLISHED_DOSE["SGD"], rel=1e-3)
    assert given(cfg).dose == pytest.approx(PUBLISHED_DOSE["SGD"], rel=1e-3)
    cfg.optim_wrapper.optimizer.lr = 10 * lr  # --cfg-options come later
    fit_alpha(cfg, Arm.parse("hl alpha=auto"))
    assert cfg.model.student.hl.alpha == pytest.approx(alpha / 10, rel=1e-3)
    own = cfg.model.student.hl.alpha = 0.5
    fit_alpha(cfg, Arm.parse("hl alpha=0.5"))
    assert cfg.model.student.hl.alpha == own


@pytest.mark.parametrize(
    ("arm", "override", "words"),
    [
        ("hl c=0.3", "hl.c=0.5", "hl: c is given twice: 0.3 and 0.5"),
        ("hl", "hl.weighting=ce-scaled", "flags say hl, the settings say hl.weighting=ce-scaled"),
        ("baseline", "hl.weighting=ce-scaled", "flags say baseline, the settings say hl.weighting"),
        ("hl c=0.3", "hl.c=0.1", "hl: c is given twice: 0.3 and 0.1"),  # the default, but given
    ],
)
def test_flags_and_settings_that_contradict_are_refused(root, arm, override, words):
    settings = load_settings(root / "semi_supervised/configs/streets.yaml", [override])
    with pytest.raises(ConfigError, match=words):
        arm_and_settings(settings, asked_for(arm), [override])


def test_as_released_turns_every_accident_on(root):
    path = root / "semi_supervised/configs/streets.yaml"
    for arm, want in (("hl", "hl normalize=batch ignored=include"), ("sup-only", "sup-only")):
        asked = dataclasses.replace(asked_for(arm), as_released=True)
        made, settings = arm_and_settings(load_settings(path), asked)
        assert str(made) == want and all(vars(settings.as_released).values())
    assert len(vars(settings.as_released)) == 6
    override = "as_released.shifted_class_list=false"
    with pytest.raises(ConfigError, match=f"--set says {override}: leave one of the two out"):
        arm_and_settings(load_settings(path, [override]), asked, [override])
    with pytest.raises(ConfigError, match="but normalize=image is given"):
        own = ["hl.normalize=image"]
        arm_and_settings(load_settings(path, own), dataclasses.replace(asked, name="hl"), own)


@pytest.mark.slow
def test_released_padding_of_labeled_images_is_class_0(root, camvid, tmp_path):
    """In training, of labeled images alone, with unlabeled ones or without."""
    split = partition("camvid", camvid, "1/2", balanced=False)
    padding = {}
    for value in ("false", "true"):
        settings = load_settings(
            root / "semi_supervised/configs/camvid.yaml",
            [f"as_released.padding_is_class_0={value}", "dataset.train.rand_resize=[0.3, 0.3]"],
        )
        for name in ("hl", "sup-only"):
            cfg = build_config(settings, split, camvid, tmp_path, Arm.parse(name))
            cfg = prepare(cfg, work_dir=tmp_path, seed=0)
            dataset = DATASETS.build(training_loader(cfg.train_dataloader)["dataset"])
            sample = dataset[0, 0, 0] if name == "sup-only" else dataset[0, 0, (0, 0)]
            parts = sample if name == "hl" else dict(labeled=sample)
            batch = {k: {x: [y] for x, y in part.items()} for k, part in parts.items()}
            preprocessor = MODELS.build(cfg.model.data_preprocessor)
            batch = batch if name == "hl" else batch["labeled"]
            out = preprocessor(batch, True)
            out = out if name == "hl" else dict(labeled=out)
            for part, data in out.items():
                label = data["data_samples"][0].gt_sem_seg.data
                padding[value, name, part] = set(label[..., -1, -9:].unique().tolist())
    assert padding == {
        ("false", "hl", "labeled"): {255},
        ("false", "hl", "unlabeled"): {255},
        ("false", "sup-only", "labeled"): {255},
        ("true", "hl", "labeled"): {0},
        ("true", "hl", "unlabeled"): {255},
        ("true", "sup-only", "labeled"): {0},
    }
    assert preprocessor.seg_pad_val == 255  # put back


def test_validation_images_enter_at_the_published_size(root, settings, tmp_path):
    """2048x1024; the fully supervised rows with this crop have 2049x1025."""

    def scales(settings, data):
        cfg = build_config(settings, Split(names(9), names(9, 9)), tmp_path, tmp_path / data, HL)
        pipelines = (cfg[f"{x}_dataloader"].dataset.pipeline for x in ("val", "test"))
        return {tuple(s["scale"]) for p in pipelines for s in p if s["type"] == "Resize"}

    assert scales(settings, "cityscapes") == {(2048, 1024)}
    own = load_config(registry.get("camvid").config).val_dataloader.dataset.pipeline
    camvid = load_settings(root / "semi_supervised/configs/camvid.yaml")
    assert scales(camvid, "camvid") == {tuple(s["scale"]) for s in own if s["type"] == "Resize"}
