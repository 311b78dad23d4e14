"""What HL takes in training, time, memory and parameters, and whether inference is free (Table 9).

    hardness.py cost cityscapes/pspnet_r101 cityscapes/upernet_r101       # on a GPU, as published
    hardness.py cost mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-769x769.py my.py --crop 128

One batch of random images, each arm in a process of its own, in turn, several times. On a GPU: wall
time, and the largest allocation, without the workspaces of cuDNN's autotuning, which would drown
the difference. Without one: processor time of one thread, which other processes hardly disturb, and
the growth of the largest resident size over that of the model before its first step.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.config import Config

from core.arms import KINDS, Arm
from core.configs import load_config
from core.engine.cli import positive
from core.errors import ConfigError
from core.section import Grid, Section
from fully_supervised import manifest
from fully_supervised.manifest import Model
from fully_supervised.seeing.inputs import add_out_flag

if TYPE_CHECKING:  # torch takes seconds
    from core.engine.costs import Inference, Setting, Training

ARMS = ("baseline", "ce-scaled", "hl")
SMALL = 192  # side of a crop, and images of a batch, where there is no GPU
FEW = 2
# The paper's Table 9: what memory grows by, in percent.
TABLE_9 = {
    "cityscapes/nonlocal_r101": 0.68,
    "cityscapes/pspnet_r101": 1.40,
    "cityscapes/deeplabv3plus_r101": 4.26,
    "cityscapes/upernet_r101": 12.11,
    "cityscapes/lraspp_mv3": 0.01,
    "cityscapes/bisenetv2": 0.20,
    "cityscapes/pspnet_mv2": 0.59,
}
NONE = "–"


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("configs", nargs="+", metavar="CONFIG", help="rows of experiments.yaml, "
                        "configs by path, mmseg's by mmseg::…")  # fmt: skip
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS),
                        help="beside the baseline [all]")  # fmt: skip
    add_size_flags(parser)
    add_out_flag(parser, "work_dirs/hardness")


def add_size_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--crop", type=positive, metavar="N", help="side of a square crop [the "
                        f"config's crop; without a GPU {SMALL}]")  # fmt: skip
    parser.add_argument("--batch", type=positive, metavar="N", help="images of a batch [the "
                        f"config's, of one GPU; without a GPU {FEW}]")  # fmt: skip
    parser.add_argument("--steps", type=positive, default=7, help="timed, of a process [7]")
    parser.add_argument("--repeats", type=positive, default=3,
                        help="processes of each arm, in turn [3]")  # fmt: skip


@dataclasses.dataclass
class Measured:
    """Of a config: what each process found, by arm; and why one found nothing."""

    name: str
    model: Model
    setting: Setting
    trainings: dict[str, list[Training]] = dataclasses.field(default_factory=dict)
    inference: Inference | None = None
    failed: dict[str, str] = dataclasses.field(default_factory=dict)

    def ratios(self, arm: str, key: str) -> list[float]:
        """Of each process of an arm to the median of the baseline's."""
        base = self.base(key)
        found = self.trainings.get(arm, ()) if base > 0 else ()
        return [getattr(one, key) / base for one in found]

    def base(self, key: str) -> float:
        return statistics.median(getattr(found, key) for found in self.trainings["baseline"])


def run(args: argparse.Namespace, folder: Path) -> Section:
    """See the module.

    Raises:
        ConfigError: no such config, or none of them can be measured.
    """
    models = {name: manifest.model(name) for name in args.configs}  # an unknown one ends it here
    import torch
    from rich.console import Console
    from rich.progress import Progress

    from core.convert import decode_heads

    has_gpu = torch.cuda.is_available()
    arms = [arm for arm in ARMS if arm in ("baseline", *args.arms)]
    measured, refused = [], {}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(models) * (args.repeats * len(arms) + 1))
        for name, model in models.items():
            progress.update(task, description=name)
            try:
                cfg = load_config(model.base) if model.is_own else model.config()
                decode_heads(cfg)
                found = Measured(name, model, _setting(cfg, args, has_gpu))
            except ConfigError as error:
                refused[name] = str(error)
                progress.advance(task, args.repeats * len(arms) + 1)
                continue
            _measure(found, cfg, arms, args.repeats, lambda: progress.advance(task))
            if found.trainings.get("baseline"):
                measured.append(found)
            else:
                refused[name] = found.failed["baseline"]
    if not measured:
        name, why = next(iter(refused.items()))
        raise ConfigError(f"{name}: cannot be measured: {why}")
    return _section(measured, refused, arms, args.repeats, has_gpu)


