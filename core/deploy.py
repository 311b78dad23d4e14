"""A trained network as one graph that runs without this project: ONNX, or ``torch.export``.

    python fully_supervised/predict.py CHECKPOINT --export model.onnx    (or model.pt2)

The graph takes ``images``, (N, 3, H, W) float32, RGB, 0-255, and gives ``seg_logits``,
(N, C, H, W) float32, as the network in test mode "whole" does; the normalisation is inside, the HL
branch left out. N, H and W are free in ONNX, H and W at least :data:`LEAST`; ``torch.export``
solves for them in symbols, so there they are multiples of it, from two of them. The resize of the
test pipeline is not in the graph: give images of the size that the network was trained for.
"""

from __future__ import annotations

import copy
import io
import json
import logging
import math
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import ConfigError
from core.files import write_atomically
from core.predict import LEAST, Predictor

SUFFIXES = (".onnx", ".pt2")
_MOST = 8192  # a side, in torch.export
CLOSE = 1e-4  # of the largest logit: how far a graph may be from the network
_SIZES = dict(
    onnx=((1, LEAST + 13, 2 * LEAST + 1), (3, 5 * LEAST, 2 * LEAST)),
    pt2=((1, 2 * LEAST, 6 * LEAST), (3, 5 * LEAST, 2 * LEAST)),
)  # others than the traced one
_TRACED = (2, 3, 3 * LEAST, 4 * LEAST)


class Exported(NamedTuple):
    """What was written. ``difference``: largest of a logit from the network's, relative to the
    largest logit, over images of two sizes that the graph was not traced with."""

    path: Path
    difference: float
    notes: tuple[str, ...]


