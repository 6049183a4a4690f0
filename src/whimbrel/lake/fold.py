"""Deltas folded into one, or into the base: their files copied without the rows that later ones supersede.

DuckDB says which rows these are, by the keys alone. The rows themselves are copied some megabytes at a time, whatever a
row weighs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from whimbrel.errors import UserError
from whimbrel.lake import datasets
from whimbrel.lake.datasets import DELETED, SEQUENCE, typed
from whimbrel.lake.duck import bounded, give_back
from whimbrel.lake.gone import batches, last_rows, latest, stored_schema, superseded
from whimbrel.lake.manifest import DataFile, Manifest, data_file
from whimbrel.lake.need import need
from whimbrel.lake.segments import MOST_CHUNKS, parquet_writer
from whimbrel.lake.types import arrow_type, parse_type
from whimbrel.lake.values import is_plain

if TYPE_CHECKING:
    import pyarrow

COPY_BYTES = 4 << 20  # of rows that are in memory at once, and that become one row group
KEYS_AT_ONCE = 32 << 10  # that are looked at for two that are equal
MOST_DELTAS = 16
FOLD_SHARE = 0.25  # of the base's rows: more in the deltas are folded into it
FILE_BYTES = 512 << 20  # of rows, as they are in memory, that become one file of a base
SMALL_BYTES, MOST_SMALL = 4 << 20, 16  # of a base's file, and how many of these there may be before they are joined


def folded(folder: Path, manifest: Manifest, workshop: Path, *, alike: bool) -> Manifest:
    """With fewer files, where there are many or much in deltas. ``alike``: no file has columns of other types than the
    data set, as there are readers who do not convert them.
    """
    base = [file for file in manifest.files if file.kind == "base"]
    changed, stored = sum(file.rows for file in manifest.deltas), sum(file.rows for file in base)
    other = [file for file in manifest.files if alike and not has_its_types(folder, manifest, file)]
    with _given_back():
        if other or (manifest.deltas and changed > FOLD_SHARE * stored):
            kept, made = _into_the_base(folder, manifest, workshop, other)
        elif len(manifest.deltas) > MOST_DELTAS:
            kept, made = base, _into_one(folder, manifest, workshop)
        else:
            return manifest
    for file in manifest.files:  # of this data set's own: what was folded is not a part of it
        if file not in kept and file.path.startswith(f"{manifest.id}/"):
            (workshop / file.path.rpartition("/")[2]).unlink()
    return replace(manifest, files=(*kept, *made))


def check_unique(name: str, home: Path, files: Sequence[str], key: Sequence[str], threads: int) -> None:
    """Raises UserError where two items have one key: files of two scans, or a file and its copy."""
    with _given_back(), bounded(home, threads) as connection:
        connection.register("keys", _keys([home / each for each in files], key))
        query = "SELECT *, count(*) FROM keys GROUP BY ALL HAVING count(*) > 1"
        found = connection.execute(f"SELECT *, count(*) OVER () FROM ({query}) LIMIT 1").fetchone()
    if found:
        *values, count, keys = found
        shown = ", ".join(f"{column} = {str(value)[:80]!r}" for column, value in zip(key, values, strict=True))
        message = f"{keys:,} keys occur more than once, such as {shown}, in {count:,} items"
        raise UserError(message, place=name, hint="Are files of two scans together, or a file and its copy?")


def _keys(files: Sequence[Path], key: Sequence[str]) -> pyarrow.RecordBatchReader:
    """Of files of the same types. Read by Arrow, one after the other: DuckDB would need more for what a file says of
    all its columns, and keep that of each.
    """
    pa, stored = need("pyarrow", "lake"), stored_schema(files[0])
    schema = pa.schema([stored.field(name) for name in key])

    keys = (batch for path in files for batch in batches(path, key, KEYS_AT_ONCE))
    return pa.RecordBatchReader.from_batches(schema, keys)


def has_its_types(folder: Path, manifest: Manifest, file: DataFile) -> bool:
    """Whether each column that the file has is of the data set's type there."""
    stored = stored_schema(datasets.home(folder, manifest.name) / file.path)
    kinds = {each.name: arrow_type(parse_type(each.type)) for each in manifest.schema}
    return all(stored.field(name).type == kind for name, kind in kinds.items() if name in stored.names)


@contextmanager
def _given_back() -> Iterator[None]:
    """What Arrow frees goes back to the system: its own allocator would keep some tens of megabytes of it."""
    pa = need("pyarrow", "lake")
    before = pa.default_memory_pool()
    before.release_unused()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def _into_one(folder: Path, manifest: Manifest, workshop: Path) -> list[DataFile]:
    """All deltas as one, or as few where they have very much."""
    with bounded(workshop) as connection, _Copy(connection, manifest, workshop / "delta-folded", "delta") as copy:
        connection.execute(f"CREATE TEMP TABLE latest AS {latest(folder, manifest)}")
        for file in manifest.deltas:
            copy.add(datasets.home(folder, manifest.name) / file.path, last_rows(file), keep=True)
    return copy.files()


