"""What Athena's SQL has otherwise than DuckDB's, said so that it means the same: a function for each part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from whimbrel.lake.athena_known import FLOATING, WHOLE, kind_of, refused, said

_LARGEST_ROUNDED = "9e18"  # Athena rounds by a whole number of 64 bits. No double of that size has a fraction.


def ways(exp: Any) -> dict[type, Callable[[Any, Any], Any]]:
    """How to say what Athena has otherwise."""
    return {
        exp.Avg: _average,
        exp.Sum: _sum,
        exp.Div: _quotient,
        exp.Corr: _correlation,
        exp.Count: _count,
        exp.CountIf: _count_if,
        exp.Length: _length,
        exp.Bracket: _element,
        exp.ArrayContains: _contains,
        exp.Floor: _whole_as_double,
        exp.Ceil: _whole_as_double,
        exp.Round: _rounded,
        exp.Is: _is,
        exp.DataType: _type,
        exp.Literal: _number,
        exp.IntDiv: _whole_quotient,
        exp.Coalesce: _first,
        exp.Greatest: _extreme,
        exp.Least: _extreme,
        exp.Contains: _holds,
        exp.Left: _left,
        exp.Extract: _part_of_date,
        exp.Join: _joined,
    }


def _average(part: Any, exp: Any) -> Any:
    """Of decimals, Athena rounds it to their scale."""
    return _of_values(part, "DOUBLE", exp)


def _sum(part: Any, exp: Any) -> Any:
    """Of whole numbers, Athena has no sum that is larger than they can be."""
    [value] = part.this.expressions if isinstance(part.this, exp.Distinct) else [part.this]
    return _of_values(part, "DECIMAL(38, 0)", exp) if kind_of(value) in WHOLE else part


def _of_values(part: Any, kind: str, exp: Any) -> Any:
    """The aggregate, of values of another type."""
    if isinstance(part.this, exp.Distinct):
        [value] = part.this.expressions
        return type(part)(this=exp.Distinct(expressions=[exp.cast(value, kind)]))
    return type(part)(this=exp.cast(part.this, kind))


def _quotient(part: Any, exp: Any) -> Any:
    """Of decimals too."""
    return exp.Div(this=exp.cast(part.this, "DOUBLE"), expression=part.expression)


def _correlation(part: Any, exp: Any) -> Any:
    """Of values that do not vary, DuckDB has NaN, and Athena NULL; of none at all both have NULL."""
    if isinstance(part.parent, exp.Window | exp.Filter):
        raise refused(f"{said(part)}: corr is not known to give the same answer with OVER or FILTER")
    pair = exp.and_(*(exp.Not(this=exp.Is(this=each.copy(), expression=exp.Null())) for each in _two(part)))
    seen = exp.Count(this=exp.Case(ifs=[exp.If(this=pair, true=exp.Literal.number(1))]))
    nan = exp.Case(ifs=[exp.If(this=exp.GT(this=seen, expression=exp.Literal.number(0)), true=exp.func("NAN"))])
    return exp.Coalesce(this=part.copy(), expressions=[nan])


def _two(part: Any) -> tuple[Any, Any]:
    return part.this, part.expression


def _count(part: Any, exp: Any) -> Any:
    return part if part.this else exp.Count(this=exp.Star())


def _count_if(part: Any, exp: Any) -> Any:
    """Where the condition is NULL in all rows, or there is none, DuckDB has NULL, as a sum has, and Athena 0."""
    ifs = [(part.this.copy(), 1), (exp.Not(this=exp.Paren(this=part.this.copy())), 0)]
    return exp.Sum(this=exp.Case(ifs=[exp.If(this=test, true=exp.Literal.number(each)) for test, each in ifs]))


def _length(part: Any, exp: Any) -> Any:
    return exp.ArraySize(this=part.this) if kind_of(part.this) == "ARRAY" else part


def _element(part: Any, exp: Any) -> Any:
    """``l[1]``. Beyond the end DuckDB has NULL, as element_at has, and Athena's own brackets an error."""
    [index, *more] = part.expressions
    if more or kind_of(part.this) != "ARRAY" or not isinstance(index, exp.Literal) or index.is_string:
        raise refused(f"{said(part)}: only elements of lists by their number are known in Athena")
    place = exp.Literal.number(int(index.name) + 1)  # sqlglot counts from 0
    return exp.Anonymous(this="ELEMENT_AT", expressions=[part.this, place])


