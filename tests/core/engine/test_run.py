"""Runs on a tiny data set: resume bit by bit, kills, signals, damaged files, panels, results."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from mmseg.registry import MODELS
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import core
from core.configs import load_config
from core.convert import to_hl
from core.engine import run
from core.engine.checkpoint import checkpoints_in, load_checkpoint, weights_revision
from core.engine.prepare import prepare
from core.engine.runner import HLRunner
from core.engine.sampling import SeededDataset
from core.errors import ConfigError, NotFinite
from core.export import export_checkpoint
from core.result import Result, read
from core.schedule import scale_schedule


@pytest.fixture
def config(tiny_config, tiny_data, fresh_mmengine):
    """``config(work_dir, ...)``: a prepared run of 12 iterations, checkpoints every 3."""

    def make(work_dir, hl=True, resume=False, kind="plain", seed=0, **hl_options):
        fresh_mmengine()
        cfg = tiny_config(kind)
        cfg.merge_from_dict(tiny_data)
        cfg = to_hl(cfg, **hl_options) if hl else cfg
        return prepare(cfg, work_dir=work_dir, title="tiny", seed=seed, resume=resume)

    return make


RUN = Result("fully_supervised", "tiny", "tiny data", "hl", 0)


def losses_of(work_dir):
    return run.read_curves(work_dir)["loss"]


def weights_of(work_dir, step=12):
    return load_checkpoint(work_dir / f"iter_{step}.pth")["state_dict"]


@pytest.fixture(scope="module")
def _runs(tmp_path_factory):
    """Finished runs that several tests compare with, by name."""
    return dict(folder=tmp_path_factory.mktemp("runs"))


@pytest.fixture
def finished(_runs, config):
    """The work_dir and result of one uninterrupted run with HL."""
    work_dir = _runs["folder"] / "finished"
    if "result" not in _runs:
        _runs["result"] = run.train(config(work_dir), RUN, pictures=2)
    return work_dir, _runs["result"]


def test_result_holds_what_a_report_needs(finished):
    work_dir, result = finished
    assert result == read(work_dir)
    metrics = result.metrics
    assert 0 < metrics.miou <= 1
    classes = [v for v in metrics.iou.values() if v is not None]
    assert len(metrics.iou) == 5
    assert np.mean(classes) == pytest.approx(metrics.miou, abs=1e-4)
    assert [step for step, _ in result.curves["loss"]] == list(range(1, 13))
    assert {"loss_ce", "loss_hl", "ce", "lr", "mIoU"} <= result.curves.keys()
    strength = result.strength
    assert (strength.images, strength.alpha, strength.dose) == (8, 0.01, None)
    for name in ("gain", "contrast", "auc", "rank"):  # few images: the hook takes all
        assert [step for step, _ in result.curves[f"hl_{name}"]] == [6, 12]
        assert result.curves[f"hl_{name}"][-1][1] == getattr(strength, name)
    assert list(metrics.parts) == ["thin", "boundary", "inside", "small"]
    thin = metrics.parts["thin"]
    assert thin.miou == pytest.approx(np.mean([metrics.iou[k] for k in thin.classes]))
    assert result.curves["mIoU"][-1] == [12, pytest.approx(metrics.miou, abs=1e-9)]
    assert result.cost.seconds_per_iter > 0 and result.cost.peak_memory_mib > 0
    assert (result.iterations, result.weights.file) == (12, "iter_12.pth")
    plain = {k: v for k, v in weights_of(work_dir).items() if not k.startswith("hl_head.")}
    assert result.weights.revision == weights_revision(plain)  # of what predicts
    assert result.code.version == core.__version__ and "torch" in result.code.stack
    for stem in result.pictures:
        for name in ("image", "label", "pred", "err", "hl"):
            assert (work_dir / "pictures" / f"{stem}_{name}.png").stat().st_size > 50


@pytest.fixture
def scalars(tmp_path):
    """``scalars(*lines, launch="1")``: the log of a launch."""

    def write(*lines, launch="1"):
        path = tmp_path / launch / "vis_data/scalars.json"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"".join(lines))
        return path

    return write


def test_damaged_lines_of_the_scalar_log_are_told(scalars, tmp_path, capsys):
    """Whatever they hold; the others count, and the one that a kill cut is not told."""
    odd = [b"5", b"null", b"[1]", b"{}", b"", b"\xff\xfe", b'{"loss": 3.0}', b"[" * 100_000,
           b'{"step": true, "loss": 3.0}', b'{"step": "4", "mIoU": 3.0}', b'{"step": null}',
           b'{"step": 1' + b"0" * 30 + b', "loss": 3.0}', b'{"step": 1' + b"0" * 5000 + b"}",
           b'{"step": 1.5, "loss": 3.0}', b"\0" * 50]  # fmt: skip
    part = [b'{"step": 4, "loss": 4.0, "a": "x", "b": [[1]], "c": {"d": 1}, "e": null, "f": true}',
            b'{"step": 4, "mIoU": "50", "IoU/a": [1]}', b'{"step": 4, "mIoU": 1e308}',
            b'{"step": 4, "loss": 1' + b"0" * 400 + b"}"]  # fmt: skip
    good = [b'{"step": 3, "loss": 3.0}', b'{"step": 4, "mIoU": 50.0, "IoU/a": NaN}',
            b'{"step": 5, "loss": Infinity, "lr": 0.1}']  # fmt: skip
    first = scalars(*(line + b"\n" for line in [*odd, *part, *good]), b'{"step": 6, "lo')
    scalars(b'{"step": 6, "loss": 6.0}\n{"st', launch="2")
    whole = {"loss": [[3, 3.0], [4, 4.0], [6, 6.0]], "mIoU": [[4, 0.5]], "lr": [[5, 0.1]]}
    assert run.read_curves(tmp_path) == whole
    metrics = run.read_metrics(tmp_path, 4)
    assert metrics["mIoU"] == 50 and np.isnan(metrics["IoU/a"])
    assert run.read_metrics(tmp_path, 1) == {}
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"note: {first}: {len(odd) + len(part)} damaged lines: ")


def test_tensorboard_holds_both_losses_and_the_panel(finished):
    work_dir, _ = finished
    (folder,) = work_dir.glob("*/vis_data")
    events = EventAccumulator(str(folder), size_guidance=dict(images=0)).Reload()
    found = set(events.Tags()["scalars"])
    assert {"decode.loss_ce", "decode.loss_hl", "lr", "mIoU", "hl_gain", "hl_auc"} <= found
    images = events.Images("panel")
    assert [image.step for image in images] == [4, 8, 12]
    assert (images[0].height, images[0].width) == (32, 5 * 48 + 4 * 4)


def test_checkpoints_are_pruned_after_the_new_one(finished):
    assert [p.name for p in checkpoints_in(finished[0])] == [
        "iter_12.pth",
        "iter_9.pth",
        "iter_6.pth",
    ]


@pytest.mark.slow
def test_same_seed_same_run_another_seed_another(finished, config, tmp_path):
    run.train(config(tmp_path / "again"), RUN, pictures=1)
    assert losses_of(tmp_path / "again") == losses_of(finished[0])
    run.train(config(tmp_path / "other", seed=1), RUN, pictures=1)
    assert losses_of(tmp_path / "other") != losses_of(finished[0])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "cascade"])
def test_resumed_run_equals_the_uninterrupted_one(kind, config, killed, tmp_path):
    """Weights, HL branch, optimizer, schedule, samples, dropout: equal to the bit, thrice cut."""
    run.train(config(tmp_path / "whole", kind=kind), RUN, pictures=1)
    work_dir = tmp_path / "cut"
    for stop in (3, 6, 9):  # 6: validation is due at the cut
        cfg = config(work_dir, kind=kind, resume=True)
        cfg.custom_hooks = [*cfg.get("custom_hooks", []), dict(type="KillHook", step=stop)]
        with pytest.raises(killed):
            run.train(cfg, RUN, pictures=1)
    run.train(config(work_dir, kind=kind, resume=True), RUN, pictures=1)

    assert losses_of(work_dir) == losses_of(tmp_path / "whole")
    whole, resumed = (load_checkpoint(d / "iter_12.pth") for d in (tmp_path / "whole", work_dir))
    for key, value in whole["state_dict"].items():
        assert torch.equal(resumed["state_dict"][key], value), key
    for old, new in zip(
        whole["optimizer"]["state"].values(), resumed["optimizer"]["state"].values(), strict=True
    ):
        assert torch.equal(old["momentum_buffer"], new["momentum_buffer"])


def test_samples_do_not_depend_on_workers(config, tmp_path):
    loaders = []
    for workers in (0, 2):
        cfg = config(tmp_path / str(workers))
        cfg.train_dataloader.num_workers = workers
        loaders.append(iter(HLRunner.from_cfg(cfg).build_train_loop(cfg.train_cfg).dataloader))
    for _ in range(5):
        a, b = next(loaders[0]), next(loaders[1])
        assert all(torch.equal(x, y) for x, y in zip(a["inputs"], b["inputs"], strict=True))


def test_loading_a_sample_leaves_the_generators_alone(tiny_data):
    dataset = SeededDataset(tiny_data["train_dataloader"]["dataset"])
    torch.manual_seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, second = dataset[(0, 7, 1)], dataset[(0, 8, 1)]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert not torch.equal(first["inputs"], second["inputs"])


@pytest.mark.slow
def test_a_damaged_latest_checkpoint_falls_back_to_the_one_before(config, tmp_path, caplog):
    run.train(config(tmp_path), RUN, pictures=1)
    whole = weights_of(tmp_path)
    latest = tmp_path / "iter_12.pth"
    latest.write_bytes(latest.read_bytes()[:1000])
    run.train(config(tmp_path, resume=True), RUN, pictures=1)
    for key, value in weights_of(tmp_path).items():
        assert torch.equal(value, whole[key]), key


def test_work_dir_with_checkpoints_is_not_overwritten(finished, config):
    with pytest.raises(ConfigError, match=r"holds checkpoints up to iter_12\.pth: go on with"):
        run.train(config(finished[0]), RUN)


@pytest.mark.slow
def test_nan_stops_and_keeps_the_last_good_checkpoint(config, tmp_path):
    cfg = config(tmp_path)
    cfg.custom_hooks = [*cfg.get("custom_hooks", []), dict(type="PoisonHook", step=5)]
    with pytest.raises(NotFinite, match=r"at iteration 5; the last good checkpoint is .*iter_3"):
        run.train(cfg, RUN)
    assert [p.name for p in checkpoints_in(tmp_path)] == ["iter_3.pth"]
    assert all(torch.isfinite(v.float()).all() for v in weights_of(tmp_path, 3).values())


def test_exported_checkpoint_is_plain_mmsegs(finished, tiny_config, tiny_batch, tmp_path):
    """Strict load into the plain config by mmengine's own function, logits equal to the bit."""
    work_dir, _ = finished
    source, target = work_dir / "iter_12.pth", tmp_path / "plain.pth"
    assert export_checkpoint(source, target) > 0
    plain = MODELS.build(tiny_config().model).eval()
    checkpoint = torch.load(target, weights_only=True)
    _load_checkpoint_to_model(plain, checkpoint, strict=True)
    hl = MODELS.build(to_hl(tiny_config()).model).eval()
    hl.load_state_dict(load_checkpoint(source)["state_dict"])
    images, samples = tiny_batch()
    for a, b in zip(plain.predict(images, samples), hl.predict(images, samples), strict=True):
        assert torch.equal(a.seg_logits.data, b.seg_logits.data)
    assert checkpoint["meta"]["dataset_meta"]["classes"][0] == "class 0"
    from mmengine.config import Config

    assert Config.fromstring(checkpoint["meta"]["cfg"], ".py").model.type == "EncoderDecoder"


