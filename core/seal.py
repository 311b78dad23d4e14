"""A file that tells whether it is whole: the sums of its blocks, in the comment of its archive.

A checkpoint of torch is a zip archive. Its reader checks none of the sums that its writer leaves,
and those do not cover the archive's own records. Here the sums of every byte before the comment
stand in the comment, which torch and every zip tool pass over.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BLOCK = 2**24  # bytes
_NAME = b"crc32 of every 16 MiB:"
_BEGIN = b"PK\x03\x04"  # of an archive
_END = b"PK\x05\x06"  # of its last record: 22 bytes, the last two the length of the comment behind
_RECORD = 22
_SEAL = re.compile(rb"( [0-9a-f]{8}){2}$|^" + re.escape(_NAME))


def sealed(content: bytes | memoryview) -> Iterator[bytes | memoryview]:
    """Parts that make up a sealed file, of an archive without a comment; another file as it is.

    The sums are made while the first part is written.
    """
    content = memoryview(content)
    body, record = content[:-_RECORD], bytes(content[-_RECORD:])
    length = len(_NAME) + len(_words([0])) * (1 + -(-len(body) // BLOCK))
    if (
        content[:4] != _BEGIN
        or record[:4] != _END
        or record[-2:] != b"\0\0"
        or length >= 2**16  # of more than 100 GB; its own sums are left
    ):
        yield content
        return
    record = record[:-2] + struct.pack("<H", length)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # zlib lets the other threads run
        sums = pool.map(zlib.crc32, [body[i : i + BLOCK] for i in range(0, len(body), BLOCK)])
        yield body
        yield record
        yield _NAME + _words([*sums, zlib.crc32(record)])


def _words(sums: Iterable[int]) -> bytes:
    return b"".join(b" %08x" % value for value in sums)


def damage(path: Path) -> str | None:
    """What is wrong with a file, None if nothing is known to be.

    Of a file without a seal, an archive's own sums are compared; of one that is no archive nothing
    is known.

    Raises:
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        begin = file.read(4)
        file.seek(max(0, size - _RECORD - 2**16))
        tail = file.read()
    at = tail.rfind(_END)
    if begin != _BEGIN:  # of no archive nothing is known; unless it was one of ours
        return "its beginning is damaged" if at >= 0 and _NAME in tail[at:] else None
    if at < 0:
        return "its end is missing"
    record, comment = tail[at : at + _RECORD], tail[at + _RECORD :]
    if len(record) < _RECORD or struct.unpack("<H", record[-2:])[0] != len(comment):
        return "its end is damaged"
    if not _SEAL.search(comment):  # none, or somebody else's words
        return _damaged_member(path)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        with memoryview(content) as view, view[: size - len(comment) - _RECORD] as body:
            sums = _sums(body, record)
    return None if comment == _NAME + _words(sums) else "its bytes are not those that were written"


def _sums(body: memoryview, record: bytes) -> list[int]:
    """Of the blocks of what stands before the last record, and of that."""
    parts = [body[i : i + BLOCK] for i in range(0, len(body), BLOCK)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # zlib lets the other threads run
        sums = list(pool.map(zlib.crc32, parts))
    for part in parts:
        part.release()  # a mapped file is closed only then
    return [*sums, zlib.crc32(record)]


def _damaged_member(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type for member in archive.infolist()):  # may be a bomb
                return "its archive is compressed, which torch never does"
            name = archive.testzip()
    except OSError:
        raise
    except Exception as error:  # zipfile raises many kinds for a damaged archive
        return f"its archive cannot be read ({type(error).__name__})"
    return f"{name} in it does not have the sum that was written" if name else None
