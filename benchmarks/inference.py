"""Inference of what was trained with HL, beside the plain model with its weights: identical.

    python benchmarks/inference.py              # a model of each kind of head
    python benchmarks/inference.py --quick
    python benchmarks/inference.py --rows cityscapes/pspnet_r101 --size 1024 2048    # on a GPU

Each model is trained with HL for a step; without its branch, as an export drops it, its weights go
into the config's plain model. The ratio of times is that of runs in turn.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from benchmarks.common import report
from core.engine import costs
from core.engine.cli import main_line, positive
from core.errors import ConfigError
from fully_supervised import manifest

ROWS = ("pspnet_r18", "upernet_r18", "ocrnet_hr18s", "bisenetv2", "lraspp_mv3", "segformer_b0")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", metavar="ROW",
                        default=[f"cityscapes/{name}" for name in ROWS],
                        help="of run_all.py --list, or configs")  # fmt: skip
    parser.add_argument("--size", nargs=2, type=positive, default=(256, 256), metavar=("H", "W"))
    parser.add_argument("--repeats", type=positive, default=5)
    parser.add_argument("--quick", action="store_true", help="the first two rows, 2 repeats")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/benchmarks/inference.json"))
    args = parser.parse_args()
    names, repeats = (args.rows[:2], 2) if args.quick else (args.rows, args.repeats)
    setting = costs.Setting(tuple(args.size), 2, repeats)
    rows, others = [], []
    for name in names:
        found = costs.inference(manifest.model(name).config(), setting)
        rows.append({
            "row": name,
            "logits": "identical" if found.same_outputs else "differ",
            "operators": "the same" if found.same_operators else "others",
            "parameters, M": found.plain_params / 1e6,
            "of the branch, M": found.branch_params / 1e6,
            "s": found.seconds,
            "time": statistics.median(found.ratios),
        })  # fmt: skip
        if not found.is_free:
            others.append(name)
    report("Inference, trained with HL to plain", rows, args.out, size=list(args.size))
    if others:
        raise ConfigError(f"inference is not that of the plain model: {', '.join(others)}")


if __name__ == "__main__":
    main_line(main)
