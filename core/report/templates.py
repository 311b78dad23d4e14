"""The templates of the pages; every value in them is escaped."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from core.report.style import CSS, POLICY, SCRIPT
from core.report.words import NONE, printable


def render(name: str, **values: Any) -> str:
    """A page that needs no other file and no network.

    Args:
        name: of the template in this folder.
        values: what it lays out; ``title`` at least.
    """
    return _environment().get_template(name).render(
        css=CSS, script=SCRIPT, policy=POLICY, dash=NONE, **values
    )  # fmt: skip


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
