"""Comparisons of numbers that may be NaN. DuckDB takes it for the largest number, equal to itself. In Trino it is
neither less nor more than any number, and ``max`` leaves it out. ORDER BY, DISTINCT and GROUP BY are alike in both.

No attribute of an item is NaN. It comes from divisions and some functions, and files of an external table may have it.
"""

from __future__ import annotations

from typing import Any

from whimbrel.lake.athena_known import FLOATING, kind_of, refused, said
from whimbrel.lake.need import need


class MaybeNaN:
    """What may be NaN in a statement; ``data_sets`` are the names of tables in which nothing is."""

    def __init__(self, tree: Any, data_sets: set[str]) -> None:
        exp = need("sqlglot.expressions", "lake")
        self._exp = exp
        self._makers = (exp.Div, exp.Mod, exp.Corr, exp.Sqrt, exp.Ln, exp.Pow, exp.Add, exp.Sub, exp.Mul)
        tables = list(tree.find_all(exp.Table))
        derived = {each.alias_or_name for each in tree.find_all(exp.CTE, exp.Subquery)}
        # A name that stands for two things in the statement is not of a data set.
        other = derived | {each.alias_or_name for each in tables if each.name not in data_sets - derived}
        self._of_data_sets = {each.alias_or_name for each in tables} - other

    def compared(self, part: Any) -> Any:
        """The comparison as DuckDB has it."""
        exp, kind, first, second = self._exp, type(part), part.this, part.expression
        if isinstance(part, exp.LT | exp.LTE):  # b > a
            kind, first, second = exp.GT if isinstance(part, exp.LT) else exp.GTE, second, first
        elif isinstance(part, exp.EQ | exp.NEQ) and not self._may_be(first):
            first, second = second, first
        if not self._may_be(first):
            return part
        if kind is exp.GTE:
            of_nan: Any = exp.Case(ifs=[exp.If(this=_is_there(second, exp), true=exp.true())])
        else:
            of_nan = _is_nan(second, exp) if kind is exp.EQ else exp.Not(this=_is_nan(second, exp))
        rest = kind(this=first.copy(), expression=second.copy())
        return exp.Paren(this=exp.Case(ifs=[exp.If(this=_is_nan(first, exp), true=of_nan)], default=rest))

    def check_others(self, part: Any) -> None:
        """IN, BETWEEN, CASE with a value, NULLIF, greatest and least compare, too. Raises UserError."""
        exp = self._exp
        kinds = exp.In | exp.Between | exp.Nullif | exp.Greatest | exp.Least
        compares = isinstance(part, kinds) or (isinstance(part, exp.Case) and part.this)
        if not compares:
            return
        sides = [part.this, *(part.args.get(each) for each in ("expression", "low", "high"))]
        sides += [*part.expressions, *(each.this for each in part.args.get("ifs") or [])]
        sides += part.args["query"].selects if part.args.get("query") else []
        if any(each is not None and self._may_be(each) for each in sides):
            raise refused(f"{said(part)}: a number that may be NaN is known with =, <>, <, <=, > and >= alone")

    def largest(self, part: Any) -> Any:
        """``max``, of NaN too."""
        exp = self._exp
        if not self._may_be(part.this):
            return part
        if isinstance(part.parent, exp.Window | exp.Filter):
            raise refused(f"{said(part)}: max of what may be NaN is not known with OVER or FILTER")
        value = part.this.expressions[0] if isinstance(part.this, exp.Distinct) else part.this
        some = exp.Anonymous(this="BOOL_OR", expressions=[_is_nan(value, exp)])
        return exp.Case(ifs=[exp.If(this=some, true=exp.func("NAN"))], default=part.copy())

    def _may_be(self, part: Any) -> bool:
        exp = self._exp
        if kind_of(part) not in {*FLOATING, "UNKNOWN"}:
            return False
        for each in part.walk():
            if isinstance(each, self._makers) and kind_of(each) in {*FLOATING, "UNKNOWN"}:
                return True
            if isinstance(each, exp.Cast) and kind_of(each.this) in {"TEXT", "VARCHAR"}:
                return True
            of_floats = isinstance(each, exp.Column) and kind_of(each) in {*FLOATING, "FLOAT"}
            if of_floats and each.table not in self._of_data_sets:
                return True
        return False


def _is_nan(part: Any, exp: Any) -> Any:
    return exp.Anonymous(this="IS_NAN", expressions=[part.copy()])


def _is_there(part: Any, exp: Any) -> Any:
    return exp.Not(this=exp.Is(this=part.copy(), expression=exp.Null()))
