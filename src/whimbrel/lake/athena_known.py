"""What of SQL is known to mean the same in DuckDB and in Athena, whose SQL is Trino's. All else is refused by name.

DuckDB makes numbers of texts, and truth values of numbers, where Trino refuses the query. The two compare lists and
structs with NULLs in them differently. So both sides of a comparison must be of one group of types here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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
_FLAGS = (
    "distinct desc nulls_first quoted is_string nested this side kind alias big_int typed safe recursive start end "
    "spec start_side end_side over global_ global on_column to escape ignore_nulls coalesce offset negate"
)
_PLAIN_FLAGS = frozenset(_FLAGS.split())
_JOINS = {"", "INNER", "CROSS", "OUTER"}
TEXT, WHOLE, FLOATING = {"TEXT", "VARCHAR"}, {"BIGINT", "INT", "SMALLINT", "TINYINT", "INT128"}, {"DOUBLE"}
NUMBER, TEXTS, TRUTH, BINARY, NESTED, UNKNOWN = "number", "text", "bool", "binary", "list or struct", "unknown"
_GROUPS = {
    **dict.fromkeys([*WHOLE, "DECIMAL", "DOUBLE", "FLOAT"], NUMBER),
    **dict.fromkeys(TEXT, TEXTS),
    "BOOLEAN": TRUTH,
    "BLOB": BINARY,
    "VARBINARY": BINARY,
    **dict.fromkeys(["ARRAY", "LIST", "STRUCT", "MAP"], NESTED),
}
# The parts whose operands are all of one group, and the groups that they may be of.
_OF_ONE_GROUP = (
    ("EQ NEQ GT GTE LT LTE NullSafeEQ NullSafeNEQ In Between Nullif", {NUMBER, TEXTS, TRUTH, BINARY}),
    ("Coalesce", {NUMBER, TEXTS, TRUTH, BINARY, NESTED}),
    ("Min Max Ordered", {NUMBER, TEXTS, TRUTH, BINARY}),
    ("Add Sub Mul Div Mod Neg Sum Avg Corr CovarPop CovarSamp", {NUMBER}),
    ("Stddev StddevPop StddevSamp Variance VariancePop", {NUMBER}),
    ("Abs Round Floor Ceil Sqrt Ln Exp Pow", {NUMBER}),
    ("Like DPipe StartsWith", {TEXTS}),
    ("And Or Not Where Having", {TRUTH}),
)
_GROUPS_OF_PART = {name: groups for names, groups in _OF_ONE_GROUP for name in names.split()}


def check_form(tree: Any) -> None:
    """Raises UserError for a part that is not known."""
    exp = need("sqlglot.expressions", "lake")
    for part in tree.walk():
        name = type(part).__name__
        if name not in _KNOWN:
            raise refused(f"{said(part)} ({name}) is not known to give the same answer in Athena")
        flags = {key for key, value in part.args.items() if value and not _is_of_parts(value, exp)}
        if strange := flags - _PLAIN_FLAGS:
            raise refused(f"{said(part)} has {sorted(strange)}, which Athena does not have")
        if isinstance(part, exp.Join) and (part.kind not in _JOINS or part.args.get("method")):
            raise refused(f"a join of the kind {part.args.get('method') or part.kind} is not known in Athena")
        if isinstance(part, exp.Distinct) and part.args.get("on"):
            raise refused("DISTINCT ON is not known in Athena")
        if isinstance(part, exp.In) and part.args.get("field"):
            raise refused(f"{said(part)}: use list_contains to look into a list")
        if isinstance(part, exp.Count) and isinstance(part.this, exp.Column) and part.this.is_star:
            raise refused(f"{said(part)}: only * and values are counted in the same way")
        if isinstance(part, exp.AggFunc) and isinstance(part.this, exp.Order):
            raise refused(f"{said(part)} has ORDER BY within, which is not known in Athena")
        if isinstance(part, exp.Limit | exp.Offset) and not isinstance(part.expression, exp.Literal):
            raise refused(f"{said(part)}: only a number of rows is known in Athena")


def check_types(tree: Any) -> None:
    """With the types of all parts. Raises UserError for one that the engines take differently."""
    exp = need("sqlglot.expressions", "lake")
    for part in tree.walk():
        _check_groups(part, exp)
        if isinstance(part, exp.Cast):
            _check_cast(part)
        if isinstance(part, exp.Length) and kind_of(part.this) not in {*TEXT, "ARRAY"}:
            raise refused(f"{said(part)}: only strings and lists have the same length in both")
        if isinstance(part, exp.ArrayContains):
            _check_contains(part)
        digits = part.args.get("decimals") if isinstance(part, exp.Round) else None
        if digits is not None and not (isinstance(digits, exp.Literal) and digits.is_int):
            raise refused(f"{said(part)}: only a number of digits after the point is known in Athena")


def _check_groups(part: Any, exp: Any) -> None:
    allowed = _GROUPS_OF_PART.get(type(part).__name__)
    if isinstance(part, exp.Case):
        conditions = [each.this for each in part.args["ifs"]]
        compared = _GROUPS_OF_PART["EQ"] if part.this else {TRUTH}
        _check_groups_of(part, [part.this, *conditions], compared)
        _check_groups_of(part, [*(each.args["true"] for each in part.args["ifs"]), part.args.get("default")], None)
    elif isinstance(part, exp.Is) and isinstance(part.expression, exp.Boolean):
        _check_groups_of(part, [part.this], {TRUTH})
    elif allowed:
        _check_groups_of(part, list(_operands(part, exp)), allowed)


def _operands(part: Any, exp: Any) -> Iterator[Any]:
    for key, value in part.args.items():
        if key == "decimals":  # of round
            continue
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, exp.Subquery) or not isinstance(each, exp.Query):
                yield from _within(each, exp)
            elif len(each.selects) == 1:  # of IN
                yield each.selects[0]


def _within(part: Any, exp: Any) -> Iterator[Any]:
    if isinstance(part, exp.Distinct):
        yield from part.expressions
    elif isinstance(part, exp.Column) and not part.table:  # the name of a column of the answer, in ORDER BY
        named = [each for each in part.find_ancestor(exp.Query).selects if each.alias_or_name == part.name]
        yield from named or [part]
    elif isinstance(part, exp.Expression):
        yield part


def _check_groups_of(part: Any, operands: list[Any], allowed: set[str] | None) -> None:
    exp = need("sqlglot.expressions", "lake")
    groups = {group_of(each): each for each in operands if each is not None and not isinstance(each, exp.Null)}
    if UNKNOWN in groups:
        raise refused(f"{said(part)}: the type of {said(groups[UNKNOWN])} is not known")
    if len(groups) > 1:
        raise refused(f"{said(part)}: {' and '.join(sorted(groups))}; cast one of them")
    if allowed and groups and not groups.keys() <= allowed:
        raise refused(f"{said(part)} is not known of {next(iter(groups))} in Athena")


def _check_cast(cast: Any) -> None:
    """Only where both engines make the same of every value. DuckDB rounds halves to even, Athena away from zero; and
    each has a way to write a double.
    """
    exp = need("sqlglot.expressions", "lake")
    source, target, group = kind_of(cast.this), cast.to.this.name, group_of(cast.this)
    if source == target or isinstance(cast.this, exp.Null) or decimal_of(cast.this) == cast.to.sql():
        return
    if target in FLOATING and group in {NUMBER, TEXTS, TRUTH}:
        return
    if target in TEXT and (source in {*WHOLE, *TEXT} or group == TRUTH):
        return
    if target in WHOLE and source in {*WHOLE, *TEXT}:
        return
    raise refused(f"{said(cast)}: of {source}, the two engines make different values of {target}")


def _check_contains(part: Any) -> None:
    elements = part.this.type.expressions if part.this.type is not None else []
    groups = {_GROUPS.get(elements[0].this.name, UNKNOWN) if elements else UNKNOWN, group_of(part.expression)}
    if len(groups) > 1 or groups & {NESTED, UNKNOWN}:
        raise refused(
            f"{said(part)}: {' and '.join(sorted(groups))}; only values of the list's own type are looked for"
        )


def decimal_of(part: Any) -> str:
    """The type of a number that is written with a point, "" of anything else."""
    if type(part).__name__ != "Literal" or part.is_string or not part.name.replace(".", "", 1).isdigit():
        return ""
    before, point, after = part.name.partition(".")
    digits = max(len(before.lstrip("0") + after), 1)
    return f"DECIMAL({digits}, {len(after)})" if point and digits <= 38 else ""


def kind_of(part: Any) -> str:
    """sqlglot's name of its type."""
    return str(part.type.this.name) if part.type is not None else "UNKNOWN"


def group_of(part: Any) -> str:
    return _GROUPS.get(kind_of(part), UNKNOWN)


def said(part: Any) -> str:
    return repr(part.sql("duckdb")[:80])


def refused(reason: str) -> UserError:
    return UserError(reason, place="--engine athena", hint="Leave the option out to ask DuckDB.")


def _is_of_parts(value: Any, exp: Any) -> bool:
    return isinstance(value, exp.Expression) or (
        isinstance(value, list) and all(isinstance(each, exp.Expression) for each in value)
    )
