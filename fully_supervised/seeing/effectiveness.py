"""mIoU of baseline and +HL on pixels of decreasing hardness (Figure 4 of the paper).

    python fully_supervised/hardness.py effectiveness BASELINE.pth HL.pth

All labeled pixels of all images are put in the order of sigmoid(D) of the HL map and cut into ten
subsets of equal size. Beside it: how well the map tells where a model's cross-entropy is high and
where it is wrong, and how well the models' own entropy and softmax margin do. The images are those
that HL's config validates on, or those that are named, with --labels.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from core.errors import ConfigError
from core.section import Chart, Grid, Section
from data.errors import DataError
from fully_supervised.seeing.drawn import counted, need_map, number, strip
from fully_supervised.seeing.inputs import (
    NO_CLASS,
    Images,
    Item,
    add_checkpoint_flags,
    add_image_flags,
    add_out_flag,
    check,
    images_of,
)

if TYPE_CHECKING:
    from core.analysis.pixels import PixelFigures
    from core.predict import Predictor

SUBSETS = 10
DRAWN = 3  # images of which strips are shown
MODELS = {"baseline": "baseline", "hl": "+HL"}
SCORES = {"map": "HL map", "baseline_entropy": "entropy of the baseline",
          "baseline_margin": "1 − margin of the baseline", "hl_entropy": "entropy of +HL",
          "hl_margin": "1 − margin of +HL"}  # fmt: skip


class _Seen(NamedTuple):
    """An image: the picture, its label, the map, and what each model makes of it."""

    picture: np.ndarray
    label: np.ndarray
    hardness: np.ndarray
    of: dict[str, PixelFigures]

    @property
    def valid(self) -> np.ndarray:
        return self.label != NO_CLASS


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_checkpoint_flags(parser, "baseline", "checkpoint")
    add_image_flags(parser, labels=True)
    add_out_flag(parser, "hardness, beside the HL checkpoint")


def run(args: argparse.Namespace, folder: Path) -> Section:
    from core.analysis.deciles import HardnessSubsets, ScoreMeter, SubsetMeter
    from core.predict import load, read_picture

    models = {name: load(path, config=args.config, device=args.device, trust=args.trust_imports)
              for name, path in (("baseline", args.baseline), ("hl", args.checkpoint))}  # fmt: skip
    hl, base = models["hl"], models["baseline"]
    need_map(hl, args.checkpoint)
    if base.classes != hl.classes:
        other = len(base.classes) != len(hl.classes)
        what = f"{len(base.classes)} and {len(hl.classes)}" if other else "others by name"
        raise ConfigError(f"{args.baseline} and {args.checkpoint}: their classes differ ({what}); "
                          "take two models of one data set")  # fmt: skip
    images = images_of(args, hl, labels=True)
    check(images)

    subsets = HardnessSubsets(SUBSETS)
    for item in counted(images.items, "hardness", len(images)):
        picture = read_picture(item.image)
        label = images.label(item, picture.shape[:2], len(hl.classes))
        subsets.count(hl.hardness(hl.look(picture)), label != NO_CLASS)
    if not subsets.total:
        raise DataError(f"{images.title}: no pixel of its {len(images)} images has a class")

    parts = {name: SubsetMeter(SUBSETS, len(hl.classes)) for name in models}
    scores = {(score, name): ScoreMeter() for score in SCORES for name in models}
    limits = np.full((SUBSETS, 2), (1.0, 0.0))  # least and largest sigmoid(D)
    drawn = set(images.spread(DRAWN).items)
    strips = []
    for item in counted(images.items, "subsets", len(images)):
        seen = _see(item, images, models)
        subset = subsets.of(seen.hardness, seen.valid)
        for k in np.unique(subset[seen.valid]):
            here = seen.hardness[subset == k]
            limits[k] = min(limits[k, 0], here.min()), max(limits[k, 1], here.max())
        for name, of in seen.of.items():
            pred, loss = of.pred.cpu().numpy(), of.loss.cpu().numpy()
            parts[name].add(subset, seen.label, pred, loss)
            wrong = (pred != seen.label)[seen.valid]
            for score, values in _scores(seen, len(hl.classes)).items():
                scores[score, name].add(values[seen.valid], loss[seen.valid], wrong)
        if item in drawn:
            strips.append(_drawn(folder, len(strips) + 1, item, seen, subset, hl))
    found = {name: part.result() for name, part in parts.items()}
    told = {key: meter.result() for key, meter in scores.items()}
    return _section(args, hl, images, found, told, limits, tuple(strips))


def _see(item: Item, images: Images, models: dict[str, Predictor]) -> _Seen:
    import torch

    from core.analysis.pixels import pixel_figures
    from core.predict import read_picture

    picture = read_picture(item.image)
    size = picture.shape[:2]
    label = images.label(item, size, len(models["hl"].classes))
    looks = {name: model.look(picture, hardness=name == "hl") for name, model in models.items()}
    of = {}
    for name, model in models.items():
        target = torch.from_numpy(label).to(model.device)
        of[name] = pixel_figures(looks[name].seg_logits, size, align_corners=model.align_corners,
                                 label=target)  # fmt: skip
    return _Seen(picture, label, models["hl"].hardness(looks["hl"]), of)


def _scores(seen: _Seen, num_classes: int) -> dict[str, np.ndarray]:
    """Each (H, W), 0-1, high where it says that a pixel is hard."""
    found = {"map": seen.hardness}
    for name, of in seen.of.items():
        found[f"{name}_entropy"] = of.entropy.cpu().numpy() / np.log(num_classes)
        found[f"{name}_margin"] = 1 - of.margin.cpu().numpy()
    return found


def _drawn(folder: Path, place: int, item: Item, seen: _Seen, subset: np.ndarray, hl: Predictor):
    from core.analysis.colors import color_errors, color_hardness, color_labels

    shades = color_hardness(1 - subset / (SUBSETS - 1)) * (subset >= 0)[..., None].astype(np.uint8)
    # Void is no class: 255 lies outside every palette, and is black.
    label = np.where(seen.valid, seen.label, 255)
    pictures = {
        "image": seen.picture,
        "label": color_labels(label, hl.palette),
        "subset of the HL map, the brightest is the hardest": shades,
    }
    for name, of in seen.of.items():
        pred = of.pred.cpu().numpy()
        pictures[f"errors of {'the baseline' if name == 'baseline' else '+HL'}"] = color_errors(
            seen.label, pred, len(hl.classes)
        )
    return strip(folder, f"image-{place}", item.name, pictures)


def _section(args: argparse.Namespace, hl: Predictor, images: Images, found: dict, told: dict,
             limits: np.ndarray, strips: tuple) -> Section:  # fmt: skip
    base, ours = found["baseline"], found["hl"]
    gains = [100 * (b - a) for a, b in zip(base["miou"], ours["miou"], strict=True)
             if None not in (a, b)]  # fmt: skip
    errors = {name: _share_of_errors(of) for name, of in found.items()}
    third = max(1, len(gains) // 3)
    words = (
        f"All labeled pixels of {len(images)} images in the order of sigmoid(D), the hardest "
        f"first, in {SUBSETS} subsets of equal size. +HL minus baseline is "
        f"{number(np.mean(gains[:third]), 2)} points of mIoU in the mean of the hardest "
        f"{third} and {number(np.mean(gains[-third:]), 2)} in that of the easiest {third}; its "
        f"accuracy on the hardest tenth is {_percent(ours['accuracy'][0])} %, the baseline's "
        f"{_percent(base['accuracy'][0])} %. One "
        "pair of models cannot tell a gain from the luck of a seed: trainings with other seeds can "
        "differ by as much.",
        f"The hardest tenth holds {number(100 * errors['baseline'][0], 0)} % of the baseline's "
        f"wrong pixels and {number(100 * errors['hl'][0], 0)} % of +HL's; the hardest three tenths "
        f"{number(100 * sum(errors['baseline'][:3]), 0)} and "
        f"{number(100 * sum(errors['hl'][:3]), 0)} %.",
        "mIoU of a subset is the mean over the classes that its labels hold, from labels and "
        "predictions on these pixels alone; easy subsets may hold fewer classes. The order is of "
        "the pixels of all images together, on the scores before each map is divided by its sum; "
        "the paper does not say whether its subsets are of a set or of each image. The map is that "
        "of the +HL model for both.",
        _verdict(told),
    )
    share = 100 / SUBSETS
    rows, lines = [], {}
    for k in range(SUBSETS):
        a, b = base["miou"][k], ours["miou"][k]
        rows.append((
            f"{k * share:.0f}–{(k + 1) * share:.0f} %",
            f"{limits[k, 0]:.3f}–{limits[k, 1]:.3f}" if base["pixels"][k] else "–",
            _percent(a), _percent(b),
            "–" if None in (a, b) else f"{100 * (b - a):+.2f}".replace("-", "−"),
            _percent(base["accuracy"][k]), _percent(ours["accuracy"][k]),
            number(base["loss"][k]), number(ours["loss"][k]),
            _percent(base["miou_from"][k]), _percent(ours["miou_from"][k]),
            str(base["classes"][k]),
        ))  # fmt: skip
    head = ("Hardest", "sigmoid(D)", "mIoU baseline", "mIoU +HL", "Δ", "acc. baseline", "acc. +HL",
            "CE baseline", "CE +HL", "from here baseline", "from here +HL", "classes")  # fmt: skip
    for key in ("miou", "miou_from"):
        lines[key] = {
            title: [[share * (k + (0.5 if key == "miou" else 0)), 100 * x]
                    for k, x in enumerate(found[name][key]) if x is not None]
            for name, title in MODELS.items()
        }  # fmt: skip
    of_scores = tuple(
        (title, *(number(told[score, name][k]) for k in ("rank", "auc") for name in MODELS))
        for score, title in SCORES.items()
    )
    return Section(
        kind="effectiveness", title="mIoU by hardness of the pixels", words=words,
        facts={"Baseline": str(args.baseline), "+HL": str(args.checkpoint),
               "Images": f"{images.title}: {len(images)}",
               "Pixels": f"{sum(base['pixels']):,} with a class", "Device": str(hl.device)},
        tables=(
            Grid("Subsets of decreasing hardness", head, tuple(rows),
                 "mIoU and accuracy in percent, Δ in points; CE: mean cross-entropy; from here: "
                 "mIoU of this subset and all easier ones."),
            Grid("What tells where a model fails", ("Score", "rank, CE of baseline",
                 "rank, CE of +HL", "AUC, baseline wrong", "AUC, +HL wrong"), of_scores,
                 "rank: Spearman's correlation with the cross-entropy of each pixel. AUC: "
                 "probability that a wrong pixel scores higher than a right one; 0.5 is chance."),
        ),
        charts=(
            Chart("mIoU by hardness", "pixels, %, hardest first", "mIoU, %",
                  lines["miou"], f"Each subset on its own; {_classes(base)}"),
            Chart("mIoU without the hardest pixels", "hardest pixels left out, %", "mIoU, %",
                  lines["miou_from"], f"At 0: all pixels; {_classes(base)}"),
        ),
        strips=strips,
        figures=dict(found, limits=limits.tolist(),
                     scores={s: {n: told[s, n] for n in MODELS} for s in SCORES}),
    )  # fmt: skip


def _classes(found: dict) -> str:
    """Where the mean is of fewer classes, as it leaps there."""
    few, many = min(found["classes"]), max(found["classes"])
    if few == many:
        return f"all subsets hold the same {many} classes."
    return (f"a subset holds {few} to {many} classes (table), and where their number falls the "
            "mean leaps.")  # fmt: skip


def _verdict(told: dict) -> str:
    """Which score orders the pixels best, for either model's loss and errors."""
    best = []
    for key, what in (("rank", "cross-entropy"), ("auc", "errors")):
        for name, title in MODELS.items():
            values = {score: told[score, name][key] for score in SCORES}
            values = {score: v for score, v in values.items() if v is not None}
            if values:
                first = max(values, key=values.get)
                best.append(f"{title}'s {what}: {SCORES[first]} ({number(values[first])}; HL map "
                            f"{number(values.get('map'))})")  # fmt: skip
    return "What orders the pixels best, by " + "; by ".join(best) + "." if best else (
        "Loss and errors cannot be told apart by any score here.")  # fmt: skip


def _share_of_errors(of: dict) -> list[float]:
    """Of a model's wrong pixels, the share that lies in each subset; 0 where it has none."""
    wrong = [0 if a is None else n * (1 - a)
             for n, a in zip(of["pixels"], of["accuracy"], strict=True)]  # fmt: skip
    return [x / max(sum(wrong), 1e-9) for x in wrong]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"
