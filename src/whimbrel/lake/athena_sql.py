"""SQL for Athena that gives the answer which DuckDB gives here: every part of a statement is one that is known to mean
the same in both (``athena_known``), or it is said in another way here, or refused by name.

sqlglot knows both dialects, and which names of functions differ. What it does not know, or takes for the same although
it is not, is said here: Athena rounds averages of decimals, has no element beyond the end of a list, cannot say that a
list with a NULL does not contain a value, and rounds doubles of 2^63 and more to that number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from whimbrel.lake.athena_known import check_form, check_types, refused
from whimbrel.lake.athena_limits import check_limits
from whimbrel.lake.athena_nan import MaybeNaN
from whimbrel.lake.athena_shape import check_names, in_brackets, without_qualify
from whimbrel.lake.athena_types import Shown, check_outputs, typed
from whimbrel.lake.athena_ways import ways
from whimbrel.lake.need import need


def translated(statement: str, tables: Mapping[str, Shown], database: str, outputs: Sequence[str]) -> str:
    """The statement, which DuckDB understands and answers with columns of the types ``outputs``, for Athena.

    A list or struct is given as JSON, a binary as hexadecimal digits. Raises UserError for what is not known to give
    the same answer.
    """
    sqlglot = need("sqlglot", "lake")
    try:
        tree = sqlglot.parse_one(statement, read="duckdb")
        check_form(tree)
        tree = typed(tree, tables)
        check_form(tree)
        check_names(tree, {column for shown in tables.values() for column in shown.columns})
        check_types(tree)
        check_outputs(tree, outputs)
        check_limits(tree)
        data_sets = {name.lower() for name, shown in tables.items() if shown.snapshot}
        tree = _meaning_the_same(tree, MaybeNaN(tree, data_sets))
        in_brackets(tree)
        tree = _as_texts(without_qualify(tree), outputs)
        _name_tables(tree, tables, database)
        text: str = tree.sql("athena", identify=True, unsupported_level=sqlglot.ErrorLevel.RAISE)
        return text
    except sqlglot.errors.SqlglotError as error:
        raise refused(str(error)) from error


def _meaning_the_same(tree: Any, maybe_nan: MaybeNaN) -> Any:
    exp = need("sqlglot.expressions", "lake")
    said_otherwise = ways(exp)
    for part in reversed(list(tree.walk())):  # the parts of a part come before it
        maybe_nan.check_others(part)
        made = part
        if isinstance(part, exp.EQ | exp.NEQ | exp.GT | exp.GTE | exp.LT | exp.LTE):
            made = maybe_nan.compared(part)
        elif isinstance(part, exp.Max):
            made = maybe_nan.largest(part)
        elif way := said_otherwise.get(type(part)):
            made = way(part, exp)
        if made is not part:
            made.type = part.type
            tree = made if part is tree else tree
            part.replace(made)
    return tree


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
