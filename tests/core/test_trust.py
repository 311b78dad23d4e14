"""A config in a checkpoint is data: it names what is known, and nothing of it is called before."""

import pickle

import pytest
import torch

from core.engine.prepare import prepare
from core.errors import ConfigError
from core.export import export_checkpoint
from core.mmfixes import unformatted
from core.trust import config_of
from domain_gen.trained import read_trained
from fully_supervised import collect_hardness


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


# Where a config names a class.
PLACES = (
    "model",
    "model.backbone",
    "model.backbone.norm_cfg",
    "model.backbone.init_cfg",
    "model.decode_head",
    "model.decode_head.loss_decode",
    "model.auxiliary_head",
    "model.data_preprocessor",
    "train_dataloader.dataset",
    "train_dataloader.sampler",
    "test_dataloader.collate_fn",
    "test_dataloader.dataset.pipeline.0",
    "test_evaluator",
    "custom_hooks.0",
    "default_hooks.logger",
    "visualizer",
    "vis_backends.0",
    "log_processor",
    "optim_wrapper.optimizer",
    "param_scheduler.0",
    "test_cfg",
)


def payloads(trap, pickled):
    return (
        dict(type="os.system", command=f"touch {trap}"),
        dict(type="subprocess.call", args=["touch", str(trap)]),
        dict(type="builtins.open", file=str(trap), mode="w"),
        dict(type="pathlib.Path.touch", self=str(trap)),
        dict(type="torch.load", f=str(pickled), weights_only=False),
        dict(type="mmengine.load", file=str(pickled)),
        dict(type="mmengine.fileio.load", file=str(pickled)),
        dict(type="mmpretrain.apis.get_model", model=str(pickled)),
        dict(type="antigravity"),
        dict(_scope_="os", type="system", command=f"touch {trap}"),
    )


@pytest.fixture
def cfg(tiny_config, tiny_data, tmp_path):
    made = tiny_config()
    made.merge_from_dict(tiny_data)
    made.data_root = made.train_dataloader.dataset.data_root
    made.custom_hooks = [dict(type="EMAHook")]
    made.visualizer = dict(type="SegLocalVisualizer")
    made.vis_backends = [dict(type="LocalVisBackend")]
    return prepare(made, work_dir=tmp_path, seed=0)


def doors(path, out):
    """Every way by which a script reads a checkpoint's config."""
    return (
        lambda: read_trained(path),
        lambda: export_checkpoint(path, out / "plain.pth"),
        lambda: collect_hardness.main([str(path), "--out", str(out / "maps")]),
    )


def put(cfg, place, value):
    *above, last = [int(key) if key.isdigit() else key for key in place.split(".")]
    node = cfg._cfg_dict
    for key in above:
        node = node[key] if isinstance(key, int) else node.setdefault(key, {})
    node[last] = value


@pytest.mark.parametrize("place", PLACES)
def test_what_is_in_no_registry_is_refused_before_it_is_called(place, cfg, tmp_path):
    trap, pickled, path = tmp_path / "trap", tmp_path / "bad.pkl", tmp_path / "iter_3.pth"
    pickled.write_bytes(pickle.dumps(Malicious(trap)))
    for payload in payloads(trap, pickled):
        hostile = unformatted(cfg)
        put(hostile, place, payload)
        meta = dict(cfg=hostile.pretty_text)
        torch.save(dict(state_dict=dict(a=torch.ones(1)), meta=meta, optimizer={}), path)
        for door in doors(path, tmp_path):
            with pytest.raises(ConfigError, match=r"iter_3\.pth: its config names \S+=") as caught:
                door()
            assert "\n" not in str(caught.value)
            assert not trap.exists(), (place, payload)
        assert not (tmp_path / "plain.pth").exists()


