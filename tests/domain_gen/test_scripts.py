"""The entry scripts as a user starts them, on tiny data sets and on bad input; and against mmseg's
own test tool."""

import csv
import dataclasses
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

from core.configs import parse_config
from core.engine import sweep
from core.engine.checkpoint import load_checkpoint
from core.errors import ConfigError
from core.export import export_checkpoint
from core.report import write_report
from core.result import Metrics, Result, Weights, read, write
from data import domains
from data.sets import camvid as camvid_classes
from domain_gen import manifest
from domain_gen.table import is_evaluated, table

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
def trained(_trained, call, gtav):
    """Work_dirs of a baseline and of HL, trained on the tiny GTAV."""
    for arm, flags in (("baseline", ["--no-hl"]), ("hl", [])):
        if arm not in _trained:
            work_dir = _trained["folder"] / f"{arm}-seed0"
            code, out, err = call(TRAIN, "--source", "gtav", "--data-root", f"gtav={gtav}",
                                    "--work-dir", work_dir, *flags, *SMALL)  # fmt: skip
            assert code == 0, err
            assert f"eval_cityscapes.py {work_dir}" in out
            facts = read(work_dir).facts  # one process in the place of four
            assert (facts["batch_size"], facts["published_batch_size"]) == (2, 8)
            assert (facts["lr_factor"], facts["lr_rule"]) == (0.5, "square root")
            _trained[arm] = work_dir
    return _trained["baseline"], _trained["hl"]


@pytest.mark.slow
def test_training_knows_its_source_alone(trained):
    baseline, hl = map(read, trained)
    assert (baseline.arm, hl.arm) == ("baseline", "hl")
    assert baseline.facts["source"] == hl.facts["source"] == "gtav"
    assert baseline.group == "gtav" and baseline.network == "deeplabv3plus_r18-w16"
    states = [load_checkpoint(folder / "iter_2.pth")["state_dict"] for folder in trained]
    has_hl = [any(key.startswith("hl_head.") for key in state) for state in states]
    assert has_hl == [False, True]


@pytest.mark.slow
def test_one_command_one_table(trained, call, cityscapes, tmp_path):
    code, out, err = call(
        EVALUATE, *trained, "--target", "cityscapes@128x64", "cityscapes@full", "bdd100k",
        "--data-root", f"cityscapes={cityscapes}", f"bdd100k={tmp_path}",
        "--out", tmp_path / "table")  # fmt: skip
    assert code == 0, err
    assert "missing: BDD100K: data set 'bdd100k' not found" in err
    assert "BDD100K: not evaluated" in out and "Cityscapes, full size" in out
    rows = list(csv.DictReader((tmp_path / "table/results.csv").open()))
    assert [(r["group"], r["arm"]) for r in rows] == [
        (domain, arm)
        for domain in ("gtav", "cityscapes@128x64", "cityscapes@full")
        for arm in ("baseline", "hl")
    ]
    markdown = (tmp_path / "table/results.md").read_text()
    assert "GTAV (its own validation images)" in markdown
    place = trained[1] / "targets/cityscapes-128x64"
    result = read(place)
    assert result.facts["source"] == "gtav" and result.weights.iteration == 2
    assert result.weights.revision == read(trained[1]).weights.revision
    classes = [value for value in result.metrics.iou.values() if value is not None]
    assert np.mean(classes) == pytest.approx(result.metrics.miou, abs=1e-4)
    pictures = {p.name for p in (place / "pictures").iterdir()}
    assert "ulm_000000_000019_leftImg8bit_hl.png" in pictures
    page = (tmp_path / "table/index.html").read_text()
    assert page.count("HL map</figcaption>") == 6  # three images at two sizes


@pytest.mark.slow
def test_plain_mmseg_gives_the_same_figures(trained, call, cityscapes, tmp_path):
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
        code, _, err = call(EVALUATE, checkpoint, "--target", "cityscapes@1024x512",
                              "--data-root", f"cityscapes={cityscapes}", "--out", out)  # fmt: skip
        assert code == 0, err
        folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
        found = read(folder / "targets/cityscapes-1024x512")
        assert found.arm == "hl"  # told by the config that an exported checkpoint keeps
        ours.append((found.metrics.miou, dict(found.metrics.iou)))
    assert ours[0] == ours[1]
    exported_and_whole = (exported.parent, trained[1])
    revisions = [read(f / "targets/cityscapes-1024x512").weights for f in exported_and_whole]
    assert revisions[0].revision == revisions[1].revision == read(trained[1]).weights.revision

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


