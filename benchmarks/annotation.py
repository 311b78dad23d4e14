"""Which images to label next: mIoU against the number of labeled images, chosen in three ways.

    python benchmarks/annotation.py --data-root DIR --seeds 0 1 2

Of each seed a first part of CamVid's training images is drawn at random and a model with HL is
trained on it; this model chooses what is labeled next, out of the rest: at random, by the mean of
its hardness map, or by the mean entropy of its prediction. A model is trained anew on the larger
set, it chooses again. Every model has the same number of iterations; all is measured on the
validation images. What is finished is skipped: the same command again.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
WAYS = ("random", "hardness", "entropy")


def train(args: argparse.Namespace, seed: int, chosen: list[int], work_dir: Path) -> float:
    """mIoU in percent of a model that is trained on the images of these indices."""
    result = work_dir / "result.json"
    if not result.is_file():
        indices = str(chosen).replace(" ", "")
        command = [sys.executable, str(ROOT / "fully_supervised/train.py"), args.network,
                   "--data", "camvid", "--data-root", args.data_root, "--hl",
                   "--options", "alpha=auto", "--seed", str(seed), "--max-iters", str(args.iters),
                   "--work-dir", str(work_dir), "--cfg-options",
                   f"train_dataloader.dataset.indices={indices}",
                   f"train_cfg.val_interval={args.iters}"]  # fmt: skip
        command += ["--resume"] if work_dir.is_dir() else []
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"error: {work_dir}: {(done.stderr.strip() or '?').splitlines()[-1]}")
    return 100 * json.loads(result.read_text())["metrics"]["miou"]


def scores(work_dir: Path, images: list[Path], way: str) -> list[float]:
    """How much a labeled image is worth, as the model of a work_dir sees it."""
    from core.analysis.pixels import pixel_figures
    from core.predict import load, read_picture

    predictor = load(max(work_dir.glob("iter_*.pth"), key=lambda p: int(p.stem[5:])))
    found = []
    for path in images:
        look = predictor.look(read_picture(path))
        size = look.seg_logits.shape[-2:]
        value = look.scores if way == "hardness" else pixel_figures(look.seg_logits, size).entropy
        found.append(float(value.mean()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", required=True, help="of CamVid")
    parser.add_argument("--network", default="deeplabv3plus_lite0")
    parser.add_argument("--sizes", type=int, nargs="+", default=[46, 92, 184])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--iters", type=int, default=400, help="of each training [400]")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/annotation"))
    args = parser.parse_args()

    pictures = sorted(Path(args.data_root, "images/train").glob("*"))
    found: dict[tuple[str, int], list[float]] = {}
    for seed in args.seeds:
        order = np.random.default_rng(seed).permutation(len(pictures)).tolist()
        first = args.out / f"seed{seed}/{args.sizes[0]}"
        start = train(args, seed, sorted(order[: args.sizes[0]]), first)
        for way in WAYS:
            chosen, model = order[: args.sizes[0]], first
            found.setdefault((way, args.sizes[0]), []).append(start)
            for size in args.sizes[1:]:
                rest = [i for i in order if i not in chosen]
                if way != "random":
                    worth = scores(model, [pictures[i] for i in rest], way)
                    rest = [rest[k] for k in np.argsort(worth, kind="stable")[::-1]]
                chosen = chosen + rest[: size - len(chosen)]
                model = args.out / f"seed{seed}/{size}-{way}"
                miou = train(args, seed, sorted(chosen), model)
                found.setdefault((way, size), []).append(miou)
                print(f"seed {seed}, {size} images, {way}: {miou:.2f}", file=sys.stderr)
    print(f"mIoU in percent, {args.iters} iterations, seeds {' '.join(map(str, args.seeds))}\n")
    print("| chosen | " + " | ".join(f"{size} images" for size in args.sizes) + " |")
    print("|---|" + "--:|" * len(args.sizes))
    for way in WAYS:
        cells = [told(found[way, size]) for size in args.sizes]
        print(f"| {way} | " + " | ".join(cells) + " |")


def told(values: list[float]) -> str:
    """Mean and, of several, each."""
    mean = f"{statistics.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ({', '.join(f'{x:.2f}' for x in values)})"


if __name__ == "__main__":
    main()
