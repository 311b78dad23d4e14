"""The hardness maps of a trained HL model, one for every training image."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.config import Config
from rich.console import Console
from rich.progress import track

from core.configs import imports_of
from core.engine.measuring import has_map
from core.engine.run import Reading, load_runner
from core.errors import ConfigError, MapError
from core.files import write_atomically
from core.maps import decode, encode
from core.rivals.collected import map_path


def training_images(cfg: Config, checkpoint: Path) -> Config:
    """The network of ``cfg``, with its training images, prepared for inference, as test set.

    Hooks, backends and metrics, which may write files anywhere, have no part in it.

    Args:
        cfg: the config that a checkpoint carries.
        checkpoint: whose it is.

    Raises:
        ConfigError: it was trained on more than one data set, as U²PL is on pairs of images; or it
            does not say on which.
    """
    for name in ("train_dataloader", "test_dataloader"):
        loader = cfg.get(name)
        if not isinstance(loader, dict) or not isinstance(loader.get("dataset"), dict):
            raise ConfigError(f"{checkpoint}: its config has no {name}; take one of train.py --hl")
    pipeline = _unwrapped(cfg.test_dataloader.dataset, checkpoint).pipeline
    train = _unwrapped(cfg.train_dataloader.dataset, checkpoint)
    return Config(dict(
        model=cfg.model,
        data_root=cfg.get("data_root") or train.get("data_root") or "",
        custom_imports=dict(imports=imports_of(cfg), allow_failed_imports=False),
        test_dataloader=dict(cfg.test_dataloader, dataset=dict(train, pipeline=pipeline)),
        test_evaluator=dict(type="IoUMetric"),
        test_cfg=dict(type="TestLoop"),
    ))  # fmt: skip


def _unwrapped(dataset: dict, checkpoint: Path) -> dict:
    """The config of the data set itself, of one that the engine has wrapped."""
    while "pipeline" not in dataset:
        if "dataset" not in dataset:
            raise ConfigError(
                f"{checkpoint}: was trained on a {dataset.get('type')}, not on one data set; take "
                "a checkpoint of fully_supervised/train.py --hl"
            )
        dataset = dataset.dataset
    return dataset


def collect(cfg: Config, checkpoint: Path, out: Path, reading: Reading | None = None) -> int:
    """Write a map for every training image that has none; the number written.

    Args:
        cfg: from :func:`training_images`, prepared.
        checkpoint: of a model with an HL branch.
        out: folder of the maps.
        reading: see :meth:`core.engine.runner.HLRunner.from_cfg`.

    Raises:
        ConfigError: the model has no HL branch.
    """
    runner = load_runner(cfg, checkpoint, reading)
    model, dataset = runner.model, runner.test_dataloader.dataset
    if not has_map(model):
        raise ConfigError(f"{checkpoint}: its model has no HL branch to collect from")
    model.eval()
    written = 0
    for index in track(range(len(dataset)), "collecting", console=Console(stderr=True),
                       transient=True):  # fmt: skip
        path = map_path(out, cfg.data_root, dataset.get_data_info(index)["img_path"])
        if _is_whole(path):
            continue
        sample = dataset[index]
        batch = dict(inputs=[sample["inputs"]], data_samples=[sample["data_samples"]])
        data = model.data_preprocessor(batch, False)
        height, width = sample["inputs"].shape[-2:]
        scores = model.predict_scores(data["inputs"])[..., :height, :width]
        size = sample["data_samples"].ori_shape
        scores = torch.nn.functional.interpolate(scores, size=size, mode="bilinear")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(encode(scores[0, 0].cpu().numpy()), path)
        written += 1
    return written


def _is_whole(path: Path) -> bool:
    try:
        decode(path)
    except MapError:
        return False
    return True
