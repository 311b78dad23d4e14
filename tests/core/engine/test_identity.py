"""A resume knows what it resumes: every difference that makes another run is refused by name."""

import functools
import re
import shutil

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from core.arms import Arm
from core.engine import run
from core.engine.checkpoint import is_plain, load_checkpoint
from core.engine.fork import place_of
from core.engine.identity import compare, identity
from core.engine.prepare import prepare
from core.errors import ConfigError
from core.result import Result, read
from core.weighting import with_weighting

LENGTH = 4


@pytest.fixture
def start(tiny_config, tiny_data, fresh_mmengine):
    """``start(work_dir, arm, resume, options, data)``: a run of four iterations."""

    def make(work_dir, arm="hl", seed=0, data="tiny", kind="plain", more=None, **how):
        fresh_mmengine()
        cfg = tiny_config(kind)
        cfg.merge_from_dict(tiny_data)
        cfg.param_scheduler[0].end = cfg.train_cfg.max_iters = LENGTH
        cfg.train_cfg.val_interval = cfg.default_hooks.checkpoint.interval = 2
        cfg.merge_from_dict(more or {})
        cfg = with_weighting(cfg, Arm.parse(arm))
        cfg = prepare(cfg, work_dir=work_dir, title="t", seed=seed, **how)
        about = Result("fully_supervised", "tiny", data, arm, seed, data=data)
        return run.train(cfg, about, pictures=0)

    return make


@pytest.fixture(scope="module")
def _done(tmp_path_factory):
    return tmp_path_factory.mktemp("done") / "run"


@pytest.fixture
def done(_done, start, tmp_path):
    """A finished run's work_dir, a copy."""
    if not _done.is_dir():
        start(_done)
    return shutil.copytree(_done, tmp_path / "run")


