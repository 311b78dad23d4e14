"""Settings that change between a run and its ``--resume``: each is refused in a line that names it,
or told where it is allowed."""

from __future__ import annotations

import random
import shutil
from functools import partial
from pathlib import Path

from drills.process import Case, Fault, must_end, must_refuse, run
from drills.world import TRAIN, U2PL, World, copy_of

# What --resume is given beside, or in the place of, the first command's; what the line must name.
_SUPERVISED: dict[str, tuple[list[str], str]] = {
    "another weighting": (["--weighting", "focal"], "hl|focal|weighting"),
    "scale-matched": (["--weighting", "ce-scaled"], "hl|ce-scaled|weighting"),
    "no HL": (["--no-hl"], "hl|weighting"),
    "c": (["--hl", "--options", "c=5"], r"\bc\b"),
    "alpha": (["--hl", "--options", "alpha=1"], "alpha"),
    "normalize": (["--hl", "--options", "normalize=batch"], "normalize"),
    "seed": (["--hl", "--seed", "9"], "seed"),
    "batch size": (["--hl", "--cfg-options", "train_dataloader.batch_size=3"], "batch_size"),
    "learning rate": (["--hl", "--cfg-options", "optim_wrapper.optimizer.lr=0.01"], "lr"),
    "optimizer": (["--hl", "--cfg-options", "optim_wrapper.optimizer.nesterov=True"], "nesterov"),
    "longer": (["--hl", "--max-iters", "16"], "max.iters"),
    "shorter": (["--hl", "--max-iters", "2"], "max.iters"),
    "network": (["--hl", "--cfg-options", "model.decode_head.channels=16"], "channels"),
    "classes": (["--hl", "--cfg-options", "model.decode_head.num_classes=19"], "num_classes"),
}  # fmt: skip
_U2PL: dict[str, tuple[list[str], str]] = {
    "another split": (["--split", "1/2", "--split-seed", "7"], "labeled images"),
    "a smaller split": (["--split", "1/3"], "labeled images"),
    "rep_planes": (["--split", "1/2", "--set", "net.rep_planes=16"], "rep_planes"),
    "memory_size": (["--split", "1/2", "--set", "trainer.contrastive.memory_size=60"],
                    "memory_size"),
    "ema_decay": (["--split", "1/2", "--set", "net.ema_decay=0.5"], "ema_decay"),
    "drop_percent": (["--split", "1/2", "--set", "trainer.unsupervised.drop_percent=50"],
                     "drop_percent"),
    "no HL": (["--split", "1/2", "--no-hl"], "hl|weighting"),
    "labeled alone": (["--split", "1/2", "--sup-only"], "sup.only"),
    "as released": (["--split", "1/2", "--as-released"], "released|normalize|ignored"),
}  # fmt: skip


def cases(world: World, rng: random.Random) -> list[Case]:
    found = [
        Case("settings, supervised", f"resumed with another: {what}", partial(
            _supervised, world, *change))
        for what, change in _SUPERVISED.items()
    ]  # fmt: skip
    found += [
        Case("settings, U2PL", f"U2PL resumed with another: {what}", partial(_u2pl, world, *change))
        for what, change in _U2PL.items()
    ]
    found.append(Case("settings, supervised", "resumed with another: images",
                      partial(_images, world)))  # fmt: skip
    found.append(Case("settings, supervised", "resumed with the same", partial(_same, world)))
    found.append(Case("settings, U2PL", "resumed in a supervised run's folder",
                      partial(_foreign, world)))  # fmt: skip
    rng.shuffle(found)
    return found


def _first(world: World, script: str, arguments: list, name: str) -> Path:
    """The work_dir of a run cut after 6 of 8 iterations: made once."""
    place = world.configs.parent / "cut" / name
    if not place.exists():
        place.parent.mkdir(exist_ok=True)
        must_end(run(script, *arguments, folder=place.with_name(f"{name}-run")))
        (place / "iter_8.pth").unlink()
        (place / "result.json").unlink()
    return place


def _supervised_run(world: World, data: Path | None = None) -> Path:
    place = world.configs.parent / "cut" / "supervised"
    return _first(world, TRAIN, world.train(place, data=data), "supervised")


def _supervised(world: World, flags: list[str], words: str, folder: Path) -> None:
    shutil.copytree(_supervised_run(world), folder / "work")
    arguments = [world.config, "--work-dir", folder / "work", "--resume", *flags]
    must_refuse(run(TRAIN, *arguments, folder=folder / "run"), words)


def _u2pl(world: World, flags: list[str], words: str, folder: Path) -> None:
    place = world.configs.parent / "cut" / "u2pl"
    shutil.copytree(_first(world, U2PL, world.u2pl(place, "--split", "1/2"), "u2pl"),
                    folder / "work")  # fmt: skip
    done = run(U2PL, *world.u2pl(folder / "work", "--resume", *flags), folder=folder / "run")
    must_refuse(done, words)


def _images(world: World, folder: Path) -> None:
    """Other files in the place of those that the run has seen."""
    data = copy_of(world.camvid, folder)
    arguments = world.train(folder / "work", data=data)
    must_end(run(TRAIN, *arguments, folder=folder / "one"))
    (folder / "work/iter_8.pth").unlink()
    for part, suffix in (("images", ".jpg"), ("labels", ".png")):
        (data / part / f"train/5{suffix}").unlink()
    must_refuse(run(TRAIN, *arguments, "--resume", folder=folder / "two"), "images")


def _same(world: World, folder: Path) -> None:
    shutil.copytree(_supervised_run(world), folder / "work")
    must_end(run(TRAIN, *world.train(folder / "work", "--resume"), folder=folder / "run"))
    if not (folder / "work/iter_8.pth").is_file():
        raise Fault("it did not go on to the end")


def _foreign(world: World, folder: Path) -> None:
    shutil.copytree(_supervised_run(world), folder / "work")
    arguments = world.u2pl(folder / "work", "--resume", "--split", "1/2")
    must_refuse(run(U2PL, *arguments, folder=folder / "run"))
