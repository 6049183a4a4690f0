"""Statements that put and delete rows by their primary key, with every value as an exact literal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from whimbrel.mysql.charsets import python_codec
from whimbrel.mysql.connect import quoted
from whimbrel.mysql.floats import as_double, shortest
from whimbrel.mysql.types import literal
from whimbrel.records import Column, Filled, Row, RowChange, Table, Value

ItemOf = Callable[[Mapping[str, Value]], tuple[str, bytes] | None]

_INEXACT = frozenset({"text", "enum", "set", "json"})  # kinds that a collation may compare


class Unwritable(Exception):
    """The server cannot hold a row as it is said to be; ``str()`` is the reason. Never leaves the writer of rows."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A table that rows are written to. ``uniques`` are its unique indexes besides the primary key, by name: their
    columns, None where a part is an expression or a prefix. ``row_alias``: the server is MySQL 8.0.19 or later, where
    VALUES() is deprecated. ``item_of`` gives the target and the ``item.key_id`` of the item that a row, by its columns'
    names, is part of. ``moves``: the primary key alone does not say which, so a put may take a row from another item.
    ``filtered``: some rows are left out of all items. Nobody has them at DynamoDB, so nothing there may change one.
    """

    table: Table
    filled: Filled
    uniques: Mapping[str, tuple[str, ...] | None]
    row_alias: bool
    item_of: ItemOf = lambda _: None
    moves: bool = False
    filtered: bool = False

    @property
    def name(self) -> str:
        return f"{quoted(self.table.schema)}.{quoted(self.table.name)}"

    @property
    def bulk(self) -> bool:
        """Whether nothing but equal primary keys can make two rows meet: only then may a row be found by INSERT."""
        key = [self.table.column(name) for name in self.table.primary_key]
        return not self.uniques and not any(column.kind in _INEXACT for column in key)

    def leaves_out(self, row: Mapping[str, Value]) -> bool:
        """Whether the filter leaves out a whole row of the source."""
        return self.filtered and self.item_of(row) is None

    def unmapped(self, columns: Iterable[str]) -> list[Column]:
        """The columns that a put of ``columns`` leaves alone, and that could be written."""
        said = {*columns, *self.filled.generated}
        return [column for column in self.table.columns if column.name not in said]


def exact_literal(column: Column, value: Value) -> str:
    """Raises Unwritable for what the column's type or character set would change."""
    try:
        if column.kind == "float" and isinstance(value, float) and shortest(as_double(value)) != value:
            raise Unwritable(f"column {column.name!r} is a FLOAT, which {value!r} has too many digits for")
        return literal(column, value)
    except UnicodeEncodeError as error:
        text = f"column {column.name!r} is {column.charset or 'utf8mb4'}, which has no {value!r}"
        raise Unwritable(text) from error
    except OverflowError as error:
        raise Unwritable(f"column {column.name!r} is a FLOAT, and {value!r} is too large for it") from error


def update(to: Destination, change: RowChange) -> str:
    """By primary key; as many rows are found as there are: one or none."""
    assert change.values is not None
    key = set(to.table.primary_key)
    said = dict(zip(change.columns, change.values, strict=True))
    written = {name: value for name, value in said.items() if name not in key and name not in change.kept}
    written = written or {name: value for name, value in said.items() if name in key}
    return f"UPDATE {to.name} SET {_assigned(to.table, written)} WHERE {at_key(to.table, change.key)}"


def insert(to: Destination, values: Mapping[str, Value]) -> str:
    names, literals = _listed(to.table, values)
    return f"INSERT INTO {to.name} ({names}) VALUES ({literals})"


def upsert(to: Destination, changes: Sequence[RowChange]) -> str:
    """For a ``bulk`` destination, and changes that all have the same columns, and keep the same."""
    columns, kept = changes[0].columns, changes[0].kept
    table, key = to.table, set(to.table.primary_key)
    described = [table.column(name) for name in columns]
    rows = ", ".join(
        f"({', '.join(map(exact_literal, described, each.values))})" for each in changes if each.values is not None
    )
    names = [name for name in columns if name not in key and name not in kept] or list(table.primary_key[:1])
    new = "whimbrel_new.{}" if to.row_alias else "VALUES({})"
    sets = ", ".join(f"{quoted(name)} = {new.format(quoted(name))}" for name in names)
    alias = " AS whimbrel_new" if to.row_alias else ""
    listed = ", ".join(map(quoted, columns))
    return f"INSERT INTO {to.name} ({listed}) VALUES {rows}{alias} ON DUPLICATE KEY UPDATE {sets}"


def delete(to: Destination, changes: Iterable[RowChange]) -> str:
    return f"DELETE FROM {to.name} WHERE {guarded(to.table, changes)}"


def delete_rows(to: Destination, rows: Iterable[Mapping[str, Value]]) -> str:
    """Rows that were read and locked, and no other that is as they were."""
    keys = (tuple(row[name] for name in to.table.primary_key) for row in rows)
    return f"DELETE FROM {to.name} WHERE {' OR '.join(f'({at_key(to.table, key)})' for key in keys)}"


def guarded(table: Table, changes: Iterable[RowChange]) -> str:
    """The rows of ``changes`` that are still their items': by primary key, and by the columns of the item's key."""
    return " OR ".join(
        "(" + " AND ".join([at_key(table, each.key), *(_is(table.column(n), v) for n, v in each.guard)]) + ")"
        for each in changes
    )


def at_key(table: Table, key: Row) -> str:
    return " AND ".join(_is(table.column(name), value) for name, value in zip(table.primary_key, key, strict=True))


def meets_unique(to: Destination, values: Mapping[str, Value]) -> str | None:
    """The rows that stand in the way of ``values`` by a unique index; None if that cannot be said.

    A collation may take the primary keys of two rows for equal: then they stand in each other's way too.
    """
    indexes = {**to.uniques, "PRIMARY": to.table.primary_key}
    if any(columns is None for columns in indexes.values()):
        return None
    found = []
    for columns in indexes.values():
        if columns and all(values.get(name) is not None for name in columns):
            pairs = ((to.table.column(name), values[name]) for name in columns)
            found.append(" AND ".join(f"{quoted(c.name)} = {exact_literal(c, v)}" for c, v in pairs))
    return "(" + ") OR (".join(found) + ")"


def _is(column: Column, value: Value) -> str:
    """Equal by the index, and exactly: a collation may take 'a' for 'A'."""
    name, said = quoted(column.name), exact_literal(column, value)
    if value is None:
        return f"{name} IS NULL"
    if column.kind == "text" and isinstance(value, str):
        data = python_codec(column.charset or "utf8mb4").encode(value)
        return f"({name} = {said} AND CAST({name} AS BINARY) = x'{data.hex()}')"
    return f"{name} = {said}"


def _assigned(table: Table, values: Mapping[str, Value]) -> str:
    return ", ".join(f"{quoted(name)} = {exact_literal(table.column(name), value)}" for name, value in values.items())


def _listed(table: Table, values: Mapping[str, Value]) -> tuple[str, str]:
    names = ", ".join(map(quoted, values))
    return names, ", ".join(exact_literal(table.column(name), value) for name, value in values.items())
