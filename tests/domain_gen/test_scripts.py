"""The entry scripts as a user starts them, on tiny data sets and on bad input; and against mmseg's
own test tool."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import mmseg
import numpy as np
import pytest
import torch

from core.engine.checkpoint import load_checkpoint
from core.engine.cli import main_line
from core.engine.configs import ConfigError, parse_config
from core.export import export_checkpoint
from data import camvid as camvid_classes
from data import domains
from data.errors import DataError
from domain_gen import eval_cityscapes, train_gtav

TRAIN, EVALUATE = "domain_gen/train_gtav.py", "domain_gen/eval_cityscapes.py"
IN_THIS_PROCESS = [
    f"{loader}_dataloader.{key}"
    for loader in ("train", "val")
    for key in ("num_workers=0", "persistent_workers=False")
]
SMALL = ("--config", "deeplabv3plus_r18-w16", "--max-iters", 2, "--cfg-options",
         "train_cfg.val_interval=40000", *IN_THIS_PROCESS)  # fmt: skip


@pytest.fixture(scope="module")
def _trained(tmp_path_factory):
    return dict(folder=tmp_path_factory.mktemp("trained"))


@pytest.fixture
def trained(_trained, finish, gtav):
    """Work_dirs of a baseline and of HL, trained on the tiny GTAV."""
    for arm, flags in (("baseline", ["--no-hl"]), ("hl", [])):
        if arm not in _trained:
            work_dir = _trained["folder"] / f"{arm}-seed0"
            code, out, err = finish(TRAIN, "--source", "gtav", "--data-root", f"gtav={gtav}",
                                    "--work-dir", work_dir, *flags, *SMALL)  # fmt: skip
            assert code == 0, err
            assert f"eval_cityscapes.py {work_dir}" in out
            _trained[arm] = work_dir
    return _trained["baseline"], _trained["hl"]


def test_training_knows_its_source_alone(trained):
    baseline, hl = (json.loads((folder / "result.json").read_text()) for folder in trained)
    assert (baseline["arm"], hl["arm"]) == ("baseline", "hl")
    assert baseline["source"] == hl["source"] == "gtav"
    states = [load_checkpoint(folder / "iter_2.pth")["state_dict"] for folder in trained]
    has_hl = [any(key.startswith("hl_head.") for key in state) for state in states]
    assert has_hl == [False, True]


def test_one_command_one_table(trained, finish, cityscapes, tmp_path):
    code, out, err = finish(
        EVALUATE, *trained, "--target", "cityscapes@128x64", "cityscapes@full", "bdd100k",
        "--data-root", f"cityscapes={cityscapes}", f"bdd100k={tmp_path}",
        "--out", tmp_path / "table")  # fmt: skip
    assert code == 0, err
    assert "missing: BDD100K: data set 'bdd100k' not found" in err
    assert "BDD100K: not evaluated" in out and "Cityscapes, full size" in out
    rows = list(csv.DictReader((tmp_path / "table/results.csv").open()))
    assert [(r["model"], r["arm"]) for r in rows] == [
        (model, arm)
        for model in ("gtav", "cityscapes@128x64", "cityscapes@full")
        for arm in ("baseline", "hl")
    ]
    markdown = (tmp_path / "table/results.md").read_text()
    assert "GTAV (its own validation images)" in markdown
    place = trained[1] / "targets/cityscapes-128x64"
    result = json.loads((place / "result.json").read_text())
    assert result["source"] == "gtav" and result["iteration"] == 2
    classes = [value for value in result["IoU"].values() if value is not None]
    assert np.mean(classes) == pytest.approx(result["mIoU"], abs=1e-4)
    pictures = {p.name for p in (place / "pictures").iterdir()}
    assert "ulm_000000_000019_leftImg8bit_hl.png" in pictures
    page = (tmp_path / "table/index.html").read_text()
    assert page.count("HL map</figcaption>") == 6  # three images at two sizes


def test_plain_mmseg_gives_the_same_figures(trained, finish, cityscapes, tmp_path):
    """The released protocol (whole image, fitted into 1024x512) by mmseg's own tool, which knows
    nothing of ours, on the exported checkpoint; and by our command, on both checkpoints."""
    exported = tmp_path / "plain.pth"
    export_checkpoint(next(trained[1].glob("iter_2.pth")), exported)
    cfg = parse_config(load_checkpoint(exported)["meta"]["cfg"])
    cfg.model.test_cfg = dict(mode="whole")
    config = tmp_path / "plain.py"
    config.write_text(
        f"""
