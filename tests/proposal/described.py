"""Tables, figures and statements as a test describes them, without a server."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from whimbrel.checks.access.parse import parse
from whimbrel.checks.access.statements import counted_sql
from whimbrel.checks.cost import Prices, read_prices
from whimbrel.proposal.known import LONGEST, Amount, KnownTable, Link, guessed, usual_bytes
from whimbrel.proposal.placement import names_of
from whimbrel.proposal.scale import Asking, Scale, asking
from whimbrel.records import Column, Table

SECONDS = 86_400.0
_KINDS = {"varchar": "text", "char": "text", "bigint": "int", "tinyint": "int", "smallint": "int"}


def table_of(name: str, columns: str, key: str) -> Table:
    """``columns``: ``id int, name varchar(40)?, state enum(a|b)``; a question mark for one that may be NULL."""
    found = []
    for each in columns.split(","):
        word = re.match(r"\s*(\w+)\s+(\w+)(?:\(([^)]*)\))?(\?)?\s*$", each)
        assert word, each
        column, kind, inside, nullable = word.groups()
        members = tuple(inside.split("|")) if kind == "enum" else ()
        length = int(inside) if inside and inside.isdigit() else 0
        found.append(
            Column(
                column,
                _KINDS.get(kind, kind),
                nullable=bool(nullable),
                length=length,
                precision=10 if kind == "decimal" else 0,
                members=members,
                charset="utf8mb4" if kind in ("varchar", "char", "enum", "text") else "",
                type_name=kind,
            )
        )
    return Table("app", name, tuple(found), tuple(key.replace(" ", "").split(",")))


def known_tables(described: Sequence[Mapping[str, Any]]) -> dict[str, KnownTable]:
    tables = [table_of(each["name"], each["columns"], each["key"]) for each in described]
    rows: dict[str, float] = {f"app.{each['name']}": float(each["rows"]) for each in described}
    found = {}
    for table, each in zip(tables, described, strict=True):
        links = tuple(Link((own,), f"app.{parent}") for own, parent in each.get("links", {}).items())
        sizes = {column.name: usual_bytes(column) for column in table.columns} | each.get("bytes", {})
        parents: dict[tuple[str, ...], float] = {link.columns: rows[link.parent] for link in links}
        amounts = _amounts(table, each, parents)
        found[table.full_name] = KnownTable(table, rows[table.full_name], sizes, amounts, links)
    return found


def _amounts(
    table: Table, described: Mapping[str, Any], parents: Mapping[tuple[str, ...], float]
) -> Callable[[tuple[str, ...]], Amount]:
    rows = float(described["rows"])
    values: dict[tuple[str, ...], float] = {
        (name,): float(count) for name, count in described.get("values", {}).items()
    }
    unique = (table.primary_key, *(tuple(each) for each in described.get("unique", ())))
    shared: dict[tuple[str, ...], float] = dict(parents)
    shared.update(values)
    guess = guessed(table, rows, unique, shared)
    most = described.get("most", {})

    def amounts(columns: tuple[str, ...]) -> Amount:
        average = guess(columns).average
        named = [float(most[name]) for name in columns if name in most]
        return Amount(average, max(average, min(named))) if named else Amount(average, min(rows, average * LONGEST))

    return amounts


def askings_of(statements: str, known: Mapping[str, KnownTable], seconds: float = SECONDS) -> list[Asking]:
    tables = {name: each.table for name, each in known.items()}
    found: list[Asking] = []
    for said, count in counted_sql(statements, "app").items():
        statement = parse(said, tables)
        assert statement, said
        found.append(asking(len(found), statement, count / seconds))
    return found


def scale_of(described: Sequence[Mapping[str, Any]], statements: str, prices: Prices | None = None) -> Scale:
    known = known_tables(described)
    names = names_of([each.table for each in known.values()], {name: each.table.name for name, each in known.items()})
    return Scale(known, askings_of(statements, known), names, prices or read_prices(None, "us-east-1"))
