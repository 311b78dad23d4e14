"""Any mmseg config with a single-cross-entropy decode head -> its HL version, or why not."""

from __future__ import annotations

import copy
import dataclasses

from mmengine.config import Config
from mmseg.models.decode_heads.cascade_decode_head import BaseCascadeDecodeHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS

from core.configs import add_import, walk
from core.dose import alpha_for
from core.errors import CannotConvert
from core.hardness import HardnessLoss
from core.hl_head import Branch

SEGMENTORS = {
    "EncoderDecoder": "HLEncoderDecoder",
    "CascadeEncoderDecoder": "HLCascadeEncoderDecoder",
}
COLLECTED = {
    "EncoderDecoder": "CollectedEncoderDecoder",
    "CascadeEncoderDecoder": "CollectedCascadeEncoderDecoder",
}
BRANCH = {field.name: field.default for field in dataclasses.fields(Branch)}
# All that to_hl() changes of a config, by dotted key.
DECLARED = (
    "custom_imports.allow_failed_imports",
    "custom_imports.imports*",
    "model.hl.*",
    "model.type",
    "*paramwise_cfg.custom_keys.*hl_head*",  # the factors of decode_head, for the branch
)
# Heads whose one-channel copy is constant, whatever its input.
CONSTANT_WITH_ONE_CHANNEL = {
    "SegmenterMaskTransformerHead": "its LayerNorm over the classes is constant for one channel",
}


def to_hl(cfg: Config, **hl: float | str) -> Config:
    """The HL version of an mmseg config; ``cfg`` itself is left as it is.

    Changes ``model.type``, adds ``model.hl`` and the import of :mod:`core.segmentors`, and gives
    the HL branch the learning-rate and decay factors that ``paramwise_cfg`` names for
    ``decode_head``.

    Args:
        cfg: a whole config: a model of type ``EncoderDecoder`` or ``CascadeEncoderDecoder``.
        hl: arguments of :class:`core.hardness.HardnessLoss` and :class:`core.hl_head.Branch`, e.g.
            ``c=0.1, alpha=0.01, head="lite"``; alpha may
            be ``"auto"`` or ``"auto@DOSE"``: what the config's schedule takes (:mod:`core.dose`).

    Raises:
        CannotConvert: the model computes another loss than one cross-entropy per stage, or an
            HL option is unknown or out of range.
    """
    cfg = copy.deepcopy(cfg)
    decode_heads(cfg)
    _copy_param_factors(cfg)  # alpha goes by the branch's own rate
    if isinstance(hl.get("alpha"), str):
        hl = dict(hl, alpha=alpha_for(cfg, hl["alpha"]))
    _check_options(hl)
    # As they are unless asked for: a config says what differs.
    hl = {key: value for key, value in hl.items() if BRANCH.get(key) != value}
    cfg.model.type = SEGMENTORS[cfg.model.type]
    cfg.model.hl = hl
    add_import(cfg, "core.segmentors")
    return cfg


def to_collected(cfg: Config, folder: str, **hl: float | str) -> Config:
    """``cfg`` with its pixels weighted by the maps in a folder; ``cfg`` is left as it is.

    The map of ``<data_root>/a/b.jpg`` is ``<folder>/a/b.png`` (:mod:`core.rivals.collected`). It
    goes through the training pipeline with its image: resized, cropped and flipped alike.

    Args:
        cfg: a whole config, as for :func:`to_hl`, on its data set.
        folder: of 16-bit maps.
        hl: ``c``, ``normalize`` and ``ignored`` of :class:`core.hardness.HardnessLoss`.

    Raises:
        CannotConvert: as :func:`to_hl`; or no training pipeline loads and packs labels.
    """
    _check_options(hl)
    cfg = copy.deepcopy(cfg)
    decode_heads(cfg)
    cfg.model.type = COLLECTED[cfg.model.type]
    cfg.model.hl = hl
    for name in ("core.segmentors", "core.rivals.collected"):
        add_import(cfg, name)
    root = str(cfg.get("data_root") or "")
    changed = 0

    def change(node: dict) -> None:
        nonlocal changed
        types = [step["type"] for step in node.get("pipeline") or []]
        if "LoadAnnotations" in types and "PackSegInputs" in types:
            after = types.index("LoadAnnotations") + 1
            loader = dict(type="LoadHardness", folder=str(folder), root=root)
            steps = [*node["pipeline"][:after], loader, *node["pipeline"][after:]]
            node["pipeline"] = [
                dict(step, type="PackWithHardness") if step["type"] == "PackSegInputs" else step
                for step in steps
            ]
            changed += 1

    walk(cfg.train_dataloader, change)
    if not changed:
        raise CannotConvert("no training pipeline with LoadAnnotations and PackSegInputs")
    return cfg


