"""Which rows of a data set's files are not among its rows: those that later files supersede, and deletions.

The keys say so; nothing else is read. Where few rows have changed PyArrow compares them alone: to import DuckDB takes
longer than to look through a million keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whimbrel.lake import datasets
from whimbrel.lake.datasets import DELETED, OWN_COLUMNS, SEQUENCE, home, literal, path_literal, quoted
from whimbrel.lake.duck import bounded
from whimbrel.lake.manifest import DataFile, Manifest
from whimbrel.lake.need import need
from whimbrel.lake.types import arrow_type, parse_type

if TYPE_CHECKING:
    import pyarrow

FEW = 100_000  # rows in the deltas: their keys are all in memory, and looked through for each batch of the base
_BATCH_ROWS = 128 << 10  # of the base
_COMPARED_ALIKE = ("string", "int64", "binary")  # by DuckDB and by Arrow
Gone = Iterator[tuple[DataFile, "pyarrow.Array"]]


def gone(folder: Path, manifest: Manifest) -> Gone:
    """The numbers of these rows in each file, ascending, where there are any; the files by their paths."""
    if not manifest.deltas:
        return
    found = _by_arrow(folder, replace(manifest, rows=0)) if are_few(folder, manifest) else _by_duckdb(folder, manifest)
    for file, rows in found:
        if len(rows):
            yield file, rows


def are_few(folder: Path, manifest: Manifest) -> bool:
    """Whether PyArrow compares the keys: few have changed, and each file has them in the data set's types, which are
    compared alike.
    """
    if not 0 < sum(file.rows for file in manifest.deltas) <= FEW:
        return False
    kinds = {field.name: parse_type(field.type) for field in manifest.schema if field.name in manifest.key}
    stored = [stored_schema(home(folder, manifest.name) / file.path) for file in manifest.files]
    return all(
        kind.kind in _COMPARED_ALIKE
        and all(name in each.names and each.field(name).type == arrow_type(kind) for each in stored)
        for name, kind in kinds.items()
    )


@lru_cache(32)  # several ask for it in one conversion; files never change
def stored_schema(path: Path) -> pyarrow.Schema:
    """The columns of a data set's file."""
    return need("pyarrow.parquet", "lake").read_schema(path)


def _by_path(manifest: Manifest) -> list[DataFile]:
    return sorted(manifest.files, key=lambda file: file.path)


@lru_cache(1)  # a conversion counts the rows, and an Iceberg table asks which they are; files never change
def _by_arrow(folder: Path, manifest: Manifest) -> list[tuple[DataFile, pyarrow.Array]]:
    pa, place, key = need("pyarrow", "lake"), home(folder, manifest.name), list(manifest.key)
    # Of each key in the deltas: its last number, whether it is deleted, and where that is.
    latest: dict[tuple[Any, ...], tuple[int, bool, str, int]] = {}
    for file in manifest.deltas:
        row = 0
        for batch in batches(place / file.path, [*key, SEQUENCE, DELETED]):
            kind = batch.select(key).schema
            for *values, number, deleted in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                if number > latest.get(tuple(values), (-1,))[0]:
                    latest[tuple(values)] = number, deleted, file.path, row
                row += 1
    changed = pa.table([list(each) for each in zip(*latest, strict=True)], schema=kind)
    stays: dict[str, set[int]] = {}
    for _, deleted, path, row in latest.values():
        if not deleted:
            stays.setdefault(path, set()).add(row)
    found = list[tuple[DataFile, Any]]()
    for file in _by_path(manifest):
        if file.kind == "delta":
            there = stays.get(file.path, ())
            found.append((file, pa.array([row for row in range(file.rows) if row not in there], pa.int64())))
        else:
            found.append((file, pa.concat_arrays(_among(changed, place / file.path, key))))
    return found


def _among(changed: pyarrow.Table, path: Path, key: Sequence[str]) -> list[pyarrow.Array]:
    """The numbers of the file's rows whose keys are in ``changed``."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found, first = [pa.array([], pa.int64())], 0
    for batch in batches(path, key):
        if batch.num_columns == 1:  # the join would import more than this does
            same = pc.is_in(batch.column(0), value_set=changed.column(0).combine_chunks())
            rows = pc.indices_nonzero(same).cast(pa.int64())
        else:
            numbered = pa.Table.from_batches([batch]).append_column("\0row", pa.array(range(len(batch)), pa.int64()))
            joined = numbered.join(changed, changed.column_names, join_type="left semi")
            rows = joined["\0row"].combine_chunks().sort()
        found.append(pc.add(rows, first))
        first += len(batch)
    return found


def batches(path: Path, columns: Sequence[str], rows: int = _BATCH_ROWS) -> Iterator[pyarrow.RecordBatch]:
    """These columns of a file, up to so many rows at once."""
    with need("pyarrow.parquet", "lake").ParquetFile(path) as stored:
        for batch in stored.iter_batches(rows, columns=list(columns)):
            yield batch.select(columns)  # "a" stands for "a.b", too


def _by_duckdb(folder: Path, manifest: Manifest) -> Gone:
    with bounded(home(folder, manifest.name)) as connection:
        connection.execute(f"CREATE TEMP TABLE latest AS {latest(folder, manifest)}")
        for file in _by_path(manifest):
            if file.kind == "delta":
                stays = f"{last_rows(file)} AND NOT deleted"
                query = f"SELECT range AS row FROM range({file.rows}) WHERE range NOT IN ({stays})"
            else:
                query = superseded(folder, manifest, file)
            rows = connection.sql(f"{query} ORDER BY row").to_arrow_table()["row"]
            yield file, rows.combine_chunks()


# The same in SQL, for tables of any size: ``latest`` is a query whose answer the others look for in a table ``latest``.


def latest(folder: Path, manifest: Manifest) -> str:
    """Of each key in the deltas its last row: the file, the row's number in it, and the key."""
    key = _key(manifest)
    marks = (f"{quoted(DELETED)} AS deleted", f"{quoted(SEQUENCE)} AS sequence")
    rows = " UNION ALL ".join(
        f"SELECT {literal(file.path)} AS path, {_numbered(folder, manifest, file, *marks)}" for file in manifest.deltas
    )
    order = f"OVER (PARTITION BY {key} ORDER BY sequence DESC)"
    return f"SELECT path, row, {key}, deleted FROM ({rows}) QUALIFY row_number() {order} = 1"


def last_rows(file: DataFile) -> str:
    """The numbers of a delta's rows that are the last of their keys."""
    return f"SELECT row FROM latest WHERE path = {literal(file.path)}"


def superseded(folder: Path, manifest: Manifest, file: DataFile) -> str:
    """The numbers of the rows of a base's file whose keys are in the deltas."""
    return f"SELECT row FROM (SELECT {_numbered(folder, manifest, file)}) SEMI JOIN latest USING ({_key(manifest)})"


def _numbered(folder: Path, manifest: Manifest, file: DataFile, *more: str) -> str:
    """What to select of a file: each row's number, its key, and ``more``."""
    types = datasets.sql_types(manifest)
    listed = [f"{quoted(name)}::{types[name]} AS key{number}" for number, name in enumerate(manifest.key)]
    path = path_literal(home(folder, manifest.name) / file.path)
    rows = f"read_parquet({path}, file_row_number = true, {OWN_COLUMNS})"
    return f"{', '.join(['file_row_number AS row', *listed, *more])} FROM {rows}"


def _key(manifest: Manifest) -> str:
    """Its columns, under names of ours: the data set's may be any, ``row`` and ``path`` among them."""
    return ", ".join(f"key{number}" for number in range(len(manifest.key)))