_base_ = {str(Path(mmseg.__file__).parent / ".mim/configs/_base_/default_runtime.py")!r}
model = {cfg.model.to_dict()!r}
test_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="CityscapesDataset", data_root={str(cityscapes)!r},
        data_prefix=dict(img_path="leftImg8bit/val", seg_map_path="gtFine/val"),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="Resize", scale=(1024, 512), keep_ratio=True),
            dict(type="LoadAnnotations"),
            dict(type="PackSegInputs"),
        ],
    ),
)
test_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_cfg = dict(type="TestLoop")
"""
    )
    ours = []
    for checkpoint in (exported, trained[1]):
        out = tmp_path / f"out{len(ours)}"
        code, _, err = finish(EVALUATE, checkpoint, "--target", "cityscapes@1024x512",
                              "--data-root", f"cityscapes={cityscapes}", "--out", out)  # fmt: skip
        assert code == 0, err
        folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
        found = json.loads((folder / "targets/cityscapes-1024x512/result.json").read_text())
        assert found["arm"] == "hl"  # told by the config that an exported checkpoint keeps
        ours.append((found["mIoU"], found["IoU"]))
    assert ours[0] == ours[1]

    tool = Path(mmseg.__file__).parent / ".mim/tools/test.py"
    done = subprocess.run(
        [sys.executable, tool, config, exported, "--work-dir", tmp_path / "mmseg"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    theirs = float(re.findall(r"mIoU: ([\d.]+)", said)[-1])
    assert theirs == pytest.approx(100 * ours[0][0], abs=1e-9)
    table = re.findall(r"\| +([a-z ]+?) +\| +([\d.]+|nan) +\|", said)
    theirs = {name: None if value == "nan" else float(value) for name, value in table}
    mine = {k: v if v is None else round(100 * v, 2) for k, v in ours[0][1].items()}
    assert theirs == mine


def test_run_all_by_day_and_at_dusk(finish, sequences, tmp_path):
    """Real images by name; what is finished is skipped, what lacks is done."""
    arguments = ("--source", "camvid:day", "--data-root", f"camvid={sequences}", "--max-iters", 2,
                 "--seeds", 0, "--arms", "baseline", "hl", "--out", tmp_path / "out")  # fmt: skip
    code, out, err = finish("-m domain_gen.run_all", *arguments)
    assert code == 0, err
    assert "CamVid at dusk" in out and "2 of 2 runs to train, 2 to evaluate" in err
    result = tmp_path / "out/hl-seed0/targets/camvid-dusk/result.json"
    dusk = json.loads(result.read_text())
    assert dusk["pictures"] == ["0001TP_1", "0001TP_2"]
    own = json.loads((tmp_path / "out/hl-seed0/result.json").read_text())
    assert own["classes"] == dusk["classes"] == list(camvid_classes.CLASSES)

    os.utime(tmp_path / "out/hl-seed0/result.json")  # as a later training would
    result.write_text(json.dumps(dusk | dict(mIoU=0.999)))
    os.utime(result, (0, 0))
    code, out, err = finish("-m domain_gen.run_all", *arguments)
    assert code == 0, err
    assert "0 of 2 runs to train, 1 to evaluate" in err
    assert json.loads(result.read_text())["mIoU"] == dusk["mIoU"]


def test_two_processes_give_the_figures_of_one(trained, finish, cityscapes):
    """Three images on two processes: none is counted twice; one process writes and prints."""
    torchrun = f"-m torch.distributed.run --standalone --nproc_per_node=2 {EVALUATE}"
    found = []
    for script, flags in ((EVALUATE, []), (torchrun, ["--launcher", "pytorch"])):
        code, out, err = finish(script, trained[1], *flags, "--target", "cityscapes@64x32",
                                "--data-root", f"cityscapes={cityscapes}")  # fmt: skip
        assert code == 0, err
        assert out.count("page: ") == 1
        place = trained[1] / "targets/cityscapes-64x32/result.json"
        found.append(json.loads(place.read_text()))
        place.unlink()
    assert found[0]["IoU"] == found[1]["IoU"] and found[0]["mIoU"] == found[1]["mIoU"]


def test_19_classes_on_camvid(trained, finish, sequences, tmp_path):
    """GTAV to CamVid: predictions, figures and pictures in the target's classes and colours."""
    code, out, err = finish(EVALUATE, trained[1], "--target", "camvid", "--data-root",
                            f"camvid={sequences}", "--out", tmp_path)  # fmt: skip
    assert code == 0, err
    place = trained[1] / "targets/camvid"
    result = json.loads((place / "result.json").read_text())
    assert list(result["IoU"]) == list(camvid_classes.CLASSES)
    pred = cv2.imread(str(place / "pictures/0016E5_3_pred.png"))[..., ::-1]
    assert {tuple(c) for c in pred.reshape(-1, 3).tolist()} <= set(camvid_classes.PALETTE)
    assert "| pavement" in out


