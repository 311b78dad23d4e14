"""Ten steps of every track in every weighting: the losses and the final weights, on record.

    python tests/golden/record.py                  compare with tests/golden/record.json
    python tests/golden/record.py --write          make it anew
    python tests/golden/record.py --only u2pl-hl   some of them; with --write the others stay

Every training is started by its entry script's own flags, in this process, on one CPU thread, on
twelve images in CamVid's layout that are made from a seed. The record must not change but where a
commit says why.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import runpy
import shlex
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import cv2
import numpy as np
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer
from mmseg.visualization import SegLocalVisualizer

ROOT = Path(__file__).resolve().parents[2]
RECORD = Path(__file__).with_name("record.json")
STEPS = 10
# Intervals shrink with --max-iters; these stay above it: one checkpoint, one validation, the last.
ALL = (f"--data-root camvid=DATA --max-iters {STEPS} --seed 0 --work-dir WORK --cfg-options "
       "default_hooks.logger.interval=1 log_processor.window_size=1 "
       "default_hooks.checkpoint.interval=100000 train_cfg.val_interval=100000")  # fmt: skip
FULLY = "fully_supervised/train.py fully_supervised/configs/pspnet_r18-w16.py --data camvid"
CASCADE = FULLY.replace("pspnet", "ocrnet")
U2PL = ("semi_supervised/train_u2pl_hl.py --data camvid --split 1/2 --set "
        f"net.config={ROOT}/semi_supervised/configs/deeplabv3plus_r18-w16.py "
        "trainer.optimizer.kwargs.lr=0.05 trainer.sup_only_epoch=0 "
        "dataset.mean=[123.675,116.28,103.53] dataset.std=[58.395,57.12,57.375]")  # fmt: skip
DG = "domain_gen/train_gtav.py --source camvid:day --config deeplabv3plus_r18-w16"
WEIGHTS = "[0.5,2,1,1,1,1,1,3,1,1,1]"
COLLECT = "fully_supervised/collect_hardness.py FROM/iter_10.pth --out MAPS"

# Name -> the training. MAPS are those of the run "hl".
RUNS = {
    "baseline": FULLY,
    "ce-scaled": f"{FULLY} --weighting ce-scaled",
    "hl": f"{FULLY} --weighting hl",
    "hl-options": f"{FULLY} --weighting hl --options c=0.5 alpha=1 normalize=batch ignored=include",
    "hl-cascade": f"{CASCADE} --weighting hl",
    "balanced": f"{FULLY} --weighting balanced",
    "balanced-file": f"{FULLY} --weighting balanced --class-weights WEIGHTS",
    "balanced-weights": f"{FULLY} --weighting balanced --options reduction=weights",
    "ohem": f"{FULLY} --weighting ohem --options thresh=0.085",
    "focal": f"{FULLY} --weighting focal --options gamma=1.5",
    "collected": f"{FULLY} --weighting collected --hardness MAPS",
    "u2pl": f"{U2PL} --no-hl",
    "u2pl-hl": U2PL,
    "u2pl-sup-only": f"{U2PL} --sup-only",
    "dg-baseline": f"{DG} --no-hl",
    "dg-ce-scaled": f"{DG} --weighting ce-scaled",
    "dg-hl": DG,
}


EARLY = 3


def processor() -> str:
    """What decides over the last bits: the processor's model and the version of torch."""
    wanted = ("vendor_id", "cpu family", "model", "model name", "stepping")
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        lines = []
    seen = dict(line.split(":", 1) for line in lines if ":" in line)
    words = [v.strip() for k, v in seen.items() if k.strip() in wanted]
    capability = torch.backends.cpu.get_cpu_capability()
    return ", ".join([*words, capability, f"torch {torch.__version__}"])


def write_images(root: Path) -> None:
    """Twelve training and three validation images, by day and at dusk; colour tells the class."""
    rng = np.random.default_rng(0)
    for split, sequences in (("train", ["0006R0", "0016E5", "0001TP"] * 4),
                             ("val", ["0016E5"] * 3)):  # fmt: skip
        for i, sequence in enumerate(sequences):
            label = np.kron(rng.integers(0, 12, (6, 8)), np.ones((30, 30))).astype(np.uint8)
            image = label[..., None] * 20 + rng.integers(0, 30, (180, 240, 3))
            for part, name, array in (("images", f"{sequence}_{i}.jpg", image.astype(np.uint8)),
                                      ("labels", f"{sequence}_{i}.png", label)):  # fmt: skip
                folder = root / part / split
                folder.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(folder / name), array)


