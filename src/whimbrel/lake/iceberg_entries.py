"""What an Iceberg table lists: a data set's Parquet files as they are, with what their footers say of their values; and
files that say which of their rows are deleted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg import types
from pyiceberg.conversions import to_bytes
from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.manifest import DataFileContent, FileFormat
from pyiceberg.schema import Schema
from pyiceberg.typedef import Record
from pyiceberg.utils.truncate import truncate_upper_bound_binary_string, truncate_upper_bound_text_string

from whimbrel.lake.gone import Gone

PATH_ID, POSITION_ID = 2147483546, 2147483545  # of the columns of a file of deletions, by Iceberg's specification
MOST_DELETED = 1 << 20  # positions in one file of deletions, and those of one data file more
_SHOWN = 16  # characters or bytes of a bound
_DELETED = pa.schema(
    [
        pa.field("file_path", pa.dictionary(pa.int32(), pa.string()), False, {"PARQUET:field_id": str(PATH_ID)}),
        pa.field("pos", pa.int64(), False, {"PARQUET:field_id": str(POSITION_ID)}),
    ]
)


_COUNTS = ("column_sizes", "value_counts", "null_value_counts", "lower_bounds", "upper_bounds")  # of each field


def data_file(path: Path, location: str, schema: Schema) -> IcebergFile:
    """The Parquet file ``path``, whose columns are the table's by their names. Columns of others are passed over."""
    footer = pq.read_metadata(path)
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    places = {groups[0].column(number).path_in_schema: number for number in range(footer.num_columns) if groups}
    known: dict[str, dict[int, Any]] = {name: {} for name in _COUNTS}
    for name, field in _leaves("", schema.as_struct()):
        if name in places:
            chunks = [group.column(places[name]) for group in groups]
            for what, value in zip(_COUNTS, _of_column(field.field_type, chunks), strict=True):
                if value is not None:
                    known[what][field.field_id] = value
    starts = sorted(min(_starts(group.column(0))) for group in groups)
    return _file(DataFileContent.DATA, location, footer.num_rows, path.stat().st_size, split_offsets=starts, **known)


def deletions(gone: Gone, location: str) -> Iterator[tuple[bytes, int, list[str]]]:
    """Files of deletions: their bytes, how many rows they delete, and the data files' locations, of which ``location``
    is the beginning. Their rows are in the order that the specification asks for.
    """
    held, rows = list[pa.Table](), 0
    for file, positions in gone:
        path = pa.DictionaryArray.from_arrays(
            pa.repeat(pa.scalar(0, pa.int32()), len(positions)), [f"{location}/{file.path}"]
        )
        held.append(pa.Table.from_arrays([path, positions], schema=_DELETED))
        rows += len(positions)
        if rows >= MOST_DELETED:
            yield _written(held), rows, _paths(held)
            held, rows = [], 0
    if held:
        yield _written(held), rows, _paths(held)


def deletion_file(location: str, size: int, rows: int, paths: list[str]) -> IcebergFile:
    first, last = ({PATH_ID: each.encode()} for each in (paths[0], paths[-1]))
    return _file(DataFileContent.POSITION_DELETES, location, rows, size, lower_bounds=first, upper_bounds=last)


def _written(tables: list[pa.Table]) -> bytes:
    """A row group for each data file, so that a reader finds its rows."""
    made = BytesIO()
    with pq.ParquetWriter(made, _DELETED, compression="zstd", use_dictionary=["file_path"], store_schema=False) as file:
        for each in tables:
            file.write_table(each, row_group_size=len(each))
    return made.getvalue()


def _paths(tables: list[pa.Table]) -> list[str]:
    return [str(each["file_path"][0].as_py()) for each in tables]


def _file(content: DataFileContent, location: str, rows: int, size: int, **more: Any) -> IcebergFile:
    return IcebergFile.from_args(
        content=content,
        file_path=location,
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=rows,
        file_size_in_bytes=size,
        spec_id=0,
        **more,
    )


def _of_column(kind: types.IcebergType, chunks: Sequence[Any]) -> tuple[Any, ...]:
    """As _COUNTS names them; None is what is not known."""
    found = [chunk.statistics for chunk in chunks]
    nulls = [each.null_count if each and each.has_null_count else None for each in found]
    lowest, highest = _bounds(kind, chunks, nulls)
    return (
        sum(chunk.total_compressed_size for chunk in chunks),
        sum(chunk.num_values for chunk in chunks),
        None if None in nulls else sum(nulls),
        lowest,
        highest,
    )


def _bounds(
    kind: types.IcebergType, chunks: Sequence[Any], nulls: Sequence[int | None]
) -> tuple[bytes | None, bytes | None]:
    """Of all values, or None. A chunk that has NULLs alone has no bounds, and needs none."""
    having = [chunk for chunk, count in zip(chunks, nulls, strict=True) if count != chunk.num_values]
    if not having or not all(chunk.statistics and chunk.statistics.has_min_max for chunk in having):
        return None, None
    lowest = min(chunk.statistics.min for chunk in having)
    highest = max(chunk.statistics.max for chunk in having)
    if isinstance(kind, types.DecimalType) and not isinstance(lowest, Decimal):
        return None, None
    if isinstance(kind, types.StringType):
        lowest, highest = lowest[:_SHOWN], truncate_upper_bound_text_string(highest, _SHOWN)
    if isinstance(kind, types.BinaryType):
        lowest, highest = lowest[:_SHOWN], truncate_upper_bound_binary_string(highest, _SHOWN)
    return to_bytes(kind, lowest), None if highest is None else to_bytes(kind, highest)


def _starts(column: Any) -> Iterator[int]:
    yield column.data_page_offset
    if column.has_dictionary_page:
        yield column.dictionary_page_offset


def _leaves(name: str, kind: types.StructType) -> Iterator[tuple[str, types.NestedField]]:
    """The fields that have values themselves, by the names of Parquet's columns; not those in lists."""
    for field in kind.fields:
        if isinstance(field.field_type, types.StructType):
            yield from _leaves(f"{name}{field.name}.", field.field_type)
        elif not isinstance(field.field_type, types.ListType):
            yield f"{name}{field.name}", field
