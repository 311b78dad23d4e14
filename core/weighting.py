"""One switch: an arm (:mod:`core.arms`) applied to a config.

The rivals are those of the paper's Table 6, each as its logs' headers have it. Auxiliary heads keep
their plain cross-entropy throughout.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

from mmengine.config import Config

from core.arms import KINDS, Arm, Asked
from core.configs import add_import
from core.convert import COLLECTED, SEGMENTORS, decode_heads, to_collected, to_hl
from core.errors import CannotConvert

# "at least 100,000 pixels" of a 769x769 crop; smaller crops keep the same share.
OHEM_MIN_KEPT, OHEM_CROP = 100_000, 769 * 769


def arm_of_config(cfg: Config, asked: Asked, default: str) -> Arm:
    """The arm that flags and config ask for together; in place, the config is plain afterwards.

    A config may be an HL one already (``model.type = "HLEncoderDecoder"``) or give options as
    ``model.hl.c``, as ``--cfg-options`` do.

    Args:
        asked: what the flags say.
        default: name of the arm if nobody says anything.

    Raises:
        CannotConvert: flags and config contradict each other, or the options are of no arm.
    """
    model = cfg.get("model") or {}
    own = model.pop("hl", None) or {}
    if not isinstance(own, dict):
        raise CannotConvert(f"model.hl is {own!r}; it takes options, such as model.hl.c=0.5")
    own = dict(own)
    plain = {hl: name for name, hl in SEGMENTORS.items()}
    if model.get("type") in COLLECTED.values():
        raise CannotConvert(
            f"model.type is {model.type}: the config is of a training on collected maps; give the "
            "one that it was made of, with --weighting collected --hardness DIR"
        )
    is_hl = model.get("type") in plain
    if is_hl:
        model.type = plain[model.type]
    wanted = own.pop("weighting", "hl" if is_hl else None)
    if wanted not in (None, "hl", "ce-scaled"):
        raise CannotConvert(f"model.hl.weighting must be one of hl, ce-scaled; got {wanted!r}")
    if wanted and asked.name not in (None, wanted):
        raise CannotConvert(
            f"the flags say {asked.name}, the config's model says {wanted}: leave one out"
        )
    name = asked.name or wanted or default
    if own and not KINDS[name].options:
        keys = ", ".join(f"model.hl.{key}" for key in own)
        raise CannotConvert(f"{keys}: {name} has no such options; --hl has")
    arm = asked.arm(name, [f"{key}={value}" for key, value in own.items()])
    # A config that a run wrote names the defaults, too: they are no part of its name.
    by_flag = {pair.partition("=")[0] for pair in asked.pairs}
    defaults = {key: option.default for key, option in arm.kind.options.items()}
    return Arm(arm.kind, {k: v for k, v in arm.options.items() if k in by_flag or v != defaults[k]})


def with_weighting(
    cfg: Config,
    arm: Arm,
    *,
    class_weight: Sequence[float] | None = None,
    hardness: str | None = None,
) -> Config:
    """``cfg`` with another weighting of its decode head's pixels; ``cfg`` is left as it is.

    Args:
        cfg: a whole config whose decode heads have one softmax cross-entropy each.
        arm: ``hl`` or ``ce-scaled`` (:func:`core.convert.to_hl`); ``balanced`` (a factor per
            class; ``reduction=pixels``: the mean over all pixels, as published,
            :class:`core.rivals.balanced.PixelMeanCrossEntropy`; ``weights``: divided by the sum of
            the weights of the valid ones, as mmseg 1.x does); ``ohem`` (those whose probability
            is under ``thresh``, at least ``min_kept`` an image, by default 100,000 of a 769x769
            crop and the same share of others; other pixels get no loss); ``focal``
            (:class:`core.rivals.focal.SoftmaxFocalLoss`); ``collected``
            (:func:`core.convert.to_collected`); any other: ``cfg`` as it is.
        class_weight: of ``balanced``: a positive factor for every class.
        hardness: of ``collected``: the folder of the maps.

    Raises:
        CannotConvert: the heads have another loss, or the class weights do not fit.
    """
    if arm.weighting == "ce":
        return cfg
    if arm.weighting in ("hl", "ce-scaled"):
        return to_hl(cfg, weighting=arm.weighting, **arm.settings)
    if arm.weighting == "collected":
        if hardness is None:
            raise CannotConvert("collected needs the folder of the maps: --hardness DIR")
        return to_collected(cfg, hardness, **arm.settings)
    cfg = copy.deepcopy(cfg)
    heads = decode_heads(cfg)
    if arm.weighting == "balanced":
        _balance(cfg, heads, class_weight, **arm.settings)
    elif arm.weighting == "ohem":
        sampler = dict(type="OHEMPixelSampler", **_ohem(cfg, **arm.settings))
        for head in heads:
            head.sampler = sampler
    else:
        for head in heads:
            factor = head.get("loss_decode", {}).get("loss_weight", 1.0)
            head.loss_decode = dict(type="SoftmaxFocalLoss", loss_weight=factor, **arm.settings)
        add_import(cfg, "core.rivals.focal")
    return cfg


def _balance(
    cfg: Config, heads: list[dict], class_weight: Sequence[float] | None, reduction: str
) -> None:
    if class_weight is None:
        raise CannotConvert("balanced needs class weights: --class-weights FILE")
    for head in heads:
        if len(class_weight) != head.num_classes:
            raise CannotConvert(
                f"{len(class_weight)} class weights for {head.num_classes} classes; count them "
                "in the labels of this data set"
            )
        factors = [float(x) for x in class_weight]
        if reduction == "weights":
            head.setdefault("loss_decode", dict(type="CrossEntropyLoss"))
            head.loss_decode.class_weight = factors
        else:
            factor = head.get("loss_decode", {}).get("loss_weight", 1.0)
            head.loss_decode = dict(
                type="PixelMeanCrossEntropy", loss_weight=factor, class_weight=factors)  # fmt: skip
    if not all(0 < x < math.inf for x in class_weight):
        raise CannotConvert("class weights must be positive numbers")
    if reduction == "pixels":
        add_import(cfg, "core.rivals.balanced")


def _ohem(cfg: Config, thresh: float, min_kept: float | None) -> dict:
    if min_kept is None:
        size = cfg.get("crop_size") or (cfg.model.get("data_preprocessor") or {}).get("size")
        if size is None:
            raise CannotConvert("the config has no crop_size: give ohem's min_kept")
        min_kept = OHEM_MIN_KEPT * size[0] * size[1] / OHEM_CROP
    if min_kept < 2:
        raise CannotConvert(f"min_kept is a number of pixels, >= 2, got {min_kept}: give it")
    return dict(thresh=thresh, min_kept=round(min_kept))
