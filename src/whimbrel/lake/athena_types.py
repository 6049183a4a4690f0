"""The type of each part of a statement, as DuckDB has it. How a part is said in Athena depends on it.

sqlglot finds the types, but not all of them as DuckDB does: of a decimal with its digits and a double it makes a
decimal. So types have no digits here, and what it takes otherwise is said here. The types of the answer's columns,
which DuckDB tells, are compared with what was found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from whimbrel.lake.athena_known import FLOATING, TEXT, UNKNOWN, WHOLE, decimal_of, group_of, kind_of, refused, said
from whimbrel.lake.athena_shape import written_out
from whimbrel.lake.need import need

_WIDER = ("TINYINT", "SMALLINT", "INT", "BIGINT", "INT128", "DECIMAL", "FLOAT", "DOUBLE")  # each holds those before it
_SAME = {"HUGEINT": "INT128", "INTEGER": "INT", "BLOB": "VARBINARY", "VARCHAR": "TEXT"}


class Shown(NamedTuple):
    """A table: its columns with DuckDB's types; the ``snapshot`` that it stands for, 0 if it is not a data set."""

    columns: Mapping[str, str]
    snapshot: int


def typed(tree: Any, tables: Mapping[str, Shown]) -> Any:
    """With every column named in full and its type known, and every * and ALL replaced by what it stands for."""
    qualify = need("sqlglot.optimizer.qualify", "lake").qualify
    annotate = need("sqlglot.optimizer.annotate_types", "lake").annotate_types
    sqlglot, exp = need("sqlglot", "lake"), need("sqlglot.expressions", "lake")
    for literal in list(tree.find_all(exp.Literal)):  # sqlglot takes 1.5 for a double, and both engines for a decimal
        if decimal := decimal_of(literal):
            literal.replace(exp.cast(literal.copy(), decimal))
    schema = {
        name: {column: _without_digits(kind, exp) for column, kind in shown.columns.items()}
        for name, shown in tables.items()
    }
    qualified = qualify(tree, schema=schema, dialect="duckdb")
    written_out(qualified)
    known = sqlglot.Dialect.get_or_raise("duckdb").EXPRESSION_METADATA
    types = [exp.DataType.Type[name] for name in _WIDER]
    return annotate(
        qualified,
        schema=schema,
        dialect="duckdb",
        expression_metadata={**known, **_as_in_duckdb(exp)},
        coerces_to={kind: set(types[number + 1 :]) for number, kind in enumerate(types)},
    )


def check_outputs(tree: Any, outputs: Sequence[str]) -> None:
    """``outputs`` are DuckDB's types of the answer's columns. Raises UserError where another type was found."""
    for select, output in zip(tree.selects, outputs, strict=True):
        found, told = _family(kind_of(select)), _family(output.partition("(")[0])
        if group_of(select) != UNKNOWN and found != told and not _is_nested_or_null(output):
            raise refused(f"{said(select)}: is {output} in DuckDB, and its type was taken for {found}")


def _as_in_duckdb(exp: Any) -> dict[Any, Any]:
    kinds = exp.DataType.Type
    text, double = {"returns": kinds.VARCHAR}, {"returns": kinds.DOUBLE}
    of_first = {"annotator": lambda self, part: self._set_type(part, part.this.type)}
    whole = {
        "annotator": lambda self, part: self._set_type(
            part, kinds.DECIMAL if kind_of(part.this) == "DECIMAL" else kinds.DOUBLE
        )
    }
    without_digits = {
        "annotator": lambda self, part: self._set_type(part, kinds.DECIMAL if _is_decimal(part.to, kinds) else part.to)
    }
    return {
        **dict.fromkeys((exp.Corr, exp.Div), double),
        **dict.fromkeys((exp.Replace, exp.Left), text),
        **dict.fromkeys((exp.Round, exp.Nullif, exp.Lag, exp.Lead), of_first),
        **dict.fromkeys((exp.Floor, exp.Ceil), whole),
        exp.Cast: without_digits,
        exp.Mod: {"annotator": lambda self, part: _of_rest(self, part, exp)},
        exp.Sum: {"annotator": lambda self, part: _of_sum(self, part, exp)},
        exp.Literal: {"annotator": lambda self, part: self._set_type(part, _of_literal(part, kinds))},
    }


def _of_literal(part: Any, kinds: Any) -> Any:
    if part.is_string:
        return kinds.VARCHAR
    if not part.is_int:
        return kinds.DOUBLE
    return kinds.INT if int(part.name) < 2**31 else kinds.BIGINT if int(part.name) < 2**63 else kinds.INT128


def _of_sum(annotator: Any, part: Any, exp: Any) -> Any:
    value = part.this.expressions[0] if isinstance(part.this, exp.Distinct) else part.this
    return annotator._set_type(part, exp.DataType.Type.INT128 if kind_of(value) in WHOLE else value.type)


def _of_rest(annotator: Any, part: Any, exp: Any) -> Any:
    """Of a whole number of 128 bits and a decimal, DuckDB makes doubles."""
    if {kind_of(part.this), kind_of(part.expression)} == {"INT128", "DECIMAL"}:
        return annotator._set_type(part, exp.DataType.Type.DOUBLE)
    return annotator._annotate_binary(part)


def _without_digits(kind: str, exp: Any) -> Any:
    found = exp.DataType.build(kind, dialect="duckdb")
    for each in found.find_all(exp.DataType):
        if each.this == exp.DataType.Type.DECIMAL:
            each.set("expressions", None)
    return found


def _is_decimal(kind: Any, kinds: Any) -> bool:
    return bool(kind.this == kinds.DECIMAL)


def _family(kind: str) -> str:
    kind = _SAME.get(kind, kind)
    return "a whole number" if kind in WHOLE else "double" if kind in FLOATING else "text" if kind in TEXT else kind


def _is_nested_or_null(output: str) -> bool:
    return output.endswith("]") or output.startswith("STRUCT(") or output == '"NULL"'
