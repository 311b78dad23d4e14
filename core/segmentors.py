"""The two mmseg segmentors with a hardness-level (HL) branch.

A config names them through ``custom_imports = dict(imports=["core.segmentors"])`` and
``model.type``; :func:`core.convert.to_hl` writes both into any config. The branch is a copy of
the decode head with one output channel. It reads detached features in training and is not run
at inference. Everything but ``_decode_head_forward_train`` is mmseg's.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from mmseg.models.segmentors import CascadeEncoderDecoder, EncoderDecoder
from mmseg.registry import MODELS
from torch import Tensor, nn

from core.hardness import HardnessLoss, HLLosses

HL_HEAD = "hl_head"  # the state-dict prefix that export drops


def hl_head_config(decode_head: dict) -> dict:
    """Config of the HL branch: ``decode_head`` with one output channel.

    The one place that decides what the branch looks like. The loss of the copy is never called
    (:class:`core.hardness.HardnessLoss` is); ``threshold`` only silences mmseg's warning.
    """
    head = copy.deepcopy(decode_head)
    head.update(num_classes=1, threshold=0.5)
    head.update(loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True))
    head.pop("out_channels", None)
    head.pop("sampler", None)
    return head


def detach(features: Any) -> Any:
    """The same tensor, or (nested) list or tuple of tensors, cut from the graph."""
    if isinstance(features, Tensor):
        return features.detach()
    return type(features)(detach(feature) for feature in features)


class _HLMixin:
    """What the plain and the cascade segmentor share."""

    def _init_hl(self, hl: dict | None, stages: list[dict], decode_head: nn.Module) -> None:
        """Add the branch, last and with the generator put back: all other weights are then those
        of the baseline of the same seed."""
        with torch.random.fork_rng(devices=[]):
            heads = [MODELS.build(stage) for stage in stages]
        self.hl_head = heads[0] if len(heads) == 1 else nn.ModuleList(heads)
        if decode_head.sampler is not None:
            raise ValueError(
                "decode_head.sampler selects pixels, HL weights them: give one of the two"
            )
        self.hl_loss = HardnessLoss(
            **(hl or {}),
            ignore_index=decode_head.ignore_index,
            align_corners=decode_head.align_corners,
            class_weight=decode_head.loss_decode.class_weight,
        )

    def _last_stage(
        self, head: nn.Module, seg_logits: Tensor, hl_logits: Tensor, seg_label: Tensor, name: str
    ) -> tuple[HLLosses, dict[str, Tensor]]:
        """Losses of the stage that the HL branch learns from, and their log entries.

        ``loss_decode.loss_weight`` scales L_s alone: the branch has its own factor, alpha.
        """
        out = self.hl_loss(seg_logits, hl_logits, seg_label)
        return out, {
            f"{name}.loss_ce": out.loss_seg * head.loss_decode.loss_weight,
            f"{name}.loss_hl": out.loss_hl,
            f"{name}.ce": out.ce,
            f"{name}.acc_seg": out.acc,
        }

    @torch.no_grad()
    def predict_hardness(self, inputs: Tensor) -> Tensor:
        """HL map (Eq. 1, every pixel valid) of normalised images.

        Args:
            inputs: (N, 3, H, W), as the data preprocessor gives them.

        Returns:
            (N, 1, H, W) float32, >= 0, each image sums to 1.
        """
        valid = torch.ones_like(inputs[:, 0], dtype=torch.bool)
        return self.hl_loss.hl_map(self.hl_logits(self.extract_feat(inputs)), valid)


def _stack_labels(data_samples: list) -> Tensor:
    """(N, H, W) labels of a batch."""
    return torch.cat([sample.gt_sem_seg.data for sample in data_samples])


@MODELS.register_module()
class HLEncoderDecoder(_HLMixin, EncoderDecoder):
    """``EncoderDecoder`` with an HL branch.

    Args:
        hl: keyword arguments of :class:`core.hardness.HardnessLoss` (``c``, ``alpha``,
            ``normalize``, ``ignored``, ``weighting``); None for the paper's values.
        decode_head: as in ``EncoderDecoder``, with one cross-entropy loss and no sampler.
    """

    def __init__(self, *, decode_head: dict, hl: dict | None = None, **kwargs: Any) -> None:
        super().__init__(decode_head=decode_head, **kwargs)
        self._init_hl(hl, [hl_head_config(decode_head)], self.decode_head)

    def hl_logits(self, features: Any) -> Tensor:
        """D of Eq. 1, (N, 1, h, w), of the backbone's features, which are detached here."""
        return self.hl_head.forward(detach(features))

    def _decode_head_forward_train(self, inputs: Any, data_samples: list) -> dict[str, Tensor]:
        seg_label = _stack_labels(data_samples)
        seg_logits = self.decode_head.forward(inputs)
        hl_logits = self.hl_logits(inputs)
        return self._last_stage(self.decode_head, seg_logits, hl_logits, seg_label, "decode")[1]


@MODELS.register_module()
class HLCascadeEncoderDecoder(_HLMixin, CascadeEncoderDecoder):
    """``CascadeEncoderDecoder`` (OCRNet) with an HL branch.

    The branch copies every stage, only the last with one channel. Each stage's cross-entropy is
    weighted with the one map; the HL loss takes the last stage's.
    """

    def __init__(self, *, decode_head: list[dict], hl: dict | None = None, **kwargs: Any) -> None:
        super().__init__(decode_head=decode_head, **kwargs)
        stages = [*copy.deepcopy(decode_head[:-1]), hl_head_config(decode_head[-1])]
        self._init_hl(hl, stages, self.decode_head[-1])

    def hl_logits(self, features: Any) -> Tensor:
        """D of Eq. 1, (N, 1, h, w), of the backbone's features, which are detached here."""
        features = detach(features)
        out = self.hl_head[0].forward(features)
        for stage in self.hl_head[1:]:
            out = stage.forward(features, out)
        return out

    def _decode_head_forward_train(self, inputs: Any, data_samples: list) -> dict[str, Tensor]:
        seg_label = _stack_labels(data_samples)
        # mmseg runs every stage but the last twice, for its loss and for the next stage. So do we:
        # BatchNorm statistics and dropout are then those of the baseline.
        stage_logits, previous = [], ()
        for stage in self.decode_head:
            stage_logits.append(stage.forward(inputs, *previous))
            if stage is not self.decode_head[-1]:
                previous = (stage.forward(inputs, *previous),)

        last = self.num_stages - 1
        out, losses = self._last_stage(
            self.decode_head[-1],
            stage_logits[-1],
            self.hl_logits(inputs),
            seg_label,
            f"decode_{last}",
        )
        for i, seg_logits in enumerate(stage_logits[:-1]):
            stage = self.decode_head[i]
            loss, acc = self.hl_loss.earlier_stage(seg_logits, out.hl_map, seg_label)
            losses[f"decode_{i}.loss_ce"] = loss * stage.loss_decode.loss_weight
            losses[f"decode_{i}.acc_seg"] = acc
        return losses