class Graph(nn.Module):
    """A segmentor as a function of plain images.

    Args:
        model: a segmentor of mmseg, in eval mode; not changed.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        given = model.data_preprocessor
        self.model = _without_branch(model)
        self.flipped = not given._channel_conversion  # it was trained on BGR
        zero, one = torch.zeros(3, 1, 1), torch.ones(3, 1, 1)
        self.register_buffer("mean", given.mean.clone() if given._enable_normalize else zero)
        self.register_buffer("std", given.std.clone() if given._enable_normalize else one)
        _without_constants(self.model)

    def forward(self, images: Tensor) -> Tensor:
        inputs = images.flip(1) if self.flipped else images
        inputs = (inputs - self.mean) / self.std
        size = images.shape[2:]
        logits = self.model.encode_decode(inputs, [dict(img_shape=size, ori_shape=size)])
        return F.interpolate(logits.float(), size=size, mode="bilinear") if (
            logits.shape[2:] != size) else logits.float()  # fmt: skip


class _Pool(nn.Module):
    """``AdaptiveAvgPool2d`` as two products with matrices of the windows: its own kernel needs the
    size of the input when the graph is made."""

    def __init__(self, size: tuple[int | None, int | None]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        height, width = self.size
        x = x if height is None else torch.matmul(_windows(height, x.shape[-2], x), x)
        return (
            x if width is None else torch.matmul(x, _windows(width, x.shape[-1], x).transpose(0, 1))
        )


def _windows(count: int, length: int, like: Tensor) -> Tensor:
    """(count, length): row i averages floor(i length / count) to ceil((i + 1) length / count)."""
    i = torch.arange(count, device=like.device)[:, None]
    at = torch.arange(length, device=like.device)[None]
    first, end = i * length // count, ((i + 1) * length + count - 1) // count
    inside = (at >= first) & (at < end)
    return inside.to(like.dtype) / (end - first).to(like.dtype)


class _Attention(nn.Module):
    """``nn.MultiheadAttention`` without dropout, masks and weights to return: its own makes the
    length and the batch constants of a traced graph."""

    def __init__(self, own: nn.MultiheadAttention) -> None:
        super().__init__()
        if own.in_proj_weight is None or own.bias_k is not None or own.add_zero_attn:
            raise ValueError("an attention with projections of its own for keys and values")
        self.own = own

    def forward(self, query: Tensor, key: Tensor, value: Tensor, attn_mask: None = None,
                key_padding_mask: None = None) -> tuple[Tensor, None]:  # fmt: skip
        own = self.own
        if attn_mask is not None or key_padding_mask is not None:
            raise ValueError("an attention with a mask")
        weights = own.in_proj_weight.chunk(3)
        biases = (None,) * 3 if own.in_proj_bias is None else own.in_proj_bias.chunk(3)
        parts = []
        for x, weight, bias in zip((query, key, value), weights, biases, strict=True):
            x = F.linear(x if own.batch_first else x.transpose(0, 1), weight, bias)
            parts.append(x.unflatten(-1, (own.num_heads, own.head_dim)).transpose(1, 2))
        q, k, v = parts
        shares = torch.matmul(q * own.head_dim**-0.5, k.transpose(-2, -1)).softmax(-1)
        out = own.out_proj(torch.matmul(shares, v).transpose(1, 2).flatten(2))
        return out if own.batch_first else out.transpose(0, 1), None


def _without_constants(module: nn.Module) -> None:
    """Replace, in place, what would make a size of the traced images a constant of the graph."""
    from mmseg.models.utils import Upsample

    for name, child in module.named_children():
        if isinstance(child, nn.AdaptiveAvgPool2d):
            size = child.output_size
            setattr(module, name, _Pool((size, size) if isinstance(size, int) else tuple(size)))
        elif isinstance(child, nn.MultiheadAttention):
            setattr(module, name, _Attention(child))
        elif isinstance(child, Upsample) and not child.size:
            factor = child.scale_factor
            setattr(module, name, nn.Upsample(None, factor, child.mode, child.align_corners))
        else:
            _without_constants(child)


def _without_branch(model: nn.Module) -> nn.Module:
    from core.segmentors import HL_HEAD

    model = copy.deepcopy(model).cpu().eval()
    for name in (HL_HEAD, "hl_loss", "auxiliary_head", "data_preprocessor"):
        if name in model._modules:
            del model._modules[name]
    return model.requires_grad_(False)


@contextmanager
def _plain_sizes() -> Iterator[None]:
    """While a graph is made: mmseg's ``resize`` without its warning, for which it makes the sizes
    plain numbers, and the log of torch without its progress."""
    from mmseg.models.utils import wrappers

    own = wrappers.resize

    def resize(input, size=None, scale_factor=None, mode="nearest", align_corners=None, warning=0):
        return F.interpolate(input, size, scale_factor, mode, align_corners)

    names = [(module, key) for name, module in list(sys.modules.items())
             if name.startswith("mmseg.") and module is not None
             for key, value in vars(module).items() if value is own]  # fmt: skip
    fast, level = torch.backends.mha.get_fastpath_enabled(), logging.root.manager.disable
    for module, key in names:
        setattr(module, key, resize)
    torch.backends.mha.set_fastpath_enabled(False)  # one operator that has no ONNX form
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, key in names:
            setattr(module, key, own)


def export_graph(predictor: Predictor, target: str | Path) -> Exported:
    """Write a predictor's network to ``target``, ``.onnx`` or ``.pt2``, after it was run beside the
    network on images of other sizes.

    Classes, colours and what goes in and out stand in the file's metadata: ``metadata_props`` of an
    ONNX file, the extra file ``about.json`` of a ``.pt2``.

    Raises:
        ConfigError: the ending is another, a package is missing, the network has no such graph, or
            the graph does not do what the network does; then nothing is written.
        WriteError: the file cannot be written.
    """
    target = Path(target)
    if target.suffix not in SUFFIXES:
        raise ConfigError(f"--export {target}: its ending says what is written: "
                          f"{' or '.join(SUFFIXES)}")  # fmt: skip
    _need(target.suffix)
    about = _about(predictor)
    with _plain_sizes():
        graph = Graph(predictor.model).eval()
        try:
            make = _onnx if target.suffix == ".onnx" else _pt2
            content, run = make(graph, about)
            worst = max(_difference(predictor.model, graph, run, size)
                        for size in _SIZES[target.suffix[1:]])  # fmt: skip
        except Exception as error:  # exporters raise of any kind
            raise ConfigError(f"{target}: this network ({_kinds(predictor.model)}) has no graph "
                              f"with free sizes: {_words(error)}") from error  # fmt: skip
    if not worst <= CLOSE:
        raise ConfigError(f"{target}: not written: its logits are {worst:.1g} of the largest off "
                          f"those of the network, more than {CLOSE:g}")  # fmt: skip
    write_atomically(content, target)
    return Exported(target, worst, tuple(_notes(predictor, target.suffix)))


def _need(suffix: str) -> None:
    try:
        if suffix == ".onnx":
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"an ONNX file needs a package that is missing ({error}): pip install "
                          "-r requirements.txt") from error  # fmt: skip


def _onnx(graph: Graph, about: dict) -> tuple[bytes, Any]:
    import onnx
    import onnxruntime

    file = io.BytesIO()
    free = {0: "batch", 2: "height", 3: "width"}
    # Not through torch.export: it solves for the sizes in symbols, which for EfficientNet's "same"
    # padding, nested layer by layer, takes it over ten minutes. Here the graph computes them.
    torch.onnx.export(graph, (torch.rand(_TRACED) * 255,), file, dynamo=False, opset_version=17,
                      input_names=["images"], output_names=["seg_logits"],
                      dynamic_axes={"images": free, "seg_logits": free})  # fmt: skip
    model = onnx.load_model_from_string(file.getvalue())
    for key, value in about.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        model.metadata_props.add(key=key, value=text)
    content = model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return content, lambda x: torch.from_numpy(session.run(None, {"images": x.numpy()})[0])


def _pt2(graph: Graph, about: dict) -> tuple[bytes, Any]:
    _pad_as_multiples(graph)
    height, width = (LEAST * torch.export.Dim(name, min=2, max=_MOST // LEAST) for name in "hw")
    sizes = {0: torch.export.Dim.DYNAMIC, 2: height, 3: width}
    program = torch.export.export(graph, (torch.rand(_TRACED) * 255,), strict=False,
                                  dynamic_shapes={"images": sizes})  # fmt: skip
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={"about.json": json.dumps(about)})
    content = file.getvalue()
    return content, torch.export.load(io.BytesIO(content)).module()


def _pad_as_multiples(module: nn.Module) -> None:
    """Have convolutions with timm's "same" padding, which depends on the size, pad as they do where
    H and W are multiples of :data:`LEAST`."""
    for name, child in module.named_children():
        if type(child).__name__ != "Conv2dSame":
            _pad_as_multiples(child)
            continue
        sides = []
        for k, stride, dilation in zip(
            child.kernel_size, child.stride, child.dilation, strict=True
        ):
            total = max((k - 1) * dilation + 1 - stride, 0)
            sides = [total // 2, total - total // 2, *sides]
        plain = nn.Conv2d(child.in_channels, child.out_channels, child.kernel_size, child.stride,
                          0, child.dilation, child.groups, child.bias is not None)  # fmt: skip
        plain.load_state_dict(child.state_dict())
        setattr(module, name, nn.Sequential(nn.ZeroPad2d(sides), plain).requires_grad_(False))


def _difference(model: nn.Module, graph: Graph, run: Any, size: tuple[int, int, int]) -> float:
    """Of the graph's logits from the network's own, relative to the largest of these."""
    generator = torch.Generator().manual_seed(0)
    count, height, width = size
    images = torch.rand(count, 3, height, width, generator=generator) * 255
    device = next(model.parameters()).device
    with torch.no_grad():
        inputs = images.flip(1) if graph.flipped else images
        inputs = ((inputs - graph.mean) / graph.std).to(device)
        metas = [dict(img_shape=inputs.shape[2:], ori_shape=inputs.shape[2:])] * count
        want = model.whole_inference(inputs, metas).float().cpu()
        got = run(images)
    if got.shape != want.shape:
        return math.inf
    return ((got - want).abs().max() / want.abs().max().clamp_min(1e-12)).item()


def _about(predictor: Predictor) -> dict:
    return dict(classes=list(predictor.classes), palette=predictor.palette.tolist(),
                input="images: (N, 3, H, W) float32, RGB, 0-255; the normalisation is inside",
                output="seg_logits: (N, C, H, W) float32, at the size of the images",
                made_by="pixel-hardness")  # fmt: skip


def _notes(predictor: Predictor, suffix: str) -> Iterator[str]:
    if suffix == ".pt2":
        yield f"its H and W are multiples of {LEAST}, {2 * LEAST} to {_MOST:,}; those of .onnx free"
    steps = [step for step in predictor.steps if "Resize" in step["type"]]
    if steps:
        scale = steps[0].get("scale") or steps[0].get("scale_factor")
        yield (f"the resize of the test pipeline ({steps[0]['type']}, {scale}) is not in the "
               "graph: give it images of that size")  # fmt: skip
    if (predictor.model.test_cfg or {}).get("mode") == "slide":
        yield "the network is tested in sliding windows; the graph takes the image whole"


def _kinds(model: nn.Module) -> str:
    head = model.decode_head
    head = head[-1] if isinstance(head, nn.ModuleList) else head
    return f"{type(model.backbone).__name__}, {type(head).__name__}"


def _words(error: Exception) -> str:
    """The first lines of what an exporter says, which may have hundreds."""
    return " ".join(str(error).split())[:200] or type(error).__name__