def test_test_gives_the_metrics_of_training(finished, config, tmp_path):
    work_dir, result = finished
    export_checkpoint(work_dir / "iter_12.pth", tmp_path / "plain.pth")
    for checkpoint in (work_dir / "iter_12.pth", tmp_path / "plain.pth"):
        metrics = run.test(config(tmp_path, hl=False), checkpoint)
        assert metrics["mIoU"] / 100 == pytest.approx(result.metrics.miou, abs=1e-9)


def test_an_evaluation_measures_what_the_training_did(finished, config, tmp_path):
    """With the exported weights too, but for the map, whose branch has none."""
    work_dir, result = finished
    export_checkpoint(work_dir / "iter_12.pth", tmp_path / "plain.pth")
    whole = run.evaluate(config(tmp_path / "a"), work_dir / "iter_12.pth", RUN, pictures=0)
    plain = run.evaluate(config(tmp_path / "b"), tmp_path / "plain.pth", RUN, pictures=1)
    assert whole.metrics.parts == plain.metrics.parts == result.metrics.parts
    assert (whole.strength, plain.strength) == (result.strength, None)
    assert not list((tmp_path / "b/pictures").glob("*_hl.png"))


@pytest.mark.slow
def test_the_weights_that_are_validated_are_measured(config, tmp_path):
    """Averaged ones, which a hook puts in for the validation and into the checkpoint."""
    cfg = config(tmp_path)
    cfg.train_cfg.max_iters = 10
    cfg.custom_hooks = [dict(type="EMAHook")]
    result = run.train(cfg, RUN, pictures=0)
    thin = result.metrics.parts["thin"]
    iou = [result.metrics.iou[name] for name in thin.classes]
    assert thin.miou == pytest.approx(np.mean(iou), abs=1e-6)
    assert result.curves["hl_gain"][-1] == [10, result.strength.gain]


