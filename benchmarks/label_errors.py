"""How well scores find label errors: errors are planted, and candidates ordered by each score.

    python benchmarks/label_errors.py CHECKPOINT…                   # seed 0, 1, … of the errors
    python benchmarks/label_errors.py CHECKPOINT… --cleanlab    # needs benchmarks/requirements.txt

A checkpoint for each seed: checkpoint n looks for the errors of seed --seed + n. Images are the
validation images of its config, which it must not have been trained on, unless flags name others.
All scores order the same candidates (core.analysis.ranking.candidates), so that only the score
differs. A candidate is a hit if one planted error changed at least half of its pixels; each error
counts once for recall, out of all that were planted. Errors that the data set had before count as
misses.

cleanlab 2.9.0 (segmentation.rank, segmentation.filter) knows pixels and images, no regions, and no
ignored label. Here its softmin method scores each image alone; its score of a pixel, averaged over
a candidate, is one row, its score of the image, given to all candidates of the image, another one.
num_pixel_issues likewise: the share of a candidate's pixels that find_label_issues marks, and the
image's score. It wants (N, K, H, W) at once: it gets every second row and column. Ignored pixels
get the label that the model predicts, so that they are never an issue.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.analysis import planting, ranking
from core.engine import cli
from data.errors import DataError
from fully_supervised.seeing.drawn import counted
from fully_supervised.seeing.inputs import add_image_flags, images_of

ORDERS = ("loss", "p-label", "label-error", "entropy", "margin", "hardness", "surprise",
          "hardness*loss", "hardness*label-error", "hardness*surprise")  # fmt: skip
KS = (10, 50, 100)
STEP = 2  # of the pixels that num_pixel_issues sees


def looks(args: argparse.Namespace, predictor: Any, seed: int) -> Iterator[tuple]:
    """Candidates, means, errors, label with errors and class probabilities (C, H, W) by image."""
    import torch
    import torch.nn.functional as F

    from core.predict import read_picture
    from fully_supervised.seeing.regions import regions_in

    images = images_of(args, predictor, labels=True)
    for item in counted(images.items, f"seed {seed}", len(images)):
        picture = read_picture(item.image)
        label = images.label(item, picture.shape[:2], len(predictor.classes))
        label, number, errors = planting.plant(
            label,
            planting.rng_of(seed, Path(item.name).name),
            len(predictor.classes),
            min_area=args.plant_area,
        )
        look = predictor.look(picture)
        found, means, _ = regions_in(predictor, look, label, predictor.hardness(look),
                                     min_area=args.min_area)  # fmt: skip
        probs = None
        if args.cleanlab:
            logits = F.interpolate(look.seg_logits[None], look.size, mode="bilinear",
                                   align_corners=predictor.align_corners)[0]  # fmt: skip
            probs = torch.softmax(logits, 0).cpu().numpy()
        yield found, means, number, errors, label, probs


def measured(args: argparse.Namespace, checkpoint: Path, seed: int) -> dict[str, planting.Found]:
    """How well each score does on the errors of one seed."""
    from core.predict import load

    predictor = load(checkpoint, trust=args.trust_imports)
    scores: dict[str, list] = {}
    means, pairs, owners, kinds, shares = [], [], [], [], []
    confusion = np.zeros((len(predictor.classes),) * 2)
    small_labels, small_probs = [], []
    for found, mean, number, errors, label, probs in looks(args, predictor, seed):
        own = planting.owners(found.ids, number)
        owners.append(np.where(own > 0, own + len(kinds), 0))
        kinds += [error.kind for error in errors]
        means.append(mean)
        pairs.append((found.given, found.suggested))
        confusion += found.confusion
        if args.cleanlab:
            from cleanlab.segmentation.rank import get_label_quality_scores

            whole = np.where(label < 0, probs.argmax(0), label)
            of_image, of_pixels = get_label_quality_scores(whole[None], probs[None], verbose=False)
            scores.setdefault("cleanlab softmin, pixels", []).append(1 - found.mean(of_pixels[0]))
            scores.setdefault("cleanlab softmin, image", []).append(
                np.full(len(own), 1 - of_image[0])
            )
            small_labels.append(whole[::STEP, ::STEP])
            small_probs.append(probs[:, ::STEP, ::STEP].astype(np.float32))
            shares.append(found.ids[::STEP, ::STEP])
    if args.cleanlab:
        scores.update(_issues(small_labels, small_probs, shares, [len(o) for o in owners]))
    error = np.concatenate(owners)
    rare = ranking.rarity(confusion)[tuple(np.concatenate(p) for p in zip(*pairs, strict=True))]
    all_means = ranking.Means(*(np.concatenate(m) for m in zip(*means, strict=True)))
    every = {"random": np.random.default_rng(seed).random(len(error))}
    every |= {by: ranking.score(by, all_means, rare) for by in ORDERS}
    every |= {name: np.concatenate(parts) for name, parts in scores.items()}
    every = {name: x for name, x in every.items() if not np.isnan(x).any()}  # no map, no hardness
    told = ", ".join(f"{kinds.count(k)} {k}" for k in planting.KINDS)
    caught = [kinds[i - 1] for i in np.unique(error[error > 0])]
    share = ", ".join(f"{caught.count(k) / max(1, kinds.count(k)):.2f} {k}" for k in planting.KINDS)
    print(f"{checkpoint.parent.name}, seed {seed}: {len(error)} candidates; {len(kinds)} errors "
          f"planted ({told}); on a candidate: {share}")  # fmt: skip
    return {name: planting.found(x, error, len(kinds), ks=KS) for name, x in every.items()}


def _issues(labels: list, probs: list, ids: list, counts: list[int]) -> dict[str, list]:
    """Scores of cleanlab's num_pixel_issues, by image and candidate."""
    from cleanlab.segmentation.filter import find_label_issues

    issues = find_label_issues(np.stack(labels), np.stack(probs), n_jobs=1, verbose=False,
                               batch_size=1_000_000)  # fmt: skip
    shares, images = [], []
    for marked, of, count in zip(issues, ids, counts, strict=True):
        seen = np.maximum(np.bincount(of.ravel(), minlength=count + 1), 1)
        shares.append((np.bincount(of.ravel(), marked.ravel(), minlength=count + 1) / seen)[1:])
        images.append(np.full(count, marked.mean()))  # one minus the image's score
    return {"cleanlab find_label_issues, pixels": shares,
            "cleanlab num_pixel_issues, image": images}  # fmt: skip


