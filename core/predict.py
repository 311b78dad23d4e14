"""Predict with a trained checkpoint: ``load("iter_40000.pth").predict("street.jpg")``.

The checkpoint carries its config: network, transforms of the test pipeline, mode of inference.
What comes out has the picture's own size. A checkpoint of U²PL predicts with its teacher; its HL
map is the student's.
"""

from __future__ import annotations

import colorsys
import contextlib
import copy
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from PIL import Image, ImageOps
from torch import Tensor, nn

from core import mmfixes
from core.analysis.pixels import pixel_figures
from core.configs import fit_norm, import_custom, load_config, without_pretrained
from core.engine.checkpoint import load_checkpoint
from core.engine.measuring import has_map, load_weights, looking
from core.errors import ConfigError, PictureError
from core.trust import config_of

# The one step that reads images; what it may say besides, which changes nothing here.
_READING = dict(type="LoadImageFromFile", to_float32=False, color_type="color")
_ANY = ("backend_args", "imdecode_backend", "ignore_empty")
_RATIO = 64
LEAST = 32  # a side of what enters a network: their strides reach so far


class Look(NamedTuple):
    """What a network makes of a picture, at the size in which it enters the network.

    ``seg_logits``: (C, h, w) float, C >= 2. ``scores``: (h, w), ``sigmoid(D)``, 0-1; None without
    an HL branch, or where it was not asked for. ``size``: H, W of the picture.
    """

    seg_logits: Tensor
    scores: Tensor | None
    size: tuple[int, int]


class Prediction(NamedTuple):
    """All at the picture's own size, H, W.

    ``image``: (H, W, 3) uint8, RGB, upright. ``labels``: (H, W) uint8 (uint16 for more than 256
    classes). ``confidence``: (H, W) float32, softmax of the class that is predicted, 0-1.
    ``hardness``: (H, W) float32, ``sigmoid(D)`` of Eq. 1, 0-1; None without an HL branch.
    """

    image: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray
    hardness: np.ndarray | None


class Predictor:
    """A trained network, ready for pictures; made by :func:`load`.

    Attributes:
        cfg: the config that it was built from.
        model: the segmentor that predicts, in eval mode.
        hl_model: the segmentor whose HL branch gives the map; None without a trained branch.
        meta: what the checkpoint says of itself.
        classes, palette: names and RGB colours, one a class.
        steps: of the test pipeline, those after a picture is read.
    """

    def __init__(
        self, cfg: Config, model: nn.Module, hl_model: nn.Module | None, meta: dict
    ) -> None:
        self.cfg, self.meta = cfg, meta
        self.model, self.hl_model = model, hl_model
        self.device = next(model.parameters()).device
        self.steps = _transforms(cfg)
        self._pipeline = Compose(copy.deepcopy(self.steps))
        self.classes, self.palette = _names(cfg, meta, max(2, model.out_channels))

    @property
    def align_corners(self) -> bool:
        return self.model.align_corners

    def batch(self, image: np.ndarray) -> dict[str, list]:
        """A picture as the test pipeline packs it, for the model's data preprocessor: ``inputs``
        and ``data_samples``, lists of one.

        Args:
            image: (H, W, 3) uint8, RGB.

        Raises:
            PictureError: it is no such array.
        """
        size = _checked(image).shape[:2]
        given = dict(img=np.ascontiguousarray(image[..., ::-1]), img_shape=size, ori_shape=size,
                     img_path=None, seg_fields=[])  # fmt: skip
        packed = self._pipeline(given)
        return dict(inputs=[packed["inputs"]], data_samples=[packed["data_samples"]])

    def look(self, image: np.ndarray, *, hardness: bool = True) -> Look:
        """The network's own output for a picture.

        Of a head with one channel, ``seg_logits`` are two: 0, and the channel less the logit of the
        head's threshold. Softmax, so the confidence too, is relative to the threshold: 0.5 at it.

        Args:
            image: (H, W, 3) uint8, RGB.
            hardness: whether to run the HL branch.

        Raises:
            PictureError: it is no such array.
        """
        size = _checked(image).shape[:2]
        try:
            logits, scores, inside = self._run(_wide(image), hardness)
        except (MemoryError, RuntimeError) as error:
            if not re.search("out of memory|not enough memory|alloc", f"{error}{error!r}", re.I):
                raise
            raise PictureError(f"a picture of {size[1]}x{size[0]} is too large for the memory that "
                               "is free; make it smaller, or --device cpu") from error  # fmt: skip
        if len(logits) == 1:  # sigmoid > threshold, told as a softmax of two
            threshold = torch.tensor(self.model.decode_head.threshold)
            logits = torch.cat([torch.zeros_like(logits), logits - threshold.logit()])
        return Look(logits[inside], None if scores is None else scores[inside], size)

    def _run(self, image: np.ndarray, hardness: bool) -> tuple[Tensor, Tensor | None, tuple]:
        """Logits, scores, and where in them the picture lies."""
        batch = self.batch(image)
        inputs = batch["inputs"][0]
        height, width = inputs.shape[-2:]
        grow = (0, max(0, LEAST - width), 0, max(0, LEAST - height))
        if any(grow):  # the last column and row again: a convolution takes nothing smaller
            inputs = F.pad(inputs[None].float(), grow, mode="replicate")[0].to(inputs.dtype)
        batch["inputs"] = [inputs]
        with looking(self.model), _without_warnings():
            data = self.model.data_preprocessor(batch, False)
            meta = data["data_samples"][0].metainfo
            shape = tuple(data["inputs"].shape[-2:])  # of a head's logits, too
            logits = self.model.inference(data["inputs"], [dict(meta, pad_shape=shape)])[0].float()
            scores = None
            if hardness and self.hl_model is not None:
                scores = self.hl_model.predict_scores(data["inputs"])[0, 0]
        left, right, top, bottom = meta.get("img_padding_size", meta.get("padding_size", [0] * 4))
        right, bottom = right + grow[1], bottom + grow[3]
        inside = np.s_[..., top : logits.shape[-2] - bottom, left : logits.shape[-1] - right]
        return logits, scores, inside

    def predict(self, image: str | Path | np.ndarray, *, hardness: bool = True) -> Prediction:
        """Classes, confidence and HL map of a picture.

        Args:
            image: a file of any kind that OpenCV reads, turned as its EXIF tag says; or an array
                (H, W, 3) uint8, RGB.
            hardness: whether to run the HL branch, where there is one.

        Raises:
            PictureError: the file is missing, damaged or no picture; or the array is no such one.
        """
        pixels = image if isinstance(image, np.ndarray) else read_picture(image)
        look = self.look(pixels, hardness=hardness)
        figures = pixel_figures(look.seg_logits, look.size, align_corners=self.align_corners)
        kind = np.uint8 if len(look.seg_logits) <= 256 else np.uint16
        return Prediction(pixels, figures.pred.cpu().numpy().astype(kind),
                          figures.confidence.cpu().numpy(), self.hardness(look))  # fmt: skip

    def hardness(self, look: Look) -> np.ndarray | None:
        """``sigmoid(D)`` at the picture's size, (H, W) float32, 0-1."""
        if look.scores is None:
            return None
        return self.hl_model.hl_loss.resize(look.scores[None, None], look.size)[0, 0].cpu().numpy()


