"""Flags of every script that no run can be made of: each is one line that names the flag or key."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from drills.process import Case, must_end, must_refuse, run
from drills.world import COLLECT, EVALUATE, EXPORT, GTAV, PREPARE, TEST, TRAIN, U2PL, WEIGHTS, World

_ALL = ("fully_supervised/run_all.py", "semi_supervised/run_all.py", "domain_gen/run_all.py")

# Of all three training scripts: arguments and what the line must name.
_SHARED: list[tuple[str, str]] = [
    *((f"--max-iters {x}", "max-iters") for x in ("0", "-5", "x", "1.5", "1e3", "nan", "²", "''")),
    *((f"--max-iters {x}", "max-iters|iterations") for x in ("9" * 19, "9" * 31, "9" * 5000)),
    *((f"--seed {x}", "seed") for x in ("-1", "4294967296", "x", "1.5", "nan", "²", "9" * 5000)),
    ("--launcher pytorch", "launcher|torchrun"),
    ("--launcher slurm", "launcher|srun"),
    ("--launcher mpi", "launcher|mpirun"),
    ("--launcher magic", "launcher"),
    ("--amp", "--amp"),
    ("--hl --weighting focal", "focal"),
    ("--hl --no-hl", "hl"),
    ("--weighting magic", "weighting"),
    ("--hl --options x", "x"),
    ("--hl --options weighting=x", "weighting"),
    ("--hl --options =", "="),
    ("--hl --options ''", ""),
    *((f"--hl --options c={x}", r"\bc\b") for x in ("0", "-1", "nan", "inf", "x", "''", "[1]")),
    *((f"--hl --options alpha={x}", "alpha") for x in ("-1", "nan", "inf", "x", "None")),
    ("--hl --options normalize=x", "normalize"),
    ("--hl --options ignored=x", "ignored"),
    ("--hl --options ignore_index=3", "ignore_index"),
    ("--hl --options c=1 c=2", r"\bc\b"),
    ("--hl --options gamma=2", "gamma"),
    ("--no-hl --options c=1", r"\bc\b"),
    ("--class-weights none.json", "class-weights"),
    ("--hardness none", "hardness"),
    ("--weighting balanced --class-weights none.json", "none.json|balanced"),
    ("--weighting collected --hardness none", "none|collected"),
    ("--weighting collected", "hardness|collected"),
    ("--cfg-options x", "x"),
    ("--cfg-options =1", "=1"),
    ("--cfg-options ''", ""),
    ("--cfg-options no_such=1", "no_such"),
    ("--cfg-options model.no_such=1", "no_such"),
    ("--cfg-options train_dataloader.batch_size=0", "batch_size"),
    ("--cfg-options train_dataloader.batch_size=-2", "batch_size"),
    ("--cfg-options train_dataloader.batch_size=x", "batch_size"),
    ("--cfg-options train_dataloader.batch_size=1.5", "batch_size"),
    ("--cfg-options train_dataloader.num_workers=-1", "num_workers"),
    ("--cfg-options train_dataloader.num_workers=x", "train_dataloader"),
    ("--cfg-options train_dataloader.dataset.pipeline.99.type=x", "99|train_dataloader"),
    ("--cfg-options train_dataloader.dataset.pipeline.x=1", "pipeline|train_dataloader"),
    ("--cfg-options train_dataloader.x.y.z=1", "train_dataloader"),
    ("--cfg-options optim_wrapper.optimizer.lr=x", "optim_wrapper"),
    ("--cfg-options optim_wrapper.optimizer.lr=-1", "lr|learning rate"),
    ("--cfg-options optim_wrapper.optimizer.lr=nan", "lr|loss|learning rate"),
    ("--cfg-options optim_wrapper.optimizer.type=Nope", "Nope|optim_wrapper"),
    ("--cfg-options optim_wrapper.type=Nope", "Nope"),
    ("--cfg-options optim_wrapper=5", "optim_wrapper"),
    ("--cfg-options train_cfg.type=Nope", "Nope"),
    ("--cfg-options train_cfg.val_interval=0", "val_interval"),
    ("--cfg-options train_cfg.val_interval=x", "val_interval"),
    ("--cfg-options train_cfg.max_iters=0", "max_iters"),
    ("--cfg-options train_cfg.max_iters=-3", "max_iters"),
    ("--cfg-options train_cfg.max_iters=x", "max_iters"),
    ("--cfg-options train_cfg=5", "train_cfg"),
    ("--cfg-options default_hooks.checkpoint.interval=x", "interval"),
    ("--cfg-options default_hooks.logger.interval=0", "interval"),
    ("--cfg-options default_hooks.no_such.type=Nope", "Nope"),
    ("--cfg-options val_evaluator.type=Nope", "Nope"),
    ("--cfg-options val_evaluator.iou_metrics=x", "iou_metrics|x"),
    ("--cfg-options custom_hooks=5", "custom_hooks"),
    ("--cfg-options randomness.seed=x", "seed"),
    ("--cfg-options randomness.seed=-1", "seed"),
    ("--cfg-options load_from=none.pth", "none.pth"),
    ("--cfg-options load_from=/dev/zero", "/dev/zero"),
    ("--cfg-options model=5", "model"),
    ("--cfg-options model.type=Nope", "Nope"),
    ("--cfg-options work_dir=/dev/null/x", "/dev/null"),
    ("--work-dir /dev/null/x", "/dev/null"),
    ("--work-dir /dev/null", "/dev/null"),
    ("--work-dir ''", "work"),
    ("--data-root /dev/null", "/dev/null|data"),
    ("--data-root =", "data-root"),
    ("--data-root magic=/tmp", "magic"),
    ("--data-root ''", "data-root"),
    ("--no-such-flag", "no-such-flag"),
]  # fmt: skip

_OF: dict[str, list[tuple[str, str]]] = {
    TRAIN: [
        ("--data magic", "magic"),
        ("--data ''", "data"),
        ("--data ../x", "data set"),
        ("--weighting ohem --options thresh=2", "thresh"),
        ("--weighting ohem --options thresh=x", "thresh"),
        ("--weighting ohem --options thresh=nan", "thresh"),
        ("--weighting ohem --options min_kept=inf", "min_kept"),
        ("--weighting ohem --options min_kept=x", "min_kept"),
        ("--weighting ohem --options min_kept=-1", "min_kept"),
        ("--weighting focal --options gamma=x", "gamma"),
        ("--weighting focal --options gamma=-1", "gamma"),
        ("--weighting focal --options gamma=nan", "gamma"),
        ("--weighting focal --options gamma=inf", "gamma"),
        ("--weighting balanced --options reduction=x", "reduction"),
    ],
    U2PL: [
        *((f"--split {x}", "fraction|split") for x in ("0", "1", "1/1", "1/0", "x", "2/3", "1/-2",
                                                       "1/99999999", "''", "1/6")),
        ("--split-order magic", "split-order"),
        ("--split-seed -1", "seed"),
        ("--split-seed x", "split-seed"),
        ("--split-name x", "split-name"),
        ("--labeled-list /dev/zero --unlabeled-list /dev/zero", "split"),
        ("--sup-only --hl", "sup-only"),
        ("--set x", "x"),
        ("--set =1", "=1|unknown key"),
        ("--set ''", ""),
        ("--set a..b=1", r"a\.|unknown key"),
        ("--set trainer=5", "trainer"),
        ("--set trainer=null", "trainer"),
        ("--set no_such.key=1", "no_such"),
        ("--set trainer.epochs=[", "trainer.epochs"),
        ("--set trainer.epochs=1e400", "epochs"),
        ("--set trainer.epochs=true", "epochs"),
        ("--set trainer.epochs=0", "epochs"),
        ("--set trainer.epochs=.inf", "epochs"),
        ("--set trainer.max_iters=-1", "max_iters"),
        ("--set trainer.max_iters=9999999999999999999", "max_iters|max-iters"),
        ("--set trainer.evaluations=0", "evaluations"),
        ("--set trainer.sup_only_epoch=-1", "sup_only_epoch"),
        ("--set trainer.optimizer.kwargs.lr=.nan", "lr"),
        ("--set trainer.optimizer.kwargs.lr=0", "lr"),
        ("--set trainer.optimizer.kwargs.momentum=2", "momentum"),
        ("--set trainer.optimizer.type=Adam", "optimizer.type"),
        ("--set trainer.lr_scheduler.kwargs.power=-1", "power"),
        ("--set trainer.unsupervised.drop_percent=101", "drop_percent"),
        ("--set trainer.unsupervised.apply_aug=x", "apply_aug"),
        ("--set trainer.contrastive.low_rank=-1", "low_rank"),
        ("--set trainer.contrastive.low_rank=20", "low_rank"),
        ("--set trainer.contrastive.high_rank=0", "rank"),
        ("--set trainer.contrastive.memory_size=0", "memory_size"),
        ("--set trainer.contrastive.memory_size=99999999999999", "memory_size"),
        ("--set trainer.contrastive.num_queries=99999999999999", "num_queries"),
        ("--set trainer.contrastive.temperature=0", "temperature"),
        ("--set net.rep_planes=0", "rep_planes"),
        ("--set net.rep_planes=99999999999", "rep_planes"),
        ("--set net.ema_decay=.nan", "ema_decay"),
        ("--set net.config=none.py", "none.py"),
        ("--set net.config=/dev/zero", "/dev/zero"),
        ("--set net.config=/etc", "/etc"),
        ("--set net.config=mmseg::none.py", "none.py"),
        ("--set dataset.type=streets", "dataset"),
        ("--set dataset.batch_size=0", "batch_size"),
        ("--set dataset.batch_size=1000", "batch"),
        ("--set dataset.workers=-1", "workers"),
        ("--set dataset.mean=[1,2]", "mean"),
        ("--set dataset.std=[0,1,1]", "std"),
        ("--set dataset.train.crop.size=[1,1]", "crop"),
        ("--set dataset.train.crop.size=[999999999,999999999]", "crop"),
        ("--set dataset.train.rand_resize=[2,1]", "rand_resize"),
        ("--set dataset.train.rand_resize=[1e9,1e9]", "rand_resize"),
        ("--set dataset.test_size=[-1,5]", "test_size"),
        ("--set criterion.kwargs.thresh=2", "thresh"),
        ("--set criterion.kwargs.min_kept=-1", "min_kept"),
        ("--set hl.weighting=x", "weighting"),
        ("--cfg-options model.hl.c=1", "model.hl"),
        ("--config none.yaml", "none.yaml"),
        ("--data magic", "magic"),
    ],
    GTAV: [
        ("--source magic", "magic"),
        ("--source gtav:none", "none"),
        ("--source ''", "source|domain"),
        ("--source :", "source|domain"),
        ("--config none", "none"),
    ],
}  # fmt: skip

# Whole commands.
_OTHERS: list[tuple[str, str, str]] = [
    *((PREPARE, f"streets --out O --num-train 1 --num-val 1 --{x}", x.split()[0].replace("-", "."))
      for x in ("size 0x0", "size 5", "size -1x5", "size 99999999x99999999", "size x",
                "num-val 99999999999",
                "num-train -1", "num-val x", "seed -1", "seed x", "workers 0", "workers -1",
                "format x", "domain x")),
    (PREPARE, "magic", "magic"),
    (PREPARE, "", "NAME"),
    (PREPARE, "camvid --src none", "none"),
    (PREPARE, "camvid --src /dev/null", "/dev/null"),
    (PREPARE, "camvid --src CAMVID --out CAMVID/inside", "out|inside"),
    (PREPARE, "gtav --src CAMVID", "problems in"),
    (PREPARE, "cityscapes --src CAMVID", "gtFine"),
    (PREPARE, "check none.py", "none.py"),
    (PREPARE, "check /dev/zero", "/dev/zero"),
    (PREPARE, "isaid --src none --out O", "none"),
    (PREPARE, "totaltext --src CAMVID --out O", "CAMVID|Total|Images|images|camvid"),
    (WEIGHTS, "", "config"),
    (WEIGHTS, "none.py", "none.py"),
    (WEIGHTS, "--data magic", "magic"),
    (WEIGHTS, "--data camvid --data-root none", "none"),
    (WEIGHTS, "CONFIG --out /dev/null/x", "/dev/null"),
    (TEST, "CONFIG none.pth", "none.pth"),
    (TEST, "CONFIG /dev/zero", "/dev/zero"),
    (TEST, "CONFIG CAMVID", "camvid"),
    (TEST, "CONFIG CONFIG", "config.py"),
    (TEST, "CONFIG", "checkpoint"),
    (EXPORT, "none.pth out.pth", "none.pth"),
    (EXPORT, "/dev/zero out.pth", "/dev/zero"),
    (EXPORT, "CONFIG out.pth", "config.py"),
    (EXPORT, "", ""),
    (EVALUATE, "none.pth", "none.pth"),
    (EVALUATE, "CAMVID", "iter_N"),
    (EVALUATE, "none.pth --target magic", "magic"),
    (EVALUATE, "none.pth --target cityscapes@0x0", "0x0"),
    (EVALUATE, "none.pth --target cityscapes@x", "@x"),
    (EVALUATE, "none.pth --target cityscapes@99999999x99999999", "99999999"),
    (EVALUATE, "none.pth --target ''", ""),
    (COLLECT, "none.pth --out O", "none.pth"),
    (COLLECT, "none.pth", "out"),
    *((script, f"--max-iters {x}", "max-iters") for script in _ALL for x in ("-3", "0", "x")),
    *((script, f"--jobs {x}", "jobs") for script in _ALL for x in ("-1", "0", "x")),
    *((script, f"--seeds {x}", "seed") for script in _ALL for x in ("-1", "x", "4294967296")),
    *((script, "--arms magic", "magic") for script in _ALL),
    *((script, "--arms ../../x", "x") for script in _ALL),
    *((script, "--out /dev/null/x", "/dev/null|data") for script in _ALL),
    *((script, "--train-args \"--verbose 'x\"", "train-args") for script in _ALL),
    ("fully_supervised/run_all.py", "--table 99", "99"),
    ("fully_supervised/run_all.py", "--only magic", "magic"),
    ("fully_supervised/run_all.py", "--data magic", "magic"),
    ("semi_supervised/run_all.py", "--splits 1/1", "1/1"),
    ("semi_supervised/run_all.py", "--splits x", "x"),
    ("domain_gen/run_all.py", "--source magic", "magic"),
]  # fmt: skip

# Rightly taken.
_GOOD = [
    "--seed 0",
    "--seed 4294967295",
    "--hl --options c=0.5 alpha=0",
    "--weighting focal",
    "--weighting ohem",
    "--weighting ce-scaled",
    "--weighting balanced",
    "--cfg-options randomness.seed=3",
    "--cfg-options train_dataloader.batch_size=3",
]


def cases(world: World) -> list[Case]:
    found = []
    for script in (TRAIN, U2PL, GTAV):
        for text, words in [*_SHARED, *_OF[script]]:
            found.append(Case("input, flags", f"{script} {_short(text)}", partial(
                _training, world, script, text, words)))  # fmt: skip
    for script, text, words in _OTHERS:
        found.append(Case("input, flags", f"{script} {_short(text)}", partial(
            _whole, world, script, text, words)))  # fmt: skip
    for text in _GOOD:
        found.append(Case("input, to be taken", f"{TRAIN} {text}", partial(_taken, world, text)))
    return found


def _short(text: str) -> str:
    return text if len(text) < 90 else f"{text[:60]}… of {len(text)} characters"


def _words(text: str) -> list[str]:
    return ["" if word == "''" else word for word in text.split(" ")] if text else []


def _training(world: World, script: str, text: str, words: str, folder: Path) -> None:
    """The flags after those of the small run; they end a run that would be long otherwise."""
    given = _words(text)
    place = [] if {"--work-dir", "work_dir=/dev/null/x"} & set(text.split()) else [
        "--work-dir", folder / "work"]  # fmt: skip
    iterations = [] if "max-iters" in text or "max_iters" in text else ["--max-iters", 2]
    if script == TRAIN:
        base: Sequence[object] = [world.config]
    elif script == U2PL:
        base = ["--config", world.configs / "settings.yaml"]
        base += [] if "--data " in text else ["--data", "camvid"]
        base += [] if "--data-root" in text else ["--data-root", f"camvid={world.camvid}"]
        chosen = any(word in given for word in ("--split", "--labeled-list"))
        base += [] if chosen and "/dev/zero" not in text else ["--split", "1/2"]
    else:
        base = ["--config", world.configs / "domain.py"]
        base += [] if "--source" in text else ["--source", "gtav"]
        base += [] if "--data-root" in text else ["--data-root", f"gtav={world.gtav}"]
    must_refuse(run(script, *base, *place, *iterations, *given, folder=folder / "run"), words)


def _whole(world: World, script: str, text: str, words: str, folder: Path) -> None:
    text = text.replace("CONFIG", str(world.config)).replace("CAMVID", str(world.camvid))
    given = [str(folder / "made") if word == "O" else word for word in _words(text)]
    if "--train-args" in given:
        i = given.index("--train-args")
        given[i + 1 :] = [" ".join(given[i + 1 :]).strip('"')]
    must_refuse(run(script, *given, folder=folder / "run"), words)


def _taken(world: World, text: str, folder: Path) -> None:
    arguments = [world.config, "--work-dir", folder / "work", "--max-iters", 2, *text.split()]
    must_end(run(TRAIN, *arguments, folder=folder / "run"))