def table(outcomes: Sequence[dict[str, planting.Found]]) -> str:
    """Markdown: a row a score, the best first; AP as mean and of each seed, the rest as mean."""
    names = [name for name in outcomes[0] if all(name in o for o in outcomes)]
    rows = []
    for name in names:
        of = [o[name] for o in outcomes]
        ap = [x.average_precision for x in of]
        at = [statistics.mean(x.at[k] for x in of) for k in KS]
        budget = statistics.mean(x.at_budget for x in of)
        rows.append((statistics.mean(ap), name, ap, [*at, budget]))
    head = ["score", "AP", "of each", *(f"P@{k}" for k in KS), "R@5 %"]
    lines = [f"| {' | '.join(head)} |", f"|---|{'--:|' * (len(head) - 1)}"]
    for mean, name, ap, rest in sorted(rows, key=lambda row: -row[0]):
        cells = [name, f"{mean:.3f}", " ".join(f"{x:.3f}" for x in ap)]
        lines.append(f"| {' | '.join([*cells, *(f'{x:.3f}' for x in rest)])} |")
    reach = statistics.mean(o[names[0]].reachable for o in outcomes)
    return "\n".join([*lines, "", f"No order can have an AP or recall above {reach:.3f}."])


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.script_parser(__doc__)
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT")
    add_image_flags(parser, labels=True, positional=False)
    parser.add_argument("--seed", type=cli.seed, default=0, help="of the first checkpoint [0]")
    parser.add_argument("--min-area", type=cli.positive, default=ranking.MIN_AREA,
                        help=f"pixels of a candidate [{ranking.MIN_AREA}]")  # fmt: skip
    parser.add_argument("--plant-area", type=cli.positive, default=planting.MIN_AREA,
                        help=f"pixels of an error [{planting.MIN_AREA}]")  # fmt: skip
    parser.add_argument("--cleanlab", action="store_true", help="cleanlab's scores, too")
    cli.add_trust_flag(parser)
    args = parser.parse_args(argv)
    if args.cleanlab:
        try:
            import cleanlab  # noqa: F401
        except ModuleNotFoundError:
            sys.exit("error: cleanlab is missing: pip install -r benchmarks/requirements.txt")
    outcomes = [measured(args, path, args.seed + i) for i, path in enumerate(args.checkpoints)]
    print(f"\n{table(outcomes)}")


if __name__ == "__main__":
    cli.main_line(main, DataError)