def _setting(cfg: Config, args: argparse.Namespace, has_gpu: bool) -> Setting:
    """Images as the config trains on them; small ones where there is no GPU."""
    from core.engine.costs import Setting

    size, batch = (SMALL, SMALL), FEW
    if has_gpu:
        size = cfg.get("crop_size") or (cfg.model.get("data_preprocessor") or {}).get("size")
        batch = (cfg.get("train_dataloader") or {}).get("batch_size") or FEW
    if args.crop:
        size = (args.crop, args.crop)
    if size is None:
        raise ConfigError("it has no crop_size: give --crop")
    return Setting(tuple(size), args.batch or batch, args.steps)


def _measure(found: Measured, cfg: Config, arms: Sequence[str], repeats: int, done: Any) -> None:
    from core.engine.costs import alone

    for _ in range(repeats):
        for arm in arms:
            if not {arm, "baseline"} & found.failed.keys():
                try:
                    got = alone(cfg, Arm.parse(arm), found.setting)
                    found.trainings.setdefault(arm, []).append(got)
                except ConfigError as error:
                    found.trainings.pop(arm, None)
                    found.failed[arm] = str(error)
            done()
    if "baseline" not in found.failed:
        try:
            found.inference = alone(cfg, None, found.setting)
        except ConfigError as error:
            found.failed["inference"] = str(error)
    done()


def _section(measured: Sequence[Measured], refused: dict[str, str], arms: Sequence[str],
             repeats: int, has_gpu: bool) -> Section:  # fmt: skip
    device = measured[0].trainings["baseline"][0].device
    words = [
        "What HL takes in a training step (forward, backward, update of one batch of random "
        "images) beside plain cross-entropy, and whether it takes anything at inference. It cannot "
        "show the time of a whole training: reading images, and exchange between GPUs, are not in "
        "it."
    ]
    if has_gpu:
        words.append("On a GPU: wall time, and the largest allocation.")
    else:
        words.append("On the CPU: processor time of one thread, and the growth of the process's "
                     "resident memory over that of the model before its first step. Ratios on a "
                     "GPU are others: the paper's were taken there.")  # fmt: skip
    words += [_verdict(measured)]
    tables = [_training_table(measured, arms, repeats), _inference_table(measured)]
    tables += _published(measured)
    reasons = list(refused.items())
    reasons += [(f"{m.name}, {what}", why) for m in measured for what, why in m.failed.items()]
    if reasons:
        tables.append(Grid("Not measured", ("Config", "Why"), tuple(reasons)))
    settings = dict.fromkeys(
        f"{m.setting.batch} of {m.setting.size[1]}x{m.setting.size[0]}" for m in measured
    )
    return Section(
        "cost",
        "What HL costs",
        words=tuple(words),
        facts={"Device": device, "Images of a batch": "; ".join(settings),
               "Processes": f"{repeats} of each arm, {measured[0].setting.steps} timed steps each"},
        tables=tuple(table for table in tables if table.rows),
        figures={m.name: _figures(m) for m in measured},
    )  # fmt: skip


def _verdict(measured: Sequence[Measured]) -> str:
    free = [m.name for m in measured if m.inference and m.inference.is_free]
    if len(free) == len(measured):
        said = "Inference costs nothing extra"
    else:
        others = ", ".join(m.name for m in measured if m.name not in free)
        said = f"Inference costs something, or could not be checked: {others}"
    return (f"{said}. Beside each other: a model trained with HL for a step, as it is, and the "
            "config's plain model with its weights, which has no branch. It costs nothing where "
            "they have the same parameters, the branch apart, execute the same operators on the "
            "same shapes, and give the same logits bit by bit.")  # fmt: skip


def _training_table(measured: Sequence[Measured], arms: Sequence[str], repeats: int) -> Grid:
    rows = []
    for of in measured:
        for arm in arms:
            if arm not in of.trainings:
                continue
            runs = of.trainings[arm]
            seconds, mib = (statistics.median(getattr(r, k) for r in runs)
                            for k in ("seconds", "mib"))  # fmt: skip
            times, memories = of.ratios(arm, "seconds"), of.ratios(arm, "mib")
            rows.append((
                of.model.title if arm == "baseline" else "", KINDS[arm].title, spread(times),
                spread(memories), f"{seconds:.3f}", f"{mib:.0f}", f"{runs[0].params / 1e6:.2f}",
            ))  # fmt: skip
    columns = ("Network", "Arm", "time", "peak memory", "s / step", "MiB", "parameters, M")
    caption = "Ratios to the median of the baseline: median over the processes of an arm"
    caption += ", in brackets least and most." if repeats > 1 else "."
    return Grid("Training", columns, tuple(rows), f"{caption} Parameters as trained.")


