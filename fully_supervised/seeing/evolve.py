"""How loss and HL map change while a trained model goes on training on one image (Figure 1).

    python fully_supervised/hardness.py evolve work_dirs/RUN/iter_1500.pth --index 3

The image is one of those that the checkpoint's config validates on, by --index, or a file with its
label. The checkpoint stays as it is.

The training step is the model's own: its losses, the config's optimizer with its rates by layer. It
sees the image at the size of the test pipeline, with no augmentation, in the mode in which it
predicts: BatchNorm keeps its statistics (those of one image would change the map at once, without
any training), and nothing is dropped. So nothing is random, and on a CPU two runs are equal to the
bit. The learning rate is constant, a tenth of the config's first one: at the end of its schedule
hardly anything moves, and at its begin one image, with statistics that stay, can diverge.
"""

from __future__ import annotations

import argparse
import copy
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from core.engine.cli import positive
from core.errors import ConfigError, NotFinite
from core.files import write_atomically
from core.section import Chart, Grid, Section, Shown, Strip
from data.errors import DataError
from data.roots import add_root_flag
from fully_supervised.seeing.drawn import counted, need_map, number, quiet, strip
from fully_supervised.seeing.inputs import (
    NO_CLASS,
    SPLITS,
    Item,
    add_checkpoint_flags,
    add_out_flag,
    images_of,
)

if TYPE_CHECKING:
    from core.predict import Predictor

SHOWN = (0, 1, 10, 50, 100)  # iterations that are drawn, as in Figure 1
LAST = 100
RANKS = ("rank_map", "rank_now", "rank_first")  # of the map: see _ranks
SHARE = 0.1  # of the config's first learning rate
VOID = (128, 128, 128)  # RGB of pixels without a class in a map of cross-entropy


class State(NamedTuple):
    """Of the model at an iteration: ``loss``, cross-entropy of each pixel, and ``hardness``,
    sigmoid(D), both (H, W); ``wrong``, share of the labeled pixels; ``gain``, mean cross-entropy
    weighted by the map over the plain one."""

    loss: np.ndarray
    hardness: np.ndarray
    ce: float
    wrong: float
    gain: float | None


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_checkpoint_flags(parser, "checkpoint")
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="a file [an image of the "
                        "validation set that the checkpoint's config reads]")  # fmt: skip
    parser.add_argument("--labels", metavar="FILE", help="label of the file, .png of class ids and "
                        "of the same name; or its folder")  # fmt: skip
    parser.add_argument("--data", help="images of this data set of data/registry.py")
    add_root_flag(parser)
    parser.add_argument("--split", choices=SPLITS, default="val", help="of the data set [val]")
    parser.add_argument("--index", type=_index, metavar="N", help="which image, from 0 "
                        "[0]")  # fmt: skip
    parser.add_argument("--iterations", type=positive, default=LAST, help=f"[{LAST}]")
    parser.add_argument("--lr", type=_rate, help=f"learning rate [{SHARE:g} of the config's "
                        "optimizer]")  # fmt: skip
    parser.set_defaults(limit=None)
    add_out_flag(parser, "hardness, beside the checkpoint")


def _index(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text}: give a whole number, 0 or more")
    return int(text)


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text}: give a number above 0")
    return value


def run(args: argparse.Namespace, folder: Path) -> Section:
    from core.analysis.similarity import WINDOW, ssim
    from core.predict import load, read_picture

    predictor = load(args.checkpoint, config=args.config, device=args.device,
                     trust=args.trust_imports)  # fmt: skip
    need_map(predictor, args.checkpoint)
    predictor.model = predictor.hl_model  # of U²PL the student, which learns the map
    images = images_of(args, predictor, labels=True)
    if args.images and args.index is None and len(images) > 1:
        raise ConfigError(f"{images.title}: are {len(images)} images, it trains on one; say which: "
                          "--index N")  # fmt: skip
    index = args.index or 0
    if index >= len(images):
        raise ConfigError(f"--index {index}: {images.title} holds {len(images)} images, 0 to "
                          f"{len(images) - 1}")  # fmt: skip
    item = images.items[index]
    picture = read_picture(item.image)
    if min(picture.shape[:2]) < WINDOW:
        raise ConfigError(f"{item.image}: is smaller than {WINDOW} pixels, SSIM's window; take "
                          "another image")  # fmt: skip
    label = images.label(item, picture.shape[:2], len(predictor.classes))
    if not (label != NO_CLASS).any():
        raise DataError(f"{item.label}: no pixel has a class; take another image")

    training = OneImage(predictor, picture, label, args.lr, args.checkpoint)
    shown = [k for k in SHOWN if k < args.iterations] + [args.iterations]
    state = first = last = training.state()
    kept, curves = {0: first}, {k: [] for k in ("consecutive", "first", "ce", "gain")}
    for k in counted(range(args.iterations + 1), "training on one image", args.iterations + 1):
        if k:
            training.step(k)
            state = training.state()
            curves["consecutive"].append([k, ssim(last.hardness, state.hardness)])
            curves["first"].append([k, ssim(first.hardness, state.hardness)])
        curves["ce"].append([k, state.ce])
        if state.gain is not None:
            curves["gain"].append([k, state.gain])
        if k in shown:
            kept[k] = state
        last = state
    return _section(args, folder, training, item, picture, label, kept, curves)


