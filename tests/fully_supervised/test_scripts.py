"""The entry scripts as a user starts them: on a small CamVid look-alike, and on bad input."""

import csv
import dataclasses
import re
import runpy
import shutil
import signal
import sys
import time
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from core.configs import load_config
from core.result import Result, read, write
from data import registry
from data.roots import Roots
from fully_supervised.loaders import data_name, fit_data

TRAIN, TEST = "fully_supervised/train.py", "fully_supervised/test.py"
ALL = "fully_supervised/run_all.py"
SMALL = "fully_supervised/configs/pspnet_r18-w16.py"


class Sources(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for key, value in attrs if key in ("src", "href")]


@pytest.mark.slow
def test_run_all_compares_resumes_and_reports(command, call, jobs_here, camvid, tmp_path, refused):
    """Cut by SIGINT, started again, finished, skipped: the whole life of an experiment."""
    arguments = ("--data", "camvid", "--data-root", camvid, "--max-iters", 8, "--seeds", 0,
                 "--only", "ocrnet_r18-w16", "--out", tmp_path, "--jobs", 2,
                 "--train-args", "--cfg-options default_hooks.checkpoint.interval=1")  # fmt: skip
    process = command("-m fully_supervised.run_all", *arguments)
    end = time.monotonic() + 200
    while not list(tmp_path.glob("camvid/*/*/iter_*.pth")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "stopped; the same command goes on from here" in err

    code, out, err = call(ALL, *arguments)
    assert code == 0, err
    assert "OCRNet, ResNet-18 at quarter width" in out and "+HL" in out
    rows = list(csv.DictReader((tmp_path / "camvid/results.csv").open()))
    assert len(rows) == 3
    assert {row["arm"] for row in rows} == {"baseline", "ce-scaled alpha=auto", "hl alpha=auto"}
    page = Sources()
    page.feed((tmp_path / "camvid/index.html").read_text())
    assert page.found and all(s.startswith(("data:", "#")) for s in page.found)

    times = [p.stat().st_mtime_ns for p in sorted(tmp_path.glob("camvid/*/*/result.json"))]
    code, out, err = call(ALL, *arguments)
    assert code == 0 and "runs to do" not in err
    assert times == [p.stat().st_mtime_ns for p in sorted(tmp_path.glob("camvid/*/*/result.json"))]

    wrong = ["--max-iters" if a == "--max-iters" else 9 if a == 8 else a for a in arguments]
    assert "is of 8 iterations, now 9 are asked" in refused(call(ALL, *wrong))


@pytest.mark.slow
def test_train_then_export_then_test(finish, call, camvid, tmp_path, refused):
    work_dir = tmp_path / "work"
    data = ("--data", "camvid", "--data-root", camvid)
    code, out, err = finish("fully_supervised/train.py", SMALL, "--hl", *data, "--max-iters", 4,
                            "--work-dir", work_dir, "--hl-options", "alpha=0.1",
                            "normalize=batch", "ignored=include")  # fmt: skip
    assert code == 0, err
    miou = float(re.search(r"mIoU ([\d.]+) %", out)[1])
    checkpoint = torch.load(work_dir / "iter_4.pth", weights_only=True)
    assert re.search("alpha'?[=:] ?0.1", checkpoint["meta"]["cfg"])
    assert read(work_dir).arm == "hl alpha=0.1 normalize=batch ignored=include"
    assert read(work_dir).command.startswith(f"python {TRAIN} {SMALL} --hl --data camvid")

    plain = tmp_path / "plain.pth"
    code, out, err = call("core/export.py", work_dir / "iter_4.pth", plain)
    assert code == 0 and "tensors left out" in out, err
    code, out, err = call(TEST, SMALL, plain, *data,
                            "--work-dir", tmp_path / "test")  # fmt: skip
    assert code == 0, err
    assert float(re.search(r"mIoU +([\d.]+)", out)[1]) == pytest.approx(miou, abs=0.006)
    assert re.search(r"^sky +[\d.]+$", out, re.M)

    assert "go on with --resume" in refused(
        call(TRAIN, SMALL, "--hl", *data, "--work-dir", work_dir)
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mmseg::pspnet/none.py"], "mmseg ships no such config"),
        (["none.py"], "none.py: no such config file"),
        ([SMALL], "give --data-root|name its folder"),
        ([SMALL, "--data", "camvit"], "unknown data set 'camvit'"),
        ([SMALL, "--data", "camvid", "--data-root", "/nowhere"], "data set 'camvid' not found"),
        ([SMALL, "--data", "CAMVID", "--hl", "--hl-options", "gamma=2"], "gamma"),
        ([SMALL, "--data", "CAMVID", "--amp"], "--amp needs a GPU"),
        (
            [
                "mmseg::danet/danet_r50-d8_4xb2-40k_cityscapes-512x1024.py",
                "--data",
                "CAMVID",
                "--hl",
            ],
            "it computes a loss of its own",
        ),
    ],
)
def test_bad_input_is_one_line(arguments, words, camvid, call, refused, tmp_path):
    if "--amp" in arguments and torch.cuda.is_available():
        pytest.skip("a GPU is here")
    filled = []
    for argument in arguments:
        filled += ["camvid", "--data-root", camvid] if argument == "CAMVID" else [argument]
    assert re.search(words, refused(call(TRAIN, *filled, "--work-dir", tmp_path)))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--hl", "--weighting", "focal"], "the flags ask for focal and for hl: give one of them"),
        (["--hl", "--no-hl"], "the flags ask for baseline and for hl"),
        (["--weighting", "ohem", "--options", "c=1"], "ohem has no option 'c'; it has thresh"),
        (["--no-hl", "--options", "c=0.5"], "baseline has no option 'c'; it has none"),
        (["--hl", "--options", "c"], "'c': an option of hl is KEY=VALUE, such as c=0.5"),
        (["--hl", "--class-weights", "x.json"], "--class-weights is of --weighting balanced: give"),
        (["--hl", "--hardness", "maps"], "--hardness is of --weighting collected: give that"),
        (["--max-iters", "3", "--cfg-options", "train_cfg.max_iters=4"], "leave one of the two o"),
        (["--seed", "3", "--cfg-options", "randomness.seed=4"], "say randomness.seed=4: leave one"),
    ],
)
def test_flags_that_contradict_are_refused_before_anything_is_read(arguments, words, call, refused):
    assert re.search(words, refused(call(TRAIN, "nowhere.py", *arguments)))


