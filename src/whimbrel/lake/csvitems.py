"""CSV with a header as items: a column is an attribute, read as the type that is pinned for it, or that follows from
all of its cells.

RFC 4180: commas, ``"`` around a cell that has commas, quotes (doubled) or line ends, UTF-8. A cell with nothing in it
is an attribute that is missing; ``""`` is an empty text. Without a pinned type a column is

- numbers, if each cell is written in the one way that a number has: ``-?(0|[1-9]digits)(.digits)?``, 38 digits at most,
  not ``-0``, and with zeros at the end of a fraction only where all cells have as many digits behind the point. So a
  postcode (``01234``), a version (``1.10`` beside ``1.9``), a phone number (``+4912``) and ``1e5`` stay strings;
- bools, if each cell is ``true`` or ``false``;
- strings otherwise. Quotes say nothing of the type: many programs put them around everything.

So every cell can be written again from its value, sign by sign.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from whimbrel.errors import StateError, UserError
from whimbrel.lake.items import BadLine, check_item, load_json, shown
from whimbrel.lake.lines import MAX_LINE, lines
from whimbrel.lake.types import TAGS_OF, Type
from whimbrel.records import AttributeValue, Item

_ENDINGS = (".csv", ".csv.gz", ".csv.zst")
_CELL = re.compile(rb'(?:"([^"]*(?:""[^"]*)*)"|([^",]*))(,|\Z)')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.([0-9]+))?")
_MARKED_NUMBER = re.compile(_NUMBER.pattern + r"(?:[eE][+-]?[0-9]+)?")  # where a person has said that it is one
_DIGITS = 38

Columns = tuple[tuple[str, str], ...]


class Row(NamedTuple):
    """A record's text and the line that it begins in."""

    line: int
    text: bytes


class Cell(NamedTuple):
    text: str
    quoted: bool


def is_named_so(path: Path) -> bool:
    return path.name.lower().endswith(_ENDINGS)


def rows(path: Path) -> Iterator[Row]:
    """The records behind the header; empty lines, which have none, are passed over. Raises StateError where a quote is
    never closed, or a record is too long: what follows cannot be told apart then.
    """
    records = _records(path)
    next(records, None)
    return (each for each in records if each.text)


def columns_of(paths: Sequence[Path], pinned: Mapping[str, Type]) -> dict[Path, Columns]:
    """Each file's columns and the types that they are read as: the same type for a name in all files.

    Raises UserError for a header that cannot be one.
    """
    headers = {path: _header(path) for path in paths}
    seen: dict[str, _Seen] = {}
    for path, header in headers.items():
        columns = [seen.setdefault(name, _Seen()) for name in header]
        if set(header) <= pinned.keys():
            continue
        for row in rows(path):
            try:
                cells = _cells(row.text, len(header))
            except BadLine:
                continue  # it is set aside when the rows are read
            for column, cell in zip(columns, cells, strict=True):
                column.add(cell)
    found = {name: str(pinned[name].kind) if name in pinned else column.kind() for name, column in seen.items()}
    return {path: tuple((name, found[name]) for name in header) for path, header in headers.items()}


def read_row(text: bytes, columns: Columns) -> Item:
    """The record as an item. Raises BadLine."""
    item: Item = {}
    for (name, kind), cell in zip(columns, _cells(text, len(columns)), strict=True):
        if cell.text or cell.quoted:
            item[name] = _value(cell.text, kind, name)
    return check_item(item)


class _Seen:
    """What the cells of a column have been like."""

    def __init__(self) -> None:
        self.any, self.number, self.bool = False, True, True
        self.scales: set[int] = set()
        self.padded = False  # a fraction that ends in 0

    def add(self, cell: Cell) -> None:
        if not (cell.text or cell.quoted):
            return
        self.any = True
        self.bool = self.bool and cell.text in ("true", "false")
        if self.number:
            found = _NUMBER.fullmatch(cell.text)
            digits = sum(map(str.isdigit, cell.text))
            zero = not cell.text.strip("-0.")
            if found is None or digits > _DIGITS or (zero and cell.text[0] == "-"):
                self.number = False
                return
            fraction = found.group(1) or ""
            self.scales.add(len(fraction))
            self.padded = self.padded or fraction.endswith("0")

    def kind(self) -> str:
        if self.any and self.bool:
            return "bool"
        return "number" if self.any and self.number and not (self.padded and len(self.scales) > 1) else "string"


def _value(text: str, kind: str, name: str) -> AttributeValue:
    if kind in ("json", "list", "struct"):
        value: AttributeValue = load_json(text.encode())
        return value
    tag = TAGS_OF[kind][0]
    if tag == "BOOL":
        if text not in ("true", "false"):
            raise BadLine(f"column {name!r}: {shown(text)} is neither true nor false")
        return {"BOOL": text == "true"}
    if tag == "N" and not _MARKED_NUMBER.fullmatch(text):
        raise BadLine(f"column {name!r}: {shown(text)} is not written as a number, as {kind} must be")
    return {tag: text}


def _header(path: Path) -> list[str]:
    first = next(_records(path), None)
    hint = "The first line must name the columns, with commas between them."
    if first is None or not first.text:
        raise UserError("the file is empty" if first is None else "the first line is empty", place=str(path), hint=hint)
    try:
        names = [cell.text for cell in _cells(first.text, 0)]
    except BadLine as error:
        raise UserError(f"the header cannot be read: {error}", place=str(path), hint=hint) from None
    seen: set[str] = set()
    for name in names:
        if not name or name in seen:
            what = f"the column {name[:80]!r} appears twice" if name else "a column has no name"
            raise UserError(what, place=str(path), hint=hint)
        seen.add(name)
    if len(names) == 1 and (sign := next((sign for sign in ";\t|" if sign in names[0]), "")):
        raise UserError(f"the columns are separated by {sign!r}, not by commas", place=str(path), hint=hint)
    if "\r" in first.text.decode():
        raise UserError("its lines end in a carriage return alone", place=str(path), hint="End them with a line feed.")
    return names


def _records(path: Path) -> Iterator[Row]:
    """Lines, put together where a line's end stands between quotes."""
    held: list[bytes] = []
    start, size, quotes = 1, 0, 0
    for number, line in enumerate(lines(path, returns=True), 1):
        held.append(line)
        size += len(line)
        quotes += line.count(b'"')
        if size > MAX_LINE:
            message = f"a record of more than {MAX_LINE >> 20} MB, or an unclosed quote"
            raise StateError(message, place=f"{path}, line {start}", hint="Correct the line.")
        if quotes % 2 == 0:
            yield Row(start, b"\n".join(held).removesuffix(b"\r"))
            held, start, size, quotes = [], number + 1, 0, 0
    if held:
        raise StateError("a quote is not closed", place=f"{path}, line {start}", hint="Correct the line.")


def _cells(record: bytes, wanted: int) -> list[Cell]:
    """The record's cells; ``wanted`` of them, where that is known. Raises BadLine."""
    cells, at, end = [], 0, b","
    try:
        while end:
            found = _CELL.match(record, at)
            if found is None:
                rest = record[at : at + 50].decode("utf-8", "replace")
                raise BadLine(f"an unexpected quote at {shown(rest)}")
            quoted, plain, end = found.groups()
            text = plain if quoted is None else quoted.replace(b'""', b'"')
            cells.append(Cell(text.decode(), quoted is not None))
            at = found.end()
    except UnicodeDecodeError:
        raise BadLine("a cell is not UTF-8") from None
    if wanted and len(cells) != wanted:
        raise BadLine(f"it has {len(cells)} cells, the header {wanted}")
    return cells