def _into_the_base(
    folder: Path, manifest: Manifest, workshop: Path, other: Sequence[DataFile]
) -> tuple[list[DataFile], list[DataFile]]:
    """The base's files that stay, and new ones. One that has every row still stays, unless it is of those with
    ``other`` types, or many are small.
    """
    kept, home = list[DataFile](), datasets.home(folder, manifest.name)
    base = [file for file in manifest.files if file.kind == "base"]
    few = sum(file.bytes < SMALL_BYTES for file in base) <= MOST_SMALL
    with bounded(workshop) as connection, _Copy(connection, manifest, workshop / "part-folded", "base") as copy:
        if manifest.deltas:
            connection.execute(f"CREATE TEMP TABLE latest AS {latest(folder, manifest)}")
        for file in base:
            gone = superseded(folder, manifest, file) if manifest.deltas else "SELECT 0 AS row WHERE false"
            stays = file not in other and (few or file.bytes >= SMALL_BYTES)
            if stays and not connection.execute(f"{gone} LIMIT 1").fetchall():
                kept.append(file)
            else:
                copy.add(home / file.path, gone, keep=False)
        for file in manifest.deltas:
            copy.add(home / file.path, f"{last_rows(file)} AND NOT deleted", keep=True)
    return kept, copy.files()


class _Copy:
    """The rows that stay, as they come together in new files."""

    def __init__(self, connection: Any, manifest: Manifest, stem: Path, kind: str) -> None:
        self._made: list[tuple[Path, int]] = []  # with their rows
        self._connection, self._manifest, self._stem, self._kind = connection, manifest, stem, kind
        self._schema = _schema(manifest, kind)
        self._held: list[pyarrow.Table] = []
        self._writer: Any = None
        # Of the file that is being written: bytes as they were in memory, rows, and columns in row groups.
        self._written = self._rows = self._chunks = 0

    def __enter__(self) -> _Copy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._write()
            self._end_file()
        elif self._writer:
            self._writer.close()

    def files(self) -> list[DataFile]:
        """Those that were made, when the rows are all there."""
        return [data_file(path, rows, self._manifest.id, self._kind) for path, rows in self._made]

    def add(self, path: Path, query: str, *, keep: bool) -> None:
        """The rows of a file whose numbers the ``query`` gives, or all others."""
        import pyarrow as pa
        import pyarrow.compute as pc

        marked, first = self._connection.sql(query).to_arrow_table()["row"], 0
        give_back(self._connection)
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
        if self._schema and set(self._schema.names) <= set(rows.schema.names):
            same = rows.select(self._schema.names)
            if same.schema == self._schema:
                return same
        self._connection.register("stored", rows)
        statement = typed(self._manifest, self._manifest.columns, self._kind, "SELECT * FROM stored")
        found: pyarrow.Table = self._connection.sql(statement).to_arrow_table()
        self._connection.unregister("stored")
        return found

    def _write(self) -> None:
        import pyarrow as pa

        if not self._held:
            return
        rows = pa.concat_tables(self._held)
        if self._writer is None:
            path = self._stem.with_name(f"{self._stem.name}-{len(self._made):05d}.parquet")
            self._made.append((path, 0))
            self._writer = parquet_writer(path, rows.schema)
        self._writer.write_table(rows, row_group_size=len(rows))
        self._rows += len(rows)
        self._written += rows.nbytes
        self._held.clear()
        self._chunks += rows.num_columns
        if self._written >= FILE_BYTES or self._chunks >= MOST_CHUNKS:
            self._end_file()

    def _end_file(self) -> None:
        if self._writer:
            self._writer.close()
            self._made[-1] = (self._made[-1][0], self._rows)
        self._writer, self._written, self._rows, self._chunks = None, 0, 0, 0


def _schema(manifest: Manifest, kind: str) -> pyarrow.Schema | None:
    """Of the data set's base or deltas, where Arrow and DuckDB have the same types for its columns."""
    import pyarrow as pa

    kinds = {each.name: parse_type(each.type) for each in manifest.schema}
    if not all(map(is_plain, kinds.values())):
        return None
    marks = [(DELETED, pa.bool_()), (SEQUENCE, pa.int64())] if kind == "delta" else []
    return pa.schema([*((name, arrow_type(each)) for name, each in kinds.items()), *marks])


def _batches(path: Path) -> Iterator[pyarrow.RecordBatch]:
    """The rows of a Parquet file, about so many bytes at a time. A row group that is small is read column by column,
    and not from all columns at once, each of which takes some hundred kilobytes meanwhile.
    """
    with need("pyarrow.parquet", "lake").ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            group = file.metadata.row_group(number)
            if group.total_byte_size <= COPY_BYTES:
                yield from file.read_row_group(number, use_threads=False).combine_chunks().to_batches()
                continue
            rows = max(1, group.num_rows * COPY_BYTES // group.total_byte_size)
            yield from file.iter_batches(batch_size=rows, row_groups=[number])