@pytest.mark.slow
def test_what_a_user_sets_is_kept(call, camvid, tmp_path):
    """Seed, hooks, work_dir, c: by ``--cfg-options``, as mmseg takes them; and the config that is
    written is the user's: what a run has beyond it is no part of it."""
    code, out, err = call(
        TRAIN, SMALL, "--data", "camvid", "--data-root", camvid, "--max-iters", 2, "--hl",
        "--cfg-options", "randomness.seed=7", "randomness.deterministic=True", "model.hl.c=0.5",
        f"work_dir={tmp_path / 'mine'}", "default_hooks.checkpoint.max_keep_ckpts=1")  # fmt: skip
    assert code == 0, err
    result = read(tmp_path / "mine")
    assert (result.seed, result.arm) == (7, "hl c=0.5") and "seed 7: mIoU" in out
    (path,) = (tmp_path / "mine").glob("*.py")
    cfg = load_config(path)
    assert cfg.randomness == dict(seed=7, deterministic=True)
    assert cfg.default_hooks.checkpoint.max_keep_ckpts == 1
    assert cfg.model.hl.c == 0.5 and cfg.model.hl.alpha == 0.01
    changed = [line.partition(": ")[0] for line in cfg.changed_by_engine]
    assert changed and all(key.endswith("norm_cfg.type") for key in changed)
    assert cfg.default_hooks.checkpoint.type == "CheckpointHook" and "custom_hooks" not in cfg
    assert cfg.train_dataloader.dataset.type == "CamVidDataset"


def copied(camvid, target):
    shutil.copytree(camvid, target)
    return target


@pytest.mark.slow
def test_broken_files_are_named_in_training(finish, camvid, tmp_path, refused):
    """By a loader's worker, whose errors come with a traceback before them."""
    folder = copied(camvid, tmp_path / "data")
    for path in folder.glob("images/train/*.jpg"):
        path.write_bytes(path.read_bytes()[:-200])
    done = finish("fully_supervised/train.py", SMALL, "--data", "camvid", "--data-root", folder,
                  "--max-iters", 2, "--work-dir", tmp_path / "work", "--cfg-options",
                  "train_dataloader.num_workers=1")  # fmt: skip
    assert re.search(
        r"images/train/\d\.jpg: damaged or truncated \(its end is missing\); copy", refused(done)
    )


@pytest.mark.slow
def test_wrong_label_ids_are_named_in_evaluation(call, camvid, tmp_path, refused):
    folder = copied(camvid, tmp_path / "data")
    label = np.full((180, 240), 77, np.uint8)
    cv2.imwrite(str(folder / "labels/val/1.png"), label)
    done = call(TRAIN, SMALL, "--data", "camvid", "--data-root", folder,
                "--max-iters", 2, "--work-dir", tmp_path / "work")  # fmt: skip
    assert re.search(r"labels/val/1\.png: label id 77 .* there are 0-11, 255", refused(done))


@pytest.mark.slow
def test_a_failing_run_does_not_stop_the_others(call, jobs_here, camvid, tmp_path):
    """The OCRNet folder cannot be written; the table has the rest and says so; exit code 1."""
    blocked = tmp_path / "camvid/ocrnet_r18-w16/hl-seed0"
    (blocked / "iter_4.pth").mkdir(parents=True)  # a folder where the checkpoint goes
    code, out, err = call(ALL, "--data", "camvid", "--data-root",
                            camvid, "--max-iters", 4, "--seeds", 0, "--arms", "hl", "--only",
                            "pspnet_r18-w16", "ocrnet_r18-w16", "--out", tmp_path)  # fmt: skip
    assert code == 1, err
    assert "ocrnet_r18-w16" in out and "could not be written" in out
    assert read(tmp_path / "camvid/pspnet_r18-w16/hl-seed0").iterations == 4


