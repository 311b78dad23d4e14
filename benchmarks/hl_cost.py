"""Extra cost of HL in a training step, time and peak memory as ratios to the baseline.

    python benchmarks/hl_cost.py                        # three models of the paper, small crops
    python benchmarks/hl_cost.py --models pspnet_r101 --crop 769 --steps 30      # on a GPU

Each arm runs in a process of its own, in turn, several times; forward, backward and update of one
batch of random images, Cityscapes' 19 classes. On a GPU: wall time, and the largest allocation. On
the CPU: processor time of one thread, which other processes hardly disturb, and the growth of the
largest resident size over that of the model before its first step.
cuDNN's autotuning is off: its workspaces would drown the difference.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

MODELS = {
    "pspnet_r18": "mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-769x769.py",
    "upernet_r18": "mmseg::upernet/upernet_r18_4xb2-40k_cityscapes-512x1024.py",
    "ocrnet_hr18s": "mmseg::ocrnet/ocrnet_hr18s_4xb2-40k_cityscapes-512x1024.py",
    "pspnet_r101": "mmseg::pspnet/pspnet_r101-d8_4xb2-40k_cityscapes-769x769.py",
    "deeplabv3plus_r101": "mmseg::deeplabv3plus/deeplabv3plus_r101-d8_4xb2-40k_cityscapes-769x769.py",  # noqa: E501
    "upernet_r101": "mmseg::upernet/upernet_r101_4xb2-40k_cityscapes-769x769.py",
}
ARMS = ("baseline", "ce-scaled", "hl")


def measure(model: str, arm: str, crop: int, batch: int, steps: int) -> dict[str, float]:
    """Median seconds of a step and peak MiB, in this process."""
    import torch
    from mmengine.structures import PixelData
    from mmseg.registry import MODELS as REGISTRY
    from mmseg.structures import SegDataSample
    from mmseg.utils import register_all_modules

    import core.segmentors  # noqa: F401
    from core.configs import fit_norm, load_config, without_pretrained
    from core.convert import to_hl

    register_all_modules(init_default_scope=True)
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = False
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    clock = time.perf_counter if device == "cuda" else time.process_time
    cfg = load_config(MODELS[model])
    fit_norm(cfg, synchronized=False)
    without_pretrained(cfg)
    if arm != "baseline":
        cfg = to_hl(cfg, weighting=arm)
    net = REGISTRY.build(cfg.model).to(device).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
    images = torch.randn(batch, 3, crop, crop, device=device)
    meta = dict(img_shape=(crop, crop))
    labels = torch.randint(0, 19, (batch, 1, crop, crop), device=device)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=x), metainfo=meta) for x in labels]

    def step() -> None:
        losses = net.loss(images, samples)
        optimizer.zero_grad(set_to_none=True)
        sum(value for key, value in losses.items() if "loss" in key).backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3):
        step()
    seconds = []
    for _ in range(steps):
        start = clock()
        step()
        seconds.append(clock() - start)
    if device == "cuda":
        memory = torch.cuda.max_memory_allocated() / 2**20
        name = torch.cuda.get_device_name()
    else:
        memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10
        name = "CPU, 1 thread"
    return dict(seconds=statistics.median(seconds), mib=memory, device=name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS)[:3])
    parser.add_argument("--crop", type=int, default=192, help="side of the square crop [192]")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=7, help="timed steps of a process")
    parser.add_argument("--repeats", type=int, default=3, help="processes of each arm, in turn")
    parser.add_argument("--one", nargs=2, metavar=("MODEL", "ARM"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(*args.one, args.crop, args.batch, args.steps)))
        return

    rows, device = [], ""
    for model in args.models:
        found: dict[str, list[dict]] = {arm: [] for arm in ARMS}
        for _ in range(args.repeats):
            for arm in ARMS:
                command = [sys.executable, str(Path(__file__)), "--one", model, arm]
                for key in ("crop", "batch", "steps"):
                    command += [f"--{key}", str(getattr(args, key))]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    sys.exit(
                        f"error: {model} {arm}: {(done.stderr.strip() or '?').splitlines()[-1]}"
                    )
                found[arm].append(json.loads(done.stdout.splitlines()[-1]))
        device = found["hl"][0]["device"]
        base = {k: statistics.median(x[k] for x in found["baseline"]) for k in ("seconds", "mib")}
        for arm in ARMS:
            time_ratios = [x["seconds"] / base["seconds"] for x in found[arm]]
            memory_ratios = [x["mib"] / base["mib"] for x in found[arm]]
            rows.append((model, arm, time_ratios, memory_ratios, base))
    print(f"{device}, batch {args.batch}, crop {args.crop}, {args.repeats} processes an arm\n")
    print("| model | arm | time (min-max) | peak memory (min-max) | baseline |")
    print("|---|---|--:|--:|--:|")
    for model, arm, times, memories, base in rows:
        own = f"{base['seconds']:.3f} s, {base['mib']:.0f} MiB" if arm == "baseline" else ""
        print(f"| {model} | {arm} | {spread(times)} | {spread(memories)} | {own} |")


def spread(ratios: list[float]) -> str:
    """Median and range of ratios."""
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


if __name__ == "__main__":
    main()
