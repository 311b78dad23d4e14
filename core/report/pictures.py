"""The pictures of a page: images with what the arms made of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.report.images import BadPicture, Budget, embed
from core.report.rows import Row
from core.report.summary import Table
from core.result import NAME, Entry

MAX_STEMS = 4


def class_colors(entries: Sequence[Entry]) -> dict[str, str]:
    """CSS colour of each class, from the first of the runs that carries a palette."""
    for entry in entries:
        if entry.run.palette and entry.run.classes:
            pairs = zip(entry.run.classes, entry.run.palette, strict=False)
            return {name: f"rgb({','.join(map(str, rgb))})" for name, rgb in pairs if _is_rgb(rgb)}
    return {}


def _is_rgb(color: Sequence[int]) -> bool:
    """Three whole numbers from 0 to 255: what is put into a style as it is."""
    return len(color) == 3 and all(type(x) is int and 0 <= x <= 255 for x in color)


def pictures(table: Table) -> dict[str, Any]:
    """Images with what the arms made of them, as many as the page has room for; ``broken`` has a
    line for each that cannot be shown.

    They are in the folder of a run, as ``pictures/<stem>_{image,label,pred,hl,err}.png``.
    """
    budget, album = Budget(), _Album()
    images, told = [], []
    for stem in _stems(table):
        with_stem = [entry for entry in table.runs if stem in entry.run.pictures]
        # Data sets may colour their classes differently: the legend where it changes.
        legend = [dict(name=n, color=c) for n, c in class_colors(with_stem).items()]
        image = dict(
            stem=stem,
            legend=legend if legend != told else [],
            top=budget.take(_top(album, with_stem, stem)),
            strips=[],
        )
        told = legend or told
        for subject, rows in table.subjects.items():
            of = [entry for entry in with_stem if entry.subject == subject]
            if not of:
                continue
            seed, cells = _predictions(album, rows, table.leading("hl"), of, stem)
            if cells := budget.take(cells):
                image["strips"].append(dict(title=rows[0].title, seed=seed, cells=cells))
        images.append(image)
    shown = any(image["top"] or image["strips"] for image in images)
    teachers = [e for e in table.runs if e.run.track == "semi_supervised" and e.run.pictures]
    return dict(
        images=images if shown else [],
        left_out=budget.left_out,
        broken=album.broken,
        has_teacher=any(e.run.arm.partition(" ")[0] == "hl" for e in teachers),
        has_old_maps=album.has_old_maps,
    )


def _stems(table: Table) -> list[str]:
    """The images to show: a few of every subject, which are the same where the data set is."""
    shown: dict[str, None] = {}
    for subject in table.subjects:
        runs = table.runs_of(subject)
        stems = dict.fromkeys(stem for entry in runs for stem in entry.run.pictures)
        shown.update(dict.fromkeys(list(stems)[:MAX_STEMS]))
    return list(shown)


class _Album:
    """The picture files below the folders of runs; what cannot be shown is kept as a line."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        self.has_old_maps = False  # of before 0.8, each on a scale of its own

    def file(self, folder: Path | None, stem: str, kind: str) -> Path | None:
        """Where a picture lies, None if there is none."""
        if folder is None:
            return None
        if Path(stem).name != stem:
            line = f"{folder / NAME}: the name of the picture {stem!a} leaves its folder"
            self.broken += [line] if line not in self.broken else []
            return None
        path = folder / "pictures" / f"{stem}_{kind}.png"
        return path if os.path.isfile(path) else None

    def cell(self, path: Path | None, caption: str, *, photo: bool) -> dict:
        """A picture with what stands below it."""
        try:
            return dict(uri=embed(path, photo=photo) if path else None, caption=caption)
        except BadPicture as error:
            self.broken.append(str(error))
            return dict(uri=None, caption=caption)


def _top(album: _Album, entries: Sequence[Entry], stem: str) -> list[dict]:
    """Image and label, which are the same in the folders of all runs: from the first that has."""
    cells = []
    for kind in ("image", "label"):
        paths = (album.file(entry.folder, stem, kind) for entry in entries)
        found = next((path for path in paths if path), None)
        cells.append(album.cell(found, kind.capitalize(), photo=kind == "image"))
    return cells


def _predictions(
    album: _Album, rows: Sequence[Row], hl: str | None, entries: Sequence[Entry], stem: str
) -> tuple[int, list[dict]]:
    """One subject's predictions, and of the arm ``hl`` its HL map and its errors, which a run of
    version 0.7 or before did not draw; all of the seed that most arms have."""
    seeds = [entry.run.seed for entry in entries]
    seed = min(seeds, key=lambda s: (-seeds.count(s), s))
    folders = {entry.run.arm: entry.folder for entry in entries if entry.run.seed == seed}

    def cell(arm: str, kind: str, caption: str) -> dict:
        path = album.file(folders.get(arm), stem, kind)
        return album.cell(path, caption, photo=kind == "hl")

    cells = [cell(str(row.arm), "pred", row.name) for row in rows]
    if hl:
        is_student = entries[0].run.track == "semi_supervised"
        name = next(row.name for row in rows if str(row.arm) == hl)
        cells.append(cell(hl, "hl", "HL map (the student’s)" if is_student else "HL map"))
        has_errors = album.file(folders.get(hl), stem, "err")
        cells += [cell(hl, "err", f"Errors of {name}")] if has_errors else []
        album.has_old_maps |= bool(cells[-1]["uri"] and not has_errors)
    return seed, cells
