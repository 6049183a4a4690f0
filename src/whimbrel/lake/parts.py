"""Parquet parts from exported files: each item exactly, in bounded memory, or refused by name.

A part is written under the types as they are known. Where a value shows that one was too narrow, a new segment is begun
under the wider one; in the end, earlier segments are brought to the final types, or their files read again where that
cannot be done. So nearly every file is read once, though no type was known beforehand.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from whimbrel.errors import LogCorrupt, Stopped
from whimbrel.lake import fast, sources
from whimbrel.lake.columns import Columns, fields_of, plan_of
from whimbrel.lake.items import BadLine
from whimbrel.lake.manifest import Field
from whimbrel.lake.need import need
from whimbrel.lake.sources import Record, Source
from whimbrel.lake.types import TAGS_OF, Type, arrow_type, parse_type
from whimbrel.lake.values import Misfit, column, is_plain, plain_column, tagged, text_of, widens
from whimbrel.records import Item

if TYPE_CHECKING:
    import pyarrow

MOST_NAMED = 10_000  # refused items that are named, for each part; the others are counted
MOST_STRANGE = 10_000  # lines read one by one before a file is read again under what they showed
_BATCH_BYTES = 32 << 20
_MOST_ROWS, _FEWEST_ROWS = 122_880, 2_048
_LOOK_LINES = 200
_AT_ONCE = 4_096  # records read one by one before they become a batch
_SHOWN_TEXT = 500


class Refused(NamedTuple):
    """An item that could not be carried. ``line`` is 0 where only the key is known, ``key`` {} where only the line."""

    file: str
    line: int
    key: Item
    reason: str
    text: str


@dataclass
class Segment:
    path: Path
    types: dict[str, Type]
    rows: int = 0


@dataclass
class Part:
    """What became of a group of files. ``again``: it must be made again, under what is known of the types now."""

    segments: list[Segment] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    refusals: int = 0
    again: bool = False

    @property
    def rows(self) -> int:
        return sum(each.rows for each in self.segments)


class PartMaker:
    """Makes the parts of one conversion; ``make`` may run in several threads at once.

    With ``sequence`` the part is a delta: it has deletions, and numbers that say which row is the later one.
    """

    def __init__(self, columns: Columns, *, flatten: bool = False, stop: threading.Event | None = None) -> None:
        self._columns = columns
        self._flatten = flatten
        self._stop = stop or threading.Event()
        self._slow: set[Path] = set()  # files that DuckDB could not read to the end

    def make(self, stem: Path, group: Sequence[Source], sequence: int | None = None) -> Part:
        """Segments are ``<stem>-0.parquet`` and so on. Raises LogCorrupt when a file has not as many items as its
        export says, StateError, Stopped.
        """
        for leftover in stem.parent.glob(f"{stem.name}-*"):
            leftover.unlink()
        part = Part()
        with _Writing(stem, part, self._columns, self._flatten, sequence) as writing:
            for source in group:
                seen = self._add(source, writing)
                if part.again:
                    break
                if source.items is not None and seen != source.items:
                    message = f"it has {seen} items, the export's manifest says {source.items}"
                    raise LogCorrupt(message, place=str(source.path), hint="Copy the export again.")
        return part

    def settle(self, part: Part) -> bool:
        """Bring every segment to the final types; False where the part must be made again."""
        types = self._columns.types()
        for segment in part.segments:
            changed = {name: kind for name, kind in types.items() if segment.types.get(name, kind) != kind}
            if not all(widens(segment.types[name], kind) for name, kind in changed.items()):
                return False
            if changed:
                _rewrite(segment, types, self._columns.exclude, self._flatten)
        return True

    def _add(self, source: Source, writing: _Writing) -> int:
        types = dict(writing.types)
        plan = plan_of(types)
        if writing.sequence is None and source.path not in self._slow and fast.readable(plan, source):
            duckdb = need("duckdb", "lake")
            before = (writing.part.rows, writing.part.refusals)
            try:
                return self._add_fast(source, types, writing)
            except duckdb.Error:  # a damaged line ends DuckDB's reading: find it, and keep the others
                self._slow.add(source.path)
            if before != (writing.part.rows, writing.part.refusals):
                writing.part.again = True  # what was written of the file cannot be taken back
                return 0
        return self._add_slowly(source, writing)

    def _add_fast(self, source: Source, types: dict[str, Type], writing: _Writing) -> int:
        seen, strange, bad = 0, 0, set[bytes]()
        plan = plan_of(types)
        for batch in fast.read(source, plan, _batch_rows(source)):
            self._look()
            seen += len(batch.texts) + len(batch.strange)
            strange += len(batch.strange)
            writing.add_texts(source, batch.texts, types)
            records: list[Record] = []
            for line in batch.strange:
                try:
                    records.append(sources.read_line(line, source.form))
                except BadLine:
                    bad.add(line)
            writing.add_records(source, records)
            if strange > MOST_STRANGE and plan != plan_of(writing.types):
                writing.part.again = True  # under the new plan most of them are not strange any more
                return seen
        if bad:
            for found in sources.read(source):
                if found.text in bad:
                    writing.refuse(Refused(str(source.path), found.number, {}, found.fault, _shown(found.text)))
        return seen

    def _add_slowly(self, source: Source, writing: _Writing) -> int:
        seen, records = 0, list[Record]()
        for line in sources.read(source):
            seen += 1
            if line.record is None:
                writing.refuse(Refused(str(source.path), line.number, {}, line.fault, _shown(line.text)))
            else:
                records.append(line.record)
            if len(records) == _AT_ONCE:
                self._look()
                writing.add_records(source, records)
                records = []
        writing.add_records(source, records)
        return seen

    def _look(self) -> None:
        if self._stop.is_set():
            raise Stopped("asked to stop before the conversion was done")


class _Writing:
    """The part as it is written: texts come in, typed columns go out."""

    def __init__(self, stem: Path, part: Part, columns: Columns, flatten: bool, sequence: int | None) -> None:
        self.part, self.sequence = part, sequence
        self.types = columns.types()
        self._stem, self._columns, self._flatten = stem, columns, flatten
        self._writer: Any = None

    def __enter__(self) -> _Writing:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_segment()

    def refuse(self, refused: Refused) -> None:
        self.part.refusals += 1
        if len(self.part.refused) < MOST_NAMED:
            self.part.refused.append(refused)

    def add_records(self, source: Source, records: Sequence[Record]) -> None:
        """Rows that were read one by one."""
        import pyarrow as pa

        kept: list[tuple[Item, bool]] = []
        for record in records:
            item = record.item if record.item is not None else record.keys or {}
            try:
                self._make_room(item)
                kept.append((item, record.item is None))
            except Misfit as error:
                self.refuse(Refused(str(source.path), 0, self._key_of(item), str(error), ""))
                if self.sequence is not None and record.keys:
                    kept.append((record.keys, True))  # the row as it was before must not stay for what it is now
        if kept:
            types = dict(self.types)
            arrays = [
                pa.array([text_of(item[name], kind) if name in item else None for item, _ in kept], pa.string())
                for name, kind in types.items()
            ]
            texts = pa.RecordBatch.from_arrays(arrays, list(types))
            self.add_texts(source, texts, types, [deleted for _, deleted in kept])

    def add_texts(
        self, source: Source, batch: pyarrow.RecordBatch, read_as: dict[str, Type], deleted: list[bool] | None = None
    ) -> None:
        """Rows as texts, in the order and the forms of the types that they were ``read_as``."""
        if not len(batch):
            return
        grew = True
        while grew:
            faults: dict[int, str] = {}
            typed = {
                name: self._column(_texts(batch, name, read_as, kind), name, kind, faults)
                for name, kind in self.types.items()
                if name not in self._columns.exclude
            }
            grew = self._renew_types()
        for position, reason in faults.items():
            key = self._key_of_row(batch.slice(position, 1), read_as)
            self.refuse(Refused(str(source.path), 0, key, reason, ""))
        self._write(typed, len(batch), faults, deleted)

    def _write(
        self, typed: dict[str, pyarrow.Array], size: int, faults: dict[int, str], deleted: list[bool] | None
    ) -> None:
        import pyarrow as pa

        fields = fields_of(self.types, self._columns.exclude, self._flatten)
        arrays = [_leaf(typed[each.attribute], path) for each, path in fields]
        if self.sequence is not None:
            gone = deleted or [False] * size
            # Where a row is refused, the row as it was before must not stay for what it is now.
            arrays.append(pa.array([gone[position] or position in faults for position in range(size)]))
            arrays.append(pa.array(range(self.sequence, self.sequence + size), pa.int64()))
            self.sequence += size
        schema = _schema(fields, self.sequence is not None)
        rows = pa.RecordBatch.from_arrays(arrays, schema=schema)
        if faults and self.sequence is None:
            rows = rows.filter(pa.array([position not in faults for position in range(size)]))
        if self._writer is None:
            path = self._stem.with_name(f"{self._stem.name}-{len(self.part.segments)}.parquet")
            self.part.segments.append(Segment(path, dict(self.types)))
            self._writer = need("pyarrow.parquet", "lake").ParquetWriter(path, schema, compression="zstd")
        self._writer.write_batch(rows)
        self.part.segments[-1].rows += len(rows)

    def _column(self, texts: pyarrow.Array, name: str, kind: Type, faults: dict[int, str]) -> pyarrow.Array:
        import pyarrow.compute as pc

        found = plain_column(texts, kind) if is_plain(kind) else None
        if found is not None:
            if kind.kind == "int64" and len(found) > found.null_count:
                ends = pc.min_max(found).as_py()
                self._columns.grow_range(name, ends["min"], ends["max"])
            return found
        found, misfits = column(texts, kind)
        refused = {text: reason for text, reason in misfits.items() if not self._grows(name, kind, text)}
        if refused:
            for position, text in enumerate(texts.to_pylist()):
                if text in refused:
                    faults.setdefault(position, f"attribute {name!r}: {refused[text]}")
        return found

    def _grows(self, name: str, kind: Type, text: str) -> bool:
        try:
            self._columns.grow(name, tagged(text, kind))
        except Misfit:
            return False
        return True

    def _make_room(self, item: Item) -> None:
        """Make sure that every attribute has a type that takes its value as a text. Raises Misfit."""
        for name, value in item.items():
            kind = self.types.get(name)
            try:
                if kind is None:
                    raise Misfit("a new attribute")
                text_of(value, kind)
            except Misfit as error:
                try:
                    self._columns.grow(name, value)
                except Misfit:
                    raise Misfit(f"attribute {name!r}: {error}") from None
                self._renew_types()

    def _renew_types(self) -> bool:
        """Go on under the types as they are known now; False where they have not changed."""
        types = self._columns.types()
        if types == self.types:
            return False
        self.types = types
        self._end_segment()
        return True

    def _end_segment(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _key_of(self, item: Item) -> Item:
        """The item's key; without knowing what that is, its first attributes."""
        return {name: item[name] for name in self._columns.key or list(item)[:3] if name in item}

    def _key_of_row(self, row: pyarrow.RecordBatch, read_as: dict[str, Type]) -> Item:
        found: Item = {}
        for name, kind in read_as.items():
            text = row.column(name)[0].as_py()
            if text is not None:
                with suppress(Misfit):
                    found[name] = tagged(text, kind)
        return self._key_of(found)


