"""A warehouse in one file of DuckDB.

While a process has the file open to write, no other process may even read it. So it is opened for each piece of work,
and closed after it: whoever asks SQL gets in between. Deletes find their rows by a hash join, which needs no index: an
index of DuckDB is in memory as a whole, and refuses a key that a transaction deletes and inserts.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from whimbrel.errors import WarehouseError, WarehouseUnreachable
from whimbrel.lake.need import need
from whimbrel.records import Row
from whimbrel.warehouse.reading import AS_IT_IS, row_reader
from whimbrel.warehouse.stored import StoredColumn, StoredTable
from whimbrel.warehouse.values import Values, columns_of

MOST_BYTES = 192 << 20  # of memory that DuckDB may have; what is more goes to its folder for temporary files
WAITS = 60.0  # seconds for whoever else has the file open
READ_ROWS = 2_000
_ROWS = "whimbrel_rows"
_CASTS = {"decimal", "date", "datetime", "json", "uuid"}


class DuckDBFile:
    """An Engine. Sessions of several threads come one after the other: each has the file for itself."""

    name = "duckdb"

    def __init__(self, path: Path, spill: Path, stop: Callable[[], bool] = lambda: False) -> None:
        """``spill`` is a folder for what does not fit in memory. ``stop`` ends the wait for the file."""
        self._path, self._spill, self._stop = path, spill, stop
        self._duckdb = need("duckdb", "warehouse")
        self._turn = threading.Lock()

    def prove(self) -> None:
        folder = self._path.parent
        if not os.access(folder, os.W_OK | os.X_OK):
            reason = "may not be written to" if folder.is_dir() else "is not there"
            raise WarehouseError(f"the folder {reason}", place=str(folder), hint="Make it, or name another file.")
        if self._path.exists():
            self._opened().close()

    @contextmanager
    def session(self) -> Iterator[DuckDBSession]:
        with self._turn:
            connection = self._opened()
            try:
                connection.execute("SET enable_progress_bar = false")
                connection.execute("SET TimeZone = 'UTC'")
                yield DuckDBSession(self._duckdb, connection, str(self._path))
            finally:
                connection.close()

    def _opened(self) -> Any:
        settings = {
            "memory_limit": f"{MOST_BYTES}B",
            "temp_directory": str(self._spill),
            "threads": 1,
            "preserve_insertion_order": False,
        }
        began, pause = time.monotonic(), 0.01
        while True:
            try:
                return self._duckdb.connect(str(self._path), config=settings)
            except (self._duckdb.IOException, self._duckdb.ConnectionException) as error:
                if not is_in_use(error):
                    raise _refused(error, str(self._path)) from error
                if self._stop() or time.monotonic() - began > WAITS:
                    raise WarehouseUnreachable(
                        "another program has the file open",
                        place=str(self._path),
                        hint="Close it, and run the same command again.",
                    ) from error
            except self._duckdb.Error as error:
                raise _refused(error, str(self._path)) from error
            time.sleep(pause)
            pause = min(2 * pause, 0.5)


class DuckDBSession:
    """An EngineSession."""

    text = "TEXT"

    def __init__(self, duckdb: Any, connection: Any, place: str) -> None:
        self._duckdb, self._connection, self._place = duckdb, connection, place
        self._arrow = need("pyarrow", "warehouse")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.execute("BEGIN TRANSACTION")
        try:
            yield
        except BaseException:
            with suppress(self._duckdb.Error):  # it has ended by itself; what is raised says why
                self._connection.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        try:
            found = self._connection.execute(sql, list(values)).fetchone()
        except self._duckdb.Error as error:
            raise _refused(error, self._place) from error
        return found[0] if found and isinstance(found[0], int) else 0

    def fetch(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            rows: list[tuple[Any, ...]] = self._connection.execute(sql, list(values)).fetchall()
        except self._duckdb.Error as error:
            raise _refused(error, self._place) from error
        return rows

    def create(self, table: StoredTable) -> None:
        self.execute(table.create_statement())

    def widen(self, table: StoredTable, column: StoredColumn) -> None:
        self.execute(f"ALTER TABLE {table.quoted} ALTER COLUMN {column.quoted} TYPE {column.sql}")

    def insert(self, table: StoredTable, rows: Sequence[Row]) -> int:
        with self._rows(table, table.columns, rows):
            casts = ", ".join(_cast(column, number) for number, column in enumerate(table.columns))
            return self.execute(f"INSERT INTO {table.quoted} ({table.listed()}) SELECT {casts} FROM {_ROWS}")

    def delete(self, table: StoredTable, keys: Sequence[Row], *, only: str = "") -> int:
        with self._rows(table, table.key_columns, keys):
            return self.execute(
                f"DELETE FROM {table.quoted} AS stored USING {_keys(table)} WHERE {table.matched(only)}"
            )

    def fill(self, table: StoredTable, columns: Sequence[StoredColumn], rows: Sequence[Row], *, only: str = "") -> int:
        more = len(table.key)
        with self._rows(table, (*table.key_columns, *columns), rows):
            sets = ", ".join(f"{column.quoted} = given.v{more + n}" for n, column in enumerate(columns))
            given = _given((*table.key_columns, *columns))
            return self.execute(f"UPDATE {table.quoted} AS stored SET {sets} FROM {given} WHERE {table.matched(only)}")

    def read(self, table: StoredTable, keys: Sequence[Row] | None = None, *, only: str = "") -> Iterator[list[Row]]:
        selected = ", ".join(_selected(column) for column in table.columns)
        statement, read = f"SELECT {selected} FROM {table.quoted} AS stored", row_reader(table.columns)
        if keys is None:
            yield from self._read(f"{statement} WHERE {only}" if only else statement, read)
            return
        with self._rows(table, table.key_columns, keys):
            yield from self._read(f"{statement}, {_keys(table)} WHERE {table.matched(only)}", read)

    def after_load(self, table: StoredTable) -> None: ...

    def _read(self, statement: str, read: Callable[[Sequence[Any]], Row]) -> Iterator[list[Row]]:
        try:
            cursor = self._connection.execute(statement)
            while rows := cursor.fetchmany(READ_ROWS):
                yield list(map(read, rows))
        except self._duckdb.Error as error:
            raise _refused(error, self._place) from error

    @contextmanager
    def _rows(self, table: StoredTable, columns: Sequence[StoredColumn], rows: Sequence[Row]) -> Iterator[None]:
        """Rows under the name _ROWS, their columns v0, v1 and so on."""
        values = columns_of(table, columns, rows)
        arrays = [self._array(column, each) for column, each in zip(columns, values, strict=True)]
        named = self._arrow.Table.from_arrays(arrays, [f"v{number}" for number in range(len(arrays))])
        self._connection.register(_ROWS, named)
        try:
            yield
        finally:
            self._connection.unregister(_ROWS)

    def _array(self, column: StoredColumn, values: Values) -> Any:
        arrow = self._arrow
        if column.form == "time":
            return arrow.array([None if each is None else _microseconds(each) for each in values], arrow.duration("us"))
        if column.form == "timestamp":
            return arrow.array([None if each is None else each + "+00" for each in values], arrow.string())
        if column.form == "int":
            kind = arrow.uint64() if column.sql.startswith("U") else arrow.int64()
        else:
            kinds = {"float": arrow.float32(), "double": arrow.float64(), "bytes": arrow.binary()}
            kinds["bool"] = arrow.bool_()
            kind = kinds.get(column.form, arrow.string())
        return arrow.array(values, kind)


def _microseconds(time_text: str) -> int:
    negative = time_text.startswith("-")
    hours, minutes, seconds = time_text.lstrip("-").split(":")
    whole, _, fraction = seconds.partition(".")
    total = ((int(hours) * 60 + int(minutes)) * 60 + int(whole)) * 1_000_000 + int(fraction.ljust(6, "0"))
    return -total if negative else total


def _cast(column: StoredColumn, number: int) -> str:
    """Of what Arrow gives, to the column's type; an integer that does not fit is an error there."""
    if column.form in _CASTS or column.form in ("timestamp", "int"):
        return f"CAST(v{number} AS {column.sql})"
    return f"v{number}"


def _given(columns: Sequence[StoredColumn]) -> str:
    casts = ", ".join(f"{_cast(column, number)} AS v{number}" for number, column in enumerate(columns))
    return f"(SELECT {casts} FROM {_ROWS}) AS given"


def _keys(table: StoredTable) -> str:
    return _given(table.key_columns)


def _selected(column: StoredColumn) -> str:
    name = f"stored.{column.quoted}"
    if column.form == "float":
        return f"CAST({name} AS DOUBLE)"
    return name if column.form in AS_IT_IS else f"CAST({name} AS VARCHAR)"


def is_in_use(error: Exception) -> bool:
    """By another process, or by this one in another way. DuckDB has no number for it."""
    return any(words in str(error).lower() for words in ("lock", "different configuration"))


def _refused(error: Exception, place: str) -> WarehouseError:
    said = str(error).strip().splitlines()[0]
    return WarehouseError(said, place=place, hint="If the disk is full, free some space; else see the message.")