def load(
    checkpoint: str | Path,
    *,
    config: str | Path | None = None,
    device: str | torch.device | None = None,
    trust: Sequence[str] = (),
) -> Predictor:
    """A trained network out of a checkpoint of ours (any track), an exported one, or one of mmseg.

    Args:
        checkpoint: the file.
        config: in the place of the one that it carries.
        device: where to run; a GPU where there is one, by default.
        trust: modules that the checkpoint's config may import, see :func:`core.trust.config_of`.

    Raises:
        CheckpointError: missing, damaged, or it holds more than plain values.
        ConfigError: it carries no config and none is given; the config cannot be trusted; or the
            weights do not fit it.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        words = " ".join(str(error).split())[:120]
        raise ConfigError(f"--device {device}: cannot be used ({words}); give cpu, or cuda:N of a "
                          "GPU that is there") from error  # fmt: skip
    content = load_checkpoint(checkpoint)
    cfg = _config(content["meta"], checkpoint, config, trust)
    init_default_scope("mmseg")
    state = content["state_dict"]
    teacher, student = (_part(state, prefix) for prefix in ("teacher.", "student."))
    of_student = cfg.model.get("student") if student else None
    if "segmentor" in cfg.model:
        cfg.model = cfg.model.segmentor
    if student and not teacher:
        cfg.model = of_student or cfg.model
    model = _built(cfg.model, teacher or student or state, checkpoint, device)
    hl_model = model
    if teacher and of_student:
        hl_model = _built(of_student, student, checkpoint, device)
    return Predictor(cfg, model, hl_model if has_map(hl_model) else None, content["meta"])


def read_picture(path: str | Path) -> np.ndarray:
    """A picture file as RGB, (H, W, 3) uint8, turned upright as its EXIF tag says.

    Raises:
        PictureError: it is missing, damaged, cut short or no picture.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such picture"
        raise PictureError(f"{path}: {what}; name a picture file")
    try:
        with warnings.catch_warnings(), Image.open(path) as header:
            warnings.simplefilter("ignore")  # of tags that are not used
            header.load()  # finds a file that ends early, which OpenCV fills with grey
            log = cv2.utils.logging
            level = log.setLogLevel(log.LOG_LEVEL_SILENT)  # what is wrong is said below, in a line
            # Not imread: a name that is no UTF-8 would end the process.
            data = np.frombuffer(path.read_bytes(), np.uint8)
            pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)
            log.setLogLevel(level)
            if pixels is None and header.mode in ("L", "RGB"):  # TIFF, turned by a right angle
                upright = ImageOps.exif_transpose(header).convert("RGB")
                return np.array(upright)
    except Image.DecompressionBombError as error:
        raise PictureError(f"{path}: has more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels; cut it "
                           "into tiles") from error  # fmt: skip
    except Exception as error:  # decoders raise of any kind
        words = " ".join(str(error).replace(repr(str(path)), "it").split())
        raise PictureError(f"{path}: cannot be read as a picture ({words[:160]}); copy it again, "
                           "or leave it out") from error  # fmt: skip
    if pixels is None:
        raise PictureError(f"{path}: OpenCV cannot decode it; store it as PNG or JPEG")
    return np.ascontiguousarray(pixels[..., ::-1])


