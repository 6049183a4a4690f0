"""SQL for Athena that gives the answer which DuckDB gives here: every part of a statement is one that is known to mean
the same in both, or it is refused by name.

sqlglot knows both dialects, and which names of functions differ. What it does not know, or takes for the same although
it is not, is said here: averages of decimals are rounded in Athena, an element that is not in a list is an error, and
values of several types become numbers or text in other ways.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from whimbrel.errors import UserError
from whimbrel.lake.need import need

# The parts of a statement that are known, by sqlglot's names of them.
_CLAUSES = (
    "Select From Table TableAlias Identifier Column Alias Star Where Group Having Order Ordered Limit Offset Join With "
    "CTE Subquery Union Intersect Except Distinct Paren"
)
_VALUES = (
    "Literal Boolean Null And Or Not EQ NEQ GT GTE LT LTE Is In Between Like Exists Case If Coalesce Nullif NullSafeEQ "
    "NullSafeNEQ Add Sub Mul Div Mod Neg Cast DataType DataTypeParam DPipe Dot Bracket"
)
_FUNCTIONS = (
    "Count Sum Avg Min Max Corr CovarPop CovarSamp Stddev StddevPop StddevSamp Variance VariancePop Filter Window "
    "WindowSpec RowNumber Rank DenseRank Lag Lead FirstValue LastValue Abs Round Floor Ceil Sqrt Ln Exp Pow Length "
    "ArraySize ArrayContains StartsWith"
)
_KNOWN = frozenset(f"{_CLAUSES} {_VALUES} {_FUNCTIONS}".split())
# What says more of a part than its parts do.
_PLAIN_FLAGS = {"distinct", "desc", "nulls_first", "quoted", "is_string", "nested", "this", "side", "kind", "alias"}
_PLAIN_FLAGS |= {"by_name", "big_int", "typed", "safe", "recursive", "start", "start_side", "end", "end_side", "spec"}
_PLAIN_FLAGS |= {"over", "global_", "global", "on_column", "to", "escape", "ignore_nulls", "coalesce", "offset"}
_JOINS = {"", "INNER", "CROSS", "OUTER"}
_TEXT, _WHOLE = {"TEXT", "VARCHAR"}, {"BIGINT", "INT", "SMALLINT", "TINYINT", "INT128"}
_FLOATING = {"DOUBLE"}


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
        _check(tree)
        tree = _typed(tree, tables)
        _check(tree)
        tree = _as_texts(_meaning_the_same(tree), outputs)
        _name_tables(tree, tables, database)
        said: str = tree.sql("athena", identify=True, unsupported_level=sqlglot.ErrorLevel.RAISE)
        return said
    except sqlglot.errors.SqlglotError as error:
        raise _refused(str(error)) from error


def _typed(tree: Any, tables: Mapping[str, Shown]) -> Any:
    """With every column named in full and its type known, and every * replaced by its columns."""
    qualify = need("sqlglot.optimizer.qualify", "lake").qualify
    annotate = need("sqlglot.optimizer.annotate_types", "lake").annotate_types
    schema = {name: dict(shown.columns) for name, shown in tables.items()}
    return annotate(qualify(tree, schema=schema, dialect="duckdb"), schema=schema, dialect="duckdb")


def _check(tree: Any) -> None:
    exp = need("sqlglot.expressions", "lake")
    for part in tree.walk():
        name = type(part).__name__
        if name not in _KNOWN:
            raise _refused(f"{part.sql('duckdb')!r} ({name}) is not known to give the same answer in Athena")
        flags = {key for key, value in part.args.items() if value and not _is_of_parts(value, exp)}
        if strange := flags - _PLAIN_FLAGS:
            raise _refused(f"{part.sql('duckdb')[:80]!r} has {sorted(strange)}, which Athena does not have")
        if isinstance(part, exp.Join) and (part.kind not in _JOINS or part.args.get("method")):
            raise _refused(f"a join of the kind {part.args.get('method') or part.kind} is not known in Athena")
        if isinstance(part, exp.Distinct) and part.args.get("on"):
            raise _refused("DISTINCT ON is not known in Athena")
        if isinstance(part, exp.Cast):
            _check_cast(part)
        if isinstance(part, exp.DPipe) and not {_kind(part.this), _kind(part.expression)} <= {*_TEXT, "UNKNOWN"}:
            raise _refused(f"{part.sql('duckdb')!r}: only strings are joined in the same way")
        if isinstance(part, exp.Length) and _kind(part.this) not in {*_TEXT, "ARRAY", "UNKNOWN"}:
            raise _refused(f"{part.sql('duckdb')!r}: only strings and lists have the same length in both")


def _is_of_parts(value: Any, exp: Any) -> bool:
    return isinstance(value, exp.Expression) or (
        isinstance(value, list) and all(isinstance(each, exp.Expression) for each in value)
    )


def _check_cast(cast: Any) -> None:
    """Only where both engines make the same of every value. DuckDB rounds halves to even, Athena away from zero; and
    each has a way to write a double.
    """
    source, target = _kind(cast.this), cast.to.this.name
    if target in _FLOATING or source == target or source == "UNKNOWN":  # UNKNOWN: looked at again when it is known
        return
    if target in _TEXT and source in {*_WHOLE, *_TEXT, "BOOLEAN"}:
        return
    if target in _WHOLE and source in {*_WHOLE, *_TEXT}:
        return
    raise _refused(f"{cast.sql('duckdb')!r}: of {source}, the two engines make different values of {target}")


def _kind(part: Any) -> str:
    return str(part.type.this.name) if part.type is not None else "UNKNOWN"


def _meaning_the_same(tree: Any) -> Any:
    exp = need("sqlglot.expressions", "lake")

    def changed(part: Any) -> Any:
        if isinstance(part, exp.Avg):  # of decimals, Athena rounds it to their scale
            return exp.Avg(this=exp.cast(part.this, "DOUBLE"))
        if isinstance(part, exp.Div):  # of decimals, too
            return exp.Div(this=exp.cast(part.this, "DOUBLE"), expression=part.expression)
        if isinstance(part, exp.Corr):
            return _correlation(part, exp)
        if isinstance(part, exp.Length) and _kind(part.this) == "ARRAY":
            return exp.ArraySize(this=part.this)
        if isinstance(part, exp.Bracket):
            return _element(part, exp)
        is_known = _kind(part.this) != "UNKNOWN" if isinstance(part, exp.Cast | exp.DPipe | exp.Length) else True
        if not is_known and not isinstance(part.this, exp.Null):
            raise _refused(f"{part.sql('duckdb')!r}: the type of {part.this.sql('duckdb')!r} is not known")
        return part

    for part in reversed(list(tree.walk())):  # the parts of a part come before it
        made = changed(part)
        if made is not part:
            made.type = part.type
            tree = made if part is tree else tree
            part.replace(made)
    return tree


def _correlation(part: Any, exp: Any) -> Any:
    """Of values that do not vary, DuckDB has NaN, and Athena NULL; of none at all both have NULL."""
    if isinstance(part.parent, exp.Window | exp.Filter):
        raise _refused(f"{part.sql('duckdb')!r}: corr is not known to give the same answer with OVER or FILTER")
    pair = exp.and_(*(exp.Not(this=exp.Is(this=each.copy(), expression=exp.Null())) for each in _two(part)))
    seen = exp.Count(this=exp.Case(ifs=[exp.If(this=pair, true=exp.Literal.number(1))]))
    nan = exp.Case(ifs=[exp.If(this=exp.GT(this=seen, expression=exp.Literal.number(0)), true=exp.func("NAN"))])
    return exp.Coalesce(this=part.copy(), expressions=[nan])


def _two(part: Any) -> tuple[Any, Any]:
    return part.this, part.expression


def _element(part: Any, exp: Any) -> Any:
    """``l[1]``. Beyond the end DuckDB has NULL, as element_at has, and Athena's own brackets an error."""
    [index, *more] = part.expressions
    if more or _kind(part.this) != "ARRAY" or not isinstance(index, exp.Literal) or index.is_string:
        raise _refused(f"{part.sql('duckdb')!r}: only elements of lists by their number are known in Athena")
    place = exp.Literal.number(int(index.name) + 1)  # sqlglot counts from 0
    return exp.Anonymous(this="ELEMENT_AT", expressions=[part.this, place])


