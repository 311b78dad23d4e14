"""Train rows of the paper's tables, or the configs that mmseg ships, two steps each, at reduced
size, on this machine's CPU or GPU.

Every arm runs through the same engine as a real training, on a few small random images with the
config's number of classes: a check that all can be built, trained and evaluated.

    python fully_supervised/smoke.py                  # every row of every table
    python fully_supervised/smoke.py --one-per-architecture
    python fully_supervised/smoke.py --only cityscapes/psanet_r101 --arms hl
    python fully_supervised/smoke.py --shipped 60     # of mmseg's, baseline and HL [all]
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

try:
    from mmengine.config import Config

    from core.arms import Arm
    from core.configs import mmseg_configs, set_data, set_data_root, walk, without_pretrained
    from core.engine.cli import main_line, positive, script_parser
    from core.errors import UserError
    from core.result import Result
    from core.schedule import scale_schedule
    from data.errors import DataError
    from fully_supervised import manifest
    from fully_supervised.manifest import Model
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; set up with: source setup.sh") from error

STEPS = 2
CROP = (64, 64)
HEAD_CHANNELS = 32
# Networks that take long, and those that need packages which are not here.
LAST = re.compile("vit|setr|dpt|unet|twins|beit|mae|convnext|maskformer|mask2former|point|san|vpd")
# Its pooling window is 49 pixels of features at 1/8.
CROPS = {"LRASPPHead": (400, 400)}


def trainings(names: list[str] | None, arms: list[str] | None) -> Iterator[tuple[Model, str]]:
    """Model and arm of every row of every table, each once."""
    seen = set()
    for table in manifest.tables().values():
        for name in table.rows:
            for arm in table.arms:
                wanted = (not names or name in names) and (not arms or arm in arms)
                wanted = wanted and manifest.model(name).takes(Arm.parse(arm))
                if wanted and (name, arm) not in seen:
                    seen.add((name, arm))
                    yield manifest.model(name), arm


def one_per_architecture() -> list[str]:
    """The first row of every architecture, by the type of its last decode head."""
    found: dict[str, str] = {}
    for table in manifest.tables().values():
        for name in table.rows:
            if not manifest.model(name).missing:
                found.setdefault(_last_head(manifest.model(name).config()).type, name)
    return list(found.values())


def shipped(count: int | None = None) -> list[Model]:
    """mmseg's own configs, ``count`` of them: first one of each pair of backbone and decode head,
    the one with the shortest name; within these, what takes long last."""
    root = mmseg_configs()
    paths = [p for p in root.rglob("*.py") if "_base_" not in p.parts]
    groups: dict[tuple, list[str]] = {}
    for name in sorted((p.relative_to(root).as_posix() for p in paths), key=lambda n: (len(n), n)):
        text = Config.fromfile(root / name, import_custom_modules=False).get("model") or {}
        kinds = [str((text.get(key) or {}).get("type")) if isinstance(text.get(key), dict) else ""
                 for key in ("backbone", "neck", "decode_head")]  # fmt: skip
        groups.setdefault((text.get("type"), *kinds), []).append(name)
    order = sorted(groups.values(), key=lambda group: bool(LAST.search(group[0])))
    names = [group[i] for i in range(max(map(len, order)))
             for group in order if i < len(group)]  # fmt: skip
    return [Model(Path(n).stem, n, f"mmseg::{n}", is_own=True) for n in names[:count]]


def _last_head(cfg: Config) -> dict:
    head = cfg.model.get("decode_head") or {}
    return head[-1] if isinstance(head, list | tuple) else head


def classes_of(cfg: Config) -> int:
    """The number of classes that a config's heads, or parts of them, name."""
    found: list[int] = []
    heads = [cfg.model.get("decode_head"), cfg.model.get("auxiliary_head")]
    walk(heads, lambda node: found.append(node.get("num_classes")))
    return next((number for number in found if number), 19)


