"""Checkpoint files: whole or absent, and never code."""

import errno
import os
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.runner.checkpoint import CheckpointLoader

from core.engine.checkpoint import (
    checkpoints_in,
    is_plain,
    latest_checkpoint,
    load_checkpoint,
    to_bytes,
    to_plain,
    weights_revision,
)
from core.errors import CheckpointError, WriteError
from core.files import write_atomically


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_round_trip(tmp_path):
    write_atomically(
        to_bytes(dict(state_dict=dict(a=torch.arange(3)), meta=dict(iter=3))), tmp_path / "a.pth"
    )
    loaded = load_checkpoint(tmp_path / "a.pth")
    assert torch.equal(loaded["state_dict"]["a"], torch.arange(3))
    assert loaded["meta"] == dict(iter=3)
    assert os.listdir(tmp_path) == ["a.pth"]


@pytest.mark.parametrize("load", [load_checkpoint, CheckpointLoader.load_checkpoint])
def test_code_in_a_checkpoint_is_not_run(load, tmp_path):
    path, trap = tmp_path / "bad.pth", tmp_path / "trap"
    torch.save(dict(state_dict={}, x=Malicious(trap)), path)
    with pytest.raises(CheckpointError, match="could run code; refused"):
        load(str(path))
    assert not trap.exists()


def test_an_old_style_pickle_is_not_run_either(tmp_path):
    path, trap = tmp_path / "bad.pth", tmp_path / "trap"
    path.write_bytes(pickle.dumps(Malicious(trap)))
    with pytest.raises(CheckpointError, match=r"bad\.pth"):
        load_checkpoint(path)
    assert not trap.exists()


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.99])
def test_truncated_files_are_named(keep, tmp_path):
    path = tmp_path / "cut.pth"
    write_atomically(to_bytes(dict(state_dict=dict(a=torch.randn(1000)))), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep if keep == 0 or keep > 1 else keep * len(content))])
    with pytest.raises(CheckpointError, match=r"cut\.pth: damaged"):
        load_checkpoint(path)


def test_missing_and_foreign_files_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.pth: no such checkpoint"):
        load_checkpoint(tmp_path / "none.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="a list, not a state dict"):
        load_checkpoint(tmp_path / "list.pth")


def test_a_bare_state_dict_is_taken(tmp_path):
    torch.save(dict(w=torch.ones(2)), tmp_path / "bare.pth")
    assert torch.equal(load_checkpoint(tmp_path / "bare.pth")["state_dict"]["w"], torch.ones(2))


def test_full_disk_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.pth"
    write_atomically(b"old", path)

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match=r"No space left.*what was there before is untouched"):
        write_atomically(b"new", path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.pth"]


@pytest.mark.parametrize(
    "content, words",
    [
        (dict(meta=dict(iter=3), optimizer={}), "holds no weights"),
        (dict(state_dict=[1, 2]), "holds no weights"),
        (dict(state_dict=dict(a=1)), "holds no weights"),
        (dict(state_dict={}), "holds no weights"),
        (dict(state_dict=dict(a=torch.ones(1)), meta=[1]), "its meta is a list"),
    ],
)
def test_a_file_of_another_shape_is_named(content, words, tmp_path):
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=rf"odd\.pth: {words}"):
        load_checkpoint(tmp_path / "odd.pth")


STATE = dict(
    state_dict=dict(a=torch.ones(1)),
    meta=dict(iter=3, epoch=0),
    message_hub=dict(log_scalars={}, runtime_info={}, resumed_keys={}),
    optimizer=dict(state={}, param_groups=[]),
    random_states=[dict()],
)


@pytest.mark.parametrize(
    "key, value",
    [
        *((key, None) for key in STATE if key != "state_dict"),
        ("meta", dict(iter="3", epoch=0)),
        ("meta", dict(iter=3)),
        ("message_hub", dict(log_scalars={})),
        ("optimizer", [1]),
        ("random_states", dict(a=1)),
    ],
)
def test_only_a_whole_training_state_is_resumed(key, value, tmp_path):
    torch.save(STATE, tmp_path / "iter_3.pth")
    assert load_checkpoint(tmp_path / "iter_3.pth", to_resume=True)
    torch.save({**STATE, key: value}, tmp_path / "iter_4.pth")
    with pytest.raises(CheckpointError, match=r"iter_4\.pth: holds no training state"):
        load_checkpoint(tmp_path / "iter_4.pth", to_resume=True)
    told = []
    path, _ = latest_checkpoint(tmp_path, told.append)
    assert path.name == "iter_3.pth"
    assert len(told) == 1 and told[0].endswith("trying the one before") and "iter_4" in told[0]


