"""The mmseg segmentors with a hardness-level (HL) branch, and those that read collected maps.

A config names them through ``custom_imports = dict(imports=["core.segmentors"])`` and
``model.type``; :func:`core.convert.to_hl` writes both into any config. The branch
(:mod:`core.hl_head`) reads detached features in training and is not run at inference. All but
``_decode_head_forward_train`` is mmseg's.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.models.segmentors import CascadeEncoderDecoder, EncoderDecoder
from mmseg.registry import MODELS
from torch import Tensor, nn

from core import mmfixes
from core.hardness import HardnessLoss, HLLosses
from core.hl_head import Branch, classifier_input, detach, hl_head_config, lite_head

mmfixes.install()

HL_HEAD = "hl_head"  # the state-dict prefix that export drops


def _hl_loss(hl: dict | None, decode_head: nn.Module) -> HardnessLoss:
    """The loss of a segmentor, with the settings of the head that it takes the place of."""
    if decode_head.sampler is not None:
        raise ValueError("decode_head.sampler selects pixels, HL weights them: give one of the two")
    return HardnessLoss(
        **(hl or {}),
        ignore_index=decode_head.ignore_index,
        align_corners=decode_head.align_corners,
        class_weight=decode_head.loss_decode.class_weight,
    )


class _HLMixin:
    """What the plain and the cascade segmentor share."""

    hl_branch: Branch

    def _init_hl(
        self, hl: dict | None, runtime: Sequence[str], stages: list[dict], decode_head: nn.Module
    ) -> None:
        """Add the branch, last and with the generator put back: all other weights are then those
        of the baseline of the same seed.

        Args:
            stages: configs of the decode head's stages.
            decode_head: the last stage, whose classifier a lite branch reads.
        """
        branch, options = Branch.of(hl or {}, runtime)
        with torch.random.fork_rng(devices=[]):
            if branch.head == "lite":
                self.hl_head = lite_head(decode_head)
            else:
                copies = [*copy.deepcopy(stages[:-1]), hl_head_config(stages[-1])]
                heads = [MODELS.build(stage) for stage in copies]
                self.hl_head = heads[0] if len(heads) == 1 else nn.ModuleList(heads)
        branch.prepare(self.hl_head)
        self.hl_branch = branch
        self.hl_loss = _hl_loss(options, decode_head)

    def hl_logits(self, features: Any, size: torch.Size) -> Tensor:
        """D of Eq. 1, (N, 1, h, w), of the backbone's features, which are detached here.

        Args:
            features: of images of ``size`` (H, W). With a lite branch the decode head is run, too.
        """
        with torch.no_grad(), self.seeing() as seen:
            if self.hl_branch.head == "lite":
                self._decode(features)
        return self._branch(features, seen, size)

    @contextlib.contextmanager
    def seeing(self) -> Iterator[list[Tensor]]:
        """A list that holds what a lite branch reads after the decode head was run inside."""
        self.hl_branch.mark()
        if self.hl_branch.head == "faithful":
            yield []
        else:
            with classifier_input(self._last_decode_head) as seen:
                yield seen

    def step_logits(self, features: Any, seen: Sequence[Tensor], size: torch.Size) -> Tensor:
        """D in a training step: :meth:`hl_logits` after the decode head was run within
        :meth:`seeing`."""
        return self.hl_branch.step(self.hl_head, lambda: self._branch(features, seen, size))

    def _branch(self, features: Any, seen: Sequence[Tensor], size: torch.Size) -> Tensor:
        if self.hl_branch.head == "lite":
            return self.hl_head(seen[-1].detach(), size)
        features = detach(features)
        if not isinstance(self.hl_head, nn.ModuleList):
            return self.hl_head(features)
        out = self.hl_head[0](features)
        for stage in self.hl_head[1:]:
            out = stage(features, out)
        return out

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
    def predict_scores(self, inputs: Tensor) -> Tensor:
        """``sigmoid(D)`` of Eq. 1 of normalised images (N, 3, H, W): (N, 1, H, W) float32, 0-1.

        In the mode of inference of the model: where that slides, D is averaged over the windows.
        """

        def of(crop: Tensor, _: list | None = None) -> Tensor:
            size = crop.shape[-2:]
            hl_logits = self.hl_logits(self.extract_feat(crop), size).float()
            return self.hl_loss.resize(hl_logits, size)

        if (self.test_cfg or {}).get("mode") != "slide":
            return of(inputs).sigmoid()
        # mmseg's way of sliding, of another head.
        other = SimpleNamespace(test_cfg=self.test_cfg, out_channels=1, encode_decode=of)
        return EncoderDecoder.slide_inference(other, inputs, [{}]).sigmoid()


def stack_labels(data_samples: list) -> Tensor:
    """(N, H, W) labels of a batch."""
    return torch.cat([sample.gt_sem_seg.data for sample in data_samples])


def stage_logits(stages: nn.ModuleList, inputs: Any) -> list[Tensor]:
    """Logits of every stage of a cascade in training.

    mmseg runs every stage but the last twice, for its loss and for the next stage. So do we:
    BatchNorm statistics and dropout are then those of the baseline.
    """
    logits, previous = [], ()
    for stage in stages:
        logits.append(stage.forward(inputs, *previous))
        if stage is not stages[-1]:
            previous = (stage.forward(inputs, *previous),)
    return logits


@MODELS.register_module()
class HLEncoderDecoder(_HLMixin, EncoderDecoder):
    """``EncoderDecoder`` with an HL branch.

    Args:
        hl: keyword arguments of :class:`core.hardness.HardnessLoss` (``c``, ``alpha``,
            ``normalize``, ``ignored``, ``weighting``) and of :class:`core.hl_head.Branch`
            (``head``, ``every``); None for the paper's values.
        hl_runtime: see :class:`core.hl_head.Branch`.
        decode_head: as in ``EncoderDecoder``, with one cross-entropy loss and no sampler.
    """

    def __init__(
        self,
        *,
        decode_head: dict,
        hl: dict | None = None,
        hl_runtime: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(decode_head=decode_head, **kwargs)
        self._init_hl(hl, hl_runtime, [decode_head], self.decode_head)

    @property
    def _last_decode_head(self) -> nn.Module:
        return self.decode_head

    def _decode(self, features: Any) -> None:
        self.decode_head.forward(features)

    def _decode_head_forward_train(self, inputs: Any, data_samples: list) -> dict[str, Tensor]:
        seg_label = stack_labels(data_samples)
        with self.seeing() as seen:
            seg_logits = self.decode_head.forward(inputs)
        hl_logits = self.step_logits(inputs, seen, seg_label.shape[1:])
        return self._last_stage(self.decode_head, seg_logits, hl_logits, seg_label, "decode")[1]


@MODELS.register_module()
class HLCascadeEncoderDecoder(_HLMixin, CascadeEncoderDecoder):
    """``CascadeEncoderDecoder`` (OCRNet) with an HL branch.

    A faithful branch copies every stage, only the last with one channel. Each stage's
    cross-entropy is weighted with the one map; the HL loss takes the last stage's.
    """

    def __init__(
        self,
        *,
        decode_head: list[dict],
        hl: dict | None = None,
        hl_runtime: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(decode_head=decode_head, **kwargs)
        self._init_hl(hl, hl_runtime, decode_head, self.decode_head[-1])

    @property
    def _last_decode_head(self) -> nn.Module:
        return self.decode_head[-1]

    def _decode(self, features: Any) -> None:
        out = self.decode_head[0].forward(features)
        for stage in self.decode_head[1:]:
            out = stage.forward(features, out)

    def _decode_head_forward_train(self, inputs: Any, data_samples: list) -> dict[str, Tensor]:
        seg_label = stack_labels(data_samples)
        with self.seeing() as seen:
            all_logits = stage_logits(self.decode_head, inputs)
        last = self.num_stages - 1
        out, losses = self._last_stage(
            self.decode_head[-1],
            all_logits[-1],
            self.step_logits(inputs, seen, seg_label.shape[1:]),
            seg_label,
            f"decode_{last}",
        )
        for i, seg_logits in enumerate(all_logits[:-1]):
            stage = self.decode_head[i]
            loss, acc = self.hl_loss.with_map(seg_logits, out.hl_map, seg_label)
            losses[f"decode_{i}.loss_ce"] = loss * stage.loss_decode.loss_weight
            losses[f"decode_{i}.acc_seg"] = acc
        return losses


class _CollectedMixin:
    """Segmentors whose pixels are weighted by maps on disk (:mod:`core.rivals.collected`)."""

    def collected_map(self, data_samples: list, seg_label: Tensor) -> Tensor:
        """H of a batch, (N, 1, H, W); the maps are padded as the labels were, to the right and
        below, where nothing is valid."""
        height, width = seg_label.shape[-2:]
        scores = [sample.gt_hardness.data.to(seg_label.device) for sample in data_samples]
        padded = [F.pad(s, (0, width - s.shape[-1], 0, height - s.shape[-2])) for s in scores]
        valid = seg_label != self.hl_loss.ignore_index
        return self.hl_loss.collected_map(torch.stack(padded), valid)

    def _weighted(
        self, head: nn.Module, seg_logits: Tensor, hl_map: Tensor, seg_label: Tensor, name: str
    ) -> dict[str, Tensor]:
        loss, acc = self.hl_loss.with_map(seg_logits, hl_map, seg_label)
        return {
            f"{name}.loss_ce": loss * head.loss_decode.loss_weight,
            f"{name}.acc_seg": acc,
        }


@MODELS.register_module()
class CollectedEncoderDecoder(_CollectedMixin, EncoderDecoder):
    """``EncoderDecoder`` weighted by collected maps: no branch, a plain checkpoint.

    Args:
        hl: keyword arguments of :class:`core.hardness.HardnessLoss`.
        decode_head: as in ``EncoderDecoder``, with one cross-entropy loss and no sampler.
    """

    def __init__(self, *, decode_head: dict, hl: dict | None = None, **kwargs: Any) -> None:
        super().__init__(decode_head=decode_head, **kwargs)
        self.hl_loss = _hl_loss(hl, self.decode_head)

    def _decode_head_forward_train(self, inputs: Any, data_samples: list) -> dict[str, Tensor]:
        seg_label = stack_labels(data_samples)
        hl_map = self.collected_map(data_samples, seg_label)
        seg_logits = self.decode_head.forward(inputs)
        return self._weighted(self.decode_head, seg_logits, hl_map, seg_label, "decode")


@MODELS.register_module()
class CollectedCascadeEncoderDecoder(_CollectedMixin, CascadeEncoderDecoder):
    """``CascadeEncoderDecoder`` (OCRNet) weighted by collected maps, each stage by the same."""

    def __init__(self, *, decode_head: list[dict], hl: dict | None = None, **kwargs: Any) -> None:
        super().__init__(decode_head=decode_head, **kwargs)
        self.hl_loss = _hl_loss(hl, self.decode_head[-1])

    def _decode_head_forward_train(self, inputs: Any, data_samples: list) -> dict[str, Tensor]:
        seg_label = stack_labels(data_samples)
        hl_map = self.collected_map(data_samples, seg_label)
        losses = {}
        for i, (stage, seg_logits) in enumerate(
            zip(self.decode_head, stage_logits(self.decode_head, inputs), strict=True)
        ):
            losses |= self._weighted(stage, seg_logits, hl_map, seg_label, f"decode_{i}")
        return losses
