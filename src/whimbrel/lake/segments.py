"""A part as it is written: strings in, typed columns out to segments, each a Parquet file of one set of types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whimbrel.item import MAX_PARTITION_KEY_BYTES
from whimbrel.lake.known_types import KnownTypes, fields_of
from whimbrel.lake.manifest import Field
from whimbrel.lake.need import need
from whimbrel.lake.refused import Refused
from whimbrel.lake.sources import Record, SourceFile
from whimbrel.lake.types import TAGS_OF, Type, arrow_type, parse_type
from whimbrel.lake.values import Misfit, column, is_plain, plain_column, tagged, text_of
from whimbrel.records import AttributeValue, Item

if TYPE_CHECKING:
    import pyarrow

_LONGEST_KEY = MAX_PARTITION_KEY_BYTES * 4 // 3 + 3  # characters: a binary one is base64 here
_NULL: AttributeValue = {"NULL": True}
HELD_BYTES = 4 << 20  # of rows as texts, which become a row group
# Columns in row groups of one file: what the file says of each, some 2 KB, is in memory while it is written or read.
MOST_CHUNKS = 8_000
MOST_DESCRIBED = 100  # columns of a file that says of each text column which values are its least and greatest
MOST_NAMED = 10_000  # refused items that are named, for each part; the others are counted


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


class PartWriter:
    """The part as it is written: strings in, typed columns out."""

    def __init__(self, stem: Path, part: Part, columns: KnownTypes, flatten: bool, sequence: int | None) -> None:
        self.part, self.sequence = part, sequence
        self.types = columns.types()
        self._stem, self._columns, self._flatten = stem, columns, flatten
        self._writer: Any = None
        self._chunks = 0  # of the segment that is being written
        self._held: list[pyarrow.RecordBatch] = []  # rows as texts, of the types ``_held_as``
        self._held_as: dict[str, Type] = {}
        self._held_bytes = 0
        self._deleted: list[bool] = []

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_segment()

    def refuse(self, refused: Refused) -> None:
        self.part.refusals += 1
        if len(self.part.refused) < MOST_NAMED:
            self.part.refused.append(refused)

    def add_records(self, source: SourceFile, records: Sequence[Record]) -> None:
        """Rows that were read one by one. They are written by ``add_held`` at the latest."""
        kept = [
            (record.item if record.item is not None else record.keys or {}, record.item is None) for record in records
        ]
        texts = _texts_if_they_fit([item for item, _ in kept], self.types)
        if texts is None:
            kept = self._kept(source, records)
            texts = {
                name: [text_of(item[name], kind) if name in item else None for item, _ in kept]
                for name, kind in self.types.items()
            }
        if kept:
            import pyarrow as pa

            arrays = [pa.array(each, pa.string()) for each in texts.values()]
            self.hold(source, pa.RecordBatch.from_arrays(arrays, list(texts)), [deleted for _, deleted in kept])

    def hold(self, source: SourceFile, batch: pyarrow.RecordBatch, deleted: list[bool]) -> None:
        """Few rows, as texts of the types of now, of which many become a row group."""
        if self._held and (self._held_as != self.types or self._held_bytes > HELD_BYTES):
            self.add_held(source)
        self._held.append(batch)
        self._held_bytes += batch.nbytes
        self._held_as = dict(self.types)
        self._deleted += deleted

    def add_held(self, source: SourceFile) -> None:
        """The rows of ``add_records`` so far; they are all of this file."""
        import pyarrow as pa

        if self._held:
            [batch] = pa.Table.from_batches(self._held).combine_chunks().to_batches()
            held_as, deleted = self._held_as, self._deleted
            self._held, self._held_bytes, self._deleted = [], 0, []
            self.add_texts(source, batch, held_as, deleted)

    def _kept(self, source: SourceFile, records: Sequence[Record]) -> list[tuple[Item, bool]]:
        """The items, or the keys of deleted ones (True), for which there is room now. The others are refused."""
        kept: list[tuple[Item, bool]] = []
        for record in records:
            item = record.item if record.item is not None else record.keys or {}
            try:
                self._make_room(item)
                kept.append((item, record.item is None))
            except Misfit as error:
                self.refuse(Refused(source.place, 0, self._key_of(item), str(error), ""))
                if self.sequence is not None and record.keys:
                    kept.append((record.keys, True))  # the row as it was before must not stay for what it is now
        return kept

    def add_texts(
        self,
        source: SourceFile,
        batch: pyarrow.RecordBatch,
        read_as: dict[str, Type],
        deleted: list[bool] | None = None,
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
        for position, reason in self._without_key(batch, read_as):
            faults.setdefault(position, reason)
        for position, reason in faults.items():
            key = self._key_of_row(batch.slice(position, 1), read_as)
            self.refuse(Refused(source.place, 0, key, reason, ""))
        self._write(typed, len(batch), faults, deleted)

    def _without_key(self, batch: pyarrow.RecordBatch, read_as: dict[str, Type]) -> Iterator[tuple[int, str]]:
        """The rows that cannot be items, and why: every item has its key, which is neither empty nor too long."""
        for name in self._columns.key:
            texts = _texts(batch, name, read_as, self.types[name]) if name in self.types else None
            if texts is None:
                yield from ((position, f"its key attribute {name!r} is missing") for position in range(len(batch)))
            elif texts.null_count or not _are_keys(texts):
                for position, text in enumerate(texts.to_pylist()):
                    if fault := _fault_of_key(text):
                        yield position, f"its key attribute {name!r} is {fault}"

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
            self._writer = parquet_writer(path, schema)
        self._writer.write_batch(rows)
        self.part.segments[-1].rows += len(rows)
        self._chunks += len(schema)
        if self._chunks >= MOST_CHUNKS:
            self._end_segment()

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
        """Continue with the types as they are known now; False where they have not changed."""
        types = self._columns.types()
        if types == self.types:
            return False
        self.types = types
        self._end_segment()
        return True

    def _end_segment(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer, self._chunks = None, 0

    def _key_of(self, item: Item) -> Item:
        """The item's key; without knowing what that is, or where it has none, its first attributes."""
        key = self._columns.key if item.keys() >= set(self._columns.key) else ()
        return {name: item[name] for name in key or list(item)[:3]}

    def _key_of_row(self, row: pyarrow.RecordBatch, read_as: dict[str, Type]) -> Item:
        found: Item = {}
        for name, kind in read_as.items():
            text = row.column(name)[0].as_py()
            if text is not None:
                with suppress(Misfit):
                    found[name] = tagged(text, kind)
        return self._key_of(found)