def test_a_run_that_cannot_be_measured_says_so(finished, config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "measure", lambda *_, **__: 1 / 0)
    found = run.evaluate(config(tmp_path), finished[0] / "iter_12.pth", RUN, pictures=0)
    assert found.metrics.miou == finished[1].metrics.miou
    assert (found.strength, found.metrics.parts) == (None, {})
    (line,) = [x for x in capsys.readouterr().err.splitlines() if "not measured" in x]
    assert line.endswith("are not measured: ZeroDivisionError: division by zero")


def test_a_checkpoint_of_another_model_is_refused(finished, config, tmp_path):
    with pytest.raises(ConfigError, match="does not fit the config"):
        run.test(config(tmp_path, kind="cascade"), finished[0] / "iter_12.pth")


def test_schedule_shrinks_as_a_whole():
    cfg = load_config("mmseg::segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py")
    scale_schedule(cfg, 16000)
    assert cfg.train_cfg.max_iters == 16000
    assert [(s.begin, s.end) for s in cfg.param_scheduler] == [(0, 150), (150, 16000)]
    assert cfg.train_cfg.val_interval == cfg.default_hooks.checkpoint.interval == 1600


def test_amp_without_a_gpu_is_refused(tiny_config):
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    with pytest.raises(ConfigError, match="--amp needs a GPU"):
        prepare(tiny_config(), work_dir="x", amp=True)


