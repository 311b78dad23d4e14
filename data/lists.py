"""Lists of images, in the forms that papers, tools and editors write them: the one reader."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from data.errors import DataError
from data.files import size_of

MOST = 64 * 2**20  # bytes: names of a million images
LONGEST = 4096  # characters of a line: a path has no more
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def lines(path: str | Path) -> Iterator[tuple[str, str]]:
    """Where each line of a text file is, for messages, and the line; blank ones are left out.

    UTF-8 or UTF-16, with the mark that editors put before it or without; any line ends.

    Raises:
        DataError: it cannot be read, is no text, or is empty; a line is too long for a name.
    """
    path = Path(path)
    try:
        size = size_of(path)
        if size > MOST:
            raise DataError(f"has {size:,} bytes, more than a list of images has")
        content = path.read_bytes()
    except DataError as error:
        raise DataError(f"{path}: {error}; name a list file") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; name a list file") from error
    coding = next((c for mark, c in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(coding)
    except UnicodeError as error:
        raise DataError(
            f"{path}: not a text file in UTF-8 or UTF-16; name a list of images"
        ) from error
    if not text.strip():
        raise DataError(f"{path}: no image is listed; name a list with one image a line")
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        if len(line) > LONGEST:
            raise DataError(f"{path}, line {number}: has {len(line):,} characters; name a list "
                            "with one image a line")  # fmt: skip
        if line.strip():
            yield f"{path}, line {number}", line.strip()


@dataclass(frozen=True)
class Images:
    """The images that a list may name.

    Attributes:
        folder: theirs, below the data set's root, such as ``leftImg8bit/train``.
        suffix: how their files end.
        names: their paths below ``folder`` without the suffix.
    """

    folder: str
    suffix: str
    names: Collection[str]

    def find(self, line: str) -> str | None:
        """The name of the image in a line, None if there is none of ours.

        A line holds a name, a file name, or a path: below the root, with a slash before it, or
        from another machine, as long as ``folder`` is in it; Windows' slashes are slashes. What
        follows after white space, a comma or a semicolon is another column (some lists have the
        label there), unless it belongs to the name.
        """
        line = line.strip("\"'")
        ends = [m.start() for m in re.finditer(r"[\s,;]", line)]
        for end in (len(line), *reversed(ends)):
            for text in dict.fromkeys((line[:end], line[:end].replace("\\", "/"))):
                name = self._name(text.strip().strip("\"'"))
                if name is not None:
                    return name
        return None

    def _name(self, text: str) -> str | None:
        inside = f"/{text}".rpartition(f"/{self.folder}/")[2] if self.folder else text
        for name in (text, inside.removeprefix("/"), text.removeprefix("./")):
            for stem in (name, name.removesuffix(self.suffix)):
                if stem in self.names:
                    return stem
        return None
