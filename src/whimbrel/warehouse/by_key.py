"""Rows of a table that are found by their keys, in SQL that DuckDB and PostgreSQL have in common: a statement reads the
table as ``stored``, and the rows that it is given as ``given``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from whimbrel.records import Row
from whimbrel.warehouse.reading import AS_IT_IS
from whimbrel.warehouse.stored import StoredColumn, StoredTable


class AnsweredByKey(Protocol):
    """A session of such an engine."""

    @property
    def float_as(self) -> str:
        """The type by which a FLOAT is read without loss."""
        ...

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int: ...

    def given(
        self, table: StoredTable, columns: Sequence[StoredColumn], rows: Sequence[Row]
    ) -> AbstractContextManager[tuple[str, Sequence[Any]]]:
        """What stands in a FROM for these rows, as ``given``, and the values of its parameters. Their columns are v0,
        v1 and so on, of the columns' types.
        """
        ...

    def rows_of(
        self, statement: str, values: Sequence[Any], columns: Sequence[StoredColumn]
    ) -> Iterator[list[Row]]: ...


def delete(session: AnsweredByKey, table: StoredTable, keys: Sequence[Row], only: str) -> int:
    with session.given(table, table.key_columns, keys) as (given, values):
        statement = f"DELETE FROM {table.quoted} AS stored USING {given} WHERE {table.matched(only)}"
        return session.execute(statement, values)


def fill(
    session: AnsweredByKey, table: StoredTable, columns: Sequence[StoredColumn], rows: Sequence[Row], only: str
) -> int:
    more = len(table.key)
    sets = ", ".join(f"{column.quoted} = given.v{more + n}" for n, column in enumerate(columns))
    with session.given(table, (*table.key_columns, *columns), rows) as (given, values):
        statement = f"UPDATE {table.quoted} AS stored SET {sets} FROM {given} WHERE {table.matched(only)}"
        return session.execute(statement, values)


def read(session: AnsweredByKey, table: StoredTable, keys: Sequence[Row] | None, only: str) -> Iterator[list[Row]]:
    selected = ", ".join(_selected(session, column) for column in table.columns)
    statement = f"SELECT {selected} FROM {table.quoted} AS stored"
    if keys is None:
        yield from session.rows_of(f"{statement} WHERE {only}" if only else statement, (), table.columns)
        return
    with session.given(table, table.key_columns, keys) as (given, values):
        yield from session.rows_of(f"{statement}, {given} WHERE {table.matched(only)}", values, table.columns)


def _selected(session: AnsweredByKey, column: StoredColumn) -> str:
    name = f"stored.{column.quoted}"
    if column.form == "float":
        return f"CAST({name} AS {session.float_as})"
    return name if column.form in AS_IT_IS else f"CAST({name} AS VARCHAR)"
