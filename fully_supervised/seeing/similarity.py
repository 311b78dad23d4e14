"""Mean SSIM between the HL maps of two models on one set of images (section 4.3 of the paper).

    python fully_supervised/hardness.py similarity A/iter_1500.pth B/iter_1500.pth

The models may differ in network, data set and classes. Beside their SSIM stands what maps reach
that have less in common: A and a branch on A's features that was never trained, and A on one image
and on another one. The images are those of A's config, or those that are named.
"""

from __future__ import annotations

import argparse
import copy
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from core.errors import ConfigError
from core.files import write_atomically
from core.section import Grid, Section
from fully_supervised.seeing.drawn import counted, csv_of, need_map, number, quiet, strip
from fully_supervised.seeing.inputs import (
    Images,
    Item,
    add_checkpoint_flags,
    add_image_flags,
    add_out_flag,
    check,
    images_of,
)

if TYPE_CHECKING:
    from core.predict import Predictor

SEED = 0  # of the untrained branch
ENDS = 5  # images at either end that are listed; of the first two a strip is drawn
DRAWN = 2
STEP = 0.05  # of the histogram
PAIRS = {"models": "A and B", "untrained": "A and an untrained branch",
         "apart": "A on one image and on another"}  # fmt: skip
MEASURES = ("ssim", "pearson", "spearman")


class Pair(NamedTuple):
    """Of two maps; the correlations are None where one is flat."""

    ssim: float
    pearson: float | None
    spearman: float | None


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_checkpoint_flags(parser, "checkpoint", "other")
    add_image_flags(parser)
    add_out_flag(parser, "hardness, beside the first checkpoint")


def run(args: argparse.Namespace, folder: Path) -> Section:
    from core.predict import load, read_picture

    a, b = (load(path, config=args.config, device=args.device, trust=args.trust_imports)
            for path in (args.checkpoint, args.other))  # fmt: skip
    need_map(a, args.checkpoint)
    need_map(b, args.other)
    images = images_of(args, a)
    check(images)
    never = untrained(a)

    found: list[tuple[Item, dict[str, Pair | None]]] = []
    spreads, before = np.zeros(2), None
    for item in counted(_apart(images.items), "HL maps", len(images)):
        picture = read_picture(item.image)
        maps = [model.hardness(model.look(picture)) for model in (a, b, never)]
        spreads += [scores.std() for scores in maps[:2]]
        near = before is not None and before.shape == maps[0].shape
        found.append((item, {
            "models": _pair(maps[0], maps[1], item),
            "untrained": _pair(maps[0], maps[2], item),
            "apart": _pair(maps[0], before, item) if near else None,
        }))  # fmt: skip
        before = maps[0]
    found.sort(key=lambda entry: entry[1]["models"].ssim)
    write_atomically(_csv(found), folder / "similarity.csv")
    return _section(args, folder, a, b, images, found, spreads / len(images))


def _apart(items: list[Item]) -> list[Item]:
    """In an order where one follows the other from half the set away: neighbours may be frames of
    one video."""
    half = (len(items) + 1) // 2
    pairs = itertools.zip_longest(items[:half], items[half:])
    return [item for pair in pairs for item in pair if item is not None]