def _wide(image: np.ndarray) -> np.ndarray:
    """A picture whose one side is at most :data:`_RATIO` times the other: the short one of a
    narrower is stretched, which mmseg's Resize would round to no pixel. What a network makes of it
    covers the picture all the same."""
    height, width = image.shape[:2]
    least = -(-max(height, width) // _RATIO)
    if min(height, width) >= least:
        return image
    return cv2.resize(image, (max(width, least), max(height, least)))


def _checked(image: np.ndarray) -> np.ndarray:
    good = isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] == 3
    if not good or image.dtype != np.uint8 or not image.size:
        shape = f"{getattr(image, 'dtype', type(image).__name__)} {getattr(image, 'shape', '')}"
        raise PictureError(f"a picture is an array (H, W, 3) of uint8, RGB; got {shape.strip()}")
    return image


def _config(meta: dict, path: str | Path, given: str | Path | None, trust: Sequence[str]) -> Config:
    if given is None:
        cfg = config_of(meta, path, trust)
        if cfg is None:
            raise ConfigError(f"{path}: carries no config; name its config: --config FILE")
    else:
        cfg = load_config(given)
        import_custom(cfg)
    cfg = copy.deepcopy(cfg)
    if not isinstance(cfg.get("model"), dict):
        raise ConfigError(f"{given or path}: the config has no model")
    mmfixes.install()
    without_pretrained(cfg)
    fit_norm(cfg, synchronized=False)
    return cfg


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _built(model: dict, state: dict, path: str | Path, device: str | torch.device) -> nn.Module:
    with _without_warnings():
        model = MODELS.build(copy.deepcopy(model))
    load_weights(model, state, path)
    return model.to(device).eval()


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """mmseg warns of sizes and heads that are as the config wants them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="mmseg")
        yield


def _transforms(cfg: Config) -> list[dict]:
    """Of the test pipeline, those after a picture is read.

    Raises:
        ConfigError: there is none, or it reads other than 8-bit colours.
    """
    dataset = (cfg.get("test_dataloader") or {}).get("dataset") or {}
    while "pipeline" not in dataset and isinstance(dataset.get("dataset"), dict):
        dataset = dataset["dataset"]
    pipeline = dataset.get("pipeline") or cfg.get("test_pipeline")
    if not pipeline:
        raise ConfigError("the config has no test pipeline (test_dataloader.dataset.pipeline): how "
                          "a picture enters the network cannot be told")  # fmt: skip
    for step in pipeline:
        if step["type"].startswith("LoadImage"):
            known = dict(_READING, **{k: v for k, v in step.items() if k in _ANY})
            if dict(known, **step) != known:
                raise ConfigError(f"the test pipeline reads images with {dict(step)}: plain "
                                  "LoadImageFromFile (colours of 8 bits) is known")  # fmt: skip
    return [copy.deepcopy(dict(s)) for s in pipeline if not s["type"].startswith("Load")]


def _names(cfg: Config, meta: dict, count: int) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and colours of the classes, of the checkpoint, or of the config's data set."""
    told = meta.get("dataset_meta")
    dataset: Any = (cfg.get("test_dataloader") or {}).get("dataset") or {}
    known = DATASETS.get(dataset.get("type") or "") if isinstance(dataset, dict) else None
    for found in (told, dataset.get("metainfo"), getattr(known, "METAINFO", None)):
        if isinstance(found, dict) and len(found.get("classes") or ()) == count:
            classes = tuple(map(str, found["classes"]))
            colors = found.get("palette") or ()
            break
    else:
        classes, colors = tuple(f"class {k}" for k in range(count)), ()
    try:
        palette = np.asarray(colors, dtype=np.uint8).reshape(count, 3)
    except (ValueError, TypeError, OverflowError):
        hues = [
            (0.618034 * k % 1, 0.55 + 0.4 * (k % 2), 0.9 - 0.3 * (k % 3) / 2) for k in range(count)
        ]
        palette = np.array([colorsys.hsv_to_rgb(*hue) for hue in hues]) * 255
    return classes, palette.round().astype(np.uint8)
