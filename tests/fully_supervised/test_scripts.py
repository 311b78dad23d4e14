"""The entry scripts as a user starts them: on a small CamVid look-alike, and on bad input."""

import csv
import json
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

from data import registry

SMALL = "fully_supervised/configs/pspnet_r18-w16.py"


class Sources(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for key, value in attrs if key in ("src", "href")]


def test_run_all_compares_resumes_and_reports(command, finish, camvid, tmp_path, refused):
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

    code, out, err = finish("-m fully_supervised.run_all", *arguments)
    assert code == 0, err
    assert "OCRNet, ResNet-18 at quarter width" in out and "+HL" in out
    rows = list(csv.DictReader((tmp_path / "camvid/results.csv").open()))
    assert len(rows) == 3
    assert {row["arm"] for row in rows} == {"baseline", "ce-scaled", "hl"}
    page = Sources()
    page.feed((tmp_path / "camvid/index.html").read_text())
    assert page.found and all(s.startswith(("data:", "#")) for s in page.found)

    times = [p.stat().st_mtime_ns for p in sorted(tmp_path.glob("camvid/*/*/result.json"))]
    code, out, err = finish("-m fully_supervised.run_all", *arguments)
    assert code == 0 and "0 of 3 runs" not in out
    assert times == [p.stat().st_mtime_ns for p in sorted(tmp_path.glob("camvid/*/*/result.json"))]

    wrong = ["--max-iters" if a == "--max-iters" else 9 if a == 8 else a for a in arguments]
    assert "is of 8 iterations, now 9 are asked" in refused(
        finish("-m fully_supervised.run_all", *wrong)
    )


def test_train_then_export_then_test(finish, camvid, tmp_path, refused):
    work_dir = tmp_path / "work"
    data = ("--data", "camvid", "--data-root", camvid)
    code, out, err = finish("fully_supervised/train.py", SMALL, "--hl", *data, "--max-iters", 4,
                            "--work-dir", work_dir, "--hl-options", "alpha=0.1",
                            "normalize=batch", "ignored=include")  # fmt: skip
    assert code == 0, err
    miou = float(re.search(r"mIoU ([\d.]+) %", out)[1])
    checkpoint = torch.load(work_dir / "iter_4.pth", weights_only=True)
    assert "'alpha': 0.1" in checkpoint["meta"]["cfg"] or "alpha=0.1" in checkpoint["meta"]["cfg"]

    plain = tmp_path / "plain.pth"
    code, out, err = finish("-m core.export", work_dir / "iter_4.pth", plain)
    assert code == 0 and "tensors left out" in out, err
    code, out, err = finish("fully_supervised/test.py", SMALL, plain, *data,
                            "--work-dir", tmp_path / "test")  # fmt: skip
    assert code == 0, err
    assert float(re.search(r"mIoU +([\d.]+)", out)[1]) == pytest.approx(miou, abs=0.006)
    assert re.search(r"^sky +[\d.]+$", out, re.M)

    assert "go on with --resume" in refused(
        finish("fully_supervised/train.py", SMALL, "--hl", *data, "--work-dir", work_dir)
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
def test_bad_input_is_one_line(arguments, words, camvid, root, tmp_path, monkeypatch):
    if "--amp" in arguments and torch.cuda.is_available():
        pytest.skip("a GPU is here")
    filled = []
    for argument in arguments:
        filled += ["camvid", "--data-root", camvid] if argument == "CAMVID" else [argument]
    script = root / "fully_supervised/train.py"
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "argv", [str(script), *map(str, filled), "--work-dir", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(script), run_name="__main__")
    assert stop.value.code.startswith("error: ") and "\n" not in stop.value.code
    assert re.search(words, stop.value.code)


def copied(camvid, target):
    shutil.copytree(camvid, target)
    return target


def test_broken_files_are_named_in_training(finish, camvid, tmp_path, refused):
    """By a loader's worker, whose errors come with a traceback before them."""
    folder = copied(camvid, tmp_path / "data")
    for path in folder.glob("images/train/*.jpg"):
        path.write_bytes(path.read_bytes()[:-200])
    done = finish("fully_supervised/train.py", SMALL, "--data", "camvid", "--data-root", folder,
                  "--max-iters", 2, "--work-dir", tmp_path / "work", "--cfg-options",
                  "train_dataloader.num_workers=1")  # fmt: skip
    assert re.search(r"images/train/\d\.jpg: missing or truncated; copy it again", refused(done))


def test_wrong_label_ids_are_named_in_evaluation(finish, camvid, tmp_path, refused):
    folder = copied(camvid, tmp_path / "data")
    label = np.full((180, 240), 77, np.uint8)
    cv2.imwrite(str(folder / "labels/val/1.png"), label)
    done = finish("fully_supervised/train.py", SMALL, "--data", "camvid", "--data-root", folder,
                  "--max-iters", 2, "--work-dir", tmp_path / "work")  # fmt: skip
    assert re.search(r"labels/val/1\.png: label id 77 is out of range", refused(done))


def test_a_failing_run_does_not_stop_the_others(finish, camvid, tmp_path):
    """The OCRNet folder cannot be written; the table has the rest and says so; exit code 1."""
    blocked = tmp_path / "camvid/ocrnet_r18-w16/hl-seed0"
    (blocked / "iter_4.pth").mkdir(parents=True)  # a folder where the checkpoint goes
    code, out, err = finish("-m fully_supervised.run_all", "--data", "camvid", "--data-root",
                            camvid, "--max-iters", 4, "--seeds", 0, "--arms", "hl", "--only",
                            "pspnet_r18-w16", "ocrnet_r18-w16", "--out", tmp_path)  # fmt: skip
    assert code == 1, err
    assert "ocrnet_r18-w16" in out and "could not be written" in out
    results = json.loads((tmp_path / "camvid/pspnet_r18-w16/hl-seed0/result.json").read_text())
    assert results["max_iters"] == 4


def test_dry_run_prints_the_published_protocol(finish, tmp_path):
    code, out, _ = finish("-m fully_supervised.run_all", "--data", "cityscapes", "--dry-run",
                          "--out", tmp_path, GPUS="4")  # fmt: skip
    assert code == 0
    lines = out.strip().splitlines()
    assert len(lines) == 9
    assert all("--nproc_per_node=4" in line and "--launcher pytorch" in line for line in lines)
    assert (
        "--weighting hl" in lines[2]
        and "train.py --launcher pytorch cityscapes/pspnet_r18 " in lines[2]
    )


def test_plain_torch_example_trains(root, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(registry, "ROOT", tmp_path)
    monkeypatch.setattr(registry, "STREETS", dict(domain="real", num_train=4, num_val=1))
    script = str(root / "fully_supervised/plain_torch.py")
    monkeypatch.setattr(sys, "argv", [script, "--iters", "2"])
    runpy.run_path(script, run_name="__main__")
    assert re.search(r"2/2: loss_seg [\d.]+, loss_hl -0\.0\d+", capsys.readouterr().out)
