"""What of SQL is known to mean the same in DuckDB and in Athena, whose SQL is Trino's. All else is refused by name.

DuckDB makes numbers of texts, and truth values of numbers, where Trino refuses the query. The two compare lists and
structs with NULLs in them differently. So both sides of a comparison must be of one group of types here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from whimbrel.errors import UserError
from whimbrel.lake.athena_instead import INSTEAD
from whimbrel.lake.need import need

# The parts of a statement that are known, by sqlglot's names of them.
_CLAUSES = (
    "Select From Table TableAlias Identifier Column Alias Star Where Group Having Order Ordered Limit Offset Join With "
    "CTE Subquery Union Intersect Except Distinct Paren Qualify Rollup Cube Unnest"
)
_VALUES = (
    "Literal Boolean Null And Or Not EQ NEQ GT GTE LT LTE Is In Between Like ILike Escape Exists Case If Coalesce "
    "Nullif NullSafeEQ NullSafeNEQ Greatest Least Add Sub Mul Div IntDiv Mod Neg Cast DataType DataTypeParam DPipe Dot "
    "Bracket"
)
_FUNCTIONS = (
    "Count Sum Avg Min Max Corr CovarPop CovarSamp Stddev StddevPop StddevSamp Variance VariancePop Filter Window "
    "WindowSpec RowNumber Rank DenseRank PercentRank CumeDist Ntile Lag Lead FirstValue LastValue CountIf LogicalAnd "
    "LogicalOr Abs Round Floor Ceil Sqrt Ln Exp Pow Length ArraySize ArrayContains StartsWith Lower Substring Left "
    "Replace StrPosition Contains Concat Year Month Day Extract DateDiff"
)
_KNOWN = frozenset(f"{_CLAUSES} {_VALUES} {_FUNCTIONS}".split())
# What says more of a part than its parts do.
_FLAGS = (
    "distinct desc nulls_first quoted is_string nested this side kind alias big_int typed safe start end spec "
    "start_side end_side over global_ global on_column to escape ignore_nulls coalesce negate date_part_boundary"
)
_PLAIN_FLAGS = frozenset(_FLAGS.split())
_JOINS = {"", "INNER", "CROSS", "OUTER"}
TEXT, WHOLE, FLOATING = {"TEXT", "VARCHAR"}, {"BIGINT", "INT", "SMALLINT", "TINYINT", "INT128"}, {"DOUBLE"}
NUMBER, TEXTS, TRUTH, BINARY, DAY = "number", "text", "bool", "binary", "date"
NESTED, SINGLE, UNKNOWN = "list or struct", "float of 32 bits", "unknown"  # Athena's sums of such floats are such, too
_GROUPS = {
    **dict.fromkeys([*WHOLE, "DECIMAL", "DOUBLE"], NUMBER),
    "FLOAT": SINGLE,
    **dict.fromkeys(TEXT, TEXTS),
    "BOOLEAN": TRUTH,
    "BLOB": BINARY,
    "VARBINARY": BINARY,
    "DATE": DAY,
    **dict.fromkeys(["ARRAY", "LIST", "STRUCT", "MAP"], NESTED),
}
# The parts whose operands are all of one group, and the groups that they may be of.
_OF_ONE_GROUP = (
    ("EQ NEQ GT GTE LT LTE NullSafeEQ NullSafeNEQ In Between Nullif", {NUMBER, TEXTS, TRUTH, BINARY, DAY}),
    ("Coalesce", {NUMBER, TEXTS, TRUTH, BINARY, DAY, NESTED}),
    ("Min Max Ordered", {NUMBER, TEXTS, TRUTH, BINARY, DAY}),
    ("Greatest Least", {NUMBER, TEXTS, DAY}),
    ("Add Sub Mul Div IntDiv Mod Neg Sum Avg Corr CovarPop CovarSamp", {NUMBER}),
    ("Stddev StddevPop StddevSamp Variance VariancePop", {NUMBER}),
    ("Abs Round Floor Ceil Sqrt Ln Exp Pow", {NUMBER}),
    ("Like ILike DPipe StartsWith Lower Substring Left Replace StrPosition Contains Concat", {TEXTS}),
    ("And Or Not Where Having Qualify CountIf LogicalAnd LogicalOr", {TRUTH}),
    ("Year Month Day Extract DateDiff", {DAY}),
)
_GROUPS_OF_PART = {name: groups for names, groups in _OF_ONE_GROUP for name in names.split()}
_NOT_OPERANDS = {"decimals", "start", "length", "unit"}  # of round, substr, date_diff
_NOT_OPERANDS_OF = {("Left", "expression"), ("Extract", "this")}
_OWN_FLAGS = {"Group": {"all"}, "Lag": {"offset"}, "Lead": {"offset"}}


def check_form(tree: Any) -> None:
    """Raises UserError for a part that is not known."""
    exp = need("sqlglot.expressions", "lake")
    for part in tree.walk():
        name = type(part).__name__
        if name not in _KNOWN and not (isinstance(part, exp.Var) and _is_known_word(part, exp)):
            called = _called(part, exp)
            reason = f"{said(part)} ({called}) is not known to give the same answer in Athena"
            raise refused(reason, INSTEAD.get(called, ""))
        flags = {key for key, value in part.args.items() if value and not _is_of_parts(value, exp)}
        if strange := sorted(flags - _PLAIN_FLAGS - _OWN_FLAGS.get(name, set())):
            raise refused(f"{said(part)} has {strange}, which Athena does not have", INSTEAD.get(strange[0], ""))
        if isinstance(part, exp.Distinct) and part.args.get("on"):
            raise refused("DISTINCT ON is not known in Athena", INSTEAD["DISTINCT ON"])
        if isinstance(part, exp.In) and part.args.get("field"):
            raise refused(f"{said(part)}: use list_contains to look into a list")
        if isinstance(part, exp.Count) and isinstance(part.this, exp.Column) and part.this.is_star:
            raise refused(f"{said(part)}: only * and values are counted in the same way")
        if isinstance(part, exp.AggFunc) and isinstance(part.this, exp.Order):
            raise refused(f"{said(part)} has ORDER BY within, which is not known in Athena")
        if isinstance(part, exp.Limit | exp.Offset) and not isinstance(part.expression, exp.Literal):
            raise refused(f"{said(part)}: only a number of rows is known in Athena")
        if isinstance(part, exp.Rollup | exp.Cube) and not all(
            isinstance(each, exp.Column) for each in part.expressions
        ):
            raise refused(f"{said(part)}: only columns are known in ROLLUP and CUBE")
        if isinstance(part, exp.Join):
            _check_join(part, exp)
        if isinstance(part, exp.SetOperation) and not _is_of_rows(part, exp):
            raise refused(f"{said(part)} is known as a question, or in FROM or WITH")
        check_written(part, exp)


def _called(part: Any, exp: Any) -> str:
    if isinstance(part, exp.IgnoreNulls):
        part = part.this
    return part.name.lower() if isinstance(part, exp.Anonymous) else type(part).__name__


def _is_known_word(word: Any, exp: Any) -> bool:
    if isinstance(word.parent, exp.Extract | exp.DateDiff):
        return word.name.upper() in {"YEAR", "MONTH", "DAY"}
    return isinstance(word.parent, exp.Ordered) and word.name.upper() == "ALL"


def _is_of_rows(part: Any, exp: Any) -> bool:
    """Not as a value, or in IN."""
    around = part.parent
    while isinstance(around, exp.Subquery | exp.SetOperation):
        around = around.parent
    return around is None or isinstance(around, exp.CTE | exp.From | exp.Join)


def _check_join(join: Any, exp: Any) -> None:
    method = join.args.get("method") or join.kind
    if join.kind not in _JOINS or join.args.get("method"):
        raise refused(f"a join of the kind {method} is not known in Athena", INSTEAD.get(method, ""))
    sides = {each.side for each in join.parent.args.get("joins") or []}
    if isinstance(join.this, exp.Unnest) and (sides & {"RIGHT", "FULL"} or join.side or join.args.get("on")):
        reason = f"{said(join)}: UNNEST is known without conditions, and beside inner and left joins"
        raise refused(reason, "Write FROM t, UNNEST(t.list) AS u(x).")


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
        if isinstance(part, exp.IntDiv) and not {kind_of(part.this), kind_of(part.expression)} <= WHOLE:
            raise refused(f"{said(part)}: // is known of whole numbers alone", "Use floor or ceil of a / b.")
        if isinstance(part, exp.Unnest):
            _check_unnest(part)
        if isinstance(part, exp.SetOperation):
            _check_sides(part)
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
    elif isinstance(part, exp.If) and not isinstance(part.parent, exp.Case):
        _check_groups_of(part, [part.this], {TRUTH})
        _check_groups_of(part, [part.args["true"], part.args.get("false")], None)
    elif isinstance(part, exp.Join):
        _check_groups_of(part, [part.args.get("on")], {TRUTH})
    elif isinstance(part, exp.Is) and isinstance(part.expression, exp.Boolean):
        _check_groups_of(part, [part.this], {TRUTH})
    elif allowed:
        _check_groups_of(part, list(_operands(part, exp)), allowed)


def _operands(part: Any, exp: Any) -> Iterator[Any]:
    for key, value in part.args.items():
        if key in _NOT_OPERANDS or (type(part).__name__, key) in _NOT_OPERANDS_OF:
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
        instead = "Cast it to DOUBLE." if SINGLE in groups else ""
        raise refused(f"{said(part)} is not known of {next(iter(groups))} in Athena", instead)


def _check_cast(cast: Any) -> None:
    """Only where both engines make the same of every value. DuckDB rounds halves to even, Athena away from zero; and
    each has a way to write a double.
    """
    exp = need("sqlglot.expressions", "lake")
    source, target, group = kind_of(cast.this), cast.to.this.name, group_of(cast.this)
    if source == target != "DECIMAL" or isinstance(cast.this, exp.Null) or decimal_of(cast.this) == cast.to.sql():
        return
    if target in FLOATING and group in {NUMBER, TEXTS, TRUTH, SINGLE}:
        return
    if target in TEXT and (source in {*WHOLE, *TEXT} or group in {TRUTH, DAY}):
        return
    if target in WHOLE and (source in {*WHOLE, *TEXT} or group == TRUTH):
        return
    if target == "DECIMAL" and source in {*WHOLE, "DECIMAL"}:
        return
    if target == "DATE" and source in TEXT:
        return
    instead = INSTEAD["Timestamp"] if target.startswith(("TIME", "DATE")) else ""
    if group == NUMBER and target in WHOLE:
        instead = "Use floor, ceil or round."
    elif source in FLOATING and target == "DECIMAL":
        instead = "Use round, which gives a double."
    raise refused(f"{said(cast)}: of {source}, the two engines make different values of {target}", instead)


def _check_unnest(part: Any) -> None:
    """Of a list of structs, Athena makes a column of each field."""
    alias, values = part.args.get("alias"), part.expressions
    elements = values[0].type.expressions if values[0].type is not None else []
    known = {NUMBER, TEXTS, TRUTH, BINARY}
    if len(values) > 1 or not elements or _GROUPS.get(elements[0].this.name) not in known:
        raise refused(f"{said(part)}: only a list of numbers, texts, truth values or binaries is known in UNNEST")
    if alias is None or len(alias.args.get("columns") or []) != 1:
        raise refused(f"{said(part)}: its column has no name", "Write UNNEST(list) AS u(x).")


def _check_sides(part: Any) -> None:
    """Of UNION, INTERSECT and EXCEPT, each column."""
    for first, second in zip(part.this.selects, part.expression.selects, strict=True):
        _check_groups_of(part, [first.unalias(), second.unalias()], None)


def _check_contains(part: Any) -> None:
    elements = part.this.type.expressions if part.this.type is not None else []
    groups = {_GROUPS.get(elements[0].this.name, UNKNOWN) if elements else UNKNOWN, group_of(part.expression)}
    if len(groups) > 1 or groups & {NESTED, UNKNOWN}:
        raise refused(
            f"{said(part)}: {' and '.join(sorted(groups))}; only values of the list's own type are looked for"
        )


def check_written(part: Any, exp: Any) -> None:
    """Raises UserError where what is known of a part is only known of values that are written in the statement."""
    if isinstance(part, exp.Substring):
        place, length = part.args.get("start"), part.args.get("length")
        if not _is_whole(place, 1, exp) or (length is not None and not _is_whole(length, 0, exp)):
            raise refused(f"{said(part)}: only numbers from 1 are known as places of characters")
    elif isinstance(part, exp.Left) and not _is_whole(part.expression, 0, exp):
        raise refused(f"{said(part)}: only a number of characters is known in Athena")
    elif isinstance(part, exp.Ntile) and not _is_whole(part.this, 1, exp):
        raise refused(f"{said(part)}: only a number of parts is known in Athena")
    elif isinstance(part, exp.Replace) and not (isinstance(part.expression, exp.Literal) and part.expression.name):
        raise refused(f"{said(part)}: only a text that is written, and not empty, is replaced alike")
    elif isinstance(part, exp.Escape):
        sign = part.expression
        if isinstance(part.this, exp.ILike) or not isinstance(sign, exp.Literal) or len(sign.name) != 1:
            raise refused(f"{said(part)}: ESCAPE is known of LIKE, with one character")
    elif isinstance(part, exp.Concat) and len(part.expressions) < 2:
        raise refused(f"{said(part)}: concat is known of two or more texts")


def _is_whole(part: Any, least: int, exp: Any) -> bool:
    return isinstance(part, exp.Literal) and part.is_int and int(part.name) >= least


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


def refused(reason: str, instead: str = "") -> UserError:
    """``instead`` is a sentence that says what to write."""
    hint = f"{instead} Or leave the option out to ask DuckDB." if instead else "Leave the option out to ask DuckDB."
    return UserError(reason, place="--engine athena", hint=hint)


def _is_of_parts(value: Any, exp: Any) -> bool:
    return isinstance(value, exp.Expression) or (
        isinstance(value, list) and all(isinstance(each, exp.Expression) for each in value)
    )
