"""SQL for Athena that gives the answer which DuckDB gives here: every part of a statement is one that is known to mean
the same in both (``athena_known``), or it is said in another way here, or refused by name.

sqlglot knows both dialects, and which names of functions differ. What it does not know, or takes for the same although
it is not, is said here: Athena rounds averages of decimals, has no element beyond the end of a list, cannot say that a
list with a NULL does not contain a value, and rounds doubles of 2^63 and more to that number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from whimbrel.lake.athena_known import FLOATING, WHOLE, check_form, check_types, decimal_of, kind_of, refused, said
from whimbrel.lake.athena_nan import MaybeNaN
from whimbrel.lake.need import need

_LARGEST_ROUNDED = "9e18"  # Athena rounds by a whole number of 64 bits. No double of that size has a fraction.


class Shown(NamedTuple):
    """A table: its columns with DuckDB's types; the ``snapshot`` that it stands for, 0 where it is no data set."""

    columns: Mapping[str, str]
    snapshot: int


def translated(statement: str, tables: Mapping[str, Shown], database: str, outputs: Sequence[str]) -> str:
    """The statement, which DuckDB understands and answers with columns of the types ``outputs``, for Athena.

    A list or struct is given as JSON, a binary as hexadecimal digits. Raises UserError for what is not known to give
    the same answer.
    """
    sqlglot = need("sqlglot", "lake")
    try:
        tree = sqlglot.parse_one(statement, read="duckdb")
        check_form(tree)
        tree = _typed(tree, tables)
        check_form(tree)
        check_types(tree)
        data_sets = {name.lower() for name, shown in tables.items() if shown.snapshot}
        tree = _as_texts(_meaning_the_same(tree, MaybeNaN(tree, data_sets)), outputs)
        _name_tables(tree, tables, database)
        text: str = tree.sql("athena", identify=True, unsupported_level=sqlglot.ErrorLevel.RAISE)
        return text
    except sqlglot.errors.SqlglotError as error:
        raise refused(str(error)) from error


def _typed(tree: Any, tables: Mapping[str, Shown]) -> Any:
    """With every column named in full and its type known, and every * replaced by its columns."""
    qualify = need("sqlglot.optimizer.qualify", "lake").qualify
    annotate = need("sqlglot.optimizer.annotate_types", "lake").annotate_types
    sqlglot, exp = need("sqlglot", "lake"), need("sqlglot.expressions", "lake")
    for literal in list(tree.find_all(exp.Literal)):  # sqlglot takes 1.5 for a double, and both engines for a decimal
        if decimal := decimal_of(literal):
            literal.replace(exp.cast(literal.copy(), decimal))
    schema = {name: dict(shown.columns) for name, shown in tables.items()}
    known = sqlglot.Dialect.get_or_raise("duckdb").EXPRESSION_METADATA
    doubles = {each: {"returns": exp.DataType.Type.DOUBLE} for each in (exp.Corr, exp.Div)}
    qualified = qualify(tree, schema=schema, dialect="duckdb")
    return annotate(qualified, schema=schema, dialect="duckdb", expression_metadata={**known, **doubles})


def _meaning_the_same(tree: Any, maybe_nan: MaybeNaN) -> Any:
    exp = need("sqlglot.expressions", "lake")
    ways = _ways(exp)
    for part in reversed(list(tree.walk())):  # the parts of a part come before it
        maybe_nan.check_others(part)
        made = part
        if isinstance(part, exp.EQ | exp.NEQ | exp.GT | exp.GTE | exp.LT | exp.LTE):
            made = maybe_nan.compared(part)
        elif isinstance(part, exp.Max):
            made = maybe_nan.largest(part)
        elif way := ways.get(type(part)):
            made = way(part, exp)
        if made is not part:
            made.type = part.type
            tree = made if part is tree else tree
            part.replace(made)
    return tree


def _ways(exp: Any) -> dict[type, Callable[[Any, Any], Any]]:
    """How to say what Athena has otherwise."""
    return {
        exp.Avg: _average,
        exp.Sum: _sum,
        exp.Div: _quotient,
        exp.Corr: _correlation,
        exp.Count: _count,
        exp.Length: _length,
        exp.Bracket: _element,
        exp.ArrayContains: _contains,
        exp.Floor: _whole_as_double,
        exp.Ceil: _whole_as_double,
        exp.Round: _rounded,
        exp.Is: _is,
        exp.DataType: _type,
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


def _as_texts(tree: Any, outputs: Sequence[str]) -> Any:
    """Columns that a result of Athena does not have exactly become text that does."""
    exp = need("sqlglot.expressions", "lake")
    odd = {number: kind for number, kind in enumerate(outputs) if _is_nested(kind) or kind == "BLOB"}
    if not odd:
        return tree
    if not isinstance(tree, exp.Select) or len(tree.expressions) != len(outputs):
        raise refused("a list, struct or binary is not known in the result of a UNION, INTERSECT or EXCEPT")
    for number, kind in odd.items():
        column = tree.expressions[number]
        value = column.this if isinstance(column, exp.Alias) else column
        if kind == "BLOB":
            text = exp.Anonymous(this="TO_HEX", expressions=[value.copy()])
        elif "BLOB" in kind:
            raise refused(f"{column.alias_or_name!r} has binaries in a list or struct, which JSON has not")
        else:
            text = exp.Anonymous(this="JSON_FORMAT", expressions=[exp.cast(value.copy(), "JSON")])
        column.replace(exp.alias_(text, column.alias_or_name, quoted=True))
    return tree


def _is_nested(kind: str) -> bool:
    return kind.endswith("[]") or kind.startswith("STRUCT(")


def _name_tables(tree: Any, tables: Mapping[str, Shown], database: str) -> None:
    """Of a data set, the snapshot that is of it: whatever is published meanwhile, the answer is of one moment."""
    exp = need("sqlglot.expressions", "lake")
    known = {name.lower(): (name, shown) for name, shown in tables.items()}
    defined = {each.alias.lower() for each in tree.find_all(exp.CTE)}
    for table in list(tree.find_all(exp.Table)):
        if table.name.lower() in defined:
            continue
        if table.args.get("db") or table.name.lower() not in known:
            raise refused(f"there is no table {table.sql('duckdb')!r} of this lake")
        name, shown = known[table.name.lower()]
        table.set("this", exp.to_identifier(name, quoted=True))
        table.set("db", exp.to_identifier(database, quoted=True))
        if shown.snapshot:
            at = exp.Literal.number(shown.snapshot)
            table.set("version", exp.Version(this="VERSION", kind="AS OF", expression=at))