@pytest.mark.slow
def test_run_all_by_day_and_at_dusk(call, jobs_here, sequences, tmp_path):
    """Real images by name; what is finished is skipped, what lacks is done; whose weights a result
    is of decides, whatever the times of the files."""
    arguments = ("--source", "camvid:day", "--data-root", f"camvid={sequences}", "--max-iters", 2,
                 "--seeds", 0, "--arms", "baseline", "hl c=0.5", "--out", tmp_path / "out",
                 "--train-args", "--cfg-options train_cfg.val_interval=40000")  # fmt: skip
    code, out, err = call("domain_gen/run_all.py", *arguments)
    assert code == 0, err
    assert "CamVid at dusk" in out and "2 of 2 runs to do, 2 to evaluate" in err
    assert "+HL, c=0.5" in out
    run = tmp_path / "out/hl-c=0.5-seed0"
    place = run / "targets/camvid-dusk"
    dusk, own = read(place), read(run)
    assert dusk.pictures == ("0001TP_1", "0001TP_2")
    assert own.classes == dusk.classes == camvid_classes.CLASSES
    assert load_checkpoint(run / "iter_2.pth")["meta"]["cfg"].count("c=0.5") >= 1

    for path in (run / "result.json", place / "result.json"):
        os.utime(path, (0, 0))  # as cp and rsync leave it
    code, out, err = call("domain_gen/run_all.py", *arguments)
    assert code == 0 and "to evaluate" not in err, err
    other = dataclasses.replace(dusk.weights, revision="0" * 16)
    write(dataclasses.replace(dusk, weights=other, metrics=Metrics(0.999)), place)
    assert not is_evaluated(run, domains.parse("camvid:dusk"))
    code, out, err = call("domain_gen/run_all.py", *arguments)
    assert code == 0, err
    assert "0 of 2 runs to do, 1 to evaluate" in err
    assert read(place).metrics.miou == dusk.metrics.miou


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["balanced", "ohem", "focal"])
def test_rivals_train_on_a_source(arm, call, sequences, tmp_path):
    code, _, err = call(TRAIN, "--source", "camvid:day", "--data-root", sequences, "--weighting",
                          arm, "--work-dir", tmp_path, *SMALL)  # fmt: skip
    assert code == 0, err
    assert read(tmp_path).arm == arm


def test_a_plan_needs_no_data_and_the_first_machine_evaluates(call, monkeypatch, tmp_path):
    """Every command of every machine; without GTAV."""
    for name, value in dict(NNODES="2", MASTER_ADDR="10.0.0.1", GPUS="4").items():
        monkeypatch.setenv(name, value)
    plan = ("domain_gen/run_all.py", "--source", "gtav", "--dry-run", "--out", tmp_path)
    lines = {}
    for rank in ("0", "1"):
        monkeypatch.setenv("NODE_RANK", rank)
        code, out, err = call(*plan)
        assert code == 0, err
        lines[rank] = [line for line in out.splitlines() if not line.startswith("#")]
    assert [sum(TRAIN in line for line in lines[rank]) for rank in "01"] == [3, 3]
    assert [sum(EVALUATE in line for line in lines[rank]) for rank in "01"] == [3, 0]
    assert all("--nnodes=2" in line for line in lines["1"])
    assert all("--standalone" in line for line in lines["0"] if EVALUATE in line)


@pytest.mark.parametrize("rank", ["0", "1"])
def test_one_machine_of_two_writes_the_report(rank, call, monkeypatch, sequences, tmp_path):
    """With nothing to train: the other machine ends well, without a word of a missing run."""
    for name, value in dict(NNODES="2", MASTER_ADDR="h", NODE_RANK=rank).items():
        monkeypatch.setenv(name, value)
    result_of(
        tmp_path / "hl-seed0",
        "camvid:day",
        0.4,
        source="camvid:day",
        iterations=2,
        network="deeplabv3plus_lite0",
    )
    monkeypatch.setattr(sweep, "run_jobs", lambda jobs, at_once=None: {})
    code, out, err = call("domain_gen/run_all.py", "--source", "camvid:day", "--arms", "hl",
                          "--max-iters", 2, "--seeds", 0, "--data-root", sequences,
                          "--out", tmp_path)  # fmt: skip
    assert code == 0, err
    assert (tmp_path / "index.html").is_file() == (rank == "0") == ("page: " in out)


@pytest.mark.slow
def test_two_processes_give_the_figures_of_one(trained, call, finish, cityscapes):
    """Three images on two processes: none is counted twice; one process writes and prints."""
    torchrun = f"-m torch.distributed.run --standalone --nproc_per_node=2 {EVALUATE}"
    found = []
    for start, script, flags in ((call, EVALUATE, []),
                                 (finish, torchrun, ["--launcher", "pytorch"])):  # fmt: skip
        code, out, err = start(script, trained[1], *flags, "--target", "cityscapes@64x32",
                               "--data-root", f"cityscapes={cityscapes}")  # fmt: skip
        assert code == 0, err
        assert out.count("page: ") == 1
        place = trained[1] / "targets/cityscapes-64x32/result.json"
        found.append(read(place.parent).metrics)
        place.unlink()
    assert found[0] == found[1]


