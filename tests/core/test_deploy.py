"""Graphs give the network's own logits, at sizes and batches that they were not traced with."""

import json

import numpy as np
import pytest
import torch

from core import deploy
from core.deploy import export_graph
from core.errors import ConfigError
from core.predict import Predictor, load


def own_logits(predictor, images):
    """As mmseg gives them, of RGB pictures (N, H, W, 3) uint8."""
    inputs = [torch.from_numpy(x[..., ::-1].transpose(2, 0, 1).copy()) for x in images]
    with torch.no_grad():
        data = predictor.model.data_preprocessor(dict(inputs=inputs), False)
        size = data["inputs"].shape[2:]
        metas = [dict(img_shape=size, ori_shape=size)] * len(images)
        return predictor.model.whole_inference(data["inputs"], metas).numpy()


def pictures(count, height, width):
    rng = np.random.default_rng(height)
    return rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["hl", "baseline"])
def test_onnx_is_the_network(name, checkpoints, tmp_path):
    import onnxruntime

    predictor = load(checkpoints[name], device="cpu")
    done = export_graph(predictor, tmp_path / "x/model.onnx")
    assert done.difference < 1e-4
    session = onnxruntime.InferenceSession(done.path, providers=["CPUExecutionProvider"])
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["classes"]) == [f"class {k}" for k in range(5)]
    for shape in ((1, 32, 48), (3, 71, 45), (2, 130, 200)):
        images = pictures(*shape)
        given = images.transpose(0, 3, 1, 2).astype(np.float32)
        (got,) = session.run(["seg_logits"], {"images": given})
        want = own_logits(predictor, images)
        assert got.shape == want.shape == (shape[0], 5, *shape[1:])
        assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()


@pytest.mark.slow
def test_torch_export_is_the_network(checkpoints, tmp_path):
    predictor = load(checkpoints["hl"], device="cpu")
    done = export_graph(predictor, tmp_path / "model.pt2")
    graph = torch.export.load(done.path).module()
    for shape in ((1, 64, 96), (3, 96, 160)):
        images = pictures(*shape)
        got = graph(torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32))).numpy()
        want = own_logits(predictor, images)
        assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()


@pytest.mark.parametrize("size", [(1, 7), (5, 40), (6, 6), (9, 3)])
@pytest.mark.parametrize("bins", [1, 2, 3, 6, (2, None)])
def test_pooling_by_products_is_adaptive_pooling(bins, size):
    x = torch.randn(2, 4, *size, generator=torch.Generator().manual_seed(0))
    own = torch.nn.AdaptiveAvgPool2d(bins)
    holder = torch.nn.Sequential(own)
    deploy._without_constants(holder)
    assert not isinstance(holder[0], torch.nn.AdaptiveAvgPool2d)
    torch.testing.assert_close(holder(x), own(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("batch_first", [True, False])
def test_attention_by_products_is_attention(batch_first):
    torch.manual_seed(0)
    own = torch.nn.MultiheadAttention(12, 3, batch_first=batch_first).eval()
    holder = torch.nn.Sequential(own)
    deploy._without_constants(holder)
    q, k = torch.randn(2, 7, 12), torch.randn(2, 5, 12)
    q, k = (q, k) if batch_first else (q.transpose(0, 1), k.transpose(0, 1))
    assert holder[0] is not own
    torch.testing.assert_close(holder[0](q, k, k)[0], own(q, k, k)[0], atol=1e-6, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024",
                                  "ocrnet/ocrnet_hr18s_4xb2-40k_cityscapes-512x1024",
                                  "pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024"])  # fmt: skip
def test_shipped_heads_have_a_graph(name, shrunk, build, tmp_path):
    """Attention, upsampling by a factor, adaptive pooling; export_graph compares at other sizes."""
    cfg = shrunk(f"mmseg::{name}.py")
    predictor = Predictor(cfg, build(cfg).eval(), None, {})
    assert export_graph(predictor, tmp_path / "model.onnx").difference < 1e-4


def test_same_padding_at_multiples_is_timms():
    from timm.layers import Conv2dSame

    torch.manual_seed(0)
    for kernel, stride, dilation in ((3, 2, 1), (5, 2, 1), (3, 1, 2), (5, 1, 1), (1, 2, 1)):
        own = Conv2dSame(3, 4, kernel, stride=stride, dilation=dilation)
        holder = torch.nn.Sequential(own)
        deploy._pad_as_multiples(holder)
        assert not isinstance(holder[0], Conv2dSame)
        x = torch.randn(1, 3, 32, 64)
        torch.testing.assert_close(holder(x), own(x))


def test_what_cannot_be_written_leaves_nothing(checkpoints, tmp_path, monkeypatch):
    predictor = load(checkpoints["hl"], device="cpu")
    with pytest.raises(ConfigError, match=r"its ending says what is written: \.onnx or \.pt2"):
        export_graph(predictor, tmp_path / "model.pb")
    monkeypatch.setattr(deploy, "_difference", lambda *_: float("nan"))
    with pytest.raises(ConfigError, match="not written: its logits are nan"):
        export_graph(predictor, tmp_path / "model.onnx")
    monkeypatch.setattr(deploy, "_onnx", lambda *_: 1 / 0)
    with pytest.raises(ConfigError, match=r"ResNetV1c, FCNHead.* has no graph.*division by zero"):
        export_graph(predictor, tmp_path / "model.onnx")
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match="needs a package that is missing"):
        export_graph(predictor, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
