"""The paper's tables as data: figures, settings of Table 1, and the rule for fewer GPUs."""

import statistics

import pytest

from core.arms import Arm
from core.convert import CannotConvert, to_hl
from core.errors import ConfigError
from fully_supervised import manifest

# How many models each table has, and the mean gains that the paper's text gives for some.
ROWS = {"2": 12, "3": 10, "4": 4, "5": 4, "6": 3, "7": 3, "8": 3, "fig5": 13}
LIGHT = ("upernet_r18", "ocrnet_hr18s", "ocrnet_hr18", "pspnet_mv2", "lraspp_mv3", "bisenetv2")


def gains(table, light=None):
    rows = manifest.tables()[table].rows
    return [
        figures["hl"] - figures["baseline"]
        for name, figures in rows.items()
        if light is None or (name.partition("/")[2] in LIGHT) == light
    ]


def test_every_row_of_the_paper_is_there():
    tables = manifest.tables()
    assert {name: len(tables[name].rows) for name in ROWS} == ROWS
    for name, table in tables.items():
        for row, figures in table.rows.items():
            assert set(figures) <= set(table.arms), row
            if name in ROWS:
                assert set(figures) == set(table.arms) - {"ce-scaled"}, row
        assert {"baseline", "ce-scaled", "hl"} <= set(table.arms)


@pytest.mark.parametrize(
    ("values", "published"),
    [
        (gains("2", light=True), 1.46),
        (gains("2", light=False), 1.01),
        (gains("3"), 0.66),
        (gains("4"), 1.20),
        (gains("5"), 1.33),
        (gains("fig5"), 1.49),
    ],
)
def test_figures_give_the_mean_gains_of_the_text(values, published):
    assert statistics.fmean(values) == pytest.approx(published, abs=0.0051)


def test_the_same_model_has_the_same_figures_in_every_table():
    seen = {}
    for table in manifest.tables().values():
        for name, figures in table.rows.items():
            for arm, figure in figures.items():
                assert seen.setdefault((name, arm), figure) == figure, (name, arm)


@pytest.fixture(scope="module")
def configs():
    """The config of every model that can be had here."""
    return {name: m.config() for name, m in manifest.models().items() if not m.missing}


# Table 1, and what the logs' headers have beyond it: iterations, crop.
CITYSCAPES = {
    "ocrnet_hr18s": (40_000, (512, 1024)),
    "ocrnet_hr18": (40_000, (512, 1024)),
    "ocrnet_hr48": (40_000, (512, 1024)),
    "ocrnet_r101": (40_000, (512, 1024)),
    "pspnet_mv2": (80_000, (512, 1024)),
    "lraspp_mv3": (320_000, (512, 1024)),
    "bisenetv2": (160_000, (1024, 1024)),
    "ccnet_r101": (80_000, (769, 769)),
    "nonlocal_r101": (80_000, (769, 769)),
    "segformer_b0": (160_000, (1024, 1024)),
}
OTHERS = {
    "ade20k": (160_000, (512, 512), 16),
    "isaid": (80_000, (896, 896), 16),
    "totaltext": (40_000, (512, 512), 16),
}


def test_settings_are_the_published_ones(configs):
    for name, cfg in configs.items():
        data, _, key = name.partition("/")
        if not key:
            continue
        batch = cfg.train_dataloader.batch_size * manifest.model(name).gpus
        if data == "cityscapes":
            iters, crop = CITYSCAPES.get(key, (40_000, (769, 769)))
            if key not in ("lraspp_mv3", "bisenetv2", "upernet_convnext-b"):
                assert batch == 8, name
        else:
            iters, crop, images = OTHERS[data]
            crop = (640, 640) if key.endswith("-640") else crop
            assert batch == images, name
        assert cfg.train_cfg.max_iters == iters, name
        assert tuple(cfg.crop_size) == crop, name
        end = cfg.param_scheduler[-1]
        assert end["end"] == iters, name
        if cfg.optim_wrapper.optimizer.type == "SGD" and key not in ("lraspp_mv3", "bisenetv2"):
            optimizer = cfg.optim_wrapper.optimizer
            assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (0.01, 0.9, 5e-4)
            assert (end["power"], end["eta_min"]) == (0.9, 1e-4), name
        slide = crop in ((769, 769), (640, 640)) or key == "segformer_b0"
        assert (cfg.model.test_cfg.mode == "slide") == slide or data == "isaid", name
    convnext = configs["cityscapes/upernet_convnext-b"]
    assert convnext.param_scheduler[0]["end"] == 1500  # not shortened with the schedule
    assert convnext.model.decode_head.num_classes == 19
    assert convnext.train_dataloader.batch_size * manifest.model(
        "cityscapes/upernet_convnext-b").gpus == 8  # fmt: skip


