"""A warehouse in one file of DuckDB.

While a process has the file open to write, no other process may even read it. So it is opened for each piece of work,
and closed after it: whoever asks SQL gets in between. Deletes find their rows by a hash join, which needs no index: an
index of DuckDB is in memory as a whole, and refuses a key that a transaction deletes and inserts.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from whimbrel.errors import WarehouseError, WarehouseUnreachable
from whimbrel.lake.need import need
from whimbrel.records import Row, Table
from whimbrel.warehouse import by_key, duckdb_groups
from whimbrel.warehouse.duckdb_rows import cast, is_as_in_files, lines_of, source_of
from whimbrel.warehouse.lines import rows_of_lines, some_together
from whimbrel.warehouse.reading import row_reader, so_many
from whimbrel.warehouse.stored import StoredColumn, StoredTable
from whimbrel.warehouse.values import columns_of

WAITS = 60.0  # seconds for whoever else has the file open
READ_ROWS = 2_000
READ_BYTES = 4 << 20  # of texts and bytes in the rows that are handed out at a time
TIDY_AFTER = 16  # sessions that wrote rows, after the load
_FILE, _NOTHING = '"the file"', '"no file"'  # names of databases, which no schema has
TIDY_MOST = 16  # times that groups of rows are merged then


class DuckDBFile:
    """An Engine. Sessions of several threads come one after the other: each has the file for itself."""

    name, in_parts = "duckdb", True  # what is committed together is in memory, up to 2,048 rows of each table

    def __init__(
        self, path: Path, spill: Path, memory: int = 192 << 20, stop: Callable[[], bool] = lambda: False
    ) -> None:
        """``spill`` is a folder for what does not fit into ``memory``, in bytes. ``stop`` ends a wait for it."""
        self._path, self._spill, self._memory, self._stop = path, spill, memory, stop
        self._duckdb = need("duckdb", "warehouse")
        self._turn = threading.Lock()
        self._engine: Any = None  # DuckDB, with no file open between two sessions
        self._written = {"whimbrel"}  # schemas
        self._untidy = TIDY_AFTER  # sessions that wrote since; at first, nobody knows

    @property
    def exists(self) -> bool:
        return self._path.exists()

    def prove(self) -> None:
        folder = self._path.parent
        if not os.access(folder, os.W_OK | os.X_OK):
            reason = "may not be written to" if folder.is_dir() else "is not there"
            raise WarehouseError(f"the folder {reason}", place=str(folder), hint="Make it, or name another file.")
        if self.exists:
            with self._turn, self._attached():
                pass

    @contextmanager
    def session(self) -> Iterator[DuckDBSession]:
        with self._turn:
            with self._attached() as connection:
                session = DuckDBSession(self._duckdb, connection, str(self._path))
                yield session
            self._written |= session.written
            if session.written and not session.loaded:  # the load leaves few groups, and large ones
                self._untidy += 1
                self._tidy()

    def _tidy(self) -> None:
        """Merge small groups of rows, after every so many sessions. Each is durable by itself, and changes no row."""
        if self._untidy < TIDY_AFTER:
            return
        self._untidy = 0
        for _ in range(TIDY_MOST):
            with self._attached() as connection:
                try:
                    tables = duckdb_groups.tables_of(connection, sorted(self._written))
                    merged = [table for table in tables if duckdb_groups.merge(connection, table)]
                except self._duckdb.Error as error:
                    raise refused(error, str(self._path)) from error
            if not merged or self._stop():
                break

    @contextmanager
    def _attached(self) -> Iterator[Any]:
        """A connection to the file. DuckDB itself is begun once: that takes longer than to open a file."""
        if self._engine is None:
            self._engine = self._begun()
        self._attach(self._engine)
        connection = self._engine.cursor()
        try:
            for setting in (f"USE {_FILE}", "SET enable_progress_bar = false", "SET TimeZone = 'UTC'"):
                connection.execute(setting)
            yield connection
        finally:
            connection.close()
            try:
                self._engine.execute(f"DETACH {_FILE}")
            except self._duckdb.Error:  # what was committed is in the file, or in its log
                self._engine.close()
                self._engine = None

    def _begun(self) -> Any:
        engine = self._duckdb.connect(
            ":memory:",
            config={
                "memory_limit": f"{self._memory}B",
                "temp_directory": str(self._spill),
                "threads": 1,
                "preserve_insertion_order": False,
                **duckdb_groups.SETTINGS,
            },
        )
        for statement in (f"ATTACH ':memory:' AS {_NOTHING}", f"USE {_NOTHING}", "DETACH memory"):
            engine.execute(statement)  # so that a silo may be called ``memory``
        return engine

    def _attach(self, engine: Any) -> None:
        path = str(self._path).replace("'", "''")
        began, pause = time.monotonic(), 0.01
        while True:
            try:
                engine.execute(f"ATTACH '{path}' AS {_FILE} (TYPE duckdb)")
                return
            except self._duckdb.Error as error:
                if not is_in_use(error):
                    raise refused(error, str(self._path)) from error
                if self._stop() or time.monotonic() - began > WAITS:
                    raise in_use(error, str(self._path)) from error
            time.sleep(pause)
            pause = min(2 * pause, 0.5)


class DuckDBSession:
    """An EngineSession."""

    text, float_as = "TEXT", "DOUBLE"

    def __init__(self, duckdb: Any, connection: Any, place: str) -> None:
        self._duckdb, self._connection, self._place = duckdb, connection, place
        self.written: set[str] = set()  # schemas
        self.loaded = False  # whether these are rows of the full load

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
            raise refused(error, self._place) from error
        return found[0] if found and isinstance(found[0], int) else 0

    def fetch(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            rows: list[tuple[Any, ...]] = self._connection.execute(sql, list(values)).fetchall()
        except self._duckdb.Error as error:
            raise refused(error, self._place) from error
        return rows

    def create(self, table: StoredTable) -> None:
        self.execute(table.create_statement())

    def widen(self, table: StoredTable, column: StoredColumn) -> None:
        self.execute(f"ALTER TABLE {table.quoted} ALTER COLUMN {column.quoted} TYPE {column.sql}")

    def insert(self, table: StoredTable, rows: Sequence[Row]) -> int:
        values = [cast(column, place) for place, column in enumerate(table.columns)]
        with self._named(table, table.columns, lambda: rows):
            lines = lines_of(table.columns, rows)
            return sum(self._insert(table, values, some) for some in some_together(lines))

    def load(self, table: StoredTable, version: Table, lines: Sequence[bytes], added: Row) -> int:
        """The lines are given as they are: no value of them becomes one of Python's."""
        self.loaded = True
        if not all(map(is_as_in_files, table.columns)):
            return self.insert(table.written, rows_of_lines(table, version, lines, added))
        places = {name: place for place, name in enumerate(version.names)}
        values = [cast(c, places[c.source.name]) if c.source.name in places else "NULL" for c in table.columns]
        values += ["NULL" if moment is None else f"'{moment!s}+00'" for moment in added]
        with self._named(table, table.columns, lambda: rows_of_lines(table, version, lines, ())):
            return self._insert(table.written, values, lines)

    def _insert(self, table: StoredTable, values: Sequence[str], lines: Sequence[bytes]) -> int:
        source, given = source_of(lines)
        self.written.add(table.schema)
        return self.execute(
            f"INSERT INTO {table.quoted} ({table.listed()}) SELECT {', '.join(values)} FROM {source}", given
        )

    def delete(self, table: StoredTable, keys: Sequence[Row], *, only: str = "") -> int:
        return by_key.delete(self, table, keys, only)

    def fill(self, table: StoredTable, columns: Sequence[StoredColumn], rows: Sequence[Row], *, only: str = "") -> int:
        return by_key.fill(self, table, columns, rows, only)

    def read(self, table: StoredTable, keys: Sequence[Row] | None = None, *, only: str = "") -> Iterator[list[Row]]:
        return by_key.read(self, table, keys, only)

    def after_load(self, table: StoredTable) -> None: ...

    def rows_of(self, statement: str, values: Sequence[Any], columns: Sequence[StoredColumn]) -> Iterator[list[Row]]:
        read = row_reader(columns)
        try:
            cursor, some = self._connection.execute(statement, list(values)), 1
            while rows := cursor.fetchmany(some):
                yield list(map(read, rows))
                some = so_many(rows, most=min(2 * some, READ_ROWS), size=READ_BYTES)
        except self._duckdb.Error as error:
            raise refused(error, self._place) from error

    @contextmanager
    def given(
        self, table: StoredTable, columns: Sequence[StoredColumn], rows: Sequence[Row]
    ) -> Iterator[tuple[str, list[Any]]]:
        source, values = source_of(list(lines_of(columns, rows)))
        casts = ", ".join(f"{cast(column, place)} AS v{place}" for place, column in enumerate(columns))
        with self._named(table, columns, lambda: rows):
            yield f"(SELECT {casts} FROM {source}) AS given", values

    @contextmanager
    def _named(
        self, table: StoredTable, columns: Sequence[StoredColumn], rows: Callable[[], Sequence[Row]]
    ) -> Iterator[None]:
        """Where DuckDB cannot take a value, the row that has it is named."""
        try:
            yield
        except WarehouseError as error:
            if isinstance(error.__cause__, self._duckdb.ConversionException):
                columns_of(table, columns, rows())
            raise


