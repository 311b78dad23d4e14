"""Tiny models, batches, data sets, hooks and commands that several test modules use."""

import copy
import functools
import importlib
import json
import logging
import os
import signal
import subprocess
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmengine.visualization import Visualizer
from mmseg.registry import HOOKS, MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import register_all_modules
from mmseg.visualization import SegLocalVisualizer

import core.segmentors  # noqa: F401
from core.configs import fit_norm, load_config, without_pretrained
from core.convert import to_hl
from core.engine import sweep
from core.engine.checkpoint import to_bytes
from core.engine.cli import main_line
from core.mmfixes import unformatted
from data.errors import DataError

CLASSES = 5
ROOT = Path(__file__).resolve().parents[1]

if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup what is started would inherit it
warnings.filterwarnings("ignore", module="mmseg|mmengine|mmcv")
register_all_modules(init_default_scope=True)
torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests begin early, so that none of them is alone at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(autouse=True)
def _quiet():
    """mmengine logs every initialised parameter; and a test that starts scripts as processes of
    their own leaves no scope."""
    logging.disable(logging.INFO)
    if DefaultScope.get_current_instance() is None:
        DefaultScope.get_instance("mmseg", scope_name="mmseg")
    yield
    logging.disable(logging.NOTSET)


def _head(type_="FCNHead", **more):
    head = dict(
        type=type_,
        in_channels=32,
        in_index=2,
        channels=8,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=CLASSES,
        norm_cfg=dict(type="BN"),
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
    )
    head.update(more)
    return head


def _config(kind: str = "plain") -> Config:
    model = dict(
        type="EncoderDecoder",
        data_preprocessor=dict(
            type="SegDataPreProcessor",
            mean=[127.5] * 3,
            std=[60.0] * 3,
            bgr_to_rgb=True,
            pad_val=0,
            seg_pad_val=255,
            size=(32, 48),
        ),
        backbone=dict(
            type="ResNetV1c",
            depth=18,
            base_channels=8,
            stem_channels=8,
            strides=(1, 2, 1, 1),
            dilations=(1, 1, 2, 4),
            norm_cfg=dict(type="BN"),
        ),
        decode_head=_head(in_channels=64, in_index=3),
        auxiliary_head=_head(loss_decode=dict(type="CrossEntropyLoss", loss_weight=0.4)),
        train_cfg=dict(),
        test_cfg=dict(mode="whole"),
    )
    if kind == "cascade":
        ocr = _head("OCRHead", in_channels=64, in_index=3, ocr_channels=8)
        for key in ("num_convs", "concat_input"):
            ocr.pop(key)
        first = _head(loss_decode=dict(type="CrossEntropyLoss", loss_weight=0.4))
        model.update(
            type="CascadeEncoderDecoder",
            num_stages=2,
            decode_head=[first, ocr],
            auxiliary_head=None,
        )
    return Config(
        dict(
            model=model,
            optim_wrapper=dict(
                type="OptimWrapper", optimizer=dict(type="SGD", lr=0.05, momentum=0.9)
            ),
            param_scheduler=[
                dict(type="PolyLR", power=0.9, begin=0, end=12, eta_min=1e-4, by_epoch=False)
            ],
            train_cfg=dict(type="IterBasedTrainLoop", max_iters=12, val_interval=6),
            val_cfg=dict(type="ValLoop"),
            test_cfg=dict(type="TestLoop"),
            log_processor=dict(window_size=1),  # the very losses, not a running mean
            default_hooks=dict(
                timer=dict(type="IterTimerHook"),
                logger=dict(type="LoggerHook", interval=1),
                param_scheduler=dict(type="ParamSchedulerHook"),
                checkpoint=dict(type="CheckpointHook", interval=3, max_keep_ckpts=3),
                sampler_seed=dict(type="DistSamplerSeedHook"),
            ),
        )
    )


@pytest.fixture
def tiny_config():
    """``tiny_config(kind)``: a whole small config, kind "plain" (FCN) or "cascade" (OCRNet)."""
    return _config


@pytest.fixture
def tiny_batch():
    """``tiny_batch()``: two normalised images (2, 3, H, W) and their data samples, some void."""

    def make(classes: int = CLASSES, ignored: float = 0.1, size: tuple[int, int] = (32, 48)):
        g = torch.Generator().manual_seed(0)
        images = torch.randn(2, 3, *size, generator=g)
        labels = torch.randint(0, classes, (2, 1, *size), generator=g)
        labels[torch.rand(labels.shape, generator=g) < ignored] = 255
        meta = dict(img_shape=size, ori_shape=size, pad_shape=size)
        samples = [
            SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=meta) for label in labels
        ]
        return images, samples

    return make


