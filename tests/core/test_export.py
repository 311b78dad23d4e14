"""An exported pair of weights and config, in plain mmseg: in a process that cannot import us."""

import os
import subprocess
import sys
from pathlib import Path

import mmseg
import pytest
from mmengine.config import Config

from core.arms import Arm
from core.configs import load_config, parse_config, set_data_root
from core.engine import run
from core.engine.prepare import prepare
from core.errors import CheckpointError
from core.export import OURS, export_checkpoint, plain_config
from core.result import Result
from core.weighting import with_weighting

USE = """
import runpy, sys
for name in ("core", "data"):
    try:
        __import__(name)
    except ImportError:
        continue
    raise SystemExit(f"{name} can be imported")
from mmseg.apis import MMSegInferencer, inference_model, init_model
config, weights, image, tool = sys.argv[1:]
model = init_model(config, weights, device="cpu")
assert type(model).__module__.startswith("mmseg."), type(model)
first = inference_model(model, image).pred_sem_seg.data[0].numpy()
second = MMSegInferencer(config, weights, device="cpu", show_progress=False)(image)["predictions"]
assert (first == second).all() and first.shape == (32, 48), (first.shape, second.shape)
print("classes", model.dataset_meta["classes"][0])
sys.argv = [tool, config, weights, "--work-dir", "tested"]
runpy.run_path(tool, run_name="__main__")
"""
TOOL = Path(mmseg.__file__).parent / ".mim" / "tools" / "test.py"


@pytest.fixture
def alone(tmp_path):
    """``alone(argument, ...)``: a Python that finds mmseg and nothing of this project."""
    for name in OURS:
        (tmp_path / "block" / name).mkdir(parents=True)
        (tmp_path / "block" / name / "__init__.py").write_text("raise ImportError('not here')")

    def start(*arguments):
        environment = dict(os.environ, PYTHONPATH=str(tmp_path / "block"))
        return subprocess.run([sys.executable, *map(str, arguments)], text=True, cwd=tmp_path,
                              env=environment, capture_output=True, timeout=300)  # fmt: skip

    return start


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["hl", "focal"])
def test_plain_mmseg_takes_the_pair(arm, tiny_config, tiny_data, tmp_path, alone, fresh_mmengine):
    """Inference in three ways, and mmseg's own test tool with the mIoU of the training."""
    fresh_mmengine()
    cfg = tiny_config()
    cfg.merge_from_dict(tiny_data)
    cfg = with_weighting(cfg, Arm.parse(arm))
    cfg = prepare(cfg, work_dir=tmp_path / "work", title="t", seed=0)
    result = run.train(cfg, Result("fully_supervised", "n", "d", arm, 0), pictures=0)
    weights, config = tmp_path / "plain.pth", tmp_path / "plain.py"
    export_checkpoint(tmp_path / "work/iter_12.pth", weights)
    images = tiny_data["val_dataloader"]["dataset"]["data_root"] + "/img/0.png"
    (tmp_path / "use.py").write_text(USE)
    done = alone("use.py", config, weights, images, TOOL)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "classes class 0" in done.stdout
    assert f"mIoU: {100 * result.metrics.miou:.2f}" in done.stdout + done.stderr


def texts_of(node):
    """All values of ``type`` in a config."""
    if isinstance(node, dict):
        yield from [node["type"]] if "type" in node else []
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for value in node:
            yield from texts_of(value)


def test_nothing_of_ours_is_left(root, tmp_path):
    """A data set of ours is mmseg's, void ignored by the metric; losses and maps are gone."""
    data = load_config(root / "data/configs/camvid.py")
    cfg = load_config("mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-769x769.py")
    cfg.merge_from_dict(data.to_dict())
    set_data_root(cfg, tmp_path)
    for arm, more in (("hl", {}), ("focal", {}), ("collected", dict(hardness="maps")),
                      ("balanced", dict(class_weight=[1.0] * 19))):  # fmt: skip
        run_cfg = prepare(with_weighting(cfg, Arm.parse(arm), **more), work_dir="x")
        plain = plain_config(parse_config(run_cfg.pretty_text))
        kinds = set(texts_of(plain._cfg_dict))
        assert not {k for k in kinds if k.startswith(("HL", "Collected", "CamVid"))}, kinds
        assert not kinds & {"SoftmaxFocalLoss", "LoadHardness", "PackWithHardness"}
        assert plain.model.decode_head.loss_decode.type == "CrossEntropyLoss"
        dataset = plain.test_dataloader.dataset
        assert (dataset.type, dataset.ignore_index) == ("BaseSegDataset", 11)
        assert dataset.metainfo.classes[11] == "void" and len(dataset.metainfo.palette) == 12
        assert plain.test_evaluator.ignore_index == 11
        assert not {"work_dir", "title", "custom_imports", "hl"} & {*plain, *plain.model}
        Config.fromstring(plain.pretty_text, ".py")


def test_a_config_of_the_user_is_not_overwritten(tmp_path):
    import torch

    state = {"a": torch.zeros(1), "hl_head.a": torch.zeros(1)}
    torch.save(dict(state_dict=state, meta={}), tmp_path / "x.pth")
    (tmp_path / "mine.py").write_text("model = 1")
    with pytest.raises(CheckpointError, match=r"mine\.py: is there and no export of ours"):
        export_checkpoint(tmp_path / "x.pth", tmp_path / "mine.pth")
    with pytest.raises(CheckpointError, match=r"the weights' name ends in \.pth"):
        export_checkpoint(tmp_path / "x.pth", tmp_path / "mine.py")
    assert export_checkpoint(tmp_path / "x.pth", tmp_path / "y.pth") == 1
    with pytest.raises(CheckpointError, match="is plain already"):
        export_checkpoint(tmp_path / "y.pth", tmp_path / "z.pth")


def test_features_out_of_a_package_are_left_out(root):
    """Plain mmseg does not know where they lie; the layout of memory is of a training."""
    cfg = load_config(root / "fully_supervised/configs/deeplabv3plus_lite0.py")
    plain = plain_config(prepare(with_weighting(cfg, Arm.parse("hl alpha=auto")), work_dir="x"))
    assert plain.model.backbone.type == "TIMMBackbone" and not plain.model.backbone.pretrained
    assert plain.model.backbone.init_cfg is None
    assert "wheel://" not in plain.pretty_text and "ChannelsLast" not in plain.pretty_text
