"""Evaluation without scores of the image's size: the same labels as mmseg's, bit by bit.

mmseg enlarges the logits of all classes to the padded image, then to the original one, before it
takes the largest: of Cityscapes twice 19 x 1024 x 2048 floats. A label needs the largest so far and
the class it is of, so some classes at a time do.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.runner import Runner, TestLoop, ValLoop
from mmengine.structures import PixelData
from mmseg.evaluation import IoUMetric
from mmseg.models.decode_heads.cascade_decode_head import BaseCascadeDecodeHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors import CascadeEncoderDecoder, EncoderDecoder
from mmseg.models.utils import resize
from mmseg.registry import LOOPS
from torch import Tensor, nn

from core.engine.metrics import ClassIoUMetric
from core.engine.resuming import unwrapped

CLASSES = 4  # at a time; not one, whose plane torch takes for another memory format


@contextlib.contextmanager
def labels_only(model: nn.Module) -> Iterator[bool]:
    """Inside, ``predict`` gives samples without ``seg_logits``, the labels being the same.

    Args:
        model: a segmentor; one that ``deploys`` another is that other.

    Yields:
        Whether it does: not for sliding windows, nor for models with ways of their own.
    """
    model = getattr(model, "deployed", model)
    if not _is_plain(model):
        yield False
        return
    model.predict = functools.partial(_predict, model)
    try:
        yield True
    finally:
        del model.predict


def _is_plain(model: nn.Module) -> bool:
    if not isinstance(model, EncoderDecoder) or "predict" in vars(model):
        return False
    cls, head = type(model), _last(model)
    base = CascadeEncoderDecoder if isinstance(model, CascadeEncoderDecoder) else EncoderDecoder
    theirs = BaseCascadeDecodeHead if base is CascadeEncoderDecoder else BaseDecodeHead
    names = ("predict", "inference", "whole_inference", "encode_decode", "postprocess_result")
    return (
        all(getattr(cls, name) is getattr(base, name) for name in names)
        and isinstance(head, BaseDecodeHead)
        and type(head).predict is theirs.predict
        and type(head).predict_by_feat is BaseDecodeHead.predict_by_feat
        and (model.test_cfg or {}).get("mode", "whole") == "whole"
    )


def _last(model: nn.Module) -> nn.Module:
    head = model.decode_head
    return head[-1] if isinstance(head, nn.ModuleList) else head


class _Low:
    """Logits and the size they are to be brought to, in the place of those of that size."""

    def __init__(self, seg_logits: Tensor, metas: list[dict]) -> None:
        self.seg_logits = seg_logits
        shape = metas[0]["img_shape"]  # mmseg's rule
        if not isinstance(shape, torch.Size) and "pad_shape" in metas[0]:
            shape = metas[0]["pad_shape"]
        self.size = tuple(shape[:2])


def _predict(model: EncoderDecoder, inputs: Tensor, data_samples: list | None = None) -> list:
    """``EncoderDecoder.predict`` without ``seg_logits``."""
    if data_samples is None:
        return type(model).predict(model, inputs)
    head = _last(model)
    head.predict_by_feat = _Low
    try:
        low = model.inference(inputs, [sample.metainfo for sample in data_samples])
    finally:
        del head.predict_by_feat
    for i, sample in enumerate(data_samples):
        pred = _label(low.seg_logits[i : i + 1], low.size, sample.metainfo, model)
        sample.set_data(dict(pred_sem_seg=PixelData(data=pred)))
    return data_samples


def _label(seg_logits: Tensor, size: tuple[int, int], meta: dict, model: EncoderDecoder) -> Tensor:
    """The class of each pixel of an image, (1, H, W), from its logits (1, C, h, w)."""
    if (count := seg_logits.shape[1]) == 1:
        scores = _enlarged(seg_logits, size, meta, model).sigmoid()[0]
        return (scores > _last(model).threshold).to(scores)
    finite = bool(seg_logits.isfinite().all())
    best = label = None
    for part in torch.arange(count).tensor_split(max(1, count // CLASSES)):
        start, stop = int(part[0]), int(part[-1]) + 1
        values, found = _enlarged(seg_logits[:, start:stop], size, meta, model)[0].max(dim=0)
        found += start
        if best is None:
            best, label = values, found
            continue
        better = values > best
        if not finite:  # the first that is no number is the largest
            better |= values.isnan() & ~best.isnan()
        label[better], best[better] = found[better], values[better]
    return label[None]


def _enlarged(seg_logits: Tensor, size: tuple[int, int], meta: dict, model: Any) -> Tensor:
    """As mmseg's ``predict_by_feat`` and ``postprocess_result`` do after each other."""
    how = dict(mode="bilinear", align_corners=model.align_corners, warning=False)
    out = resize(seg_logits, size=size, **how)
    left, right, top, bottom = meta.get("img_padding_size", meta.get("padding_size", [0] * 4))
    out = out[:, :, top : out.shape[2] - bottom, left : out.shape[3] - right]
    if meta.get("flip"):
        direction = meta.get("flip_direction")
        assert direction in ("horizontal", "vertical")
        out = out.flip(dims=(3 if direction == "horizontal" else 2,))
    return resize(out, size=meta["ori_shape"], **how)


def _may(runner: Runner, metrics: list, method: str) -> bool:
    """Whether nothing that sees the samples could ask for their scores."""
    ours = ("core.", "mmengine.", "mmseg.")
    hooks = (getattr(type(hook), method).__module__ for hook in runner.hooks)
    return all(type(metric) in (IoUMetric, ClassIoUMetric) for metric in metrics) and all(
        module.startswith(ours) for module in hooks
    )


@LOOPS.register_module()
class LabelValLoop(ValLoop):
    """``ValLoop`` by :func:`labels_only`, where neither metric nor hook is a stranger's."""

    def run_iter(self, idx: int, data_batch: dict) -> None:
        with contextlib.ExitStack() as stack:
            if _may(self.runner, self.evaluator.metrics, "after_val_iter"):
                stack.enter_context(labels_only(unwrapped(self.runner.model)))
            super().run_iter(idx, data_batch)


@LOOPS.register_module()
class LabelTestLoop(TestLoop):
    """``TestLoop``, likewise."""

    def run_iter(self, idx: int, data_batch: dict) -> None:
        with contextlib.ExitStack() as stack:
            if _may(self.runner, self.evaluator.metrics, "after_test_iter"):
                stack.enter_context(labels_only(unwrapped(self.runner.model)))
            super().run_iter(idx, data_batch)