def untrained(predictor: Predictor) -> Predictor:
    """The same model with an HL branch as at the begin of a training, of seed :data:`SEED`."""
    import torch

    other = copy.copy(predictor)
    other.hl_model = copy.deepcopy(predictor.hl_model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        head = other.hl_model.hl_head.cpu()
        for module in head.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
        with quiet():
            for stage in head if isinstance(head, torch.nn.ModuleList) else [head]:
                stage.init_weights()
        head.to(predictor.device)
    return other


def _pair(a: np.ndarray, b: np.ndarray, item: Item) -> Pair:
    from core.analysis.similarity import WINDOW, pearson, spearman, ssim

    if min(a.shape) < WINDOW:
        raise ConfigError(f"{item.image}: is {a.shape[1]}x{a.shape[0]}; SSIM needs {WINDOW} pixels "
                          "a side, leave it out")  # fmt: skip
    return Pair(ssim(a, b), pearson(a, b), spearman(a, b))


def _csv(found: list[tuple[Item, dict[str, Pair | None]]]) -> bytes:
    rows = []
    for item, pairs in found:
        values = [getattr(pairs[p], name, None) for p in PAIRS for name in MEASURES]
        rows.append([item.name, *("" if v is None else f"{v:.6f}" for v in values)])
    return csv_of(["image", *(f"{pair}_{name}" for pair in PAIRS for name in MEASURES)], rows)


def _section(args: argparse.Namespace, folder: Path, a: Predictor, b: Predictor, images: Images,
             found: list, spreads: np.ndarray) -> Section:  # fmt: skip
    figures = {pair: _figures([pairs[pair] for _, pairs in found]) for pair in PAIRS}
    of = {pair: number(figures[pair]["ssim"]["mean"]) for pair in PAIRS}
    beside = f"A and a branch that was never trained reach {of['untrained']}"
    if figures["apart"]["ssim"]["n"]:
        beside += f", A on one image and on another one {of['apart']}"
    words = (
        f"SSIM between the HL maps of A and B is {of['models']} in the mean of {len(images)} "
        f"images. How to read it: {beside}. SSIM of smooth or flat maps is high whatever they "
        "show; only what lies above these figures is likeness, and the correlations beside it do "
        "not reward a flat map.",
        f"The maps are not flat by nature: in the mean over the images, sigmoid(D) spreads by "
        f"{number(spreads[0])} in A and by {number(spreads[1])} in B (standard deviation of the "
        "pixels of an image; 0 is flat, 0.5 black and white).",
        "The paper gives 0.95 (both trained on Cityscapes) and 0.84 (ADE20K and Cityscapes), "
        "PSPNet with ResNet-101, on Cityscapes val, without saying window or size; figures of "
        "other networks and sizes of image are not to be compared with these.",
    )
    rows = []
    for pair, title in PAIRS.items():
        s = figures[pair]
        if s["ssim"]["n"]:
            rows.append((title, *(number(s["ssim"][k]) for k in ("mean", "std", "min", "max")),
                         number(s["pearson"]["mean"]), number(s["spearman"]["mean"]),
                         str(s["ssim"]["n"])))  # fmt: skip
    head = ("Maps of", "SSIM", "std", "min", "max", "Pearson", "Spearman", "n")
    summary = Grid("Likeness of the maps", head, tuple(rows),
                   "Means over the images, each counts once.")  # fmt: skip
    strips = []
    for name, ends in (("least", found[:DRAWN]), ("most", found[::-1][:DRAWN])):
        for place, (item, pairs) in enumerate(ends, start=1):
            if len(found) > len(strips):
                strips.append(_drawn(folder, f"{name}-{place}", a, b, item, pairs["models"]))
    return Section(
        kind="similarity", title="Similarity of HL maps", words=words,
        facts={"A": str(args.checkpoint), "B": str(args.other),
               "Images": f"{images.title}: {len(images)}",
               "SSIM": "of sigmoid(D) at the picture's size, Gaussian window of 11x11 pixels "
                       "(sigma 1.5), range 1, as Wang et al. 2004",
               "Untrained branch": f"A's, initialised anew, seed {SEED}",
               "Another image": "of the same set and size, about half the set away",
               "Device": str(a.device)},
        tables=(summary, _ends(found), _histogram(found)), strips=tuple(strips),
        files={"similarity.csv": "SSIM and correlations of every image"},
        figures=dict(figures, spread=dict(a=float(spreads[0]), b=float(spreads[1]))),
    )  # fmt: skip


def _figures(pairs: list[Pair | None]) -> dict[str, dict[str, float | int | None]]:
    found = {}
    for name in MEASURES:
        values = [getattr(pair, name) for pair in pairs if pair]
        values = np.array([v for v in values if v is not None])
        told = dict(mean=None, std=None, min=None, max=None)
        if len(values):
            told = {k: float(getattr(values, k)()) for k in told}
        found[name] = dict(told, n=len(values))
    return found


def _ends(found: list) -> Grid:
    low, high = found[:ENDS], found[max(ENDS, len(found) - ENDS) :]
    rows = tuple((item.name, *(number(getattr(pairs["models"], k)) for k in MEASURES))
                 for item, pairs in itertools.chain(low, high))  # fmt: skip
    title = f"The {len(low)} images least alike, and the {len(high)} most" if high else "Each image"
    return Grid(title, ("Image", "SSIM", "Pearson", "Spearman"), rows)


def _histogram(found: list) -> Grid:
    steps = np.array([np.floor(pairs["models"].ssim / STEP + 1e-9) for _, pairs in found])
    rows = []
    for step in range(int(steps.min()), int(steps.max()) + 1):
        low, high = step * STEP, (step + 1) * STEP
        span = f"{number(low, 2)} to {number(high, 2)}" if low < 1 else "1"
        rows.append((span, str(int((steps == step).sum()))))
    return Grid("Images by SSIM", ("SSIM", "Images"), tuple(rows))


def _drawn(folder: Path, stem: str, a: Predictor, b: Predictor, item: Item, pair: Pair):
    from core.analysis.colors import color_hardness
    from core.predict import read_picture

    picture = read_picture(item.image)
    maps = [color_hardness(model.hardness(model.look(picture))) for model in (a, b)]
    pictures = {"image": picture, "HL map of A": maps[0], "HL map of B": maps[1]}
    title = f"{item.name}: SSIM {number(pair.ssim)}, Spearman {number(pair.spearman)}"
    return strip(folder, stem, title, pictures)