SCRIPT = """
import sys
from mmengine.config import Config
from core.engine import run
from core.engine.cli import main_line
from core.result import Result
RUN = Result("fully_supervised", "tiny", "tiny data", "hl", 0)
main_line(lambda: run.train(Config.fromfile(sys.argv[1]), RUN, pictures=1))
"""


def start(cfg, tmp_path):
    path = tmp_path / "config.py"
    cfg.dump(path)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, str(script), str(path)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path), OMP_NUM_THREADS="1"),
    )


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_process_goes_on_as_if_nothing_was(number, finished, config, tmp_path):
    """SIGTERM leaves a checkpoint of the very step; SIGKILL the last one written; both go on."""
    work_dir = tmp_path / "work"
    cfg = config(work_dir, resume=True)
    cfg.default_hooks.checkpoint.interval = 2
    process = start(cfg, tmp_path)
    wait_for(lambda: checkpoints_in(work_dir), process)
    process.send_signal(number)
    error = process.communicate(timeout=120)[1]
    if number == signal.SIGTERM and process.returncode:
        assert process.returncode == 128 + number
        assert "SIGTERM: saved iteration" in error
    run.train(config(work_dir, resume=True), RUN, pictures=1)
    whole = weights_of(finished[0])
    for key, value in weights_of(work_dir).items():
        assert torch.allclose(value, whole[key], atol=1e-6), key  # another number of threads
