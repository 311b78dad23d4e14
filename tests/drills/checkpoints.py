"""Damaged and malicious checkpoints: to every reader one line that names the file; to ``--resume``
the one before, with a word."""

from __future__ import annotations

import io
import os
import pickle
import random
import shutil
import struct
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from drills.kills import compare
from drills.process import Case, Fault, must_end, must_refuse, run
from drills.world import COLLECT, EVALUATE, EXPORT, GTAV, TEST, TRAIN, World

Change = Callable[[Path], None]
_FLIPS = 100


def _bit(place: float) -> Change:
    """One bit of a weight: within the file's largest entries, not its padding."""

    def change(path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            parts = [i for i in archive.infolist() if "/data/" in i.filename and i.file_size]
        at = int(place * sum(part.file_size for part in parts))
        for part in parts:
            if at < part.file_size:
                break
            at -= part.file_size
        data = bytearray(path.read_bytes())
        header = part.header_offset
        name, extra = struct.unpack_from("<HH", data, header + 26)
        data[header + 30 + name + extra + at] ^= 1 << int(place * 1e6) % 8
        path.write_bytes(data)

    return change


def _any_bit(place: float) -> Change:
    def change(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[int(place * len(data))] ^= 4
        path.write_bytes(data)

    return change


def _hole(path: Path) -> None:
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4096] = bytes(4096)
    path.write_bytes(data)


def _content(content: bytes) -> Change:
    return lambda path: path.write_bytes(content)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _zip_without_pickle(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/readme", "nothing")


def _edited(edit: Callable[[dict], object]) -> Change:
    """Saved again with something else in it."""

    def change(path: Path) -> None:
        content = torch.load(path, weights_only=True)
        other = edit(content)
        torch.save(content if other is None else other, path)

    return change


def _set(key: str, value: object) -> Change:
    return _edited(lambda content: content.__setitem__(key, value))


def _without(key: str) -> Change:
    return _edited(lambda content: content.pop(key) and None)


class _Evil:
    def __init__(self, place: Path) -> None:
        self.command = f"touch {place}"

    def __reduce__(self):
        return os.system, (self.command,)


def _pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps(_Evil(path.parent / "PWNED")))


def _evil_tensor(path: Path) -> None:
    content = torch.load(path, weights_only=True)
    content["meta"]["evil"] = _Evil(path.parent / "PWNED")
    torch.save(content, path)


def _old_format(path: Path) -> None:
    content = dict(state_dict={}, meta=_Evil(path.parent / "PWNED"))
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    path.write_bytes(buffer.getvalue())


def _config_text(path: Path) -> None:
    """What mmengine's own resume would run."""
    text = f"import os\nos.system('touch {path.parent / 'PWNED'}')\n"
    _edited(lambda c: c["meta"].update(config=text, cfg=text))(path)


_DAMAGED: dict[str, Change] = {
    "a hole of 4 kB": _hole,
    "truncated": lambda p: os.truncate(p, p.stat().st_size // 2),
    "its last bytes gone": lambda p: os.truncate(p, p.stat().st_size - 10),
    "empty": _content(b""),
    "text": _content(b"junk"),
    "text of a pickle": _content(b"\x80\x02junk."),
    "zeros": _content(bytes(4096)),
    "a folder": _folder,
    "a pipe": _pipe,
    "a zip without a pickle": _zip_without_pickle,
    "no state_dict": _without("state_dict"),
    "state_dict a list": _set("state_dict", [1]),
    "state_dict of numbers": _set("state_dict", {"a": 5}),
    "a list": _edited(lambda _: [1, 2]),
    "a number": _edited(lambda _: 5),
    "a malicious pickle": _pickled,
    "a malicious object in it": _evil_tensor,
    "a malicious old file": _old_format,
}
# Only what goes on from one needs them.
_FOR_RESUME: dict[str, Change] = {
    "no meta": _without("meta"),
    "meta a list": _set("meta", [1]),
    "meta without iter": _edited(lambda c: c["meta"].pop("iter") and None),
    "no message_hub": _without("message_hub"),
    "message_hub a list": _set("message_hub", [1]),
    "no optimizer": _without("optimizer"),
    "optimizer empty": _set("optimizer", {}),
    "optimizer a list": _set("optimizer", [1]),
    "param_schedulers a number": _set("param_schedulers", 5),
    "random_states of numbers": _set("random_states", [5]),
}


def cases(world: World, rng: random.Random) -> list[Case]:
    found = []
    flips = [rng.random() for _ in range(_FLIPS)]
    for i, place in enumerate(flips):
        reader = ("resume", "test", "export")[i % 3]
        change = (_bit if i % 4 else _any_bit)(place)
        found.append(Case("checkpoint, one bit", f"{reader}: a bit at {place:.6f}", partial(
            _READERS[reader], world, change, i % 4 == 0)))  # fmt: skip
    for what, change in _DAMAGED.items():
        for reader, act in _READERS.items():
            found.append(Case("checkpoint, damaged", f"{reader}: {what}", partial(
                act, world, change, False)))  # fmt: skip
    for what, change in _FOR_RESUME.items():
        found.append(Case("checkpoint, for --resume", f"resume: {what}", partial(
            _resume, world, change, False)))  # fmt: skip
    for reader in ("resume", "evaluate", "collect"):
        found.append(Case("checkpoint, hostile config", f"{reader}: config text", partial(
            _hostile, world, reader)))  # fmt: skip
    rng.shuffle(found)
    return found


def _trained(world: World, script: str = TRAIN) -> Path:
    """The work_dir of a finished run, made once: 8 iterations, the last three checkpoints kept."""
    name = "gtav" if script == GTAV else "supervised"
    place = world.configs.parent / "trained" / name
    if not place.exists():
        place.parent.mkdir(exist_ok=True)
        arguments = (world.domain if script == GTAV else world.train)(place)
        must_end(run(script, *arguments, folder=place.with_name(f"{name}-run")))
    return place


def _not_run(folder: Path) -> None:
    if list(folder.rglob("PWNED")):
        raise Fault("code from the checkpoint was run")


def _resume(world: World, change: Change, harmless: bool, folder: Path) -> None:
    """The one before is used, which is said, and the end is the same; or one line."""
    whole, work_dir = _trained(world), folder / "work"
    shutil.copytree(whole, work_dir)
    (work_dir / "result.json").unlink()
    (work_dir / "iter_8.pth").rename(folder / "iter_8.pth")
    change(work_dir / "iter_6.pth")
    done = run(TRAIN, *world.train(work_dir, "--resume"), folder=folder / "run")
    _not_run(folder)
    if done.code:
        must_refuse(done, "iter_6.pth")
        return
    must_end(done)
    if not harmless and "iter_6.pth" not in done.err + done.out:
        raise Fault("used, or left out, without a word")
    compare(whole, work_dir, 8)


def _reader(script: str, world: World, change: Change, harmless: bool, folder: Path) -> None:
    path = folder / "damaged.pth"
    source = _trained(world, GTAV if script == EVALUATE else TRAIN)
    shutil.copy(source / ("iter_6.pth" if script == EVALUATE else "iter_8.pth"), path)
    change(path)
    arguments = {
        TEST: [world.config, path],
        EXPORT: [path, folder / "out.pth"],
        EVALUATE: [path, "--target", "gtav", "--data-root", f"gtav={world.gtav}"],
        COLLECT: [path, "--out", folder / "maps"],
        TRAIN: world.train(folder / "work", "--max-iters", 2, "--cfg-options", f"load_from={path}"),
    }[script]
    done = run(script, *arguments, folder=folder / "run")
    _not_run(folder)
    if harmless and done.code == 0:
        must_end(done)
    else:
        must_refuse(done, "damaged.pth")


_READERS: dict[str, Callable] = {
    "resume": _resume,
    "test": partial(_reader, TEST),
    "export": partial(_reader, EXPORT),
    "evaluate": partial(_reader, EVALUATE),
    "collect": partial(_reader, COLLECT),
    "load_from": partial(_reader, TRAIN),
}


def _hostile(world: World, reader: str, folder: Path) -> None:
    """A config in plain text that is Python: never run, whatever else comes of it."""
    try:
        _READERS[reader](world, _config_text, True, folder)
    finally:
        _not_run(folder)
