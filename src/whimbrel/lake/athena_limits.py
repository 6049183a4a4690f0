"""What Athena refuses although its grammar has it, so that it is refused before anything is asked."""

from __future__ import annotations

from typing import Any

from whimbrel.lake.athena_known import refused, said
from whimbrel.lake.need import need


def check_limits(tree: Any) -> None:
    """Raises UserError. Source: the analysis of statements in Trino's source."""
    exp = need("sqlglot.expressions", "lake")
    for window in tree.find_all(exp.Window):
        _check_window(window, exp)
    for join in tree.find_all(exp.Join):
        if join.side == "FULL" and not all(isinstance(each, exp.EQ) for each in _conditions(join, exp)):
            hint = "Use LEFT JOIN, and UNION ALL of the other side's rows that match none."
            raise refused(f"{said(join)}: a FULL JOIN is known by = alone", hint)
    for select in tree.find_all(exp.Select):
        if select.args.get("distinct") and select.args.get("order"):
            _check_distinct(select, exp)


def _check_window(window: Any, exp: Any) -> None:
    of = window.this
    if isinstance(of, exp.Filter):
        hint = "Write the condition into the aggregate: sum(CASE WHEN ... THEN x END) OVER (...)."
        raise refused(f"{said(window)}: FILTER with OVER is not known in Athena", hint)
    if isinstance(of.this, exp.Distinct):
        hint = "Take the distinct values in a subquery first."
        raise refused(f"{said(window)}: DISTINCT with OVER is not known in Athena", hint)
    if isinstance(of, exp.Lag | exp.Lead):
        if window.args.get("spec"):
            raise refused(f"{said(window)}: {of.sql_name().lower()} has no frame in Athena", "Leave the frame out.")
        if not window.args.get("order") and not window.alias:
            raise refused(f"{said(window)}: what comes before depends on an order", "Write OVER (ORDER BY ...).")


def _conditions(join: Any, exp: Any) -> list[Any]:
    condition = join.args.get("on")
    condition = condition.unnest() if condition else exp.true()
    return list(condition.flatten()) if isinstance(condition, exp.And) else [condition]


def _check_distinct(select: Any, exp: Any) -> None:
    values = [each.unalias() for each in select.selects]
    for ordered in select.args["order"].expressions:
        value = ordered.this
        if value not in values and not (isinstance(value, exp.Column) and not value.table):
            raise refused(f"{said(ordered)}: with DISTINCT, only columns of the answer are known in ORDER BY")
