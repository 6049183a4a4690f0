"""The clauses of a statement as Athena has them: GROUP BY ALL, ORDER BY ALL and QUALIFY are written out. A name in
ORDER BY that each engine would take for another column is refused.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from whimbrel.lake.athena_known import refused, said
from whimbrel.lake.need import need

_ROWS, _WANTED = "_rows", "_wanted"  # names that nobody else gives
_PREDICATES = (
    "EQ",
    "NEQ",
    "GT",
    "GTE",
    "LT",
    "LTE",
    "NullSafeEQ",
    "NullSafeNEQ",
    "Is",
    "In",
    "Between",
    "Like",
    "ILike",
)


def written_out(tree: Any) -> None:
    """ALL in GROUP BY and ORDER BY, of a tree in which every * is replaced by its columns."""
    exp = need("sqlglot.expressions", "lake")
    for group in list(tree.find_all(exp.Group)):
        if group.args.get("all"):
            _group_by_all(group, exp)
    for ordered in list(tree.find_all(exp.Ordered)):
        if _is_all(ordered.this, exp):
            query = ordered.find_ancestor(exp.Query)
            columns = [ordered.copy() for _ in query.selects]
            for column, select in zip(columns, query.selects, strict=True):
                column.set("this", exp.column(select.alias_or_name, quoted=True))
            ordered.parent.set("expressions", columns)


def check_names(tree: Any, columns: Collection[str]) -> None:
    """``columns`` are those of all tables. Of ``SELECT -n AS n ... ORDER BY n + 1``, DuckDB takes the table's n, and
    Athena the answer's. What USING joins has a name of its own in DuckDB alone.
    """
    exp = need("sqlglot.expressions", "lake")
    for column in tree.find_all(exp.Column):
        order = column.find_ancestor(exp.Order, exp.Query)
        if not column.table and not (isinstance(order, exp.Order) and isinstance(order.parent, exp.Query)):
            raise refused(f"{said(column)}: of which table it is, is not known", "Write the table's name before it.")
    for order in tree.find_all(exp.Order):
        query = order.parent
        if not isinstance(query, exp.Select):
            continue
        given = {each.alias_or_name.lower(): each.unalias() for each in query.selects}
        others = [each for each in tree.find_all(exp.Select) if each is not query]
        known = {name.lower() for name in columns} | {
            each.alias_or_name.lower() for other in others for each in other.selects
        }
        for column in order.find_all(exp.Column):
            name = column.name.lower()
            if column.table or isinstance(column.parent, exp.Ordered) or name not in known:
                continue
            if not isinstance(given.get(name), exp.Column) or given[name].name.lower() != name:
                hint = "Give the column of the answer a name that no other column has."
                raise refused(f"{said(order)}: {column.name!r} is a column of the answer, and of a table", hint)


def in_brackets(tree: Any) -> None:
    """In Athena, a comparison is compared only in brackets."""
    exp = need("sqlglot.expressions", "lake")
    predicates = (*(getattr(exp, name) for name in _PREDICATES), exp.Escape)
    for part in list(tree.find_all(*predicates, exp.Not)):
        if isinstance(part.parent, predicates) and not isinstance(part.parent, exp.Escape):
            part.replace(exp.Paren(this=part.copy()))


def without_qualify(tree: Any) -> Any:
    """QUALIFY as the WHERE of a question over the rows of the question without it."""
    exp = need("sqlglot.expressions", "lake")
    for select in reversed(list(tree.find_all(exp.Select))):  # those within come before
        if select.args.get("qualify"):
            made = _qualified(select, exp)
            tree = made if select is tree else tree
            select.replace(made)
    return tree


def _group_by_all(group: Any, exp: Any) -> None:
    """The groups are what has no aggregate in it."""
    values = [each.unalias() for each in group.parent.selects]
    totals = [each for each in values if each.find(exp.AggFunc)]
    for value in values:
        beside = value in totals and any(not each.find_ancestor(exp.AggFunc) for each in value.find_all(exp.Column))
        if beside or value.find(exp.Window, exp.Query):
            raise refused(f"GROUP BY ALL: what {said(value)} is grouped by is not known", "Write the groups.")
    if not totals:
        raise refused("GROUP BY ALL of no aggregate is not known", "Use SELECT DISTINCT.")
    groups = [each.copy() for each in values if each not in totals and not isinstance(each, exp.Literal)]
    having = group.parent.args.get("having")
    for column in having.find_all(exp.Column) if having else []:
        if column not in groups and not column.find_ancestor(exp.AggFunc):
            raise refused(f"GROUP BY ALL: {said(having)} is of more than the answer's columns", "Write the groups.")
    if groups:
        group.replace(exp.Group(expressions=groups))
    else:
        group.pop()


def _is_all(value: Any, exp: Any) -> bool:
    return isinstance(value, exp.Var) and value.name.upper() == "ALL"


def _qualified(select: Any, exp: Any) -> Any:
    inner = select.copy()
    names = [each.alias_or_name for each in inner.selects]
    if len({each.lower() for each in names}) < len(names):
        raise refused("QUALIFY, and two columns of one name", "Give each column a name.")
    outside = {
        key: inner.args[key].pop() for key in ("with_", "distinct", "order", "limit", "offset") if inner.args.get(key)
    }
    if "order" in outside and any(each.table for each in outside["order"].find_all(exp.Column)):
        raise refused(f"{said(select)}: with QUALIFY, only columns of the answer are known in ORDER BY")
    condition = inner.args["qualify"].pop().this
    inner.append("expressions", exp.alias_(condition, _WANTED, quoted=True))
    columns = [exp.alias_(exp.column(each, _ROWS, quoted=True), each, quoted=True) for each in names]
    rows = exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier(_ROWS, quoted=True)))
    made = exp.Select(expressions=columns).from_(rows).where(exp.column(_WANTED, _ROWS, quoted=True))
    for key, value in outside.items():
        made.set(key, value)
    return made
