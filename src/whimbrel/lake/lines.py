"""The lines of a file, packed or not, in bounded memory: whatever the file is, no more than one line is held.

An item has 400 KB at most, in JSON's escapes six times as many. Of a longer line only the beginning is kept, so that it
can be named; the rest is passed over.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from operator import methodcaller
from pathlib import Path
from typing import IO, Any

from whimbrel.errors import StateError
from whimbrel.lake.inside import open_regular
from whimbrel.lake.need import need

MAX_LINE = 4 << 20  # bytes
_FIRST_BLOCK, _BLOCK = 64 << 10, 1 << 20  # bytes: who wants the first lines does not unpack a megabyte
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
UTF8_MARK = b"\xef\xbb\xbf"  # that the text is UTF-8, as some editors write it
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_ends_with_return = methodcaller("endswith", b"\r")


def lines(path: Path, *, returns: bool = False) -> Iterator[bytes]:
    """The file's lines without their ends; of one that is too long ``MAX_LINE`` + 1 bytes. With ``returns``, a carriage
    return before the end stays.

    Raises StateError when it cannot be read to its end.
    """
    number = 1
    for block in line_blocks(path):
        if max(map(len, block)) > MAX_LINE or any(map(_ends_with_return, block)):
            yield from (trimmed(line, place, returns) for place, line in enumerate(block, number))
        else:
            yield trimmed(block[0], number)
            yield from block[1:]
        number += len(block)


def line_blocks(path: Path) -> Iterator[list[bytes]]:
    """The same lines, many at once and not yet ``trimmed``: for who wants few of them."""
    left, number, size = b"", 0, _FIRST_BLOCK
    with opened(path, lambda: f"line {number + 1}") as file:
        while block := file.read(size):
            size = min(4 * size, _BLOCK)
            *whole, rest = block.split(b"\n")
            if whole:
                whole[0] = left + whole[0]
                left = b""
                yield whole
                number += len(whole)
            left = (left + rest)[: MAX_LINE + 1]
        if left:
            yield [left]


def check_whole(path: Path) -> None:
    """Read a packed file to its end, with its checksums. Raises StateError."""
    if packing(path):
        with opened(path) as file:
            while file.read(_BLOCK):
                pass


@contextmanager
def opened(path: Path, where: Any = lambda: "") -> Iterator[IO[bytes]]:
    """The file for reading, unpacked by what it is and not by its name. Raises StateError while it is read, with the
    place in it that ``where`` gives.
    """
    try:
        with open_regular(path) as raw, _unpacked(raw, path) as file:
            yield file
    except (OSError, EOFError, zlib.error) as error:
        place = ", ".join(filter(None, (str(path), where())))
        raise StateError(f"cannot be read: {error}", place=place, hint="Copy the export again.") from error


def packing(path: Path) -> str:
    """``gzip``, ``zstd``, or "" for a file that is not packed."""
    with open_regular(path) as file:
        start = file.read(4)
    if start.startswith(_UTF16):
        hint = "Write it as UTF-8 (in PowerShell: | Out-File -Encoding utf8)."
        raise StateError("the text is UTF-16", place=str(path), hint=hint)
    return next((name for sign, name in _PACKED.items() if start.startswith(sign)), "")


def _unpacked(raw: IO[bytes], path: Path) -> Any:
    match packing(path):
        case "gzip":
            return gzip.GzipFile(fileobj=raw)
        case "zstd":  # this reader notices where a stream is cut off
            return need("pyarrow", "lake").CompressedInputStream(raw, "zstd")
        case _:
            return raw


def beginning(path: Path) -> bytes:
    """The first bytes of the file, unpacked. Raises StateError."""
    with opened(path) as file:
        return file.read(_BLOCK >> 4).removeprefix(UTF8_MARK)


def trimmed(line: bytes, number: int, returns: bool = False) -> bytes:
    """A line of this number as ``lines`` gives it."""
    line = line[: MAX_LINE + 1] if returns else line[: MAX_LINE + 1].rstrip(b"\r")
    return line.removeprefix(UTF8_MARK) if number == 1 else line
