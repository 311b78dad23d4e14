"""``--data-root [NAME=]DIR``: where data sets lie, in every entry script."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from data import registry
from data.errors import DataError


@dataclass(frozen=True)
class Roots:
    """Folders by name of a data set; ``""`` is that of all others."""

    folders: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Roots:
        """``["cityscapes=/data/cityscapes", "/data/rest"]``.

        What stands before the first ``=`` is a name unless it holds a ``/``.

        Raises:
            DataError: no data set of that name, no folder, or two folders for one name.
        """
        folders: dict[str, str] = {}
        for text in texts:
            name, equals, folder = text.partition("=")
            if not equals or "/" in name:
                name, folder = "", text
            elif name:
                registry.get(name)
            if not folder or (equals and not name and folder != text):
                raise DataError(f"--data-root {text}: give DIR, or NAME=DIR such as camvid=DIR")
            if folders.setdefault(name, folder) != folder:
                raise DataError(
                    f"--data-root {text}: is {folders[name]} already; give one folder a data set"
                )
        return cls(folders)

    def of(self, name: str) -> str | None:
        """The folder of a data set, None where none was named for it."""
        return self.folders.get(name, self.folders.get(""))

    def flags(self) -> list[str]:
        """The same for another script."""
        texts = [f"{name}={folder}" if name else folder for name, folder in self.folders.items()]
        return ["--data-root", *texts] if texts else []


def add_root_flag(parser: argparse.ArgumentParser) -> None:
    """``--data-root``, which may be given several times."""
    parser.add_argument(
        "--data-root",
        nargs="+",
        action="extend",
        default=[],
        metavar="[NAME=]DIR",
        help="where data sets lie [data/raw/NAME]",
    )