@pytest.fixture
def build():
    """``build(cfg, seed)``: the model of a config, initialised from a seed."""

    def make(cfg: Config, seed: int = 0) -> torch.nn.Module:
        torch.manual_seed(seed)
        model = MODELS.build(cfg.model)
        model.init_weights()
        return model

    return make


@pytest.fixture
def shrunk():
    """``shrunk(name)``: an mmseg config made small enough for one CPU step."""

    def make(name: str) -> Config:
        cfg = load_config(name)
        fit_norm(cfg, synchronized=False)
        without_pretrained(cfg)
        return cfg

    return make


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> dict:
    """A data set on disk: 8 images of 48 x 32 (W x H) in 5 classes, as loaders of a config."""
    folder = tmp_path_factory.mktemp("tiny")
    rng = np.random.default_rng(0)
    for part in ("img", "ann"):
        (folder / part).mkdir()
    for i in range(8):
        label = np.kron(rng.integers(0, CLASSES, (4, 6)), np.ones((8, 8))).astype(np.uint8)
        image = (label[..., None] * 45 + rng.integers(0, 40, (32, 48, 3))).astype(np.uint8)
        label[:2] = 255
        cv2.imwrite(str(folder / "img" / f"{i}.png"), image)
        cv2.imwrite(str(folder / "ann" / f"{i}.png"), label)

    def loader(train: bool) -> dict:
        pipeline = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations")]
        if train:
            pipeline += [
                dict(type="RandomResize", scale=(48, 32), ratio_range=(1.0, 1.5), keep_ratio=True),
                dict(type="RandomCrop", crop_size=(32, 48)),
                dict(type="RandomFlip", prob=0.5),
                dict(type="PhotoMetricDistortion"),
            ]
        return dict(
            batch_size=2 if train else 1,
            num_workers=0,
            sampler=dict(type="InfiniteSampler" if train else "DefaultSampler", shuffle=train),
            dataset=dict(
                type="BaseSegDataset",
                data_root=str(folder),
                data_prefix=dict(img_path="img", seg_map_path="ann"),
                img_suffix=".png",
                seg_map_suffix=".png",
                metainfo=dict(
                    classes=tuple(f"class {k}" for k in range(CLASSES)),
                    palette=[[50 * k, 255 - 50 * k, 20 * k] for k in range(CLASSES)],
                ),
                pipeline=[*pipeline, dict(type="PackSegInputs")],
            ),
        )

    metric = dict(type="IoUMetric", iou_metrics=["mIoU"])
    return dict(
        train_dataloader=loader(True),
        val_dataloader=loader(False),
        test_dataloader=loader(False),
        val_evaluator=metric,
        test_evaluator=metric,
    )


@pytest.fixture(scope="session")
def checkpoints(tiny_data, tmp_path_factory) -> dict[str, Path]:
    """Checkpoints ``hl``, ``baseline`` and ``other`` (HL from another seed) of untrained networks
    that read ``tiny_data``, each in a folder of its own, as a training would have written them."""
    folder = tmp_path_factory.mktemp("checkpoints")
    found = {}
    for name, seed in (("hl", 0), ("baseline", 0), ("other", 1)):
        cfg = _config()
        cfg.merge_from_dict(copy.deepcopy(tiny_data))
        if name != "baseline":
            cfg = to_hl(cfg)
        torch.manual_seed(seed)
        model = MODELS.build(copy.deepcopy(cfg.model))
        model.init_weights()
        meta = dict(cfg=unformatted(cfg).pretty_text, iter=12, epoch=0,
                    dataset_meta=tiny_data["val_dataloader"]["dataset"]["metainfo"])  # fmt: skip
        found[name] = folder / name / "iter_12.pth"
        found[name].parent.mkdir()
        found[name].write_bytes(to_bytes(dict(meta=meta, state_dict=model.state_dict())))
    return found


class Killed(BaseException):
    """Stands for a process that is gone."""


@HOOKS.register_module()
class KillHook(Hook):
    """Dies right after the step, and its checkpoint if one was due; or in the step's validation."""

    priority = "LOWEST"

    def __init__(self, step: int, in_val: bool = False) -> None:
        self.step, self.in_val = step, in_val

    def after_train_iter(self, runner, *_, **__) -> None:
        if runner.iter + 1 == self.step and not self.in_val:
            raise Killed

    def after_val_iter(self, runner, batch_idx, *_, **__) -> None:
        if runner.iter == self.step and self.in_val and batch_idx == 2:
            raise Killed