def result_of(folder, domain, miou, iteration=40000, **more):
    folder.mkdir(parents=True, exist_ok=True)
    content = dict(
        track="domain_gen", source="gtav", network="deeplabv3plus_r101", model=domain, arm="hl",
        title=domain, seed=0, mIoU=miou, IoU=dict(road=miou), iteration=iteration)  # fmt: skip
    (folder / "result.json").write_text(json.dumps(content | more))


def test_published_figures_stand_beside_the_published_protocol(tmp_path):
    targets = [domains.parse(name) for name in ("cityscapes@1024x512", "cityscapes@full")]
    for arm, miou in (("baseline", 0.36), ("hl", 0.40)):
        run = tmp_path / arm
        own = dict(model="deeplabv3plus_r101", data="GTAV", max_iters=40000, arm=arm)
        result_of(run, "gtav", 0.7, **own)
        for target in targets:
            result_of(eval_cityscapes.target_dir(run, target), target.name, miou, arm=arm)
    folders = [tmp_path / "baseline", tmp_path / "hl"]
    report = eval_cityscapes.write_table(tmp_path, folders, targets, {}, "command")
    found = json.loads(report.paths["json"].read_text())["rows"]
    rows = {(row["model"], row["arm"]): row for row in found}
    assert rows["cityscapes@1024x512", "hl"]["published"] == pytest.approx(0.4306)
    assert rows["cityscapes@1024x512", "hl"]["published_delta"] == pytest.approx(0.065)
    assert rows["cityscapes@full", "hl"]["published"] is None
    assert rows["gtav", "hl"]["miou"]["mean"] == 0.7

    # An earlier checkpoint has nothing to do with the figures of the finished training ...
    place = eval_cityscapes.target_dir(folders[1], targets[0])
    result_of(place, targets[0].name, 0.2, iteration=2000)
    kept = eval_cityscapes.read_rows(folders[1], targets[:1])
    assert [row["mIoU"] for row, _ in kept] == [0.2]
    # ... two networks are told apart, and the same run twice is refused.
    result_of(place, targets[0].name, 0.3, network="deeplabv3plus_r50", arm="baseline")
    report = eval_cityscapes.write_table(tmp_path, folders, targets[:1], {}, "command")
    assert "cityscapes@1024x512, deeplabv3plus_r50" in report.markdown
    with pytest.raises(ConfigError, match="give one run of a network"):
        eval_cityscapes.write_table(tmp_path, [folders[0]] * 2, targets, {}, "command")


@pytest.fixture
def refusal(monkeypatch):
    """``refusal(module, *arguments)``: what a script called in this process ends with."""

    def call(module, *arguments):
        monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main_line(module.main, DataError)
        line = str(caught.value)
        assert line.startswith("error: ") and "\n" not in line
        return line

    return call


@pytest.mark.parametrize(
    ("module", "arguments", "says"),
    [
        (train_gtav, ["--source", "gta"], "did you mean gtav"),
        (train_gtav, ["--source", "gtav", "--data-root", "gtav=/nowhere"], "'gtav' not found"),
        (train_gtav, ["--source", "gtav", "--data-root", "/nowhere"], "give NAME=DIR"),
        (train_gtav, ["--source", "camvid:dusk", "--data-root", "camvid=/nowhere"], "not found"),
        (eval_cityscapes, ["nowhere.pth"], "nowhere.pth: no such checkpoint"),
        (eval_cityscapes, ["."], "holds no iter_N.pth"),
    ],
)
def test_bad_input_is_one_line(refusal, module, arguments, says):
    assert says in refusal(module, *arguments)


def test_bad_checkpoints_and_targets_are_one_line(
    trained, finish, refused, refusal, tmp_path, sequences
):
    bdd = ("--target", "bdd100k", "--data-root", f"bdd100k={tmp_path}")
    assert "none of the targets is there" in refusal(eval_cityscapes, trained[0], *bdd)
    last = trained[0] / "iter_2.pth"
    twice = refusal(eval_cityscapes, trained[0], last, *bdd)
    assert "give one checkpoint of a folder" in twice
    bare = tmp_path / "bare.pth"
    torch.save(load_checkpoint(last)["state_dict"], bare)
    camvid = ("--target", "camvid", "--data-root", f"camvid={sequences}")
    assert "name that of its network with --config" in refusal(eval_cityscapes, bare, *camvid)
    other = finish(
        EVALUATE, bare, *camvid, "--config", "fully_supervised/configs/pspnet_r18-w16.py"
    )
    assert "does not fit the config" in refused(other)
    code, _, err = finish(EVALUATE, bare, *camvid, "--config", "deeplabv3plus_r18-w16")
    assert code == 0, err