def _texts_if_they_fit(items: Sequence[Item], types: dict[str, Type]) -> dict[str, list[str | None]] | None:
    """The texts of all values, attribute by attribute; None where one does not fit, or has no type yet."""
    try:
        found = {name: _attribute_texts(items, name, kind) for name, kind in types.items()}
    except Misfit:
        return None
    # As many values as the items have: no name is missing among the types.
    there = sum(len(items) - each.count(None) for each in found.values())
    nulls = sum(value == _NULL for item in items for value in item.values()) if there < sum(map(len, items)) else 0
    return found if there + nulls == sum(map(len, items)) else None


def _attribute_texts(items: Sequence[Item], name: str, kind: Type) -> list[str | None]:
    """As ``text_of`` has them, quicker where all values are of the one type that is usual here. Raises Misfit."""
    tags = TAGS_OF.get(kind.kind, ())
    if tags in (("S",), ("N",), ("B",)):
        tag = tags[0]
        try:
            return [None if (value := item.get(name)) is None else value[tag] for item in items]
        except KeyError:
            pass
    return [text_of(item[name], kind) if name in item else None for item in items]


def _are_keys(texts: pyarrow.Array) -> bool:
    import pyarrow.compute as pc

    ends = pc.min_max(pc.binary_length(texts)).as_py()
    return bool(ends["min"]) and ends["max"] <= _LONGEST_KEY


def _fault_of_key(text: str | None) -> str:
    if not text:
        return "missing" if text is None else "empty"
    return f"longer than {MAX_PARTITION_KEY_BYTES:,} bytes" if len(text.encode()) > _LONGEST_KEY else ""


def _texts(batch: pyarrow.RecordBatch, name: str, read_as: dict[str, Type], kind: Type) -> pyarrow.Array:
    """An attribute's texts in the form that its type of now has; NULLs where the batch does not have the attribute."""
    import pyarrow as pa

    if name not in read_as:
        return pa.nulls(len(batch), pa.string())
    texts, before = batch.column(batch.schema.get_field_index(name)), read_as[name]
    if is_plain(before) == is_plain(kind) and (not is_plain(kind) or TAGS_OF[before.kind] == TAGS_OF[kind.kind]):
        return texts
    return pa.array([None if text is None else text_of(tagged(text, before), kind) for text in texts.to_pylist()])


def rewrite(segment: Segment, types: dict[str, Type], exclude: Iterable[str], flatten: bool) -> None:
    """The segment under wider types, row group by row group."""
    parquet = need("pyarrow.parquet", "lake")
    before, wider = segment.types, {name: types[name] for name in segment.types}
    fields = [each for each, _ in fields_of(wider, exclude, flatten)]
    path = segment.path.with_suffix(".wide")
    import pyarrow as pa

    with parquet.ParquetFile(segment.path) as file:
        delta = "_sequence" in file.schema_arrow.names
        schema = _schema([(each, ()) for each in fields], delta)
        with parquet_writer(path, schema) as writer:
            for number in range(file.num_row_groups):  # each of which was in memory when it was written
                group = file.read_row_group(number)
                columns = [_widened(group.column(each.name), each.type) for each in schema]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=len(group))
    path.replace(segment.path)
    assert before.keys() == wider.keys()
    segment.types = wider


def parquet_writer(path: Path, schema: pyarrow.Schema) -> Any:
    """As all files of a data set are written. Of a wide one only columns whose values are short have statistics: with
    those of texts, which are in each row group, the file says ten times as much of itself.
    """
    import pyarrow as pa

    short = [each.name for each in schema if pa.types.is_primitive(each.type) or pa.types.is_decimal(each.type)]
    described = True if len(schema) <= MOST_DESCRIBED else short
    return need("pyarrow.parquet", "lake").ParquetWriter(path, schema, compression="zstd", write_statistics=described)


def _widened(column: pyarrow.ChunkedArray, kind: Any) -> pyarrow.ChunkedArray:
    """The same numbers in a wider type. Instead of whole numbers Arrow wants room for any 64 bits, instead of
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


def _leaf(found: pyarrow.Array, path: tuple[str, ...]) -> pyarrow.Array:
    import pyarrow.compute as pc

    for name in path:
        found = pc.struct_field(found, name)
    return found
