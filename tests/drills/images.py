"""Images and labels that are damaged, of another size or kind, or no files at all."""

from __future__ import annotations

import os
import random
import shutil
import socket
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from drills.process import Case, must_end, must_refuse, run
from drills.world import COLLECT, GTAV, PREPARE, TRAIN, U2PL, WEIGHTS, World, copy_of

Change = Callable[[Path], None]


def _cut(share: float) -> Change:
    return lambda path: os.truncate(path, int(path.stat().st_size * share))


def _bytes(content: bytes) -> Change:
    def change(path: Path) -> None:
        path.unlink()
        path.write_bytes(content)

    return change


def _hole(path: Path) -> None:
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(64)
    path.write_bytes(data)


def _cut_with_end(path: Path) -> None:
    """A truncated JPEG with the end mark put back."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.6)] + b"\xff\xd9")


def _stored(change: Callable[[Image.Image], Image.Image], kind: str, **options: object) -> Change:
    def act(path: Path) -> None:
        with Image.open(path) as image:
            image.load()
        changed = change(image)
        path.unlink()
        changed.save(path, kind, **options)

    return act


def _sixteen(add: int) -> Change:
    return _stored(lambda i: Image.fromarray(np.asarray(i).astype(np.uint16) + add), "PNG")


def _pixel(value: int) -> Change:
    def change(image: Image.Image) -> Image.Image:
        image.paste(value, (12, 12, 36, 24))
        return image

    return _stored(change, "PNG")


def _chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def _bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes whose header says that it is huge."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header)
            + _chunk(b"IDAT", zlib.compress(bytes(1000))) + _chunk(b"IEND", b""))  # fmt: skip


def _huge(path: Path) -> None:
    """Whole, and within what Pillow takes: 144 million pixels of a class."""
    path.unlink()
    Image.new("L", (12000, 12000)).save(path, "PNG", compress_level=1)


def _replaced(make: Callable[[Path], object]) -> Change:
    def change(path: Path) -> None:
        path.unlink()
        make(path)

    return change


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        before = os.getcwd()
        os.chdir(path.parent)  # a socket's path must be short
        server.bind(path.name)
        os.chdir(before)


def _turned(tag: int, transposed: bool = False) -> Change:
    exif = Image.Exif()
    exif[0x0112] = tag
    turn = (lambda i: i.transpose(Image.Transpose.ROTATE_90)) if transposed else (lambda i: i)
    return _stored(turn, "JPEG", exif=exif)


def _unreadable(path: Path) -> None:
    path.chmod(0)


# What happens to a file: (to images, to labels); a message of each kind names the file.
_ANY: dict[str, Change] = {
    "truncated to half": _cut(0.5),
    "truncated to its header": _cut(0.1),
    "its last bytes gone": _cut(0.98),
    "empty": _bytes(b""),
    "zeros": _bytes(bytes(500)),
    "text": _bytes(b"no image at all\n"),
    "a page of HTML": _bytes(b"<!DOCTYPE html><html><body>404 Not Found</body></html>"),
    "a pointer of git LFS": _bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n"),
    "a bomb": _bytes(_bomb(60000, 60000)),
    "a bomb beyond PNG": _bytes(_bomb(2**31 - 1, 2**31 - 1)),
    "of no size": _bytes(_bomb(0, 0)),
    "a pipe": _replaced(os.mkfifo),
    "a folder": _replaced(os.mkdir),
    "a socket": _replaced(_socket),
    "a link to nothing": _replaced(lambda p: p.symlink_to("nothing")),
    "a link to itself": _replaced(lambda p: p.symlink_to(p.name)),
    "a link to a device": _replaced(lambda p: p.symlink_to("/dev/zero")),
    "missing": Path.unlink,
    "transposed": lambda p: _stored(lambda i: i.transpose(Image.Transpose.ROTATE_90),
                                    "PNG" if p.suffix == ".png" else "JPEG")(p),
    "half the size": lambda p: _stored(lambda i: i.resize((24, 18)),
                                       "PNG" if p.suffix == ".png" else "JPEG")(p),
    "one pixel": lambda p: _stored(lambda i: i.resize((1, 1)),
                                   "PNG" if p.suffix == ".png" else "JPEG")(p),
}  # fmt: skip
_IMAGES: dict[str, Change] = {
    "cut, with its end put back": _cut_with_end,
    "turned by EXIF 6": _turned(6),
    "turned by EXIF 3": _turned(3),
}
_LABELS: dict[str, Change] = {
    "RGB": _stored(lambda i: i.convert("RGB"), "PNG"),
    "RGBA": _stored(lambda i: i.convert("RGBA"), "PNG"),
    "LA": _stored(lambda i: i.convert("LA"), "PNG"),
    "16 bits, ids over 255": _sixteen(1000),
    "id out of range": _pixel(77),
    "huge": _huge,
}
# Rightly taken.
_GOOD: dict[str, tuple[str, Change]] = {
    "16 bits, ids of classes": ("labels", _sixteen(0)),
    "palette label": ("labels", _stored(lambda i: _with_palette(i), "PNG")),
    "grey image": ("images", _stored(lambda i: i.convert("L"), "JPEG")),
    "a link to the file elsewhere": ("images", lambda p: _moved(p)),
    "EXIF 6, as its label has it": ("images", _turned(6, transposed=True)),
    "EXIF 1": ("images", _turned(1)),
}
# Only the pixels tell: what a loader that reads headers cannot know before it decodes.
_SIZES = {"transposed", "half the size", "one pixel", "huge"}  # nobody compares with an image
_ONLY_READ = {"cut, with its end put back"}


def _with_palette(image: Image.Image) -> Image.Image:
    image.putpalette([value for k in range(256) for value in (k, 255 - k, 7 * k % 256)])
    return image


def _moved(path: Path) -> None:
    target = path.parents[3] / f"elsewhere-{path.name}"
    shutil.move(path, target)
    path.symlink_to(target)


def _readers(world: World) -> dict[str, Callable[[Path, Path], tuple]]:
    """Commands that read a copy of the data set, by what they are called here."""
    return {
        "prepare": lambda data, _: (PREPARE, "camvid", "--src", data, "--check-only"),
        "train": lambda data, w: (TRAIN, *world.train(w, "--max-iters", 4, data=data)),
        "weights": lambda data, _: (WEIGHTS, world.config, "--data-root", data),
        "balanced split": lambda data, w: (
            U2PL, *world.u2pl(w, "--split", "1/2", "--split-order", "balanced", "--max-iters", 4,
                              data=data)),
    }  # fmt: skip


def cases(world: World, rng: random.Random) -> list[Case]:
    readers = _readers(world)
    found = []
    for part, suffix, damages in (
        ("images", ".jpg", {**_ANY, **_IMAGES}),
        ("labels", ".png", {**_ANY, **_LABELS}),
    ):
        for what, change in damages.items():
            for split in ("train", "val"):
                names = ["prepare", "train"]
                if split == "train" and part == "labels":
                    names += ["weights", "balanced split"]
                for name in names:
                    file = f"{part}/{split}/{rng.randrange(2)}{suffix}"
                    if what in _ONLY_READ and name != "prepare":
                        continue
                    if what in _SIZES and name in ("weights", "balanced split"):
                        continue
                    found.append(Case(f"input, {part}", f"{name}: {file} {what}", partial(
                        _refused, world, readers[name], file, change)))  # fmt: skip
    for what, (part, change) in _GOOD.items():
        for name in ("prepare", "train"):
            file = f"{part}/train/1{'.jpg' if part == 'images' else '.png'}"
            found.append(Case("input, to be taken", f"{name}: {file} {what}", partial(
                _taken, world, readers[name], file, change)))  # fmt: skip
    for what, change in _FOLDERS.items():
        for name in ("prepare", "train"):
            found.append(Case("input, folders", f"{name}: {what}", partial(
                _folder, world, readers[name], change)))  # fmt: skip
    for what, part in (("empty", "images"), ("a bomb", "labels"), ("a pipe", "labels")):
        # A label of another size than its image is left out by prepare, as published ones are.
        for command in ("train",) if what == "a bomb" else ("prepare", "train"):
            found.append(Case("input, GTAV", f"{command}: {part} {what}", partial(
                _gtav, world, command, part, _ANY[what])))  # fmt: skip
    found.append(Case("input, images", "collect: an image is empty", partial(_collected, world)))
    return found


def _refused(world: World, reader: Callable, file: str, change: Change, folder: Path) -> None:
    data = copy_of(world.camvid, folder, lambda data: change(data / file))
    script, *arguments = reader(data, folder / "work")
    done = run(script, *arguments, folder=folder / "run")
    if script == PREPARE and Path(file).stem not in done.out:
        must_refuse(done, Path(file).stem)
    must_refuse(done)
    if script != PREPARE:
        must_refuse(done, f"{Path(file).parent}/{Path(file).stem}|{Path(file).stem}\\.(png|jpg)")


def _taken(world: World, reader: Callable, file: str, change: Change, folder: Path) -> None:
    data = copy_of(world.camvid, folder, lambda data: change(data / file))
    script, *arguments = reader(data, folder / "work")
    must_end(run(script, *arguments, folder=folder / "run"))


def _emptied(fill: Callable[[Path], object] | None = None) -> Change:
    def change(data: Path) -> None:
        folder = data / "images/train"
        shutil.rmtree(folder)
        folder.mkdir()
        if fill:
            fill(folder)

    return change


def _file_for_folder(data: Path) -> None:
    shutil.rmtree(data / "labels")
    (data / "labels").write_text("labels")


_FOLDERS: dict[str, Change] = {
    "no image": _emptied(),
    "only folders named as images": _emptied(lambda f: [(f / f"{i}.jpg").mkdir() for i in (0, 1)]),
    "only pipes named as images": _emptied(lambda f: [os.mkfifo(f / f"{i}.jpg") for i in (0, 1)]),
    "only links to nothing": _emptied(lambda f: (f / "0.jpg").symlink_to("nothing")),
    "images of another suffix": _emptied(lambda f: (f / "0.bmp").write_bytes(b"BM")),
    "a link to the folder above": lambda d: (d / "images/train/up").symlink_to(".."),
    "no labels": lambda d: shutil.rmtree(d / "labels"),
    "a file in the place of labels": _file_for_folder,
    "nothing at all": lambda d: shutil.rmtree(d),
    "an image more than labels": lambda d: shutil.copy(d / "images/train/0.jpg",
                                                       d / "images/train/9.jpg"),
}  # fmt: skip


def _folder(world: World, reader: Callable, change: Change, folder: Path) -> None:
    data = copy_of(world.camvid, folder, change)
    script, *arguments = reader(data, folder / "work")
    must_refuse(run(script, *arguments, folder=folder / "run"))


def _gtav(world: World, command: str, part: str, change: Change, folder: Path) -> None:
    data = copy_of(world.gtav, folder, lambda data: change(data / part / "00002.png"))
    if command == "prepare":
        script, arguments = PREPARE, ["gtav", "--src", data]
    else:
        script, arguments = GTAV, world.domain(folder / "work", data=data)
    done = run(script, *arguments, folder=folder / "run")
    must_refuse(done, "" if "00002" in done.out else "00002")


def _collected(world: World, folder: Path) -> None:
    data = copy_of(world.camvid, folder)
    must_end(
        run(TRAIN, *world.train(folder / "w", "--max-iters", 2, data=data), folder=folder / "r")
    )
    _bytes(b"")(data / "images/train/1.jpg")
    done = run(COLLECT, folder / "w/iter_2.pth", "--out", folder / "maps", folder=folder / "run")
    must_refuse(done, "images/train/1")