class OneImage:
    """A model that trains on one image.

    Args:
        predictor: its model is changed.
        picture: (H, W, 3) uint8, RGB.
        label: (H, W), classes or :data:`NO_CLASS`.
        lr: None: :data:`SHARE` of what the config's optimizer has.
        path: of the checkpoint, for what is said of it.

    Raises:
        ConfigError: the config has no optimizer, or one that cannot be built.
    """

    def __init__(self, predictor: Predictor, picture: np.ndarray, label: np.ndarray,
                 lr: float | None, path: Path) -> None:  # fmt: skip
        self.predictor, self.picture, self.label = predictor, picture, label
        self.model = predictor.model.eval()
        self.valid = label != NO_CLASS
        self.optimizer, self.settings, self.changes = self._optimizer(lr, path)
        self._batch = self._packed()

    def _optimizer(self, lr: float | None, path: Path) -> tuple[Any, dict, str]:
        """As the config builds it; in full precision and with a step every iteration."""
        from mmengine.optim import build_optim_wrapper

        given = self.predictor.cfg.get("optim_wrapper")
        settings = dict((given or {}).get("optimizer") or {})
        if "lr" not in settings or "type" not in settings:
            raise ConfigError(f"{path}: its config has no optimizer (optim_wrapper.optimizer with "
                              "type and lr); name one that has: --config FILE")  # fmt: skip
        settings["lr"] = lr or SHARE * settings["lr"]
        changes = []
        if given.get("type", "OptimWrapper") != "OptimWrapper":
            changes.append(f"OptimWrapper in the place of {given['type']}")
        if given.get("accumulative_counts", 1) != 1:
            changes.append("a step every iteration")
        own = {k: given[k] for k in ("paramwise_cfg", "constructor", "clip_grad") if k in given}
        wanted = dict(own, type="OptimWrapper", optimizer=dict(settings))
        try:
            with quiet():
                return build_optim_wrapper(self.model, wanted), settings, "; ".join(changes)
        except Exception as error:  # registries and constructors raise of any kind
            words = " ".join(str(error).split())[:200]
            raise ConfigError(f"{path}: its optimizer cannot be built ({words}); name a config "
                              "whose can: --config FILE") from error  # fmt: skip

    def _packed(self) -> dict:
        """The batch as a training's loader would give it: the label at the size of the input."""
        import cv2
        import torch
        from mmengine.structures import PixelData

        from core.engine.measuring import ignore_index_of

        batch = self.predictor.batch(self.picture)
        height, width = batch["inputs"][0].shape[-2:]
        ids = np.where(self.valid, self.label, ignore_index_of(self.model)).astype(np.int32)
        ids = cv2.resize(ids, (width, height), interpolation=cv2.INTER_NEAREST)
        target = torch.from_numpy(ids.astype(np.int64))[None]
        batch["data_samples"][0].gt_sem_seg = PixelData(data=target)
        return batch

    def step(self, iteration: int) -> None:
        """One training step.

        Raises:
            NotFinite: the loss is not, or a weight is not any more.
        """
        data = self.model.data_preprocessor(copy.deepcopy(self._batch), True)
        loss, _ = self.model.parse_losses(self.model.loss(**data))
        if not loss.isfinite():
            raise NotFinite(f"the loss is {loss.item()} at iteration {iteration}, with learning "
                            f"rate {self.settings['lr']:g}; give a lower one: --lr")  # fmt: skip
        self.optimizer.update_params(loss)

    def state(self) -> State:
        """What the model makes of the image now, at the picture's size."""
        import torch

        from core.analysis.pixels import pixel_figures

        look = self.predictor.look(self.picture)
        target = torch.from_numpy(self.label).to(self.predictor.device)
        of = pixel_figures(look.seg_logits, self.label.shape, label=target,
                           align_corners=self.predictor.align_corners)  # fmt: skip
        hardness, loss = self.predictor.hardness(look), of.loss.cpu().numpy()
        if not np.isfinite(loss).all() or not np.isfinite(hardness).all():
            raise NotFinite("the model's output is not finite any more, with learning rate "
                            f"{self.settings['lr']:g}; give a lower one: --lr")  # fmt: skip
        z = hardness[self.valid].astype(np.float64) + self.model.hl_loss.c
        ce = loss[self.valid].astype(np.float64)
        gain = (z * ce).sum() / z.sum() / ce.mean() if ce.mean() > 0 else None
        wrong = (of.pred != target).cpu().numpy()[self.valid].mean()
        return State(loss, hardness, float(ce.mean()), float(wrong), None if gain is None
                     else float(gain))  # fmt: skip