def start(line: str) -> None:
    """A script with its flags, as ``python`` would start it."""
    for manager in (MMLogger, MessageHub, Visualizer, SegLocalVisualizer, DefaultScope):
        manager._instance_dict.clear()  # a run of ours is a process
    before, sys.argv = sys.argv, shlex.split(line)
    try:
        runpy.run_path(str(ROOT / sys.argv[0]), run_name="__main__")
    finally:
        sys.argv = before


def train(name: str, folder: Path) -> dict:
    """The losses of each step by name, and the checksum of the weights after the last."""
    data, work_dir = folder / "data", folder / name
    if not data.is_dir():
        write_images(data)
        (folder / "weights.json").write_text(WEIGHTS)
    if "MAPS" in RUNS[name] and not (folder / "maps").is_dir():
        train("hl", folder)
        start(COLLECT.replace("FROM", str(folder / "hl")).replace("MAPS", str(folder / "maps")))
    flags = dict(DATA=data, WORK=work_dir, MAPS=folder / "maps", WEIGHTS=folder / "weights.json")
    line = f"{RUNS[name]} {ALL}"
    if name.startswith("u2pl") or RUNS[name].startswith("fully"):
        line = line.replace("camvid=DATA", "DATA")
    for word, path in flags.items():
        line = line.replace(word, str(path))
    if not work_dir.is_dir():
        start(line)
    losses: dict[str, list[float]] = {}
    for path in work_dir.glob("*/vis_data/scalars.json"):
        for entry in map(json.loads, path.read_text().splitlines()):
            for key, value in entry.items():
                if "loss" in key:
                    losses.setdefault(key, []).append(value)
    return dict(losses=losses, weights=checksum(work_dir / f"iter_{STEPS}.pth"))


def checksum(path: Path) -> str:
    """SHA-256 over names, shapes and bits of a checkpoint's weights."""
    state_dict = torch.load(path, weights_only=True)["state_dict"]
    digest = hashlib.sha256()
    for key in sorted(state_dict):
        value = state_dict[key].contiguous()
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def differences(name: str, now: dict, then: dict, exact: bool | None = None) -> list[str]:
    """A line for each quantity of a run that is not what it was; ``exact`` to the bit, else the
    first losses (:data:`EARLY`) to 5e-3 relative. By default: exact on the record's processor.

    On another one the last bits of a sum differ, and each step takes the difference on: U²PL's
    losses, which choose pixels, are 5e-4 apart in the first steps and 1e-1 in the tenth.
    """
    if exact is None:
        exact = then["processor"] == processor()
    if now["losses"].keys() != then["losses"].keys():
        return [f"{name}: losses {sorted(now['losses'])}, were {sorted(then['losses'])}"]
    lines = []
    for key, values in now["losses"].items():
        old = then["losses"][key]
        early = np.array(values[:EARLY]), np.array(old[:EARLY])
        same = values == old if exact else np.allclose(*early, rtol=5e-3, atol=0)
        if not same:
            lines.append(f"{name}: {key} {values}, was {old}")
    if exact and now["weights"] != then["weights"]:
        lines.append(f"{name}: weights {now['weights'][:12]}, were {then['weights'][:12]}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="make the record anew")
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        runs = {name: train(name, Path(folder)) for name in args.only}
    record = json.loads(RECORD.read_text())
    if args.write:
        record["runs"] |= {name: dict(run, processor=processor()) for name, run in runs.items()}
        record["runs"] = {name: record["runs"][name] for name in RUNS}
        RECORD.write_text(json.dumps(record, indent=1) + "\n")
        return
    lines, exact = [], 0
    for name, run in runs.items():
        then = record["runs"][name]
        exact += then["processor"] == processor()
        lines += differences(name, run, then)
    print("\n".join(lines))
    print(f"{len(runs)} runs, {len(lines)} differences; {exact} compared to the bit, the losses of "
          "others in their first steps (recorded on another processor)")  # fmt: skip
    sys.exit(bool(lines))


if __name__ == "__main__":
    main()
