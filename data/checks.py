"""Whether a data set on disk can be trained on: who lacks its other half, and every pair by
:mod:`data.pairs`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import track

from data.files import walk
from data.pairs import Problem, Rule, problems_of

SHOWN = 20  # lines of a kind that are printed one by one


@dataclass(frozen=True)
class Layout:
    """Where the images and labels of a split lie below the root, and how their names end.

    ``skipped``: a file that lists pairs which are left out, a stem and a reason a line.
    ``other_suffix``: how the names of images may end, too.
    """

    images: str
    labels: str
    image_suffix: str
    label_suffix: str
    skipped: str | None = None
    other_suffix: str | None = None

    def on_disk(self, root: Path) -> Layout:
        """With the suffix that the images below ``root`` have."""
        if self.other_suffix and not stems(root / self.images, self.image_suffix):
            if stems(root / self.images, self.other_suffix):
                return replace(self, image_suffix=self.other_suffix, other_suffix=None)
        return self

    def pairs(self, root: Path) -> tuple[set[str], set[str]]:
        """Stems of the images and of the labels, without the ones left out."""
        left_out = skipped_in(root / self.skipped) if self.skipped else set()
        return (
            stems(root / self.images, self.image_suffix) - left_out,
            stems(root / self.labels, self.label_suffix) - left_out,
        )


def missing_halves(root: Path, layouts: tuple[Layout, ...]) -> list[Problem]:
    """A problem for each image without a label and each label without an image, by name only; one
    for a split none of whose images has its label."""
    problems = []
    for layout in (layout.on_disk(root) for layout in layouts):
        images, labels = layout.pairs(root)
        if images and not images & labels:
            problems.append(_no_label(root, layout, images, labels))
            continue
        for missing, other, folder, suffix in (
            (images - labels, "image", layout.labels, layout.label_suffix),
            (labels - images, "label", layout.images, layout.image_suffix),
        ):
            problems += [
                Problem(f"missing, but its {other} is there", f"{root / folder / stem}{suffix}",
                        f"missing, but its {other} is there", f"copy it, or remove the {other}")
                for stem in sorted(missing)
            ]  # fmt: skip
    return problems


def _no_label(root: Path, layout: Layout, images: set[str], labels: set[str]) -> Problem:
    folder = root / layout.labels
    first = f"{min(images)}{layout.label_suffix}"
    if labels:
        what = f"none of its {len(labels)} labels is of one of the {len(images)} images in "
        what += f"{root / layout.images}: there is {min(labels)}{layout.label_suffix}, "
        what += f"wanted {first}"
    else:
        what = "no such folder" if not folder.is_dir() else f"no *{layout.label_suffix} in it"
        what += f", but {len(images)} images in {root / layout.images}"
    return Problem("no labels", str(folder), what, f"put or link their labels there, as {first}")


def check(
    root: Path, layouts: tuple[Layout, ...], allowed_ids: set[int], *, turned: bool = True
) -> list[Problem]:
    """Read every pair of a data set in the layout of ours; what keeps it from being trained on.

    Args:
        root: folder of the data set.
        layouts: its splits.
        allowed_ids: values that a label may hold.
        turned: see :class:`data.pairs.Rule`.
    """
    problems = missing_halves(root, layouts)
    pairs = [
        (root / layout.images / f"{stem}{layout.image_suffix}",
         root / layout.labels / f"{stem}{layout.label_suffix}")
        for layout in (layout.on_disk(root) for layout in layouts)
        for stem in sorted(set.intersection(*layout.pairs(root)))
    ]  # fmt: skip
    rule = Rule(allowed_ids, turned)
    # Decoding leaves Python's lock: threads do.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        lines = pool.map(partial(_check_pair, rule), pairs)
        console = Console(stderr=True)
        for found in track(lines, "checking", len(pairs), console=console, transient=True):
            problems += found
    return problems


def _check_pair(rule: Rule, pair: tuple[Path, Path]) -> list[Problem]:
    return problems_of(*pair, rule, pixels=True)


def told(problems: Iterable[Problem]) -> list[str]:
    """Lines for a person: each problem, or, of a kind that has many, how many and the first three.

    Args:
        problems: of :class:`Problem`; those of other types are told as they are.
    """
    by_kind: dict[str, list[object]] = {}
    for problem in problems:
        by_kind.setdefault(getattr(problem, "kind", ""), []).append(problem)
    lines = []
    for kind, found in by_kind.items():
        if not kind or len(found) <= SHOWN:
            lines += map(str, found)
        else:
            names = ", ".join(problem.path for problem in found[:3])
            lines.append(f"{len(found)} files: {kind}: {names}, …; {found[0].remedy}")
    return lines


def stems(folder: Path, suffix: str) -> set[str]:
    """Paths below ``folder`` without their suffix; hidden files are not data, as in mmseg, and what
    lies in linked folders is.

    Raises:
        DataError: see :func:`data.files.walk`.
    """
    return {
        os.path.relpath(os.path.join(path, name), folder)[: -len(suffix)]
        for path, folders, names in walk(folder)
        for name in (*names, *folders)
        if name.endswith(suffix) and not name.startswith(".")
    }


def suffixes(folder: Path) -> dict[str, int]:
    """How many files of each suffix lie below ``folder``."""
    found: dict[str, int] = {}
    for _, _, names in walk(folder):
        for name in names:
            if not name.startswith("."):
                suffix = os.path.splitext(name)[1]
                found[suffix] = found.get(suffix, 0) + 1
    return found


def what_lies(folder: Path) -> str:
    """The same in words, for an error."""
    if not folder.is_dir():
        return "there is no such folder"
    found = suffixes(folder)
    named = ", ".join(f"{count} *{suffix}" for suffix, count in sorted(found.items()))
    return f"there are {named}" if found else "the folder is empty"


def skipped_in(path: Path) -> set[str]:
    """Stems that a ``skipped.txt`` lists, none where it is not there."""
    if not path.is_file():
        return set()
    return {line.split("\t")[0] for line in path.read_text().splitlines()}