def _texts(batch: pyarrow.RecordBatch, name: str, read_as: dict[str, Type], kind: Type) -> pyarrow.Array:
    """An attribute's texts in the form that its type of now has; NULLs where the batch has not the attribute."""
    import pyarrow as pa

    if name not in read_as:
        return pa.nulls(len(batch), pa.string())
    texts, before = batch.column(batch.schema.get_field_index(name)), read_as[name]
    if is_plain(before) == is_plain(kind) and (not is_plain(kind) or TAGS_OF[before.kind] == TAGS_OF[kind.kind]):
        return texts
    return pa.array([None if text is None else text_of(tagged(text, before), kind) for text in texts.to_pylist()])


def _rewrite(segment: Segment, types: dict[str, Type], exclude: Iterable[str], flatten: bool) -> None:
    """The segment under wider types, row group by row group."""
    parquet = need("pyarrow.parquet", "lake")
    before, wider = segment.types, {name: types[name] for name in segment.types}
    fields = [each for each, _ in fields_of(wider, exclude, flatten)]
    path = segment.path.with_suffix(".wide")
    import pyarrow as pa

    with parquet.ParquetFile(segment.path) as file:
        delta = "_sequence" in file.schema_arrow.names
        schema = _schema([(each, ()) for each in fields], delta)
        with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
            for batch in file.iter_batches():
                writer.write_batch(
                    pa.RecordBatch.from_arrays(
                        [_widened(batch.column(each.name), each.type) for each in schema], schema=schema
                    )
                )
    path.replace(segment.path)
    assert before.keys() == wider.keys()
    segment.types = wider


