"""Damaged text: lists of images, YAML settings, configs, weights, ``result.json``, the log."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from drills.process import ROOT, Case, Fault, must_end, must_refuse, run
from drills.world import EVALUATE, GTAV, TRAIN, U2PL, World

_LIST = b"images/train/0.jpg\nimages/train/1.jpg\nimages/train/2.jpg\n"
_LISTS: dict[str, bytes | str] = {
    "empty": b"",
    "blank": b"\n \n\n",
    "NUL bytes": b"images/train/0.jpg\0\n",
    "only NUL bytes": bytes(1000),
    "no UTF-8": b"images/train/\xff\xfe\xfa.jpg\n",
    "an image": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "a line of 1 MB": b"x" * 2**20 + b"\n",
    "a line of 1 MB of spaces": b"images/train/0.jpg" + b" " * 2**20 + b"x\n",
    "a line of many columns": b"a," * 2**17 + b"\n",
    "out of the data": b"../../../../../etc/passwd\n",
    "out of the images": b"images/train/../val/0.jpg\n",
    "absolute": b"/etc/passwd\n",
    "an image of validation": b"images/val/0.jpg\n",
    "an image twice": _LIST + b"images/train/1.jpg\n",
    "an image that is missing": _LIST + b"images/train/77.jpg\n",
    "a pipe": "mkfifo",
    "a folder": "mkdir",
    "a link to /dev/zero": "/dev/zero",
    "a link to /dev/null": "/dev/null",
    "a link to nothing": "nothing",
    "a link to itself": "LIST",
    "missing": "missing",
    "too large": "large",
}
_GOOD_LISTS = {
    "DOS line ends": _LIST.replace(b"\n", b"\r\n"),
    "byte order mark": b"\xef\xbb\xbf" + _LIST,
    "UTF-16": _LIST.decode().encode("utf-16"),
    "names alone": b"0\n1\n2\n",
    "no end of line": _LIST.rstrip(),
}
_DEEP = "[" * 3000
_BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{y}: &{y} [{', '.join([f'*{x}'] * 9)}]\n" for x, y in zip("abcdefgh", "bcdefghi", strict=True)
)
_YAMLS: dict[str, bytes | str] = {
    "empty": b"",
    "a list": b"- 1\n- 2\n",
    "a number": b"7\n",
    "text": b"only words\n",
    "no YAML": b"dataset: [1, 2\n",
    "tabs": b"dataset:\n\ttype: camvid\n",
    "no UTF-8": b"dataset: \xff\xfe\n",
    "NUL bytes": b"dataset: \0\n",
    "deep": _DEEP.encode(),
    "a bomb of aliases": _BOMB.encode(),
    "a bomb in its place": (_BOMB + "net: {config: *i}\n").encode(),
    "an object of Python": b"dataset: !!python/object/apply:os.system [touch PWNED]\n",
    "an unknown key": b"dataset: {type: camvid, tipe: x}\n",
    "a section twice a number": b"dataset: 5\n",
    "a number for a section": b"base: BASE\ntrainer: 5\n",
    "null for a section": b"base: BASE\ntrainer: null\n",
    "a base that is missing": b"base: none.yaml\n",
    "its own base": b"base: LIST\n",
    "a base of a number": b"base: 5\n",
    "a base of a device": b"base: /dev/zero\n",
    "a base that is a folder": b"base: /\n",
    "keys that are no text": b"base: BASE\n5: 6\n",
    "a merge key of a number": b"<<: 5\n",
    "a date that is none": b"base: BASE\ntrainer: {epochs: 2001-02-45}\n",
    "a pipe": "mkfifo",
    "a link to /dev/zero": "/dev/zero",
    "a folder": "mkdir",
    "missing": "missing",
    "a config that is missing": b"base: BASE\nnet: {config: none.py}\n",
    "a config that is a device": b"base: BASE\nnet: {config: /dev/zero}\n",
    "a config that is a number": b"base: BASE\nnet: {config: 5}\n",
    "a config of mmseg that is none": b"base: BASE\nnet: {config: 'mmseg::../../x.py'}\n",
    "an unknown data set": b"base: BASE\ndataset: {type: ../x}\n",
}
_CONFIGS: dict[str, bytes | str] = {
    "empty": b"",
    "no model": b"x = 1\n",
    "raises": b"raise ValueError('of its own')\n",
    "ends Python": b"import sys\nsys.exit(3)\n",
    "no Python": b"model = dict(\n",
    "NUL bytes": b"model = 1\0\n",
    "no UTF-8": b"# \xff\xfe\xfa\nmodel = 1\n",
    "model a number": b"model = 5\n",
    "model a list": b"model = [1]\n",
    "deep": b"model = " + b"[" * 300 + b"]" * 300 + b"\n",
    "a base that is missing": b"_base_ = 'none.py'\n",
    "its own base": b"_base_ = 'LIST'\n",
    "a base of a number": b"_base_ = 5\n",
    "an import that is missing": b"_base_ = 'BASE'\ncustom_imports = dict(imports=['no.such'])\n",
    "imports of a number": b"_base_ = 'BASE'\ncustom_imports = 5\n",
    "an unknown network": b"_base_ = 'BASE'\nmodel = dict(type='NoSuchNetwork')\n",
    "an unknown argument": b"_base_ = 'BASE'\nmodel = dict(backbone=dict(no_such=1))\n",
    "an unknown hook": b"_base_ = 'BASE'\ncustom_hooks = [dict(type='NoSuchHook')]\n",
    "an unknown loop": b"_base_ = 'BASE'\ntrain_cfg = dict(type='NoSuchLoop')\n",
    "no training": b"_base_ = 'BASE'\ntrain_dataloader = None\n",
    "loader a list": b"_base_ = 'BASE'\ntrain_dataloader = [1]\n",
    "an unknown transform": b"_base_ = 'BASE'\ntrain_dataloader = dict(dataset=dict("
    b"pipeline=[dict(type='NoSuch')]))\n",
    "a key removed twice": b"_base_ = 'BASE'\nmodel = dict(_delete_=True)\n",
    "a folder": "mkdir",
    "a pipe": "mkfifo",
    "a link to /dev/zero": "/dev/zero",
    "missing": "missing",
}
_WEIGHTS: dict[str, bytes | str] = {
    "empty": b"",
    "no JSON": b"{",
    "a list": b"[1, 2]",
    "null": b"null",
    "no UTF-8": b"\xff\xfe\xfa",
    "no weights": b"{}",
    "too few": b'{"class_weight": [1, 2]}',
    "text": b'{"class_weight": ["x"]}',
    "negative": json.dumps(dict(class_weight=[-1.0] * 11)).encode(),
    "NaN": json.dumps(dict(class_weight=[float("nan")] * 11)).encode(),
    "infinite": json.dumps(dict(class_weight=[float("inf")] * 11)).encode(),
    "all zero": json.dumps(dict(class_weight=[0] * 11)).encode(),
    "true": json.dumps(dict(class_weight=[True] * 11)).encode(),
    "deep": _DEEP.encode(),
    "a pipe": "mkfifo",
    "a folder": "mkdir",
    "a link to /dev/zero": "/dev/zero",
    "missing": "missing",
}


def _make(path: Path, content: bytes | str, base: Path) -> Path:
    """A file of ``content``, or what is named by its text."""
    if isinstance(content, bytes):
        text = content.replace(b"LIST", path.name.encode()).replace(b"BASE", str(base).encode())
        path.write_bytes(text)
    elif content == "mkfifo":
        os.mkfifo(path)
    elif content == "mkdir":
        path.mkdir()
    elif content == "large":
        with open(path, "wb") as file:
            file.truncate(2**34)  # holes: nothing on the disk
    elif content != "missing":
        path.symlink_to(content.replace("LIST", path.name))
    return path


def cases(world: World) -> list[Case]:
    found = []

    def add(kind: str, what: str, act: Callable, *arguments: object) -> None:
        found.append(Case(f"input, {kind}", f"{kind}: {what}", partial(act, world, *arguments)))

    for what, content in _LISTS.items():
        add("list", what, _list, content, False)
    for what, content in _GOOD_LISTS.items():
        add("list", f"to be taken, {what}", _list, content, True)
    for what in ("empty", "blank", "NUL bytes", "a pipe", "a link to /dev/zero", "a folder",
                 "a line of 1 MB", "missing", "too large", "out of the data",
                 "an image that is missing"):  # fmt: skip
        add("ann_file", what, _ann_file, _LISTS[what])
    for what, content in _YAMLS.items():
        add("yaml", what, _yaml, content)
    for what, content in _CONFIGS.items():
        add("config", what, _config, content)
    for what, content in _WEIGHTS.items():
        add("class weights", what, _class_weights, content)
    for what, content in _SCALARS.items():
        add("scalars.json", what, _scalars, content)
    for what in ("empty", "missing", "a file", "another set's"):
        add("hardness", what, _hardness, what)
    for what, content in _RESULTS.items():
        add("result.json", what, _result, content)
    return found


def _list(world: World, content: bytes | str, good: bool, folder: Path) -> None:
    labeled = _make(folder / "labeled.txt", content, folder)
    other = _make(folder / "other.txt", b"images/train/4.jpg\nimages/train/5.jpg\n", folder)
    arguments = world.u2pl(folder / "work", "--labeled-list", labeled, "--unlabeled-list", other,
                           "--max-iters", 2)  # fmt: skip
    done = run(U2PL, *arguments, folder=folder / "run")
    if good:
        must_end(done)
    else:
        must_refuse(done, "^.{1,900}$")
        must_refuse(done, "labeled.txt")


def _ann_file(world: World, content: bytes | str, folder: Path) -> None:
    listed = _make(folder / "names.txt", content, folder)
    option = f"train_dataloader.dataset.ann_file={listed}"
    done = run(TRAIN, *world.train(folder / "work", "--max-iters", 4, "--cfg-options", option),
               folder=folder / "run")  # fmt: skip
    must_refuse(done, "^.{1,1000}$")


def _yaml(world: World, content: bytes | str, folder: Path) -> None:
    path = _make(folder / "mine.yaml", content, ROOT / "semi_supervised/configs/camvid.yaml")
    arguments = ["--data", "camvid", "--data-root", world.camvid, "--config", path, "--split",
                 "1/2", "--work-dir", folder / "work", "--max-iters", 2]  # fmt: skip
    must_refuse(run(U2PL, *arguments, folder=folder / "run"), "^.{1,1000}$")
    if list(folder.rglob("PWNED")):
        raise Fault("code was run")


def _config(world: World, content: bytes | str, folder: Path) -> None:
    path = _make(folder / "mine.py", content, world.config)
    arguments = [path, "--hl", "--work-dir", folder / "work", "--max-iters", 2]
    must_refuse(run(TRAIN, *arguments, folder=folder / "run"))


def _class_weights(world: World, content: bytes | str, folder: Path) -> None:
    path = _make(folder / "weights.json", content, folder)
    arguments = [world.config, "--weighting", "balanced", "--class-weights", path, "--work-dir",
                 folder / "work", "--max-iters", 2]  # fmt: skip
    must_refuse(run(TRAIN, *arguments, folder=folder / "run"), "weight")


def _hardness(world: World, what: str, folder: Path) -> None:
    maps = folder / "maps"
    if what == "a file":
        maps.write_text("x")
    elif what != "missing":
        maps.mkdir()
    if what == "another set's":
        for i in range(6):
            shutil.copy(world.camvid / "labels/train/0.png", maps / f"other{i}.png")
    arguments = [world.config, "--weighting", "collected", "--hardness", maps, "--work-dir",
                 folder / "work", "--max-iters", 2]  # fmt: skip
    must_refuse(run(TRAIN, *arguments, folder=folder / "run"), "maps|hardness")


_SCALARS = {
    "no UTF-8": b"\xff\xfe\xfa\n",
    "a number": b"5\n",
    "null": b"null\n",
    "a list": b"[1]\n",
    "no step": b'{"loss": 1.0}\n',
    "a step of text": b'{"loss": 1.0, "step": "x"}\n',
    "a mIoU of text": b'{"mIoU": "x", "step": 2}\n',
    "a cut line": b'{"loss": 1.0, "st',
    "deep": _DEEP.encode() + b"\n",
    "NaN": b'{"loss": NaN, "step": 2}\n',
    "NUL bytes": bytes(1000),
}


def _scalars(world: World, content: bytes, folder: Path) -> None:
    """A damaged log costs its lines, never the result."""
    log = folder / "work/20200101_000000/vis_data/scalars.json"
    log.parent.mkdir(parents=True)
    log.write_bytes(content)
    done = run(TRAIN, *world.train(folder / "work", "--max-iters", 2), folder=folder / "run")
    must_end(done)
    json.loads((folder / "work/result.json").read_text())


_RESULTS = {
    "truncated": lambda text: text[: len(text) // 2],
    "empty": lambda _: "",
    "a list": lambda _: "[1]",
    "null": lambda _: "null",
    "a seed of text": lambda text: json.dumps(dict(json.loads(text), seed="<script>")),
    "an unknown arm": lambda text: json.dumps(dict(json.loads(text), arm="magic")),
    "curves a list": lambda text: json.dumps(dict(json.loads(text), curves=[1, 2])),
    "metrics a number": lambda text: json.dumps(dict(json.loads(text), metrics=5)),
    "deep": lambda _: _DEEP,
    "another format": lambda text: json.dumps(dict(json.loads(text), format=77)),
}


def _result(world: World, damage: Callable[[str], str], folder: Path) -> None:
    """The evaluation reads it for its table: named in a line, or made anew."""
    work_dir = folder / "work"
    must_end(run(GTAV, *world.domain(work_dir), folder=folder / "train"))
    path = work_dir / "result.json"
    path.write_text(damage(path.read_text()))
    done = run(EVALUATE, work_dir, "--target", "gtav", "--data-root", f"gtav={world.gtav}",
               folder=folder / "run")  # fmt: skip
    if done.code == 0:
        must_end(done)
    else:
        must_refuse(done, "result.json")