def files(folder):
    """Checkpoints, config, result."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    "changed, words",
    [
        (dict(arm="baseline"), "arm was hl, now baseline"),
        (dict(arm="hl c=5"), r"model\.hl\.c was 0\.1, now 5"),
        (dict(arm="hl alpha=1"), r"model\.hl\.alpha was 0\.01, now 1"),
        (dict(arm="ce-scaled"), "arm was hl, now ce-scaled"),
        (dict(data="other"), "data was tiny, now other"),
        (dict(seed=9), r"randomness\.seed was 0, now 9"),
        (dict(kind="cascade"), r"model\.type was HLEncoderDecoder, now HLCascadeEncoderDecoder"),
        (dict(more={"train_dataloader.batch_size": 4}), "batch_size was 2, now 4"),
        (dict(more={"optim_wrapper.optimizer.lr": 0.1}), r"optimizer\.lr was 0\.05, now 0\.1"),
        (
            dict(more={"optim_wrapper.optimizer": dict(_delete_=True, type="Adam", lr=0.05)}),
            r"optimizer\.type was SGD, now Adam \(and 1 more\)",
        ),
        (dict(more={"model.decode_head.num_classes": 7}), "num_classes was 5, now 7"),
        (dict(more={"param_scheduler.0.power": 2.0}), r"param_scheduler\.0\.power was 0\.9, now 2"),
        (
            dict(more={"train_dataloader.dataset.pipeline.3.crop_size": (16, 16)}),
            r"pipeline\.3\.crop_size was \[32, 48\], now \[16, 16\]",
        ),
        (dict(more={"train_cfg.max_iters": 2}), "max_iters was 4, now 2, and 4 are done"),
        (
            dict(more={"train_cfg.max_iters": 8, "param_scheduler.0.end": 8}),
            r"max_iters was 4, now 8: a training of 8 would have had other steps until here "
            r"\(param_scheduler\.0\.end was 4, now 8\); ask for 4",
        ),
        (dict(more={"load_from": "x.pth"}), r"load_from was unset, now x\.pth"),
    ],
)  # fmt: skip
def test_another_run_is_refused_by_name(changed, words, done, start):
    before = files(done)
    with pytest.raises(ConfigError, match=rf"iter_4\.pth is of another run: .*{words}") as caught:
        start(done, resume=True, **changed)
    assert "--fork" in str(caught.value) and "\n" not in str(caught.value)
    assert files(done) == before


@pytest.mark.slow
def test_other_images_are_refused(done, start, tiny_data, tmp_path):
    """A moved data set is the same; another one under the old names is not."""
    root = tiny_data["train_dataloader"]["dataset"]["data_root"]
    moved = shutil.copytree(root, tmp_path / "moved")
    there = {f"{name}_dataloader.dataset.data_root": str(moved) for name in ("train", "val")}
    assert start(done, resume=True, more=there).iterations == LENGTH
    image = np.zeros((32, 48, 3), np.uint8)
    cv2.imwrite(str(moved / "img" / "3.png"), image)
    with pytest.raises(ConfigError, match=r"training images was 8 \(\w+\), now 8 \(\w+\)"):
        start(done, resume=True, more=there)
    (moved / "img" / "3.png").unlink()
    (moved / "ann" / "3.png").unlink()
    with pytest.raises(ConfigError, match=r"training images was 8 \(\w+\), now 7 \(\w+\)"):
        start(done, resume=True, more=there)


@pytest.mark.parametrize(
    "more",
    [
        {"train_dataloader.prefetch_factor": None, "val_dataloader.batch_size": 2},
        {"train_cfg.val_interval": 4, "default_hooks.checkpoint.interval": 1},
        {"default_hooks.logger.interval": 2, "env_cfg": dict(cudnn_benchmark=True)},
    ],
)
def test_what_changes_no_weight_is_free(more, done, start):
    assert start(done, resume=True, more=more).iterations == LENGTH


@pytest.mark.slow
def test_a_longer_schedule_is_taken_where_it_is_exact(done, start, tmp_path, capsys):
    """Rates that do not know the end: the longer run is, to the bit, what it would have been."""
    constant = {"param_scheduler": [dict(type="ConstantLR", factor=0.5, end=3, by_epoch=False)]}
    longer = {**constant, "train_cfg.max_iters": 6}
    start(tmp_path / "whole", more=longer)
    start(tmp_path / "grown", more=constant)
    start(tmp_path / "grown", more=longer, resume=True)
    assert "train_cfg.max_iters was 4, now 6: exact" in capsys.readouterr().err
    a, b = (load_checkpoint(tmp_path / x / "iter_6.pth")["state_dict"] for x in ("whole", "grown"))
    assert a.keys() == b.keys() and all(a[key].equal(b[key]) for key in a)


@pytest.mark.slow
def test_a_fork_begins_anew_beside_it(done, start, capsys):
    place, weights = place_of(done, fork=True, resume=False)
    assert place == done.with_name("run-fork") and weights == str(done / "iter_4.pth")
    before = load_checkpoint(weights)["state_dict"]
    forked = start(place, load_from=weights, seed=9, more={"optim_wrapper.optimizer.lr": 0.0})
    assert (forked.seed, forked.iterations, forked.facts["load_from"]) == (9, LENGTH, weights)
    after = load_checkpoint(place / "iter_4.pth")["state_dict"]
    key = "decode_head.conv_seg.weight"
    assert torch.allclose(after[key], before[key], atol=1e-3)
    assert not torch.allclose(torch.zeros(()), before[key], atol=1e-2)
    # It is a run like any other: it goes on without being told again where it began.
    again = start(place, resume=True, seed=9, more={"optim_wrapper.optimizer.lr": 0.0})
    assert again.facts["load_from"] == read(place).facts["load_from"] == weights
    assert place_of(done, fork=True, resume=False)[0] == done.with_name("run-fork-2")


def test_what_cannot_be_forked_is_told(done, tmp_path):
    with pytest.raises(ConfigError, match="--fork begins a new run, --resume goes on with one"):
        place_of(done, fork=True, resume=True)
    with pytest.raises(ConfigError, match="nowhere holds no whole checkpoint to begin from"):
        place_of(tmp_path / "nowhere", fork=True, resume=False)


def test_a_fork_that_is_cut_at_once_begins_from_the_same_weights(done):
    place, weights = place_of(done, fork=True, resume=False)
    assert place_of(place, fork=False, resume=True) == (place, weights)


def test_settings_are_compared_as_values():
    """Whatever holds them: NumPy's numbers, tuples in tuples, long arrays, partial functions."""

    def of(value):
        return identity(Config(dict(model=dict(x=value))), {}, processes=1, by_length=False)

    same = [(0.1, np.float64(0.1)), (((1, 2), (3,)), [[1, 2], [3]]),
            (functools.partial(max, 1), functools.partial(max, 1)),
            (dict(checkpoint="/here/r18.pth"), dict(checkpoint="/moved/r18.pth"))]  # fmt: skip
    for one, other in same:
        assert of(one)["settings"] == of(other)["settings"]
        assert is_plain(of(other))
    long = np.arange(3000)
    assert of(long)["settings"] != of(np.where(long == 1500, 0, long))["settings"]


def test_when_it_is_looked_at_counts_where_that_decides():
    def of(interval, **more):
        cfg = dict(train_cfg=dict(max_iters=9, val_interval=interval), **more)
        return identity(Config(cfg), {}, processes=1, by_length=False)["settings"]

    assert of(3) == of(4)
    plateau = dict(param_scheduler=[dict(type="ReduceOnPlateauLR")])
    assert of(3, **plateau) != of(4, **plateau)


def identities(**settings):
    then = dict(named={}, settings={}, images={}, by_length=False, processes=2, load_from=None,
                code=dict(version="1"))  # fmt: skip
    return then, dict(then, settings=settings)


def test_another_number_of_processes_with_the_same_images_a_step_is_taken():
    key = "train_dataloader.batch_size"
    then, now = identities(**{key: 4})
    then["settings"] = {key: 2}
    assert compare(then, dict(now, processes=1), 3) == ("", [])
    assert re.match(f"{key} was 2, now 4", compare(then, now, 3)[0])


def test_another_version_is_told(done):
    then, now = identities()
    reason, (line,) = compare(then, dict(now, code=dict(version="2")), 3)
    assert not reason and line.startswith("version was 1, now 2: what is trained from here on")