def test_what_is_no_checkpoint_is_passed_over(tmp_path):
    """A folder, a stray name, another kind of file: each with a line."""
    torch.save(STATE, tmp_path / "iter_3.pth")
    (tmp_path / "iter_9.pth").mkdir()
    (tmp_path / "iter_final.pth").touch()
    (tmp_path / "iter_5.pth").write_text("junk")
    (tmp_path / "iter_6.pth").symlink_to(tmp_path / "gone")
    torch.save([1, 2], tmp_path / "iter_7.pth")
    told = []
    path, _ = latest_checkpoint(tmp_path, told.append)
    assert path.name == "iter_3.pth"
    for name in ("iter_9", "iter_final", "iter_5", "iter_6", "iter_7"):
        assert sum(f"{name}.pth" in line for line in told) == 1, told


def test_bytes_of_any_kind_are_one_error(tmp_path):
    """Whatever torch's reader raises for a damaged file."""
    rng = random.Random(0)
    whole = tmp_path / "whole.pth"
    torch.save(dict(state_dict=dict(a=torch.randn(50))), whole)  # no seal
    content, path = whole.read_bytes(), tmp_path / "fuzzed.pth"
    refused = 0
    for _ in range(300):
        fuzzed = bytearray(content)
        for _ in range(rng.randrange(1, 20)):
            fuzzed[rng.randrange(len(fuzzed))] = rng.randrange(256)
        path.write_bytes(fuzzed[: rng.choice([len(fuzzed), rng.randrange(len(fuzzed))])])
        try:
            load_checkpoint(path)
        except CheckpointError:
            refused += 1
    assert refused > 250


def test_latest_first_by_number(tmp_path):
    for name in ("iter_9.pth", "iter_10.pth", "iter_100.pth", "iter_x.pth", ".iter_11.pth.1.tmp"):
        (tmp_path / name).touch()
    assert [p.name for p in checkpoints_in(tmp_path)] == [
        "iter_100.pth",
        "iter_10.pth",
        "iter_9.pth",
    ]


def test_what_the_safe_load_takes_is_known_before():
    from collections import namedtuple

    pair = namedtuple("pair", "a b")(1, np.float64(2))
    for odd in (dict(a=Path("x")), [np.float64(1)], {1: {2}}, pair, object()):
        assert not is_plain(odd)
    assert to_plain(pair) == (1, 2.0) and is_plain(to_plain(pair))
    assert is_plain(dict(a=[1, (None, "x", 2.5, torch.ones(1))], b=b"x"))


def test_to_plain_survives_the_safe_load(tmp_path):

    value = dict(a=np.float64(1.5), b=(np.int64(2), [np.array([1, 2])]), c="x")
    plain = to_plain(value)
    assert plain == dict(a=1.5, b=(2, [[1, 2]]), c="x")
    torch.save(plain, tmp_path / "p.pth")
    assert torch.load(tmp_path / "p.pth", weights_only=True) == plain


def test_a_failed_download_is_one_line(monkeypatch, tmp_path):
    def offline(url, path):
        raise OSError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    for source in ("https://example.invalid/x.pth", "open-mmlab://resnet18_v1c"):
        with pytest.raises(CheckpointError, match=r"could not download.*--no-pretrained"):
            CheckpointLoader.load_checkpoint(source)


def test_revisions_tell_weights_apart():
    """By name, shape, type and every bit; not by order or memory layout."""
    weights = dict(a=torch.arange(6.0).reshape(2, 3), b=torch.tensor(3), c=torch.ones(2).bfloat16())
    first = weights_revision(weights)
    assert len(first) == 16 and int(first, 16) >= 0
    same = dict(reversed(weights.items())) | dict(a=weights["a"].T.contiguous().T)
    assert weights_revision(same) == first
    flipped = weights["a"].clone()
    flipped.view(torch.int32)[1, 2] ^= 1
    for other in (
        dict(a=flipped),
        dict(a=weights["a"].reshape(3, 2)),
        dict(a=weights["a"].double()),
        dict(d=torch.zeros(0)),
    ):
        assert weights_revision(weights | other) != first
