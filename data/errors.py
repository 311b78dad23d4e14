"""What is wrong with data on disk, in a line that a person can act on."""

from __future__ import annotations


class DataError(ValueError):
    """One line: what is wrong, which file, how to mend it. Entry scripts print it and exit 1."""