def test_every_model_has_an_hl_version(configs):
    for name, cfg in configs.items():
        try:
            assert to_hl(cfg).model.type.startswith("HL"), name
        except CannotConvert as error:
            pytest.fail(f"{name}: {error}")


def test_all_architectures_and_backbones_of_the_paper_are_there(configs):
    heads, backbones = set(), set()
    for cfg in configs.values():
        head = cfg.model.decode_head
        heads.add((head[-1] if isinstance(head, list) else head)["type"])
        backbones.add((cfg.model.backbone.type, cfg.model.backbone.get("depth")))
    assert heads >= {"FCNHead", "PSPHead", "NLHead", "ANNHead", "CCHead", "ASPPHead", "EMAHead",
                     "DepthwiseSeparableASPPHead", "GCHead", "ISAHead", "OCRHead", "PSAHead",
                     "UPerHead", "LRASPPHead", "SegformerHead"}  # fmt: skip
    for kind in ("ResNeXt", "ResNeSt", "HRNet", "MobileNetV2", "MobileNetV3", "BiSeNetV2",
                 "SwinTransformer", "mmpretrain.ConvNeXt"):  # fmt: skip
        assert any(kind == name for name, _ in backbones), kind
    assert {("ResNetV1c", depth) for depth in (18, 50, 101)} <= backbones


def test_costs_say_what_the_configs_do(configs):
    """The list and dry runs read the table alone."""
    rows = {name for name in manifest.models() if "/" in name}
    assert manifest.costs().keys() == rows
    for name in rows & configs.keys():
        cfg, cost, model = configs[name], manifest.costs()[name], manifest.model(name)
        optimizer = cfg.optim_wrapper.optimizer
        assert (cost.iterations, cost.batch, cost.optimizer, cost.lr) == (
            cfg.train_cfg.max_iters, cfg.train_dataloader.batch_size * model.gpus,
            optimizer.type, optimizer.lr), name  # fmt: skip


def test_hours_and_memory_are_those_of_the_logs():
    cost, model = (
        manifest.costs()["cityscapes/pspnet_r101"],
        manifest.model("cityscapes/pspnet_r101"),
    )
    for arm, words in (
        ("baseline", "authors: 8.0 h on 4 GPUs, 18.7 GB each"),
        ("hl", "authors: 10.2 h on 4 GPUs, 19 GB each"),
        ("hl normalize=batch ignored=include", "authors: 10.2 h on 4 GPUs, 19 GB each"),
        ("hl c=0.5", "authors' hours: n/a"),
        ("ce-scaled", "authors' hours: n/a"),
    ):
        assert cost.authors(model, Arm.parse(arm)) == words
    psanet = manifest.costs()["cityscapes/psanet_r101"]  # its baseline's log is of another GPU
    assert psanet.authors(model, Arm.parse("baseline")) == "authors' hours: n/a"
    logs = [cost.logs for cost in manifest.costs().values() if cost.logs]
    assert len(logs) == 43 and sum(None in log["seconds"] for log in logs) == 1


def test_rows_that_take_no_weighting_have_the_baseline_alone():
    model = manifest.model("ade20k/mask2former_swin-t")
    assert model.takes(Arm.parse("ce")) and not model.takes(Arm.parse("hl"))
    assert manifest.model("cityscapes/upernet_r18").takes(Arm.parse("hl c=0.5"))


def test_an_unknown_row_and_a_missing_package_are_told(monkeypatch):
    with pytest.raises(ConfigError, match="near it: cityscapes/upernet_r18"):
        manifest.model("cityscapes/upernet_18")
    monkeypatch.setattr(manifest, "_is_here", lambda name: name != "mmcv._ext")
    with pytest.raises(ConfigError, match=r"mask2former_swin-t needs mmcv\._ext, not installed"):
        manifest.model("ade20k/mask2former_swin-t").config()


def test_mask2former_row_can_be_read():
    model = manifest.model("ade20k/mask2former_swin-t")
    if model.missing:
        pytest.skip(f"needs {', '.join(model.missing)}")
    with pytest.raises(CannotConvert):
        to_hl(model.config())  # its losses are of masks, not of pixels
