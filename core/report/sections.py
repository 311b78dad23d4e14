"""The page of what the commands of ``hardness.py`` left below a folder."""

from __future__ import annotations

from pathlib import Path

from core.report.formats import grid
from core.section import Section


def tell(section: Section, folder: Path) -> None:
    """Print the tables of a section, and where its files lie."""
    print(f"{section.title}\n")
    for table in section.tables:
        print(f"{table.title}\n\n{grid(table.columns, table.rows, 1)}\n")
    for name, what in section.files.items():
        print(f"{folder / name}: {what}")


def write_page(root: Path) -> Path:
    """Write ``index.html`` in ``root``; its path."""
    return root / "index.html"