def _section(args: argparse.Namespace, folder: Path, training: OneImage, item: Item,
             picture: np.ndarray, label: np.ndarray, kept: dict[int, State],
             curves: dict[str, list]) -> Section:  # fmt: skip
    from core.analysis.colors import color_hardness, color_labels
    from core.analysis.overlays import legend

    valid = training.valid
    top = _scale(kept[0].loss[valid])
    ranks = _ranks(kept, valid)
    losses = {k: _color_loss(state.loss, valid, top) for k, state in kept.items()}
    maps = {k: color_hardness(state.hardness) for k, state in kept.items()}
    write_atomically(_figure(losses, maps, top), folder / "evolve.png")
    strips = [strip(folder, "image", item.name, {
        "image": picture,
        "label": color_labels(np.where(valid, label, 255), training.predictor.palette),
    }), strip(folder, "classes", "Colours of the classes", {
        "black has no class": legend(training.predictor.classes, training.predictor.palette),
    })]  # fmt: skip
    whole = (Shown("evolve.png", f"above cross-entropy, 0 to {top:g}; below HL map, 0 to 1",
                   photo=True),)  # fmt: skip
    strips = [Strip(f"Iterations {', '.join(map(str, kept))}", whole), *strips]
    rows = tuple(
        (str(k), number(s.ce, 4), number(100 * s.wrong, 2), number(s.gain),
         number(_at(curves["consecutive"], k), 4), number(_at(curves["first"], k)),
         number(s.hardness.mean()), *(number(x) for x in ranks[k]))
        for k, s in kept.items()
    )  # fmt: skip
    hl, settings = training.model.hl_loss, training.settings
    end = max(kept)
    scale = f"0 to {top:g}"
    return Section(
        kind="evolve", title="Loss and HL map while training on one image",
        words=_words(training, kept, curves, ranks, args.lr),
        facts={
            "Checkpoint": str(args.checkpoint), "Image": str(item.image),
            "Label": str(item.label),
            "Input": "x".join(map(str, training._batch["inputs"][0].shape[:0:-1]))
                     + ", no augmentation, one image a batch",
            "Optimizer": ", ".join(f"{k} {v}" for k, v in settings.items()),
            "Learning rate": f"{settings['lr']:g}, constant "
                             + ("(--lr)" if args.lr else f"({SHARE:g} of the config's first)"),
            "HL": f"alpha {hl.alpha:g}, c {hl.c:g}, weighting {hl.weighting}",
            "Changed": training.changes or "nothing of the config's optimizer",
            "Device": str(training.predictor.device),
        },
        tables=(Grid("While training on one image", ("Iteration", "CE", "wrong, %", "hl_gain",
                     "SSIM, last step", "SSIM to 0", "mean sigmoid(D)",
                     "rank with map 0", "rank with CE now", "rank with CE at 0"), rows,
                     "CE: mean cross-entropy of the labeled pixels. hl_gain: that of Eq. 4 over "
                     "it. rank: Spearman's correlation of sigmoid(D) with that of iteration 0, "
                     "and with the cross-entropy."),),
        charts=(
            Chart("Similarity of HL maps", "iteration", "SSIM",
                  {"of one step": curves["consecutive"], "to iteration 0": curves["first"]}),
            Chart("Mean cross-entropy", "iteration", "CE", {"CE": curves["ce"]}),
            Chart("What the map adds to the loss", "iteration", "hl_gain",
                  {"hl_gain": curves["gain"]}),
        ),
        strips=tuple(strips),
        files={"evolve.png": f"cross-entropy (scale {scale}) and HL map (0 to 1), iterations "
                             f"0 to {end}"},
        figures=dict(curves=curves, ce_scale=top, alpha=hl.alpha, lr=settings["lr"],
                     states={str(k): dict(ce=s.ce, wrong=s.wrong, gain=s.gain,
                                          **dict(zip(RANKS, ranks[k], strict=True)))
                             for k, s in kept.items()}),
    )  # fmt: skip


