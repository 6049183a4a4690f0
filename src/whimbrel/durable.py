"""What it takes for a file to be there after a power cut: its data synced, and the folder that names it synced too; and
for a line to be known as it was written: its own checksum.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from zlib import crc32

import orjson

from whimbrel.errors import LogCorrupt, StateError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the disk refuses is a StateError that names the file: an OSError could be taken for the network's."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        hint = "Free disk space, or repair the disk, and run the same command again: it continues from here."
        raise StateError(f"cannot be written: {reason}", place=str(path), hint=hint) from error


@contextmanager
def named(path: Path) -> Iterator[None]:
    """An OSError of a write or a sync does not say of which file; from here it does."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def sync_folder(folder: Path) -> None:
    """Make the creation, renaming and removal of names in ``folder`` durable. Raises OSError."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def sync_file(path: Path) -> None:
    """Make what was written to a file durable, whoever wrote it. Raises OSError."""
    _sync(path, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        with named(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes) -> None:
    """Give ``path`` the content ``data`` durably: a reader and a crash see the old content or the new, never a mixture.

    Raises OSError.
    """
    with named(path), path.with_name(path.name + ".new").open("wb") as file:
        file.write(data)
        publish(file, path)


def publish(file: IO[bytes], path: Path) -> None:
    """Give the file that was written under another name in the same folder the name ``path``, and close it.

    The order matters: data durable, then the name moved, then the folder durable. Raises OSError.
    """
    file.flush()
    os.fsync(file.fileno())
    file.close()
    Path(file.name).replace(path)
    sync_folder(path.parent)


def append(path: Path, data: bytes | bytearray) -> None:
    """Add ``data`` to the end of a file, which need not be there. Durable on return."""
    with named(path):
        is_new = not path.exists()
        with path.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            sync_folder(path.parent)


def append_line(path: Path, line: bytes) -> None:
    """Add ``line`` to a file of lines, durable on return. Half a line that a crash left is cut off first."""
    cut_torn_line(path)
    append(path, line + b"\n")


def cut_torn_line(path: Path) -> None:
    """A crash may leave half a line at the end, which was never durable; what is appended must not run into it."""
    if path.exists() and (torn := after_last_newline(path)):
        os.truncate(path, path.stat().st_size - len(torn))


def after_last_newline(path: Path) -> bytes:
    """What follows the last whole line, however long the file is before it."""
    found: list[bytes] = []
    with path.open("rb") as file:
        at = file.seek(0, os.SEEK_END)
        while at:
            end, at = at, max(0, at - _BLOCK)
            file.seek(at)
            block = file.read(end - at)
            found.append(block[block.rfind(b"\n") + 1 :])
            if b"\n" in block:
                break
    return b"".join(reversed(found))


_BLOCK = 1 << 16
TAIL = 18  # the length of ,"crc":"xxxxxxxx"}


def sealed(body: bytes) -> bytes:
    """The line of ``body``, a JSON object without its closing brace."""
    return body + b',"crc":"%08x"}\n' % crc32(body)


def sealed_json(fields: dict[str, Any]) -> bytes:
    """The line of a JSON object with these members."""
    return sealed(orjson.dumps(fields)[:-1])


def read_sealed(path: Path, form: str, hint: str) -> dict[str, Any]:
    """The object of a file that ``sealed_json`` made, whose ``format`` is ``form``. Raises LogCorrupt with ``hint``."""
    line = path.read_bytes().rstrip(b"\n")
    document: dict[str, Any] = orjson.loads(line) if is_sound(line) else {}
    if document.get("format") != form:
        raise LogCorrupt("is damaged, or of another version", place=str(path), hint=hint)
    return document


def sealed_lines(path: Path, hint: str) -> list[bytes]:
    """All lines of a file of sealed lines; none where there is no such file. Raises StateError with ``hint``."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StateError(f"cannot be read: {error.strerror}", place=str(path), hint=hint) from error
    if not all(map(is_sound, lines)):
        raise StateError("a line does not match its checksum", place=str(path), hint=hint)
    return lines


def is_sound(line: bytes) -> bool:
    """Whether ``line`` (without its newline) ends in its own checksum."""
    return line[-TAIL:] == b',"crc":"%08x"}' % crc32(line[:-TAIL])
