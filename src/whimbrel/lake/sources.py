"""Exported files of every kind as records, line by line: each read exactly, or refused with its reason.

=============== ===================================================================================
form            a line
=============== ===================================================================================
``full``        ``{"Item":{…}}``: the native full export
``incremental`` ``{"Metadata":…,"Keys":…,"OldImage":…,"NewImage":…}``: the native incremental export
``plain``       ``{…}``, the item alone
``old``         the Data Pipeline and EMR format (lake/old.py)
``ion``         ``$ion_1_0 {Item:{…}}``: the native full export in Amazon Ion (lake/ion.py)
``ion-changes`` ``$ion_1_0 {Metadata:…,Keys:…,…}``: the native incremental export in Ion
``pages``       what ``aws dynamodb scan`` prints (lake/pages.py): not lines, but one item after the other
``csv``         CSV with a header (lake/csvitems.py)
=============== ===================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

from whimbrel.errors import LogCorrupt, UserError
from whimbrel.lake import csvitems, ion, old, pages
from whimbrel.lake.items import BadLine, check_item, flat_change, flat_item, is_item, load_json, shown
from whimbrel.lake.lines import MAX_LINE, beginning, lines
from whimbrel.lake.native import INCREMENTAL, ION_FORMAT, Export, Stored, find_exports
from whimbrel.lake.types import Type
from whimbrel.records import Item

_LOOK_LINES = 50
_ITEM = slice(len(b'{"Item":'), -len(b"}"))  # of the line of a ``flat_item``
_new = tuple.__new__  # a NamedTuple without the cost of its constructor


class SourceFile(NamedTuple):
    path: Path
    form: str
    items: int | None = None  # as the export's manifest counts them
    columns: tuple[tuple[str, str], ...] = ()  # of CSV: each column's name, and the type that its cells are read as
    stored: Stored | None = None  # where it is in S3: ``here`` has it as a file

    @property
    def place(self) -> str:
        """For a person."""
        return str(self.stored.file if self.stored else self.path)

    @property
    def size(self) -> int:
        """Bytes."""
        return self.stored.size if self.stored else self.path.stat().st_size


@contextmanager
def here(source: SourceFile, most: int = 0) -> Iterator[SourceFile]:
    """The file on this machine, or only its first ``most`` bytes; one that is in S3 for as long as it is needed.

    Its copy has no name, so that whatever ends the process, the disk has the room back. Raises what fetching raises.
    """
    if source.stored is None:
        yield source
        return
    with TemporaryFile(dir=source.path.parents[1]) as file:
        source.stored.fetch(file, most)
        yield source._replace(path=Path(f"/proc/self/fd/{file.fileno()}"))


class Record(NamedTuple):
    """An item as it was written (``item``), or the deletion of the one with ``keys`` (no ``item``). ``text`` is the
    item's JSON, where the line has it as DynamoDB takes it.
    """

    keys: Item | None
    item: Item | None
    text: bytes = b""


class Line(NamedTuple):
    number: int
    text: bytes  # without its end
    record: Record | None
    fault: str  # why there is no record


class FoundExports(NamedTuple):
    """What lies at a place: native exports, or loose files as one full export."""

    exports: tuple[Export, ...]
    files: tuple[SourceFile, ...]


def find(place: Path) -> FoundExports:
    """Look what kind of export ``place`` is: a file, or a folder. Raises UserError when nothing is there."""
    if place.is_file():
        return FoundExports((), (SourceFile(place, form_of(place)),))
    if not place.is_dir():
        what = "not a regular file or a folder" if place.exists() else "there is no such file or folder"
        raise UserError(what, place=str(place), hint="Name an export's folder or a file.")
    exports = find_exports(place)
    if exports:
        return FoundExports(tuple(exports), ())
    files = tuple(SourceFile(path, form_of(path)) for path in old.data_files(place))
    if not files:
        raise UserError(
            "there is no export in this folder", place=str(place), hint="Name an export's folder or a file."
        )
    return FoundExports((), files)


def sources(export: Export) -> list[SourceFile]:
    form = "incremental" if export.kind == INCREMENTAL else "full"
    if export.format == ION_FORMAT:
        form = "ion-changes" if export.kind == INCREMENTAL else "ion"
    files = [SourceFile(path, form, listed.items) for path, listed in zip(export.paths, export.files, strict=True)]
    if export.stored:
        return [each._replace(stored=stored) for each, stored in zip(files, export.stored, strict=True)]
    return files


def form_of(path: Path) -> str:
    """The form of a loose file, by its name where that is ``.csv``, else by its beginning, or by the first of its lines
    that tells. A file without one is ``plain``. Raises UserError for binary Ion.
    """
    if csvitems.is_named_so(path):
        return "csv"
    head = beginning(path)
    if head.startswith(ion.BINARY_MARK):
        raise UserError("it is binary Ion; DynamoDB exports text", place=str(path), hint="Write it as text Ion.")
    if head.lstrip().startswith(ion.MARK):
        return "ion"
    if pages.looks_like(head):
        return "pages"
    for number, line in enumerate(lines(path)):
        if number == _LOOK_LINES:
            break
        if form := _form_of_line(line):
            return form
    return "plain"


def read(source: SourceFile) -> Iterator[Line]:
    """Every line of a file that is ``here``: a record, or why it is none. Raises LogCorrupt when there are not as many
    as the export's manifest says, StateError when the file cannot be read.
    """
    number = 0
    if source.form == "pages":
        yield from _elements(source.path)
        return
    if source.form == "csv":
        yield from _cells(source)
        return
    full = source.form == "full"
    for number, text in enumerate(lines(source.path), 1):
        if full and (item := flat_item(text)) is not None:  # nearly every line of the largest files
            yield _new(Line, (number, text, _new(Record, (None, item, text[_ITEM])), ""))
        else:
            yield checked(source, number, text)
    check_count(source, number)


def checked(source: SourceFile, number: int, text: bytes) -> Line:
    """A line as a record, or why it is none."""
    try:
        return Line(number, text[:MAX_LINE], read_line(text, source.form), "")
    except BadLine as error:
        return Line(number, text[:MAX_LINE], None, str(error))


def prepared(files: Sequence[SourceFile], pinned: Mapping[str, Type]) -> list[SourceFile]:
    """The loose files with what must be known of all of them before a line is read: that a scan is complete, and
    the types of CSV's columns, which are ``pinned`` or follow from all cells. Raises UserError, StateError.
    """
    pages.check([each.path for each in files if each.form == "pages"])
    columns = csvitems.columns_of([each.path for each in files if each.form == "csv"], pinned)
    return [each._replace(columns=columns[each.path]) if each.form == "csv" else each for each in files]


def _elements(path: Path) -> Iterator[Line]:
    for line, text in pages.read(path):
        try:
            yield Line(line, text, read_line(text, "plain"), "")
        except BadLine as error:
            yield Line(line, text, None, str(error))


def _cells(source: SourceFile) -> Iterator[Line]:
    for line, text in csvitems.rows(source.path):
        try:
            yield Line(line, text, Record(None, csvitems.read_row(text, source.columns)), "")
        except BadLine as error:
            last = line + text.count(b"\n")
            yield Line(line, text, None, f"{error} (lines {line} to {last})" if last > line else str(error))


def check_count(source: SourceFile, seen: int) -> None:
    """Raises LogCorrupt when the file has not as many items as its export says."""
    if source.items is not None and seen != source.items:
        message = f"it has {seen} items, but the export's manifest says {source.items}"
        raise LogCorrupt(message, place=source.place, hint="Copy the export again.")


def read_line(text: bytes, form: str) -> Record:
    """Raises BadLine."""
    if len(text) > MAX_LINE:
        raise BadLine(f"the line is longer than {MAX_LINE >> 20} MB; an item has at most 400 KB")
    if not text.strip():
        raise BadLine("the line is empty")
    if form == "full" and (flat := flat_item(text)) is not None:
        return Record(None, flat, text[_ITEM])
    if form == "incremental" and (change := flat_change(text)):
        return _changed(*change)
    if form == "old":
        return Record(None, old.read_line(text))
    if form in ("ion", "ion-changes"):
        value = ion.read_line(text)
        return _incremental(value) if form == "ion-changes" else Record(None, _full(value))
    value = load_json(text)
    if form == "plain":
        return Record(None, check_item(value))
    if not isinstance(value, dict):
        raise BadLine(f"not an object: {shown(value)}")
    return _incremental(value) if form == "incremental" else Record(None, _full(value))


def _full(value: dict[str, Any]) -> Item:
    if value.keys() != {"Item"}:
        raise BadLine(f"it has {', '.join(map(repr, value)) or 'nothing'} instead of 'Item'")
    return check_item(value["Item"])


def _incremental(value: dict[str, Any]) -> Record:
    unknown = value.keys() - {"Metadata", "Keys", "OldImage", "NewImage"}
    _check_metadata(value.get("Metadata", {}))
    if unknown or "Keys" not in value:
        raise BadLine(f"it has {min(unknown)!r}, which does not belong in a change" if unknown else "it has no 'Keys'")
    for name in ("Keys", "OldImage", "NewImage"):
        if name in value:
            check_item(value[name])
    keys, item = value["Keys"], value.get("NewImage")
    if not keys or ("NewImage" in value and item is None):
        raise BadLine("its Keys are empty" if not keys else "its NewImage is null")
    return _changed(value)


def _changed(value: dict[str, Any], text: bytes = b"") -> Record:
    """Of a change that has all that it needs; ``text`` is its new image, where a line has it as DynamoDB takes it."""
    keys, item = value["Keys"], value.get("NewImage")
    if item is not None and any(item.get(name) != each for name, each in keys.items()):
        raise BadLine("its NewImage has another key than its Keys")
    return Record(keys, item, text)


def _check_metadata(value: Any) -> None:
    """The time of the change, in the three spellings that there are; anything else would be passed over unseen."""
    time = value.get("WriteTimestampMicros", 0) if isinstance(value, dict) else None
    if isinstance(time, dict):
        time = time.get("N") if time.keys() == {"N"} else None
    known = isinstance(value, dict) and value.keys() <= {"WriteTimestampMicros"}
    if not known or not (type(time) is int or (isinstance(time, str) and time.isdecimal())):
        raise BadLine(f"its Metadata is {shown(value)}")


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
