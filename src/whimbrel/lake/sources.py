"""Exported files of every kind as records, line by line: each read exactly, or refused with its reason.

=============== ===================================================================================
form            a line
=============== ===================================================================================
``full``        ``{"Item":{…}}``: the native full export
``incremental`` ``{"Metadata":…,"Keys":…,"OldImage":…,"NewImage":…}``: the native incremental export
``plain``       ``{…}``, the item alone
``old``         the Data Pipeline and EMR format (lake/old.py)
=============== ===================================================================================
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from whimbrel.errors import StateError, UserError
from whimbrel.lake import old
from whimbrel.lake.items import BadLine, check_item, is_item, load_json, shown
from whimbrel.lake.native import INCREMENTAL, Export, find_exports
from whimbrel.records import Item

_GZIP = b"\x1f\x8b"
_LOOK_LINES = 50


class Source(NamedTuple):
    path: Path
    form: str  # full | incremental | plain | old
    items: int | None = None  # as the export's manifest counts them


class Record(NamedTuple):
    """An item as it was written (``item``), or the deletion of the one with ``keys`` (no ``item``)."""

    keys: Item | None
    item: Item | None


class Line(NamedTuple):
    number: int
    text: bytes  # without its end
    record: Record | None
    fault: str  # why there is no record


class Found(NamedTuple):
    """What lies at a place: native exports, or loose files as one full export."""

    exports: tuple[Export, ...]
    files: tuple[Source, ...]


def find(place: Path) -> Found:
    """Look what kind of export ``place`` is: a file, or a folder. Raises UserError when nothing is there."""
    if place.is_file():
        return Found((), (Source(place, form_of(place)),))
    if not place.is_dir():
        raise UserError("there is no such file or folder", place=str(place), hint="Name an export's folder or a file.")
    exports = find_exports(place)
    if exports:
        return Found(tuple(exports), ())
    files = tuple(Source(path, form_of(path)) for path in old.data_files(place))
    if not files:
        raise UserError(
            "there is no export in this folder", place=str(place), hint="Name an export's folder or a file."
        )
    return Found((), files)


def sources(export: Export) -> list[Source]:
    form = "incremental" if export.kind == INCREMENTAL else "full"
    return [Source(path, form, listed.items) for path, listed in zip(export.paths, export.files, strict=True)]


def form_of(path: Path) -> str:
    """The form of a loose file, by the first of its lines that tells. A file without one is ``plain``."""
    for number, line in enumerate(lines(path)):
        if number == _LOOK_LINES:
            break
        if form := _form_of_line(line):
            return form
    return "plain"


def lines(path: Path) -> Iterator[bytes]:
    """The file's lines without their ends, unpacked where it is gzip. Raises StateError when it cannot be read."""
    try:
        with open_data(path) as file:
            for line in file:
                yield line.rstrip(b"\r\n")
    except (OSError, EOFError, zlib.error) as error:
        raise StateError(f"cannot be read: {error}", place=str(path), hint="Copy the export again.") from error


def open_data(path: Path) -> IO[bytes] | gzip.GzipFile:
    """The file for reading, unpacked where it is gzip, whatever its name is."""
    return gzip.open(path) if is_gzip(path) else path.open("rb")


def is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == _GZIP


def read(source: Source) -> Iterator[Line]:
    """Every line of the file that is not empty: a record, or why it is none."""
    for number, text in enumerate(lines(source.path), 1):
        try:
            yield Line(number, text, read_line(text, source.form), "")
        except BadLine as error:
            yield Line(number, text, None, str(error))


def read_line(text: bytes, form: str) -> Record:
    """Raises BadLine."""
    if not text.strip():
        raise BadLine("the line is empty")
    if form == "old":
        return Record(None, old.read_line(text))
    value = load_json(text)
    if form == "plain":
        return Record(None, check_item(value))
    if not isinstance(value, dict):
        raise BadLine(f"not an object but {shown(value)}")
    return _incremental(value) if form == "incremental" else Record(None, _full(value))


def _full(value: dict[str, Any]) -> Item:
    if value.keys() != {"Item"}:
        raise BadLine(f"it has {', '.join(map(repr, value)) or 'nothing'} where only 'Item' belongs")
    return check_item(value["Item"])


def _incremental(value: dict[str, Any]) -> Record:
    unknown = value.keys() - {"Metadata", "Keys", "OldImage", "NewImage"}
    if unknown or "Keys" not in value:
        raise BadLine(f"it has {min(unknown)!r}, which is no part of a change" if unknown else "it has no 'Keys'")
    for name in ("Keys", "OldImage", "NewImage"):
        if name in value:
            check_item(value[name])
    keys, item = value["Keys"], value.get("NewImage")
    if item is not None and any(item.get(name) != each for name, each in keys.items()):
        raise BadLine("its NewImage has another key than its Keys")
    return Record(keys, item)


def _form_of_line(line: bytes) -> str:
    if not line.strip():
        return ""
    try:
        value = load_json(line) if line.lstrip().startswith(b"{") else None
    except BadLine:
        return ""
    if value is None:
        return "old" if b"\x03" in line else ""
    if value.keys() == {"Item"} and is_item(value["Item"]):
        return "full"
    if "Keys" in value and value.keys() <= {"Metadata", "Keys", "OldImage", "NewImage"} and is_item(value["Keys"]):
        return "incremental"
    if is_item(value):
        return "plain"
    try:
        old.read_line(line)
    except BadLine:
        return ""
    return "old"
