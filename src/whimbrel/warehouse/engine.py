"""What the parts of a warehouse ask of its engine: DuckDB in ``duckdb_file``, PostgreSQL in ``postgres``, Redshift
in ``redshift``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from whimbrel.records import Row, Table
from whimbrel.warehouse.stored import StoredColumn, StoredTable


class EngineSession(Protocol):
    """A connection, of one thread. What it raises is a WarehouseError; UnsupportedSource for a value that the engine
    cannot hold, with the key of its row.
    """

    @property
    def text(self) -> str:
        """The type for a text of any length, as far as the engine has one."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """All that is done within it, or nothing: durable when it ends."""
        ...

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run one statement, with a ? for each of ``values``; how many rows it changed."""
        ...

    def fetch(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...

    def create(self, table: StoredTable) -> None: ...

    def widen(self, table: StoredTable, column: StoredColumn) -> None:
        """Give ``column``, which is there, its type. Raises SchemaDrift where the engine cannot."""
        ...

    def insert(self, table: StoredTable, rows: Sequence[Row]) -> int:
        """Add rows, of all columns of ``table``; how many."""
        ...

    def load(self, table: StoredTable, version: Table, lines: Sequence[bytes], added: Row) -> int:
        """Add the rows of ``lines`` of an export file, whose columns are those of ``version``, with the values of
        ``table.added``; how many.
        """
        ...

    def delete(self, table: StoredTable, keys: Sequence[Row], *, only: str = "") -> int:
        """Remove the rows with these keys that meet ``only``, as far as there are such; how many."""
        ...

    def fill(self, table: StoredTable, columns: Sequence[StoredColumn], rows: Sequence[Row], *, only: str = "") -> int:
        """Set ``columns``; a row of ``rows`` has the key, then their values. How many rows were there."""
        ...

    def read(self, table: StoredTable, keys: Sequence[Row] | None = None, *, only: str = "") -> Iterator[list[Row]]:
        """All rows of ``table``, or those of ``keys``, that meet ``only``; their values as records.py has them."""
        ...

    def after_load(self, table: StoredTable) -> None:
        """Make what finds the rows of a key, if the engine needs it."""
        ...


class Engine(Protocol):
    """One warehouse. ``name`` is one of project.warehouse.ENGINES."""

    @property
    def name(self) -> str: ...

    @property
    def in_parts(self) -> bool:
        """Whether a transaction of any size is too much for it: a large one of the source is written in several."""
        ...

    @property
    def exists(self) -> bool:
        """False where a session would make it."""
        ...

    def prove(self) -> None:
        """That it can be opened, and written to; nothing is made by it. Raises PrivilegeError, WarehouseError."""
        ...

    def session(self) -> AbstractContextManager[EngineSession]: ...


def count_stored(session: EngineSession, table: StoredTable) -> int:
    """How many rows the table has, those that are marked as deleted and old versions too, by the engine's own count."""
    [(rows,)] = session.fetch(f"SELECT COUNT(*) FROM {table.quoted}")
    return int(rows)
