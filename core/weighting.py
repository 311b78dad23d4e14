"""One switch: how the pixels of a config's segmentation loss are weighted.

The rivals are those of the paper's Table 6, each as its logs' headers have it. Auxiliary heads keep
their plain cross-entropy throughout.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from mmengine.config import Config

from core.convert import CannotConvert, decode_heads, to_collected, to_hl
from core.engine.configs import add_import

# Name -> the options that it takes, with their defaults; those of HL are HardnessLoss's.
WEIGHTINGS = {
    "ce": {},
    "ce-scaled": {},
    "balanced": {},
    "ohem": {"thresh": 0.7, "min_kept": None},
    "focal": {"gamma": 2.0},
    "hl": {},
    "collected": {},
}
# "at least 100,000 pixels" of a 769x769 crop; smaller crops keep the same share.
OHEM_MIN_KEPT, OHEM_CROP = 100_000, 769 * 769


def with_weighting(
    cfg: Config,
    weighting: str,
    *,
    class_weight: Sequence[float] | None = None,
    hardness: str | None = None,
    **options: float | str,
) -> Config:
    """``cfg`` with another weighting of its decode head's pixels; ``cfg`` is left as it is.

    Args:
        cfg: a whole config whose decode heads have one softmax cross-entropy each.
        weighting: ``"ce"`` (as it is), ``"ce-scaled"`` or ``"hl"`` (:func:`core.convert.to_hl`),
            ``"balanced"`` (a factor per class), ``"ohem"`` (the pixels whose probability is under
            ``thresh``, at least ``min_kept`` an image; others get no loss), ``"focal"``
            (:class:`core.focal.SoftmaxFocalLoss`), or ``"collected"``
            (:func:`core.convert.to_collected`).
        class_weight: of ``"balanced"``: a positive factor for every class.
        hardness: of ``"collected"``: the folder of the maps.
        options: ``thresh`` (0-1) and ``min_kept`` (pixels an image; by default 100,000 of a
            769x769 crop and the same share of others) of ``"ohem"``, ``gamma`` of ``"focal"``,
            arguments of :class:`core.hardness.HardnessLoss` of ``"hl"``, ``"ce-scaled"`` and
            ``"collected"``.

    Raises:
        CannotConvert: the heads have another loss, an option is unknown or out of range, or the
            class weights do not fit.
    """
    if weighting not in WEIGHTINGS:
        raise CannotConvert(f"weighting {weighting!r}, there are: {', '.join(WEIGHTINGS)}")
    if weighting in ("hl", "ce-scaled"):
        return to_hl(cfg, weighting=weighting, **options)
    if weighting == "collected":
        if hardness is None:
            raise CannotConvert(
                "collected needs the folder of the maps; fully_supervised/collect_hardness.py "
                "writes them"
            )
        return to_collected(cfg, hardness, **options)
    known = WEIGHTINGS[weighting]
    for name in options:
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise CannotConvert(f"weighting {weighting} has no option {name!r}; {has}")
    if weighting == "ce":
        return cfg
    cfg = copy.deepcopy(cfg)
    heads = decode_heads(cfg)
    options = known | options
    if weighting == "balanced":
        _balance(heads, class_weight)
    elif weighting == "ohem":
        sampler = dict(type="OHEMPixelSampler", **_ohem(cfg, **options))
        for head in heads:
            head.sampler = sampler
    else:
        if options["gamma"] < 0:
            raise CannotConvert(f"gamma must be >= 0, got {options['gamma']}")
        for head in heads:
            factor = head.get("loss_decode", {}).get("loss_weight", 1.0)
            head.loss_decode = dict(type="SoftmaxFocalLoss", loss_weight=factor, **options)
        add_import(cfg, "core.focal")
    return cfg


def _balance(heads: list[dict], class_weight: Sequence[float] | None) -> None:
    if class_weight is None:
        raise CannotConvert("balanced needs class weights; see fully_supervised/class_weights.py")
    for head in heads:
        if len(class_weight) != head.num_classes:
            raise CannotConvert(
                f"{len(class_weight)} class weights for {head.num_classes} classes; make them "
                "from this data set with fully_supervised/class_weights.py"
            )
        head.setdefault("loss_decode", dict(type="CrossEntropyLoss"))
        head.loss_decode.class_weight = [float(x) for x in class_weight]
    if not all(x > 0 for x in class_weight):
        raise CannotConvert("class weights must be positive")


def _ohem(cfg: Config, thresh: float, min_kept: float | None) -> dict:
    if not 0 < thresh <= 1:
        raise CannotConvert(f"thresh is a probability, got {thresh}")
    if min_kept is None:
        size = cfg.get("crop_size") or (cfg.model.get("data_preprocessor") or {}).get("size")
        if size is None:
            raise CannotConvert("the config has no crop_size: give ohem's min_kept")
        min_kept = OHEM_MIN_KEPT * size[0] * size[1] / OHEM_CROP
    if min_kept < 2:
        raise CannotConvert(f"min_kept is a number of pixels, got {min_kept}")
    return dict(thresh=thresh, min_kept=round(min_kept))
