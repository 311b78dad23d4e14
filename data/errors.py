"""What is wrong with data on disk, in a line that a person can act on."""

from __future__ import annotations

from collections.abc import Sequence


class DataError(ValueError):
    """One line: what is wrong, which file, how to mend it. Entry scripts print it and exit 1.

    Attributes:
        problems: where several files are wrong, a line for each; the message names the first.
        for_user: an error with it needs no other words around it.
    """

    for_user = True

    def __init__(self, message: str, problems: Sequence[object] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)

    @classmethod
    def of(cls, problems: Sequence[object], command: str) -> DataError:
        """The error of at least one problem, a line each; ``command`` is what lists them all."""
        more = f" (and {len(problems) - 1} more: {command} lists them)" if problems[1:] else ""
        return cls(f"{problems[0]}{more}", problems)
