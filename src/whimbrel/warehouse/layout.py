"""How a table of Redshift is laid out: which of its rows lie together, and in which order.

By its key, unless the statements that are asked say more: rows are distributed by the column that a table is joined by
most often, so that a join needs no network; and sorted first by what rows are chosen by, so that blocks are skipped.
The statements are the reports of the project file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from whimbrel.lake.need import need
from whimbrel.warehouse.names import quoted
from whimbrel.warehouse.stored import StoredTable

Named = tuple[str, str]  # a table with its schema, and a column


class Layout(NamedTuple):
    """Names of columns; ``distributed`` is "" where Redshift is to choose."""

    distributed: str
    sorted: tuple[str, ...]

    @property
    def clause(self) -> str:
        style = f"DISTSTYLE KEY DISTKEY ({quoted(self.distributed)})" if self.distributed else "DISTSTYLE AUTO"
        return f"{style} SORTKEY ({', '.join(map(quoted, self.sorted))})"


def layout(table: StoredTable, statements: Iterable[str]) -> Layout:
    """Of a table, for ``statements``. One that sqlglot cannot read says nothing."""
    joined, chosen = Counter[str](), Counter[str]()
    usable = {column.name for column in table.columns if column.form != "super"}
    for statement in statements:
        for found, counter in ((_joins(statement), joined), (_chosen(statement), chosen)):
            counter.update(name for of, name in found if of == table.full_name and name in usable)
    by_key = table.key[0] if len(table.key) == 1 else ""
    first = chosen.most_common(1)[0][0] if chosen else ""
    return Layout(
        joined.most_common(1)[0][0] if joined else by_key,
        (first, *(name for name in table.key if name != first)) if first else table.key,
    )


def _joins(statement: str) -> Iterator[Named]:
    """Each column that is compared with one of another table."""
    exp = need("sqlglot.expressions", "warehouse")
    for scope in _scopes(statement):
        for equal in scope.find_all(exp.EQ):
            one, other = _named(scope, equal.this), _named(scope, equal.expression)
            if one and other and one[0] != other[0]:
                yield one
                yield other


def _chosen(statement: str) -> Iterator[Named]:
    """Each column that is compared with something that is no column."""
    exp = need("sqlglot.expressions", "warehouse")
    for scope in _scopes(statement):
        for compared in scope.find_all(exp.EQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between, exp.In):
            sides = [compared.this, compared.args.get("expression")]
            columns = [side for side in sides if isinstance(side, exp.Column)]
            if len(columns) == 1 and (found := _named(scope, columns[0])):
                yield found


def _scopes(statement: str) -> list[Any]:
    sqlglot = need("sqlglot", "warehouse")
    try:
        tree = sqlglot.parse_one(statement, read="redshift")
    except sqlglot.errors.SqlglotError:
        return []
    return list(need("sqlglot.optimizer.scope", "warehouse").traverse_scope(tree))


def _named(scope: Any, side: Any) -> Named | None:
    """The table and the column that a column of ``scope`` is of; None where that is not certain."""
    exp = need("sqlglot.expressions", "warehouse")
    if not isinstance(side, exp.Column):
        return None
    sources = scope.sources
    source = sources.get(side.table) if side.table else next(iter(sources.values())) if len(sources) == 1 else None
    if not isinstance(source, exp.Table):
        return None
    return f"{source.db}.{source.name}".lower(), side.name.lower()