def _words(training: OneImage, kept: dict[int, State], curves: dict, ranks: dict,
           lr: float | None) -> tuple[str, ...]:  # fmt: skip
    end, lowest = max(kept), min(curves["consecutive"], key=lambda point: point[1])
    begin, now = kept[0], kept[end]
    return (
        f"Cross-entropy falls from {number(begin.ce)} to {number(now.ce)} in {end} iterations on "
        f"this one image. The last HL map and the first one have an SSIM of "
        f"{number(curves['first'][-1][1])}, the order of their pixels a rank correlation of "
        f"{number(ranks[end][0])}: that is how far it went. It went in small steps: one iteration "
        f"changes it to an SSIM of {number(lowest[1])} at the least (iteration {lowest[0]}). It is "
        "one image and one model: another can behave otherwise.",
        "The paper says that the map encodes the losses of the past, not those of now: the last "
        f"map's rank correlation with the cross-entropy before this training is "
        f"{number(ranks[end][2])}, with that of now {number(ranks[end][1])}; at the begin it was "
        f"{number(ranks[0][1])}.",
        "The learning rate is " + ("that of --lr" if lr else f"{SHARE:g} of the config's first one")
        + f", {training.settings['lr']:g}, and stays; the paper does not say which it took, and "
        "how far the map goes depends on it. The default was chosen on one image of CamVid after "
        "others: the config's own rate diverged. BatchNorm keeps its "
        "statistics and nothing is dropped, so that the map at iteration 0 is the trained model's "
        "and every change is of training.",
    )  # fmt: skip


def _ranks(kept: dict[int, State], valid: np.ndarray) -> dict[int, tuple[float | None, ...]]:
    """Of the map with that of iteration 0, with the cross-entropy of now and that of iteration
    0."""
    from core.analysis.similarity import spearman

    first = kept[0]
    return {k: tuple(spearman(s.hardness[valid], other[valid])
                     for other in (first.hardness, s.loss, first.loss))
            for k, s in kept.items()}  # fmt: skip


def _scale(loss: np.ndarray) -> float:
    """Top of the scale of all maps of cross-entropy: what 1 % of the pixels exceed at first, up to
    a half."""
    return max(0.5, math.ceil(2 * float(np.quantile(loss, 0.99))) / 2)


def _color_loss(loss: np.ndarray, valid: np.ndarray, top: float) -> np.ndarray:
    from core.analysis.colors import color_hardness

    return np.where(valid[..., None], color_hardness(loss / top), np.uint8(VOID))


def _at(curve: list, iteration: int) -> float | None:
    return next((y for x, y in curve if x == iteration), None)


def _figure(losses: dict[int, np.ndarray], maps: dict[int, np.ndarray], top: float) -> bytes:
    """Both rows with one colour bar each, as a PNG file."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize
    from matplotlib.figure import Figure

    from core.analysis.colors import ramp_hex

    ramp = LinearSegmentedColormap.from_list("hardness", ramp_hex())
    height, width = next(iter(maps.values())).shape[:2]
    wide, tall = 2.6, 2.6 * height / width  # inches of a picture
    figure = Figure(figsize=(wide * len(maps) + 1.2, 2 * tall + 0.6), layout="constrained", dpi=160)
    grid = figure.subplots(2, len(maps), squeeze=False)
    rows = (("cross-entropy", losses, top, "max"), ("HL map, sigmoid(D)", maps, 1.0, "neither"))
    for row, (title, pictures, end, more) in zip(grid, rows, strict=True):
        for axes, (k, picture) in zip(row, pictures.items(), strict=True):
            axes.imshow(picture, interpolation="nearest")
            axes.set(xticks=[], yticks=[], title=f"iteration {k}")
        row[0].set_ylabel(title)
        figure.colorbar(ScalarMappable(Normalize(0, end), ramp), ax=list(row), shrink=0.92,
                        pad=0.01, extend=more)  # fmt: skip
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