# Another process has it; this one has it, in another way; or this one is about to let it go. A damaged block is named,
# too, and the file may have any name: so these are whole phrases.
_IN_USE = ("could not set lock on file", "with a different configuration than", "unique file handle conflict")
_DAMAGED = ("not a valid duckdb database", "corrupt", "could not read enough bytes")


def is_in_use(error: Exception) -> bool:
    """DuckDB has no number for it."""
    return any(words in str(error).lower() for words in _IN_USE)


def in_use(error: Exception, place: str) -> WarehouseUnreachable:
    """``error`` where somebody else has had the file open for too long. DuckDB says who."""
    who = re.search(r"held in (.+?[)])", str(error))
    said = f"another program has the file open{f': {who[1]}' if who else ''}"
    return WarehouseUnreachable(said, place=place, hint="Close it, and run the same command again.")


def refused(error: Exception, place: str) -> WarehouseError:
    said = str(error).strip().splitlines()[0]
    hint = "If the disk is full, free some space; else see the message."
    if any(words in said.lower() for words in _DAMAGED):
        hint = "Restore the file and the state folder from one copy, or name another file in warehouse.url."
    if "version number" in said:
        hint = "Use the version of DuckDB that wrote the file, or a later one."
    if "pin block" in said or "allocate" in said:
        hint = "A transaction, or 2,048 rows, of the source do not fit into what DuckDB has: raise warehouse.memory."
    return WarehouseError(said, place=place, hint=hint)
