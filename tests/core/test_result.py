"""The record of a run: written, read back, those of version 0.4, and what is finished."""

import dataclasses
import json

import pytest

import core
from core import result
from core.arms import Arm
from core.errors import ResultError
from core.result import Code, Cost, Metrics, Result, Weights, finished, read, this_code, write

RUN = Result(
    track="domain_gen",
    network="net",
    group="camvid:dusk",
    arm="hl c=0.5",
    seed=3,
    title="CamVid at dusk",
    iterations=400,
    asked=400,
    metrics=Metrics(0.5, {"road": 0.7, "pole": None}, 0.6),
    cost=Cost(0.1, 800.0, 1000),
    code=Code("0.5.0", "abc", {"torch": "2"}),
    weights=Weights("iter_400.pth", 400, "00ff"),
    curves={"loss": [[1, 2.0]]},
    classes=("road", "pole"),
    palette=((1, 2, 3), (4, 5, 6)),
    pictures=("a",),
    facts={"source": "camvid:day"},
)
COMMON = dict(arm="hl", seed=1, mIoU=0.4, IoU={"road": 0.4}, seconds_per_iter=0.2, num_params=7,
              classes=["road"], palette=[[1, 2, 3]], pictures=["a"], versions={"torch": "2"},
              curves={"loss": [[1, 2.0]]}, date="2026-11-23")  # fmt: skip


def test_what_is_written_is_read_back(tmp_path):
    write(RUN, tmp_path)
    assert read(tmp_path) == RUN
    assert json.loads((tmp_path / "result.json").read_text())["format"] == result.FORMAT
    assert read(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("old", "want"),
    [
        (
            dict(track="fully_supervised", model="pspnet", data="camvid", max_iters=800,
                 best_mIoU=0.5, foreground="road", lr_factor=0.5),
            dict(network="pspnet", group="camvid", data="camvid", iterations=800,
                 facts={"lr_factor": 0.5}),
        ),
        (
            dict(track="fully_supervised", model="pspnet", data="x", max_iters=6,
                 command="python train.py a --max-iters 6 --seed 0"),
            dict(iterations=6, asked=6),
        ),
        (
            dict(track="semi_supervised", model="1/8 balanced", data="camvid", max_iters=800,
                 labeled=46, unlabeled=321),
            dict(network="", group="1/8 balanced", title="1/8 balanced: 46 of 367 images labeled",
                 facts={"labeled": 46, "unlabeled": 321}),
        ),
        (
            dict(track="domain_gen", model="deeplab", source="gtav", data="GTAV", max_iters=400),
            dict(network="deeplab", group="gtav", title="GTAV (its own validation images)"),
        ),
        (
            dict(track="domain_gen", model="cityscapes@full", title="Cityscapes, full size",
                 network="deeplab", source="gtav", weights="iter_400.pth", iteration=400),
            dict(network="deeplab", group="cityscapes@full", title="Cityscapes, full size",
                 weights=Weights("iter_400.pth", 400, None), iterations=None),
        ),
    ],
)  # fmt: skip
def test_results_of_version_0_4_are_read(old, want, tmp_path):
    (tmp_path / "result.json").write_text(json.dumps(COMMON | old))
    run = read(tmp_path)
    for key, value in want.items():
        assert getattr(run, key) == value, key
    assert (run.metrics.miou, run.metrics.iou, run.cost.num_params) == (0.4, {"road": 0.4}, 7)
    assert run.code == Code(stack={"torch": "2"}) and run.classes == ("road",)
    assert run.score == 0.4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "damaged"),
        ('{"format": 2, "track"', "damaged"),
        ("[]", "damaged"),
        ('{"mIoU": 0.4}', "damaged"),
        ('{"format": 2, "track": "x"}', "damaged"),
        ('{"format": 99}', "of a later version"),
    ],
)
def test_a_damaged_result_is_one_line(text, words, tmp_path):
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(ResultError, match=rf"result\.json: .*{words}") as error:
        read(tmp_path)
    assert "\n" not in str(error.value)


def test_finished_is_what_was_asked_for(tmp_path):
    assert finished(tmp_path, 400) is None
    write(RUN, tmp_path)
    assert finished(tmp_path, 400, Arm.parse("hl")) == RUN
    with pytest.raises(ResultError, match="is of 400 iterations, now 500 are asked"):
        finished(tmp_path, 500)
    with pytest.raises(ResultError, match=r"a short training \(--max-iters 400\), now the whole"):
        finished(tmp_path, None)
    with pytest.raises(ResultError, match=r"is of the arm 'hl c=0\.5', now baseline is asked"):
        finished(tmp_path, 400, Arm.parse("baseline"))
    whole = dataclasses.replace(RUN, asked=None)
    write(whole, tmp_path)
    assert finished(tmp_path, None) == whole


def test_the_foreground_class_counts_where_there_is_one():
    metrics = Metrics(0.8, {"background": 0.98, "text": 0.6}, foreground="text")
    assert dataclasses.replace(RUN, metrics=metrics).score == 0.6
    assert Metrics(float("nan")).score is None


def test_our_version_and_revision_are_told(root):
    code = this_code()
    assert code.version == core.__version__
    if code.revision:  # not where git is missing
        assert len(code.revision.removesuffix("-dirty")) == 12