def _widened(column: pyarrow.Array, kind: Any) -> pyarrow.Array:
    """The same numbers in a wider type. In the place of whole numbers Arrow wants room for any 64 bits, in the place of
    decimals only for those that there are.
    """
    import pyarrow as pa

    if pa.types.is_decimal(kind) and pa.types.is_integer(column.type):
        column = column.cast(pa.decimal128(19, 0))
    return column.cast(kind)


def _schema(fields: Sequence[tuple[Field, tuple[str, ...]]], delta: bool) -> pyarrow.Schema:
    import pyarrow as pa

    named = [(each.name, arrow_type(parse_type(each.type))) for each, _ in fields]
    return pa.schema(named + ([("_deleted", pa.bool_()), ("_sequence", pa.int64())] if delta else []))


def look_at(columns: Columns, listed: Iterable[Source]) -> None:
    """See the first items of each file, so that most parts are begun under the right types."""
    for source in listed:
        for item in _first_items(source, _LOOK_LINES):
            columns.see(item)


def _first_items(source: Source, lines: int) -> Iterator[Item]:
    for line in sources.read(source):
        if line.record is not None:
            yield (line.record.item if line.record.item is not None else line.record.keys) or {}
        if line.number >= lines:
            return


def _batch_rows(source: Source) -> int:
    """As many rows as make some megabytes, by the length of the first lines."""
    lengths = []
    for text in sources.lines(source.path):
        lengths.append(len(text))
        if len(lengths) == 100:
            break
    average = sum(lengths) / len(lengths) if lengths else 1
    return max(_FEWEST_ROWS, min(_MOST_ROWS, int(_BATCH_BYTES / max(1, average))))


def _leaf(found: pyarrow.Array, path: tuple[str, ...]) -> pyarrow.Array:
    import pyarrow.compute as pc

    for name in path:
        found = pc.struct_field(found, name)
    return found


def _shown(text: bytes) -> str:
    return text[:_SHOWN_TEXT].decode("utf-8", "replace")


def refused_lines(refused: Iterable[Refused]) -> bytes:
    return b"".join(orjson.dumps(each._asdict()) + b"\n" for each in refused)