@pytest.mark.slow
def test_a_damaged_result_is_made_anew_from_the_last_checkpoint(call, jobs_here, camvid, tmp_path):
    """By the same command, in one line, whatever the scalar log holds; equal but for the day."""
    arguments = ("--data", "camvid", "--data-root", camvid, "--max-iters", 4, "--seeds", 0,
                 "--arms", "hl", "--only", "pspnet_r18-w16", "--out", tmp_path)  # fmt: skip
    code, _, err = call(ALL, *arguments)
    assert code == 0, err
    work_dir = tmp_path / "camvid/pspnet_r18-w16/hl-seed0"
    whole = read(work_dir)
    (work_dir / "result.json").write_text('{"format": 2, "seed": "<b>"')
    (log,) = work_dir.glob("*/vis_data/scalars.json")
    log.write_bytes(b'{"step": true, "loss": "x"}\n[1]\n' + log.read_bytes())
    code, _, err = call(ALL, *arguments)
    assert code == 0, err
    assert [line for line in err.splitlines() if "result.json: damaged (" in line]
    assert "Traceback" not in err
    again = read(work_dir)
    for key in ("metrics", "weights", "curves", "arm", "seed", "iterations"):
        assert getattr(again, key) == getattr(whole, key), key


def test_dry_run_prints_the_published_protocol(call, monkeypatch, tmp_path):
    monkeypatch.setenv("GPUS", "4")
    code, out, _ = call(ALL, "--data", "cityscapes", "--dry-run", "--out", tmp_path)
    assert code == 0
    lines = [line for line in out.splitlines() if not line.startswith("#")]
    assert len(lines) == 9
    assert all("--nproc_per_node=4" in line and "--launcher pytorch" in line for line in lines)
    assert (
        "--weighting hl" in lines[2]
        and "train.py --launcher pytorch cityscapes/pspnet_r18 " in lines[2]
    )


@pytest.mark.slow
def test_plain_torch_example_trains(root, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(registry, "ROOT", tmp_path)
    monkeypatch.setattr(registry, "STREETS", dict(domain="real", num_train=4, num_val=1))
    script = str(root / "fully_supervised/plain_torch.py")
    monkeypatch.setattr(sys, "argv", [script, "--iters", "2"])
    runpy.run_path(script, run_name="__main__")
    assert re.search(r"2/2: loss_seg [\d.]+, loss_hl -0\.0\d+", capsys.readouterr().out)


def test_a_short_try_is_no_finished_run(call, refused, tmp_path):
    """What --max-iters cut short does not stand in a table of whole trainings."""
    work_dir = tmp_path / "cityscapes/pspnet_r18/baseline-seed0"
    short = Result("fully_supervised", "cityscapes/pspnet_r18", "cityscapes", "baseline", 0,
                   iterations=6, asked=6)  # fmt: skip
    write(short, work_dir)
    plan = (ALL, "--only", "cityscapes/pspnet_r18", "--out", tmp_path, "--dry-run")
    words = r"is of a short training \(--max-iters 6\), now the whole schedule is asked"
    assert re.search(words, refused(call(*plan)))
    write(dataclasses.replace(short, iterations=40000, asked=None), work_dir)
    assert call(*plan)[1].count("# finished: ") == 1
    write(dataclasses.replace(short, iterations=40000, asked=None, arm="focal"), work_dir)
    assert "is of the arm 'focal', now baseline is asked" in refused(call(*plan))


def test_a_data_set_elsewhere_and_one_with_a_root_of_its_own(camvid, tmp_path):
    """What the loaders say is read; --data-root moves what lies below the config's data_root."""

    def loader(root):
        return dict(dataset=dict(type="BaseSegDataset", data_root=root))

    def roots(cfg):
        return [cfg[key].dataset.data_root for key in ("train_dataloader", "val_dataloader")]

    (tmp_path / "a").mkdir()
    cfg = Config(dict(data_root=str(tmp_path / "a"), train_dataloader=loader(str(tmp_path / "a")),
                      val_dataloader=loader("/elsewhere")))  # fmt: skip
    assert roots(fit_data(cfg, None, Roots())) == [str(tmp_path / "a"), "/elsewhere"]
    moved = fit_data(cfg, None, Roots.parse([str(camvid)]))
    assert roots(moved) == [str(camvid), "/elsewhere"]
    alone = Config(dict(train_dataloader=loader("/a"), val_dataloader=loader("/b")))
    assert roots(fit_data(alone, None, Roots())) == ["/a", "/b"]
    assert data_name(alone) == "BaseSegDataset"