@pytest.mark.slow
def test_19_classes_on_camvid(trained, call, sequences, tmp_path):
    """GTAV to CamVid: predictions, figures and pictures in the target's classes and colours."""
    code, out, err = call(EVALUATE, trained[1], "--target", "camvid", "--data-root", sequences,
                          "--out", tmp_path)  # fmt: skip
    assert code == 0, err
    place = trained[1] / "targets/camvid"
    assert list(read(place).metrics.iou) == list(camvid_classes.CLASSES)
    pred = cv2.imread(str(place / "pictures/0016E5_3_pred.png"))[..., ::-1]
    assert {tuple(c) for c in pred.reshape(-1, 3).tolist()} <= set(camvid_classes.PALETTE)
    assert "| pavement" in out


def test_what_version_0_4_trained_stands_beside_new_evaluations(tmp_path):
    """It told no revision of its weights: the iteration decides."""
    target = domains.parse("cityscapes@full")
    result_of(tmp_path, "gtav", 0.7, revision=None, iterations=40000)
    result_of(manifest.target_dir(tmp_path, target), target.name, 0.4)
    assert is_evaluated(tmp_path, target)
    entries = table([tmp_path], [target], {})["entries"]
    assert [entry.run.group for entry in entries] == ["gtav", "cityscapes@full"]


def result_of(folder, domain, miou, revision="a", network="deeplabv3plus_r101", arm="hl",
              source="gtav", iterations=None):  # fmt: skip
    metrics = Metrics(miou, dict(road=miou))
    weights = Weights("iter_40000.pth", 40000, revision)
    write(Result("domain_gen", network, domain, arm, 0, title=domain, metrics=metrics,
                 weights=weights, iterations=iterations, asked=iterations,
                 facts=dict(source=source)), folder)  # fmt: skip


def test_a_name_leaves_no_folder():
    target = dataclasses.replace(domains.parse("cityscapes"), name="../../a/..\0")
    assert manifest.target_dir(Path("w"), target) == Path("w/targets/-a-")