def _inference_table(measured: Sequence[Measured]) -> Grid:
    rows = []
    for of in measured:
        if not (found := of.inference):
            continue
        params, flops = found.params - found.branch_params, found.flops / 1e9
        rows.append((
            of.model.title,
            _pair(f"{params / 1e6:.2f}", f"{found.plain_params / 1e6:.2f}",
                  params == found.plain_params),
            _pair(f"{flops:.2f}", f"{found.plain_flops / 1e9:.2f}",
                  found.flops == found.plain_flops),
            f"{found.operators}, {'the same' if found.same_operators else 'others'}",
            "bit-equal" if found.same_outputs else "differ",
            spread(found.ratios, quartiles=True),
        ))  # fmt: skip
    columns = ("Network", "parameters, M", "GFLOPs", "operators", "logits", "time")
    return Grid("Inference: trained with HL, beside plain", columns, tuple(rows),
                "Of one image. Parameters without the HL branch, which is not run and which an "
                "export (python -m core.export) drops. Time: median ratio of runs in turn, in "
                "brackets its quartiles.")  # fmt: skip


def _pair(hl: str, plain: str, same: bool) -> str:
    return f"{hl} = {plain}" if same else f"{hl} ≠ {plain}"


def _published(measured: Sequence[Measured]) -> list[Grid]:
    """Our figures beside those of the paper and of the authors' logs, where there are any."""
    rows = []
    for of in measured:
        name = row_of(of.model)
        logs = manifest.costs()[name].logs if name else {}
        if name not in TABLE_9 and not logs:
            continue
        here = [of.ratios("hl", key) for key in ("mib", "seconds")]
        ours = [statistics.median(found) - 1 if found else None for found in here]
        theirs = [_growth(*logs.get(key, (None, None))) for key in ("gb", "seconds")]
        paper = TABLE_9[name] / 100 if name in TABLE_9 else None
        values = (paper, theirs[0], ours[0], theirs[1], ours[1])
        rows.append((manifest.model(name).title, *map(_percent, values)))
    columns = ("Network", "memory: paper, %", "authors' logs, %", "here, %",
               "time: authors' logs, %", "here, %")  # fmt: skip
    return [Grid("What +HL adds, beside the paper's Table 9 and the authors' logs", columns,
                 tuple(rows), "Theirs: of whole trainings on A100 at the published crop, the "
                 "autotuning of cuDNN on. Here: as the facts above say.")]  # fmt: skip


def row_of(model: Model) -> str | None:
    """The row of the paper that a config is: by name, or by mmseg's config that it is made of."""
    if model.name in manifest.costs():
        return model.name
    rows = {name: row for name, row in manifest.models().items() if name in manifest.costs()}
    found = (name for name, row in rows.items() if row.base == model.base and not row.loaders)
    return next(found, None)


def _growth(before: float | None, after: float | None) -> float | None:
    return after / before - 1 if before and after else None


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:+.2f}".replace("-", "−")


def spread(ratios: Sequence[float], *, quartiles: bool = False) -> str:
    """Median and range of ratios."""
    if not ratios:
        return NONE
    middle = f"{statistics.median(ratios):.2f}×"
    if len(ratios) == 1:
        return middle
    low, high = min(ratios), max(ratios)
    if quartiles:
        low, _, high = statistics.quantiles(ratios, n=4)
    return f"{middle} ({low:.2f}–{high:.2f})"


def _figures(of: Measured) -> dict[str, Any]:
    return dict(
        setting=dataclasses.asdict(of.setting),
        training={arm: [dataclasses.asdict(x) for x in found]
                  for arm, found in of.trainings.items()},
        time_ratio={arm: of.ratios(arm, "seconds") for arm in of.trainings},
        memory_ratio={arm: of.ratios(arm, "mib") for arm in of.trainings},
        inference=dataclasses.asdict(of.inference) if of.inference else None,
    )  # fmt: skip
