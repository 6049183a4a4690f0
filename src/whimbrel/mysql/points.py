"""Rows read one by one or a few at a time, with the same canonical values as the snapshot's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from whimbrel.mysql.charsets import invalid_text
from whimbrel.mysql.connect import Mysql, patient, quoted, translated
from whimbrel.mysql.floats import shortest
from whimbrel.mysql.types import literal, needs_decoding, select_expression, text_codec
from whimbrel.records import Row, Table, Value
from whimbrel.snapshot_files import over_columns

KEYS_AT_ONCE = 500  # keys in one statement


def read_rows(connection: Mysql, table: Table, where_sql: str, params: tuple[Any, ...] = ()) -> list[Row]:
    """The rows for which ``where_sql`` (with %s for each of ``params``, if any) holds, in no particular order.

    ``connection`` comes from ``connect``. Raises SourceUnreachable, SchemaDrift, UnsupportedSource for text
    that is not valid in its character set.
    """
    expressions = ", ".join(select_expression(column) for column in table.columns)
    statement = f"SELECT {expressions} FROM {quoted(table.schema)}.{quoted(table.name)} WHERE {where_sql}"
    with translated(table.full_name), patient(connection), connection.cursor() as cursor:
        cursor.execute(statement, params or None)
        read = cursor.fetchall()
    try:
        return list(canonical_rows(table)(read))
    except UnicodeDecodeError as error:
        raise invalid_text(error, table.full_name) from error


def count_rows(connection: Mysql, table: Table) -> int:
    """How many rows the table has, by whatever index the server likes best."""
    with translated(table.full_name), patient(connection), connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {quoted(table.schema)}.{quoted(table.name)}")
        (count,) = cursor.fetchone() or (-1,)
    return int(count)


def rows_where_equal(
    connection: Mysql, table: Table, columns: tuple[str, ...], keys: list[tuple[Value, ...]]
) -> list[Row]:
    """The rows whose ``columns`` hold one of ``keys`` exactly, not only what their collation calls equal.

    The server compares, so that an index is used; what it finds beyond that is left out here.
    """
    parts = [table.column(name) for name in columns]
    places = [table.index(name) for name in columns]
    wanted = set(keys)
    found: list[Row] = []
    for start in range(0, len(keys), KEYS_AT_ONCE):
        some = [
            " AND ".join(
                f"{quoted(part.name)} <=> {literal(part, value)}" for part, value in zip(parts, key, strict=True)
            )
            for key in dict.fromkeys(keys[start : start + KEYS_AT_ONCE])
        ]
        found += read_rows(connection, table, " OR ".join(f"({condition})" for condition in some))
    # Keys that the collation calls equal may stand in different statements, and each would find the rows of all of
    # them.
    unique = {row: None for row in found if tuple(row[place] for place in places) in wanted}
    return list(unique)


def canonical_rows(table: Table) -> Callable[[Sequence[Any]], list[Row]]:
    """A function from rows as the client gives them to canonical rows."""
    encoded = [(index, column) for index, column in enumerate(table.columns) if needs_decoding(column)]
    forms: dict[int, Callable[[Any], Value]] = {index: text_codec(column).decode for index, column in encoded}
    forms |= {index: shortest for index, column in enumerate(table.columns) if column.kind == "float"}
    return over_columns(len(table.columns), forms)