@pytest.mark.parametrize(
    "place, value",
    [
        ("model.decode_head.loss_decode.class_weight", "weights.pkl"),
        ("model.decode_head.loss_decode.class_weight", "http://localhost/weights.pkl"),
        ("test_dataloader.dataset.ann_file", "http://localhost/list.txt"),
        ("test_dataloader.dataset.metainfo.classes", "s3://bucket/classes.txt"),
    ],
)
def test_what_mmengine_would_read_or_unpickle_is_refused(place, value, cfg, tmp_path):
    put(cfg, place, value)
    path = tmp_path / "iter_3.pth"
    meta = dict(cfg=cfg.pretty_text)
    torch.save(dict(state_dict=dict(a=torch.ones(1)), meta=meta, optimizer={}), path)
    for door in doors(path, tmp_path):
        with pytest.raises(ConfigError, match=rf"its config has {place}='"):
            door()


@pytest.mark.parametrize(
    "module", ["antigravity", "os", "core.nothing", "tests.conftest", "core", "..core.files", 5,
               "core.files; import os", "/tmp/core/files", "benchmarks.hl_cost"],
)  # fmt: skip
def test_only_modules_of_this_project_are_imported(module, cfg):
    cfg.custom_imports = dict(imports=[module])
    with pytest.raises(ConfigError, match=r"^x\.pth: its config (imports|cannot be read)"):
        config_of(dict(cfg=cfg.pretty_text), "x.pth")


def test_modules_that_the_user_names_are_imported(cfg, tmp_path, monkeypatch):
    (tmp_path / "my_hooks.py").write_text(
        "from mmengine.hooks import Hook\nfrom mmseg.registry import HOOKS\n"
        "@HOOKS.register_module()\nclass MyHook(Hook):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    cfg.custom_imports = dict(imports=["my_hooks"])
    cfg.custom_hooks = [dict(type="MyHook")]
    meta = dict(cfg=cfg.pretty_text)
    with pytest.raises(ConfigError, match="imports 'my_hooks'"):
        config_of(meta, "x.pth")
    assert config_of(meta, "x.pth", ["my_hooks"]).custom_hooks[0].type == "MyHook"


@pytest.mark.parametrize(
    "text",
    [
        5,
        b"model=1",
        dict(model=dict(type="FCN")),
        "model=dict(type='EncoderDecoder'",
        "import os\nmodel=dict(type='EncoderDecoder')",
        "model=__import__('os').system('true')",
        "model=[x for x in ()]",
        "model=" + "1+" * 50_000 + "1",
        "model=" + "[" * 5_000 + "]" * 5_000,
        "model=dict(**dict(type='FCN'))",
        "filename='x'",
        "model=5",
        "a=1",
        "custom_imports=5\nmodel=dict(type='EncoderDecoder')",
        "custom_imports=dict(imports=5)\nmodel=dict(type='EncoderDecoder')",
        "a, b = 1, 2",
        "model=dict(type=5)",
        "model={1: 2, 'type': ()}.x",
        "x" * 6_000_000,
        "model=\0",
    ],
    ids=lambda text: str(text)[:30],
)
def test_a_text_of_another_kind_is_one_line(text):
    with pytest.raises(ConfigError, match=r"^x\.pth: its ") as caught:
        config_of(dict(cfg=text), "x.pth")
    assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)


def test_honest_configs_pass(cfg):
    """Ours, those of other packages by their scope, and a model's own settings."""
    cfg.model.backbone = dict(type="mmpretrain.ConvNeXt", arch="tiny")
    cfg.model.backbone.init_cfg = dict(type="Pretrained", checkpoint="https://a/b.pth")
    cfg.model.settings = dict(criterion=dict(type="ohem"))
    cfg.custom_imports = dict(imports=["core.rivals.collected", "data.sets.mmseg_datasets"])
    found = config_of(dict(cfg=cfg.pretty_text), "x.pth")
    assert found.model.to_dict() == cfg.model.to_dict()
    assert config_of({}, "x.pth") is None
