"""What HL takes in a training step, beside the plain mmseg baseline: time, and bytes that are kept.

    python benchmarks/hl_cost.py                     # the paper's 13 architectures, on a CPU
    python benchmarks/hl_cost.py --tables            # the backbones of Tables 2 and 3 as well
    python benchmarks/hl_cost.py --rows cityscapes/pspnet_r18 --crop 192
    python benchmarks/hl_cost.py --rows cityscapes/pspnet_r101 --crop 769 --depth 101   # on a GPU

Arms, in turn in one process, ratios of medians: the baseline and the published algorithm with
mmseg's own losses (copied head, losses of full-size logits), then ours: the baseline with the fused
loss, HL with the copied head, HL with the lite one. Forward, backward and update on random images,
the optimizer of the config. Bytes are those that autograd keeps for the backward pass, each storage
once, parameters left out; on a GPU also the largest allocation. ResNet-101 becomes a ResNet-18 by
default, and every width of the heads a quarter, as in mmseg's own ResNet-18 configs; ``--depth 50``
leaves the heads, ``--depth 101`` all as published. ``hardness.py cost`` measures single configs
more closely, inference included.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import statistics
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import kept_bytes, report, turns
from core.arms import Arm
from core.configs import walk
from core.engine import costs
from core.engine.cli import main_line, positive
from core.errors import ConfigError
from fully_supervised import manifest

ARCHITECTURES = (
    "fcn", "pspnet", "nonlocal", "ann", "ccnet", "deeplabv3", "deeplabv3plus", "emanet", "gcnet",
    "isanet", "ocrnet", "psanet", "upernet",
)  # fmt: skip
QUICK = ("pspnet_r18", "upernet_r18")
ARMS = {
    "plain mmseg": ("baseline", "eager"),
    "published HL": ("hl", "eager"),
    "fused baseline": ("baseline", "fused"),
    "HL": ("hl", "fused"),
    "HL lite": ("hl head=lite", "fused"),
}
PLAIN, PUBLISHED = "plain mmseg", "published HL"


def rows_of(args: argparse.Namespace) -> list[str]:
    if args.rows:
        return args.rows
    if args.quick:
        return [f"cityscapes/{name}" for name in QUICK]
    out = [f"cityscapes/{name}_r101" for name in ARCHITECTURES]
    if args.tables:
        tables = manifest.tables()
        out += [row for table in ("2", "3") for row in tables[table].rows if row not in out]
    return out


def measure(name: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each arm; in a process of its own, so that none finds the memory of another."""
    costs.set_up()
    cfg = manifest.model(name).config()
    if cfg.model.backbone.get("depth") == 101:
        cfg.model.backbone.depth = args.depth
        if args.depth == 18:
            for part in ("decode_head", "auxiliary_head"):
                walk(cfg.model.get(part), _quarter)
    setting = costs.Setting((args.crop, args.crop), args.batch, args.repeats)
    steps, kept = {}, {}
    for arm, (weighting, impl) in ARMS.items():
        torch.manual_seed(0)
        model = costs.model_of(cfg, Arm.parse(weighting), impl)
        loss = costs.loss_of(cfg, model, setting)
        kept[arm] = kept_bytes(loss, list(model.parameters())).once
        steps[arm] = costs.stepper(cfg, model, loss)
    seconds = turns(steps, args.repeats)
    peaks = {arm: _peak(step) for arm, step in steps.items()} if torch.cuda.is_available() else {}
    return [
        {
            "row": name,
            "arm": arm,
            "s": seconds[arm],
            "time": seconds[arm] / seconds[PLAIN],
            "kept MB": kept[arm] / 1e6,
            "kept": kept[arm] / kept[PLAIN],
        }
        | ({"peak": peaks[arm] / peaks[PLAIN]} if peaks else {})
        for arm in ARMS
    ]


def _quarter(head: dict[str, Any]) -> None:
    for key, value in head.items():
        if key.endswith("channels"):
            head[key] = value // 4 if isinstance(value, int) else [x // 4 for x in value]


def _peak(step: Any) -> int:
    torch.cuda.reset_peak_memory_stats()
    step()
    return torch.cuda.max_memory_allocated()


def means(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Geometric means of the ratios of each arm, and what it adds as a share of what the published
    algorithm adds."""
    out = []
    for arm in ARMS:
        mine = [row for row in rows if row["arm"] == arm]
        found = {key: math.exp(statistics.fmean(math.log(row[key]) for row in mine))
                 for key in ("time", "kept", "peak") if key in mine[0]}  # fmt: skip
        out.append(dict(arm=arm, rows=len(mine), **found))
    published = next(row for row in out if row["arm"] == PUBLISHED)
    for row in out:
        for key in ("time", "kept"):
            row[f"extra {key} of published"] = (row[key] - 1) / (published[key] - 1)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="of run_all.py --list, or configs")
    parser.add_argument("--tables", action="store_true", help="with those of Tables 2 and 3")
    parser.add_argument("--crop", type=positive, default=128)
    parser.add_argument("--batch", type=positive, default=2)
    parser.add_argument("--depth", type=int, choices=(18, 50, 101), default=18)
    parser.add_argument("--repeats", type=positive, default=3)
    parser.add_argument("--quick", action="store_true", help=f"{' and '.join(QUICK)} alone")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/benchmarks/hl_cost.json"))
    args = parser.parse_args()
    rows = []
    alone = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1)
    for name in rows_of(args):
        try:
            found = alone.submit(measure, name, args).result()
        except (ConfigError, RuntimeError) as error:
            print(f"{name}: left out: {' '.join(str(error).split())[:200]}", flush=True)
            continue
        for row in found:
            ratios = ", ".join(f"{k} {row[k]:.3f}" for k in ("time", "kept", "peak") if k in row)
            print(f"{name:<28}{row['arm']:<16}{ratios}", flush=True)
        rows += found
    if not rows:
        raise ConfigError("none of the rows could be measured")
    setting = dict(crop=args.crop, batch=args.batch, depth=args.depth, repeats=args.repeats)
    report("Geometric means", means(rows), args.out, rows, **setting)


if __name__ == "__main__":
    main_line(main)