def _as_texts(tree: Any, outputs: Sequence[str]) -> Any:
    """Columns that a result of Athena does not have exactly become text that does."""
    exp = need("sqlglot.expressions", "lake")
    odd = {number: kind for number, kind in enumerate(outputs) if _is_nested(kind) or kind == "BLOB"}
    if not odd:
        return tree
    if not isinstance(tree, exp.Select) or len(tree.expressions) != len(outputs):
        raise _refused("a list, struct or binary is not known in the result of a UNION, INTERSECT or EXCEPT")
    for number, kind in odd.items():
        column = tree.expressions[number]
        value = column.this if isinstance(column, exp.Alias) else column
        if kind == "BLOB":
            text = exp.Anonymous(this="TO_HEX", expressions=[value.copy()])
        elif "BLOB" in kind:
            raise _refused(f"{column.alias_or_name!r} has binaries in a list or struct, which JSON has not")
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
            raise _refused(f"there is no table {table.sql('duckdb')!r} of this lake")
        name, shown = known[table.name.lower()]
        table.set("this", exp.to_identifier(name, quoted=True))
        table.set("db", exp.to_identifier(database, quoted=True))
        if shown.snapshot:
            at = exp.Literal.number(shown.snapshot)
            table.set("version", exp.Version(this="VERSION", kind="AS OF", expression=at))


def _refused(reason: str) -> UserError:
    return UserError(reason, place="--engine athena", hint="Leave the option out to ask DuckDB.")
