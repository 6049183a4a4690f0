"""Joins, of views and of subqueries in expressions, as the look-ups of a project file that do the same.

A view is read in the only form in which servers store it: names in backticks, columns qualified by their table, and
USING and NATURAL expanded. Only a join of one table to others by their primary keys can become look-ups.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from whimbrel.dms.toml import value
from whimbrel.errors import WhimbrelError
from whimbrel.records import Table

_TOKEN = re.compile(
    r"`(?P<name>(?:[^`]|``)+)`|(?P<word>[A-Za-z]+)|(?P<mark>[.,=()])|(?P<blank>\s+)|(?P<other>.)", re.DOTALL
)
_CREATE = re.compile(r"CREATE .*? VIEW (?:`(?:[^`]|``)+`\.)?`(?:[^`]|``)+` AS (.*)", re.DOTALL)
_NAME = r"[`\"]?(\w+)[`\"]?"
_SUBQUERY = re.compile(
    rf"\(\s*SELECT\s+(?:\w+\s*\.\s*)?{_NAME}\s+FROM\s+(?:{_NAME}\s*\.\s*)?{_NAME}(?:\s+(?:AS\s+)?\w+)?\s+"
    rf"WHERE\s+(?:\w+\s*\.\s*)?{_NAME}\s*=\s*\$\{{?(\w+)\}}?\s*(?:LIMIT\s+1\s*)?\)",
    re.IGNORECASE,
)

Field = tuple[str, str]  # a table's alias, and a column


class _NoJoin(Exception):
    """The view is not a join of plain columns by equal columns."""


class _Part(NamedTuple):
    """A table of the view; ``left`` if rows without one of it are in the view too."""

    schema: str
    table: str
    alias: str
    left: bool


class _View(NamedTuple):
    columns: list[tuple[Field, str]]  # and what the view calls it
    parts: list[_Part]
    equal: list[tuple[Field, Field]]


def of_view(statement: str, schema: str, read_table: Callable[[str, str], Table]) -> str:
    """The source and the lines of its [[table]] that make what the view of ``schema`` shows; "" if look-ups cannot.
    ``statement`` is its CREATE VIEW, as the server shows it.
    """
    definition = _CREATE.match(statement)
    try:
        view = _Reader(definition[1] if definition else "", schema).view()
        tables = {part.alias: read_table(part.schema, part.table) for part in view.parts}
        for part in view.parts:
            by = {} if part.left else _looked_up_from(part, view, tables)
            if by or len(view.parts) == 1:
                return _lines(part, by, view, tables)
    except (_NoJoin, KeyError, WhimbrelError):
        pass
    return ""


def of_subquery(expression: str, schema: str, name: str) -> str:
    """The ``lookup`` that is ``expression``, of a column ``name``, if that is a column of another table by a key."""
    found = _SUBQUERY.fullmatch(expression.strip())
    if found is None:
        return ""
    column, other, table, key, by = found.groups()
    return f"lookup = {_lookup(f'{other or schema}.{table}.{column}', (by,), name, key=(key,))}"


class _Reader:
    """Of a definition without its parentheses, which in a join by equal columns change nothing."""

    def __init__(self, definition: str, schema: str) -> None:
        self._schema = schema  # of tables that are named without one
        self._tokens: list[tuple[str, str]] = []
        for match in _TOKEN.finditer(definition):
            kind, text = match.lastgroup or "", match[0]
            if kind == "other":
                raise _NoJoin
            if kind != "blank" and text not in "()":
                self._tokens.append((kind, match["name"].replace("``", "`") if kind == "name" else text.lower()))

    def view(self) -> _View:
        self._demand("select")
        columns = [self._column()]
        while self._took(","):
            columns.append(self._column())
        self._demand("from")
        parts, equal = [self._part(left=False)], list[tuple[Field, Field]]()
        while (left := self._took("left")) or self._next() in ("join", "inner", ","):
            if not self._took(","):
                self._took("inner")
                self._demand("join")
            parts.append(self._part(left=left))
            equal += self._equal() if self._took("on") else []
        if self._took("where"):
            if any(part.left for part in parts):
                raise _NoJoin
            equal += self._equal()
        if self._tokens:
            raise _NoJoin
        return _View(columns, parts, equal)

    def _column(self) -> tuple[Field, str]:
        field = self._field()
        return field, self._name() if self._took("as") else field[1]

    def _part(self, *, left: bool) -> _Part:
        table, schema = self._name(), self._schema
        if self._took("."):
            schema, table = table, self._name()
        alias = self._name() if self._tokens and self._tokens[0][0] == "name" else table
        return _Part(schema, table, alias, left)

    def _equal(self) -> list[tuple[Field, Field]]:
        found = []
        while True:
            one = self._field()
            self._demand("=")
            found.append((one, self._field()))
            if not self._took("and"):
                return found

    def _field(self) -> Field:
        names = [self._name()]
        while self._took("."):
            names.append(self._name())
        if len(names) < 2:
            raise _NoJoin
        return names[-2], names[-1]

    def _name(self) -> str:
        if not self._tokens or self._tokens[0][0] != "name":
            raise _NoJoin
        return self._tokens.pop(0)[1]

    def _next(self) -> str:
        return self._tokens[0][1] if self._tokens and self._tokens[0][0] != "name" else ""

    def _took(self, text: str) -> bool:
        found = self._next() == text
        if found:
            self._tokens.pop(0)
        return found

    def _demand(self, text: str) -> None:
        if not self._took(text):
            raise _NoJoin


def _looked_up_from(base: _Part, view: _View, tables: dict[str, Table]) -> dict[str, tuple[str, ...]]:
    """For each other part, the columns of ``base`` that hold its primary key; empty if there is one without."""
    found: dict[str, tuple[str, ...]] = {}
    used = 0
    for part in view.parts:
        if part.alias == base.alias:
            continue
        pairs = [pair if pair[0][0] == part.alias else pair[::-1] for pair in view.equal]
        held = {key: by for (alias, key), (other, by) in pairs if (alias, other) == (part.alias, base.alias)}
        used += sum(alias == part.alias and other == base.alias for (alias, _), (other, _) in pairs)
        primary = tables[part.alias].primary_key
        if set(held) != set(primary):
            return {}
        found[part.alias] = tuple(held[name] for name in primary)
    return found if used == len(view.equal) == sum(map(len, found.values())) else {}


def _lines(base: _Part, by: dict[str, tuple[str, ...]], view: _View, tables: dict[str, Table]) -> str:
    table = tables[base.alias]
    own = {column: name for (alias, column), name in view.columns if alias == base.alias}
    lookups, hidden = [], [name for name in table.names if name not in own]
    renamed = {column: name for column, name in own.items() if column != name}
    for part in view.parts:
        shown = [(column, name) for (alias, column), name in view.columns if alias == part.alias]
        if part.alias == base.alias:
            continue
        if not shown and not part.left:  # it only says which rows there are
            shown = [(tables[part.alias].primary_key[0], f"{part.table}_is_there")]
            hidden.append(shown[0][1])
        for column, name in shown:
            called = name if name not in table.names else f"{part.table}_{column}_looked_up"
            renamed |= {called: name} if called != name else {}
            place = f"{part.schema}.{part.table}.{column}"
            lookups.append(_lookup(place, by[part.alias], called, "" if part.left else "omit"))
    lines = [f"source = {value(table.full_name)}"]
    lines += [f"lookup = {lookups[0] if len(lookups) == 1 else '[' + ', '.join(lookups) + ']'}"] if lookups else []
    lines += [f"exclude = {value(hidden)}"] if hidden else []
    lines += [f"rename = {value(renamed)}"] if renamed else []
    return ", ".join(lines)


def _lookup(name: str, by: Sequence[str], called: str, orphans: str = "", key: Sequence[str] = ()) -> str:
    said: dict[str, object] = {"name": name, "by": by[0] if len(by) == 1 else list(by)}
    said |= {"key": list(key)} if key else {}
    said |= {"as": called}
    said |= {"orphans": orphans} if orphans else {}
    return value(said)
