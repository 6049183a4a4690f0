"""Deltas folded into one, or into the base: their files copied without the rows that later ones supersede.

DuckDB says which rows these are, by the keys alone. The rows themselves are copied some megabytes at a time, whatever a
row weighs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from whimbrel.lake import datasets
from whimbrel.lake.datasets import DELETED, SEQUENCE, path_literal, quoted, typed
from whimbrel.lake.duck import bounded
from whimbrel.lake.manifest import DataFile, Manifest
from whimbrel.lake.need import need

if TYPE_CHECKING:
    import pyarrow

COPY_BYTES = 8 << 20  # of rows that are in memory at once, and that become one row group


def fold(folder: Path, manifest: Manifest, path: Path, *, whole: bool) -> int:
    """Write the ``whole`` data set to ``path``, or all of its deltas as one; how many rows it has."""
    with bounded(path.parent) as connection, _Copy(connection, manifest, path, whole) as copy:
        connection.execute(f"CREATE TEMP TABLE latest AS {_latest(folder, manifest)}")
        for file in manifest.files:
            if file.kind == "delta":
                there = f"AND NOT {quoted(DELETED)}" if whole else ""
                query = f"SELECT row FROM latest WHERE path = {datasets.literal(file.path)} {there}"
                copy.add(datasets.home(folder, manifest.name) / file.path, query, keep=True)
            elif whole:
                query = _superseded(folder, manifest, file)
                copy.add(datasets.home(folder, manifest.name) / file.path, query, keep=False)
        return copy.rows


def _latest(folder: Path, manifest: Manifest) -> str:
    """Of each key in the deltas its last row: the file, the row's number in it, and the key."""
    key = ", ".join(map(quoted, manifest.key))
    marks = (quoted(DELETED), quoted(SEQUENCE))
    rows = " UNION ALL ".join(
        f"SELECT {datasets.literal(file.path)} AS path, {_numbered(folder, manifest, file, *marks)}"
        for file in manifest.deltas
    )
    order = f"OVER (PARTITION BY {key} ORDER BY {quoted(SEQUENCE)} DESC)"
    return f"SELECT path, row, {key}, {quoted(DELETED)} FROM ({rows}) QUALIFY row_number() {order} = 1"


def _superseded(folder: Path, manifest: Manifest, file: DataFile) -> str:
    key = ", ".join(map(quoted, manifest.key))
    return f"SELECT row FROM (SELECT {_numbered(folder, manifest, file)}) SEMI JOIN latest USING ({key})"


def _numbered(folder: Path, manifest: Manifest, file: DataFile, *more: str) -> str:
    """What to select of a file: each row's number, its key, and ``more``."""
    types = datasets.sql_types(manifest)
    listed = [f"{quoted(name)}::{types[name]} AS {quoted(name)}" for name in manifest.key]
    path = path_literal(datasets.home(folder, manifest.name) / file.path)
    return f"{', '.join(['file_row_number AS row', *listed, *more])} FROM read_parquet({path}, file_row_number = true)"


class _Copy:
    """The rows that stay, as they come together in a new file."""

    def __init__(self, connection: Any, manifest: Manifest, path: Path, whole: bool) -> None:
        self.rows = 0
        self._connection, self._manifest = connection, manifest
        self._kind = "base" if whole else "delta"
        self._held: list[pyarrow.Table] = []
        none = connection.sql(typed(manifest, manifest.columns, self._kind, "")).to_arrow_table()
        self._writer = need("pyarrow.parquet", "lake").ParquetWriter(path, none.schema, compression="zstd")

    def __enter__(self) -> _Copy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._write()
        self._writer.close()

    def add(self, path: Path, query: str, *, keep: bool) -> None:
        """The rows of a file whose numbers the ``query`` gives, or all others."""
        import pyarrow as pa
        import pyarrow.compute as pc

        marked, first = self._connection.sql(query).to_arrow_table()["row"], 0
        for batch in _batches(path):
            numbers = pa.array(range(first, first + len(batch)), pa.int64())
            first += len(batch)
            stays = pc.is_in(numbers, value_set=marked)
            rows = pa.Table.from_batches([batch]).filter(stays if keep else pc.invert(stays))
            if len(rows):
                self._held.append(self._typed(rows))
            if sum(table.nbytes for table in self._held) >= COPY_BYTES:
                self._write()

    def _typed(self, rows: pyarrow.Table) -> pyarrow.Table:
        """As the data set has them, whatever the file knew of its types."""
        self._connection.register("stored", rows)
        statement = typed(self._manifest, self._manifest.columns, self._kind, "SELECT * FROM stored")
        found: pyarrow.Table = self._connection.sql(statement).to_arrow_table()
        self._connection.unregister("stored")
        return found

    def _write(self) -> None:
        import pyarrow as pa

        if self._held:
            rows = pa.concat_tables(self._held)
            self._writer.write_table(rows, row_group_size=len(rows))
            self.rows += len(rows)
            self._held.clear()


def _batches(path: Path) -> Iterator[pyarrow.RecordBatch]:
    """The rows of a Parquet file, about so many bytes at a time."""
    with need("pyarrow.parquet", "lake").ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            group = file.metadata.row_group(number)
            rows = max(1, group.num_rows * COPY_BYTES // max(1, group.total_byte_size))
            yield from file.iter_batches(batch_size=min(rows, group.num_rows), row_groups=[number])