@pytest.fixture
def killed() -> type[BaseException]:
    """What KillHook raises."""
    return Killed


@pytest.fixture
def told_by():
    """``told_by(work_dir)``: all that a ``result.json`` says but times, day and place."""

    def read(work_dir: Path) -> dict:
        content = json.loads((work_dir / "result.json").read_text())
        return {k: v for k, v in content.items() if k not in ("cost", "date", "device", "command")}

    return read


@pytest.fixture
def one_thread():
    """torch on one CPU thread, whatever the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def fresh_mmengine() -> Callable[[], None]:
    """mmengine keeps one logger, message hub and visualizer a process; a run of ours is a process.
    To be called before each further run in a test."""

    return clear_mmengine


def clear_mmengine() -> None:
    for manager in (MMLogger, MessageHub, Visualizer, SegLocalVisualizer):
        manager._instance_dict.clear()


@pytest.fixture(scope="session")
def camvid(tmp_path_factory):
    """Six images in CamVid's layout: colour tells the class."""
    folder = tmp_path_factory.mktemp("camvid")
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        for part in ("images", "labels"):
            (folder / part / split).mkdir(parents=True)
        for i in range(count):
            label = np.kron(rng.integers(0, 12, (3, 4)), np.ones((60, 60))).astype(np.uint8)
            image = (label[..., None] * 20 + rng.integers(0, 30, (180, 240, 3))).astype(np.uint8)
            cv2.imwrite(str(folder / f"images/{split}/{i}.jpg"), image)
            cv2.imwrite(str(folder / f"labels/{split}/{i}.png"), label)
    return folder


@pytest.fixture
def no_workers(monkeypatch):
    """Samples are read in this process: forked copies of a test's process are slow to end."""
    init = torch.utils.data.DataLoader.__init__

    def start(self, *args, **kwargs):
        kwargs.update(num_workers=0, persistent_workers=False, prefetch_factor=None)
        init(self, *args, **kwargs)

    monkeypatch.setattr(torch.utils.data.DataLoader, "__init__", start)


def script(name: str) -> types.ModuleType:
    """An entry script by its path, as a module: ``fully_supervised/train.py``."""
    return importlib.import_module(str(Path(name).with_suffix("")).replace("/", "."))


@pytest.fixture
def call(root, monkeypatch, capsys, no_workers):
    """``call("track/script.py", *arguments)``: (exit code, stdout, stderr) of a script that is
    called in this process, as ``finish`` gives them of a started one."""

    def run(name, *arguments):
        monkeypatch.chdir(root)
        clear_mmengine()
        capsys.readouterr()
        main = script(name).main
        try:
            main_line(lambda: main([str(argument) for argument in arguments]), DataError)
            code = 0
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        logging.disable(logging.INFO)
        return (1, out, f"{err}{code}\n") if isinstance(code, str) else (code, out, err)

    return run


@pytest.fixture
def jobs_here(monkeypatch, root, no_workers):
    """Trainings and evaluations of a sweep are called in this process, not started."""

    def run_jobs(jobs, at_once=None):
        errors = {}
        for job in jobs:
            clear_mmengine()
            path, *arguments = job.command[1:]
            try:
                main = script(str(Path(path).relative_to(root))).main
                main_line(lambda: main(arguments), DataError)  # noqa: B023  (called at once)
            except SystemExit as stop:
                errors[job.name] = str(stop.code).removeprefix("error: ")
        return errors

    monkeypatch.setattr(sweep, "run_jobs", run_jobs)


@pytest.fixture
def command(root):
    """``command(script, *arguments)``: a started process."""

    def start(script, *arguments, cwd=root, **more):
        return subprocess.Popen(
            [sys.executable, *script.split(), *map(str, arguments)],
            cwd=cwd,
            env=dict(os.environ, PYTHONPATH=str(root), OMP_NUM_THREADS="1", **more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # pytest-xdist's workers ignore Ctrl-C, and what they start would inherit that.
            preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )

    return start


@pytest.fixture
def finish(command):
    """``finish(script, *arguments)``: (exit code, stdout, stderr)."""

    def run(script, *arguments, **more):
        process = command(script, *arguments, **more)
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    return run


@pytest.fixture
def refused():
    """``refused(done)``: the one line of an error, of what ``finish`` gives; exit code 1."""

    def line_of(done):
        code, _, err = done
        assert code == 1, err
        lines = [line for line in err.splitlines() if line.strip()]
        assert lines[-1].startswith("error: "), err
        assert "Traceback" not in err
        return lines[-1]

    return line_of