def write_images(root: Path, num_classes: int, size: tuple[int, int]) -> None:
    """Two training images and one for validation, 8-bit labels with void in them."""
    rng = np.random.default_rng(0)
    for split, number in (("train", 2), ("val", 1)):
        for part in ("images", "labels"):
            (root / part / split).mkdir(parents=True, exist_ok=True)
        for i in range(number):
            coarse = rng.integers(0, num_classes, (size[0] // 16, size[1] // 16))
            label = np.kron(coarse, np.ones((16, 16))).astype(np.uint8)
            image = rng.integers(0, 255, (*size, 3)).astype(np.uint8)
            label[:4] = 255
            cv2.imwrite(str(root / "images" / split / f"{i}.png"), image)
            cv2.imwrite(str(root / "labels" / split / f"{i}.png"), label)


def small(cfg: Config, arm: str, root: Path, num_classes: int, size: tuple[int, int]) -> Config:
    """A row's config at reduced size: small crops, ResNets of 101 layers with 50, heads of 32
    channels, PSANet's mask of the crop's size, no download."""
    from core.weighting import with_weighting

    names = [f"class {i}" for i in range(num_classes)]
    metainfo = dict(classes=names, palette=[[i, i, i] for i in range(num_classes)])
    load = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations")]
    edges = [dict(type="GenerateEdge")] if _last_head(cfg).get("type") == "PIDHead" else []
    pipeline = [*load, dict(type="RandomCrop", crop_size=size), dict(type="RandomFlip", prob=0.5),
                *edges, dict(type="PackSegInputs")]  # fmt: skip

    def loader(split: str, sampler: str, pipeline: list, batch_size: int) -> dict:
        dataset = dict(type="BaseSegDataset", data_root=str(root), metainfo=metainfo,
                       img_suffix=".png", seg_map_suffix=".png", reduce_zero_label=False,
                       data_prefix=dict(img_path=f"images/{split}", seg_map_path=f"labels/{split}"),
                       pipeline=pipeline)  # fmt: skip
        return dict(batch_size=batch_size, num_workers=0, sampler=dict(type=sampler),
                    dataset=dataset)  # fmt: skip

    test = loader("val", "DefaultSampler", [*load, dict(type="PackSegInputs")], 1)
    evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
    data = Config(dict(
        crop_size=size, data_root=str(root), dataset_type="BaseSegDataset",
        train_dataloader=loader("train", "InfiniteSampler", pipeline, 2), val_dataloader=test,
        test_dataloader=test, val_evaluator=evaluator, test_evaluator=evaluator))  # fmt: skip
    cfg = set_data(cfg, data, num_classes)
    set_data_root(cfg, root)
    without_pretrained(cfg)

    def reduce(node: dict) -> None:
        if node.get("depth") == 101:
            node["depth"] = 50
        if "img_size" in node:
            node["img_size"] = size
        if "mask_size" in node:
            node["mask_size"] = (size[0] // 8 + 1, size[1] // 8 + 1)

    walk(cfg.model, reduce)
    for heads in (cfg.model.get("decode_head"), cfg.model.get("auxiliary_head")):
        for head in heads if isinstance(heads, list | tuple) else [heads or {}]:
            # Those of a head within stay, and those that must be as wide as what comes in.
            fixed = head.get("num_convs") == 0 or head.get("type") == "SETRMLAHead"
            if "channels" in head and not fixed:
                head["channels"] = min(head["channels"], HEAD_CHANNELS)
    arm = Arm.parse(arm)
    weights = [1.0 + i / num_classes for i in range(num_classes)]
    cfg = with_weighting(cfg, arm, class_weight=weights if arm.weighting == "balanced" else None)
    scale_schedule(cfg, STEPS)
    cfg.train_cfg.val_interval = STEPS
    # Checkpoints are tested elsewhere, and those of the large models would fill a disk.
    cfg.default_hooks.checkpoint = dict(type="CheckpointHook", interval=10**9, save_last=False)
    return cfg


def run(model: Model, arm: str, folder: Path) -> float:
    """Train two steps, evaluate; the time that it took, in seconds."""
    from core.engine.prepare import prepare
    from core.engine.run import train
    from data.checked import with_checked_samples

    start = time.perf_counter()
    cfg = model.config()
    num_classes, size = classes_of(cfg), CROPS.get(_last_head(cfg).get("type"), CROP)
    root = folder / f"images-{num_classes}-{size[0]}"
    if not root.is_dir():
        write_images(root, num_classes, size)
    title = f"{model.name} {arm}"
    work_dir = folder / title.replace("/", "-").replace(" ", "-")
    cfg = prepare(small(cfg, arm, root, num_classes, size), work_dir=work_dir, title=title)
    result = train(cfg, Result("fully_supervised", model.name, "smoke", arm, 0), pictures=0,
                   reading=with_checked_samples)  # fmt: skip
    if not 0 <= result.metrics.miou <= 1:
        raise ValueError(f"mIoU is {result.metrics.miou}")
    shutil.rmtree(work_dir)
    return time.perf_counter() - start


def forget() -> None:
    """Drop mmengine's global objects: the next runner in this process makes its own."""
    from mmengine.logging import MessageHub, MMLogger
    from mmengine.registry import DefaultScope
    from mmengine.visualization import Visualizer
    from mmseg.visualization import SegLocalVisualizer

    for cls in (MMLogger, MessageHub, Visualizer, SegLocalVisualizer, DefaultScope):
        cls._instance_dict.clear()


def main(argv: Sequence[str] | None = None) -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--only", nargs="+", metavar="ROW", help="rows by name")
    parser.add_argument("--arms", nargs="+", metavar="ARM", help="of those that a table has")
    parser.add_argument("--shipped", nargs="?", type=positive, const=10**6, metavar="N",
                        help="configs that mmseg ships, in the place of rows [all]")  # fmt: skip
    parser.add_argument("--one-per-architecture", action="store_true",
                        help="the first row of each, in baseline and HL")  # fmt: skip
    args = parser.parse_args(argv)
    if args.one_per_architecture:
        args.only, args.arms = one_per_architecture(), args.arms or ["baseline", "hl"]
    for name in args.only or []:
        manifest.model(name)
    if args.shipped:
        arms = args.arms or ["baseline", "hl"]
        todo = [(model, arm) for model in shipped(args.shipped) for arm in arms]
    else:
        todo = trainings(args.only, args.arms)

    done, failed, skipped = 0, [], {}
    with tempfile.TemporaryDirectory() as folder:
        for model, arm in todo:
            if model.missing:
                skipped[model.name] = f"needs {', '.join(model.missing)}"
                continue
            try:
                seconds = run(model, arm, Path(folder))
            except UserError as error:
                if not args.shipped:
                    raise
                skipped[f"{model.name} {arm}"] = str(error)
                continue
            except Exception as error:  # the next row is to be tried, whatever this one stumbled on
                traceback.print_exc()
                failed.append(f"{model.name} {arm}: {error!r}")
                continue
            finally:
                forget()
            done += 1
            print(f"ok  {model.name:<34} {arm:<16} {seconds:5.1f} s", flush=True)
    for name, reason in skipped.items():
        print(f"skipped  {name}: {reason}")
    what = "refused" if args.shipped else "rows skipped"
    print(f"{done} trainings of {STEPS} steps, {len(skipped)} {what}, {len(failed)} failed")
    if failed:
        sys.exit("error: " + "; ".join(failed))


if __name__ == "__main__":
    main_line(main, DataError)