def test_a_damaged_result_is_no_evaluation_and_a_note_of_the_table(tmp_path, capsys):
    """Of a training, or on a target; or one that tells no source."""
    target = domains.parse("cityscapes@full")
    place = manifest.target_dir(tmp_path, target)
    result_of(tmp_path, "gtav", 0.7)
    result_of(place, target.name, 0.4)
    assert is_evaluated(tmp_path, target)
    (place / "result.json").write_text('{"format": 2')
    assert not is_evaluated(tmp_path, target)
    assert capsys.readouterr().err.startswith(f"note: {place}/result.json: damaged (")
    shown = table([tmp_path], [target], {})
    assert [entry.run.group for entry in shown["entries"]] == ["gtav"]
    assert shown["notes"][-1].startswith(f"{place}/result.json: damaged (")
    write(dataclasses.replace(read(tmp_path), facts={}), place)
    assert "tells no source" in table([tmp_path], [target], {})["notes"][-1]
    (tmp_path / "result.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"no run to show among .*; .*damaged .*; .*no source"):
        table([tmp_path], [target], {})


def test_published_figures_stand_beside_the_published_protocol(tmp_path):
    targets = [domains.parse(name) for name in ("cityscapes@1024x512", "cityscapes@full")]
    for arm, miou in (("baseline", 0.36), ("hl", 0.40)):
        run = tmp_path / arm
        result_of(run, "gtav", 0.7, arm=arm)
        for target in targets:
            result_of(manifest.target_dir(run, target), target.name, miou, arm=arm)
    folders = [tmp_path / "baseline", tmp_path / "hl"]
    report = write_report(tmp_path, **table(folders, targets, {}))
    found = json.loads(report.paths["json"].read_text())["rows"]
    rows = {(row["subject"], row["arm"]): row for row in found}
    assert rows["cityscapes@1024x512", "hl"]["published"] == pytest.approx(0.4306)
    assert rows["cityscapes@1024x512", "hl"]["published_delta"] == pytest.approx(0.065)
    assert rows["cityscapes@full", "hl"]["published"] is None
    assert rows["gtav", "hl"]["miou"]["mean"] == 0.7

    # An earlier checkpoint has nothing to do with the figures of the finished training ...
    place = manifest.target_dir(folders[1], targets[0])
    result_of(place, targets[0].name, 0.2, revision="b")
    kept = table(folders[1:], targets[:1], {})["entries"]
    assert [entry.run.metrics.miou for entry in kept] == [0.2]
    # ... two networks are told apart, and the same run twice is refused.
    result_of(place, targets[0].name, 0.3, network="deeplabv3plus_r50", arm="baseline")
    report = write_report(tmp_path, **table(folders, targets[:1], {}))
    assert "cityscapes@1024x512, deeplabv3plus_r50" in report.markdown
    with pytest.raises(ConfigError, match="give one of a training"):
        table([folders[0]] * 2, targets, {})


@pytest.mark.parametrize(
    ("script", "arguments", "says"),
    [
        (TRAIN, ["--source", "gta"], "did you mean gtav"),
        (TRAIN, ["--source", "gtav", "--data-root", "gtav=/nowhere"], "'gtav' not found"),
        (TRAIN, ["--source", "gtav", "--data-root", "/nowhere"], "'gtav' not found"),
        (TRAIN, ["--source", "camvid:dusk", "--data-root", "camvid=/nowhere"], "give --config"),
        (TRAIN, ["--source", "gtav", "--no-hl", "--weighting", "focal"], "give one of them"),
        (TRAIN, ["--source", "gtav", "--hl", "--options", "c=0"], "hl: c must be > 0"),
        (EVALUATE, ["nowhere.pth"], "nowhere.pth: no such checkpoint"),
        (EVALUATE, ["."], "holds no iter_N.pth"),
    ],
)
def test_bad_input_is_one_line(call, refused, script, arguments, says):
    assert says in refused(call(script, *arguments))


def test_options_given_twice_are_refused(call, refused, sequences):
    """Not the one or the other in silence."""
    day = (TRAIN, "--source", "camvid:day", "--data-root", sequences)
    assert "hl: c is given twice: 0.3 and 0.5" in refused(
        call(*day, "--options", "c=0.3", "--cfg-options", "model.hl.c=0.5")
    )
    assert "--seed is 1, but --cfg-options say randomness.seed=2" in refused(
        call(*day, "--seed", 1, "--cfg-options", "randomness.seed=2")
    )


@pytest.mark.slow
def test_bad_checkpoints_and_targets_are_one_line(trained, call, refused, tmp_path, sequences):
    bdd = ("--target", "bdd100k", "--data-root", f"bdd100k={tmp_path}")
    assert "none of the targets is there" in refused(call(EVALUATE, trained[0], *bdd))
    last = trained[0] / "iter_2.pth"
    twice = refused(call(EVALUATE, trained[0], last, *bdd))
    assert "give one checkpoint of a folder" in twice
    bare = tmp_path / "bare.pth"
    torch.save(load_checkpoint(last)["state_dict"], bare)
    camvid = ("--target", "camvid", "--data-root", f"camvid={sequences}")
    assert "name that of its network with --config" in refused(call(EVALUATE, bare, *camvid))
    pspnet = "fully_supervised/configs/pspnet_r18-w16.py"
    other = call(EVALUATE, bare, *camvid, "--config", pspnet)
    assert "does not fit the config" in refused(other)
    code, _, err = call(EVALUATE, bare, *camvid, "--config", "deeplabv3plus_r18-w16")
    assert code == 0, err


def test_as_released_is_in_the_commands(call, tmp_path):
    """And without GTAV on disk; evaluations are printed, too."""
    code, out, err = call("domain_gen/run_all.py", "--source", "gtav", "--dry-run", "--as-released",
                          "--out", tmp_path)  # fmt: skip
    lines = [line for line in out.splitlines() if not line.startswith("#")]
    assert code == 0 and len(lines) == 6, err
    assert f"{tmp_path}/hl-normalize=batch-ignored=include-seed0 " in lines[2]
    assert "--weighting hl --options normalize=batch ignored=include" in lines[2]
    assert all("eval_cityscapes.py" in line for line in lines[3:])


def test_classes_that_do_not_map_are_refused_before_scenes_are_drawn(call, refused, tmp_path):
    checkpoint, scenes = tmp_path / "w/iter_2.pth", tmp_path / "scenes"
    checkpoint.parent.mkdir()
    meta = dict(dataset_meta=dict(classes=["cat", "dog"]))
    torch.save(dict(state_dict={"x": torch.zeros(1)}, meta=meta), checkpoint)
    done = call(EVALUATE, checkpoint, "--config", "deeplabv3plus_r18-w16", "--target",
                "streets:real", "--data-root", f"streets={scenes}")  # fmt: skip
    assert "no mapping from 2 classes (cat, …) to 19 (road, …)" in refused(done)
    assert not scenes.exists()