def _check_options(hl: dict) -> None:
    try:
        HardnessLoss(**Branch.of(hl)[1])  # refused now, not after the data set was read
    except (TypeError, ValueError) as error:
        raise CannotConvert(f"HL options {hl}: {error}") from error


def decode_heads(cfg: Config) -> list[dict]:
    """The decode heads of a config, stage by stage.

    Raises:
        CannotConvert: the pixels of one cannot be weighted; the reason.
    """
    model = cfg.get("model")
    if model is None:
        raise CannotConvert("the config has no model")
    if model.type not in SEGMENTORS:
        known = " or ".join(SEGMENTORS)
        raise CannotConvert(f"model.type is {model.type!r}; HL knows {known}")
    stages = model.decode_head if isinstance(model.decode_head, (list, tuple)) else None
    heads = list(stages or [model.decode_head])
    for i, head in enumerate(heads):
        reason = why_not(head)
        if reason:
            where = "decode_head" if stages is None else f"decode_head[{i}]"
            raise CannotConvert(f"{where} ({head.type}): {reason}")
    return heads


def why_not(head: dict) -> str | None:
    """Reason why a decode head's config cannot be weighted pixel by pixel, None if it can."""
    losses = head.get("loss_decode", dict(type="CrossEntropyLoss"))
    losses = [losses] if isinstance(losses, dict) else list(losses)
    if len(losses) != 1:
        return f"it has {len(losses)} losses; HL weights a single cross-entropy"
    loss = losses[0]
    if loss["type"] != "CrossEntropyLoss":
        return f"its loss is {loss['type']}; HL weights a single CrossEntropyLoss"
    if loss.get("use_sigmoid") or loss.get("use_mask"):
        return "its cross-entropy is binary (use_sigmoid or use_mask); HL weights the softmax one"
    if isinstance(loss.get("class_weight"), str):
        return "class_weight is a file name; write the list of factors instead"
    if head.get("out_channels") == 1:
        return "out_channels=1 is a binary head; give two classes their two channels"
    if head.get("sampler") is not None:
        return f"sampler {head['sampler']['type']} selects pixels, HL weights them; remove one"
    cls = MODELS.get(head["type"])
    if cls is None:
        return "mmseg does not know this head; add its module to custom_imports"
    if head["type"] in CONSTANT_WITH_ONE_CHANNEL:
        return CONSTANT_WITH_ONE_CHANNEL[head["type"]]
    if not issubclass(cls, BaseDecodeHead):
        return "it is not a BaseDecodeHead, so its logits cannot be had apart from its loss"
    own_loss = cls.loss not in (BaseDecodeHead.loss, BaseCascadeDecodeHead.loss)
    if own_loss or cls.loss_by_feat is not BaseDecodeHead.loss_by_feat:
        return "it computes a loss of its own, which is not one cross-entropy map"
    return None


def _copy_param_factors(cfg: Config) -> None:
    """``paramwise_cfg`` finds parameters by substring: what names decode_head misses the copy."""
    for wrapper in (cfg.get("optim_wrapper"), cfg.get("optimizer")):
        keys = ((wrapper or {}).get("paramwise_cfg") or {}).get("custom_keys")
        for key in [key for key in keys or {} if "decode_head" in key]:
            keys.setdefault(key.replace("decode_head", "hl_head"), keys[key])