def _contains(part: Any, exp: Any) -> Any:
    """In a list with a NULL, Athena does not know of a value that is not there. DuckDB has: no."""
    both = exp.and_(*(exp.Not(this=exp.Is(this=each.copy(), expression=exp.Null())) for each in _two(part)))
    found = exp.Coalesce(this=part.copy(), expressions=[exp.false()])
    return exp.Case(ifs=[exp.If(this=both, true=found)])


def _whole_as_double(part: Any, exp: Any) -> Any:
    """DuckDB makes a double of a whole number."""
    return exp.cast(part.copy(), "DOUBLE") if kind_of(part.this) in WHOLE else part


def _rounded(part: Any, exp: Any) -> Any:
    if kind_of(part.this) not in FLOATING:
        return part
    digits = part.args.get("decimals")
    most = exp.Div(
        this=exp.Literal.number(_LARGEST_ROUNDED), expression=exp.Literal.number(f"1e{digits.name if digits else 0}")
    )
    small = exp.LT(this=exp.Abs(this=part.this.copy()), expression=most)
    return exp.Case(ifs=[exp.If(this=small, true=part.copy())], default=part.this.copy())


def _is(part: Any, exp: Any) -> Any:
    """``IS TRUE`` and ``IS FALSE``, which are never NULL."""
    if not isinstance(part.expression, exp.Boolean):
        return part
    value = part.this if part.expression.this else exp.Not(this=exp.Paren(this=part.this))
    return exp.Coalesce(this=value, expressions=[exp.false()])


def _type(part: Any, exp: Any) -> Any:
    return exp.DataType.build("DECIMAL(38, 0)") if part.this.name == "INT128" else part


def _number(part: Any, exp: Any) -> Any:
    """A whole number over 63 bits, which Athena has not."""
    if part.is_string or not part.name.isdigit() or int(part.name) < 2**63:
        return part
    return exp.cast(exp.Literal.string(part.name), "DECIMAL(38, 0)")


def _whole_quotient(part: Any, exp: Any) -> Any:
    """``//``, which is Athena's / of whole numbers."""
    return exp.Div(this=part.this.copy(), expression=part.expression.copy(), typed=True)


def _first(part: Any, exp: Any) -> Any:
    """Athena has no ``coalesce`` of one value."""
    return part if part.expressions else part.this.copy()


def _extreme(part: Any, exp: Any) -> Any:
    """``greatest`` and ``least`` leave NULLs out. In Athena one NULL is enough for NULL."""
    values = [part.this, *part.expressions]
    if len(values) == 1:
        return part.this.copy()
    there = [exp.Coalesce(this=each.copy(), expressions=[one.copy() for one in values]) for each in values]
    return type(part)(this=there[0], expressions=there[1:])


def _holds(part: Any, exp: Any) -> Any:
    found = exp.StrPosition(this=part.this.copy(), substr=part.expression.copy())
    return exp.Paren(this=exp.GT(this=found, expression=exp.Literal.number(0)))


def _left(part: Any, exp: Any) -> Any:
    return exp.Substring(this=part.this.copy(), start=exp.Literal.number(1), length=part.expression.copy())


def _joined(part: Any, exp: Any) -> Any:
    """After a comma, a list whose column is of a table before it is not found once another join follows."""
    if isinstance(part.this, exp.Unnest) and not part.kind:
        part.set("kind", "CROSS")
    return part


def _part_of_date(part: Any, exp: Any) -> Any:
    return {"YEAR": exp.Year, "MONTH": exp.Month, "DAY": exp.Day}[part.name](this=part.expression.copy())
