"""What the live source says of its tables. What cannot be counted in time is assumed, and said to be."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from whimbrel.checks.ask import OutOfTime, TimedQueries
from whimbrel.checks.scope import some_rows
from whimbrel.item import text_size
from whimbrel.mysql.connect import Mysql, quoted, server_info
from whimbrel.mysql.schema import estimated_rows, foreign_keys, unique_keys
from whimbrel.proposal.known import ROWS, SHARING, Amount, KnownTable, Link, guessed, usual_bytes
from whimbrel.records import Column, Row, Table, Value

SAMPLED = 500  # rows, for the length of their values


def read_known(connection: Mysql, tables: Iterable[Table], seconds: float) -> dict[str, KnownTable]:
    """By full name. ``seconds`` are for all questions about one table, 0 for no limit."""
    tables, info = list(tables), server_info(connection)
    queries = {table.full_name: TimedQueries(connection, info, seconds) for table in tables}
    counted = {table.full_name: _rows(queries[table.full_name], table) for table in tables}
    links = _links(connection, tables)
    rows = {name: float(count) or ROWS for name, (count, _) in counted.items()}
    found = {}
    for table in tables:
        name = table.full_name
        asked = queries[name]
        assumed = counted[name][1]
        if not counted[name][0]:
            assumed.append(f"{ROWS:,.0f} rows, as it has none; lengths by their types, and {SHARING:g} rows to a value")
        sizes = _sizes(asked, table) if counted[name][0] else {}
        parents = {link.columns: rows[link.parent] for link in links[name]}
        unique = (table.primary_key, *unique_keys(connection, table))
        guess = guessed(table, rows[name], unique, parents)
        amounts = _counted(asked, table, unique, guess, assumed) if counted[name][0] else guess
        values = {column.name: sizes.get(column.name) or usual_bytes(column) for column in table.columns}
        found[name] = KnownTable(table, rows[name], values, amounts, tuple(links[name]), assumed)
    return found


def _rows(queries: TimedQueries, table: Table) -> tuple[int, list[str]]:
    try:
        [count] = queries.row(f"SELECT COUNT(*) FROM {_name(table)}", table.full_name)
        return int(count), []
    except OutOfTime:
        estimate = estimated_rows(queries.connection, [table])[table.full_name]
        return estimate, [f"{estimate:,} rows, by the server's estimate: to count them took too long"]


def _links(connection: Mysql, tables: list[Table]) -> dict[str, list[Link]]:
    by_name = {table.full_name: table for table in tables}
    found: dict[str, list[Link]] = {name: [] for name in by_name}
    for schema in sorted({table.schema for table in tables}):
        for child, column, parent, key in foreign_keys(connection, schema):
            own, other = by_name.get(f"{schema}.{child}"), by_name.get(f"{schema}.{parent}")
            if own and other and other.primary_key == (key,):
                found[own.full_name].append(Link((column,), other.full_name))
    return found


def _sizes(queries: TimedQueries, table: Table) -> dict[str, float]:
    """The average length of each column's values, of some rows."""
    try:
        rows = some_rows(queries, table, SAMPLED)
    except OutOfTime:
        return {}
    return {column.name: _average(column, rows, place) for place, column in enumerate(table.columns)} if rows else {}


def _average(column: Column, rows: list[Row], place: int) -> float:
    return sum(_size(column, row[place]) for row in rows) / len(rows)


def _size(column: Column, value: Value) -> int:
    if value is None:
        return 1
    if isinstance(value, bytes):
        return len(value)
    if column.kind in ("int", "year", "bit", "decimal", "float", "double"):
        return min(21, len(str(value).replace(".", "").strip("-0")) // 2 + 2)
    return text_size(str(value))


def _counted(
    queries: TimedQueries,
    table: Table,
    unique: tuple[tuple[str, ...], ...],
    guess: Callable[[tuple[str, ...]], Amount],
    assumed: list[str],
) -> Callable[[tuple[str, ...]], Amount]:
    """Asked when it is wanted, once for each set of columns."""
    known: dict[tuple[str, ...], Amount] = {}

    def amounts(columns: tuple[str, ...]) -> Amount:
        columns = tuple(sorted(columns))
        if any(set(key) <= set(columns) for key in unique):
            return Amount(1.0, 1.0)
        if columns not in known:
            try:
                known[columns] = _amount(queries, table, columns)
            except OutOfTime:
                known[columns] = guess(columns)
                text = f"{known[columns].average:,.0f} rows to a value of {', '.join(columns)}: to count took too long"
                assumed.append(text)
        return known[columns]

    return amounts


def _amount(queries: TimedQueries, table: Table, columns: tuple[str, ...]) -> Amount:
    names = ", ".join(map(quoted, columns))
    there = " AND ".join(f"{quoted(name)} IS NOT NULL" for name in columns)
    inner = f"SELECT COUNT(*) AS n FROM {_name(table)} WHERE {there} GROUP BY {names}"
    statement = f"SELECT COUNT(*), COALESCE(SUM(n), 0), COALESCE(MAX(n), 0) FROM ({inner}) AS values_of_it"
    values, rows, most = queries.row(statement, table.full_name)
    return Amount(float(rows) / float(values), float(most)) if values else Amount(1.0, 1.0)


def _name(table: Table) -> str:
    return f"{quoted(table.schema)}.{quoted(table.name)}"
