"""The record of a run: written, read back, those of version 0.4, and what is finished."""

import contextlib
import dataclasses
import json

import pytest

import core
from core import result
from core.arms import Arm
from core.errors import DamagedResult, ResultError
from core.result import (
    Code,
    Cost,
    Metrics,
    Result,
    Weights,
    finished,
    read,
    read_each,
    this_code,
    write,
)

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
                 best_mIoU=0.5, foreground="road", batch_size=8, published_batch_size=16,
                 lr_factor=0.5),
            dict(network="pspnet", group="camvid", data="camvid", iterations=800,
                 facts={"batch_size": 8, "published_batch_size": 16, "lr_factor": 0.5}),
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
    "content",
    [b"", b'{"format": 2, "track"', b"[]", b"null", b"5", b"\xff\xfe{}", b'{"mIoU": 0.4}',
     b'{"format": 2, "track": "x"}', b'{"format": "2"}', b'{"format": true}', b"[" * 100_000,
     b'{"seed": 1' + b"0" * 5000 + b"}"],
)  # fmt: skip
def test_a_damaged_result_is_one_line(content, tmp_path):
    (tmp_path / "result.json").write_bytes(content)
    with pytest.raises(DamagedResult, match=r"result\.json: damaged \(.+makes it anew") as error:
        read(tmp_path)
    assert "\n" not in str(error.value) and len(str(error.value)) < len(str(tmp_path)) + 250


def test_a_result_of_a_later_version_is_not_damaged(tmp_path):
    (tmp_path / "result.json").write_text('{"format": 99}')
    with pytest.raises(ResultError, match="of a later version") as error:
        read(tmp_path)
    assert not isinstance(error.value, DamagedResult)


MISSING = object()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("track", MISSING, "track is missing"),
        ("seed", "0", "seed is '0', no whole number"),
        ("seed", True, "seed is True"),
        ("seed", 10**30, "seed is 10000"),
        ("seed", float("nan"), "seed is nan"),
        ("iterations", 400.5, "iterations is 400.5"),
        ("new", 1, "new is unknown"),
        ("title", None, "title is None, no text"),
        ("arm", "magic", "arm: unknown arm 'magic'"),
        ("arm", "hl c=nan", "arm: hl: c must be"),
        ("metrics", None, "metrics is None, no mapping"),
        ("metrics", {"miou": "0.5"}, r"metrics\.miou is '0\.5', no number"),
        ("metrics", {"miou": 1e308}, r"metrics\.miou is 1e\+308, no share"),
        ("metrics", {"iou": {"road": [0.5]}}, r"metrics\.iou\.road is a list"),
        ("metrics", {"more": {"mDice": "50"}}, r"metrics\.more\.mDice is '50'"),
        ("cost", {"num_params": 1.5}, r"cost\.num_params is 1\.5"),
        ("code", {"stack": {"torch": 2}}, r"code\.stack\.torch is 2, no text"),
        ("weights", [], "weights is a list, no mapping"),
        ("curves", [], "curves is a list"),
        ("curves", {"loss": [[1]]}, r"curves\.loss has points"),
        ("curves", {"loss": [["1", 2]]}, r"curves\.loss\.0\.0 is '1'"),
        ("curves", {"loss": [[10**400, 2]]}, r"curves\.loss\.0\.0 is 1000"),
        ("classes", "road", "classes is 'road', no list"),
        ("palette", [["a", 0, 0]], r"palette\.0\.0 is 'a'"),
        ("palette", [[1, 2]], r"palette\.0 has 2 values in the place of 3"),
        ("pictures", [1], r"pictures\.0 is 1"),
        ("facts", {"source": ["gtav"]}, r"facts\.source is a list"),
        ("facts", {"as_released": [1]}, r"facts\.as_released\.0 is 1"),
        ("facts", {"lr_factor": 0.5}, r"facts\.batch_size is None"),
        ("curves", {"a\n\x1b[2J": 1}, r"curves\.a\\n\\x1b\[2J is 1, no list"),
    ],
)  # fmt: skip
def test_every_value_is_of_its_type(key, value, words, tmp_path):
    """And of all that is wrong the file and the key are named."""
    content = dict(format=2) | dataclasses.asdict(RUN) | {key: value}
    content = {key: value for key, value in content.items() if value is not MISSING}
    (tmp_path / "result.json").write_text(json.dumps(content))
    with pytest.raises(DamagedResult, match=rf"result\.json: damaged \({words}.*\)") as error:
        read(tmp_path)
    assert str(error.value).isprintable()


def test_a_value_of_any_type_at_any_place_is_read_or_named(tmp_path):
    """No exception of another kind, whatever stands where."""

    def places(node, way=()):
        yield way
        parts = dict(enumerate(node)) if isinstance(node, list) else node
        for key, value in parts.items() if isinstance(parts, dict) else ():
            yield from places(value, (*way, key))

    whole = json.loads(json.dumps(dict(format=2) | dataclasses.asdict(RUN)))
    for way in places(whole):
        for value in (None, True, -1, 1.5, float("nan"), "x", [], {}, [[1, [2]]], {"a": {}}):
            changed = json.loads(json.dumps(whole))
            node = changed
            for key in way[:-1]:
                node = node[key]
            if way:
                node[way[-1]] = value
            (tmp_path / "result.json").write_text(json.dumps(changed if way else value))
            with contextlib.suppress(DamagedResult):
                read(tmp_path)


def test_what_is_not_finite_was_not_measured(tmp_path):
    nan, inf = float("nan"), float("inf")
    odd = dataclasses.replace(RUN, metrics=Metrics(nan, {"road": nan}), cost=Cost(inf),
                              curves={"grad_norm": [[1, inf], [2, 0.5]]})  # fmt: skip
    write(odd, tmp_path)
    found = read(tmp_path)
    assert (found.metrics.miou, found.metrics.iou, found.cost) == (None, {"road": None}, Cost())
    assert found.curves == {"grad_norm": [[1, None], [2, 0.5]]}


def test_equal_arms_have_one_text(tmp_path):
    write(dataclasses.replace(RUN, arm="ce"), tmp_path)
    assert read(tmp_path).arm == "baseline"


def test_of_several_the_damaged_ones_are_told(tmp_path):
    write(RUN, tmp_path / "whole")
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut/result.json").write_text('{"format": 2')
    folders = [tmp_path / name for name in ("whole", "cut", "none")]
    found, damaged = read_each(folders)
    assert found == [(RUN, tmp_path / "whole")]
    (line,) = damaged
    assert line.startswith(f"{tmp_path}/cut/result.json: damaged (")


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
