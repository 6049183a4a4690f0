"""From what a file has to a column's type, in SQL: the same value, or none. DuckDB's own CAST rounds ``1.5`` to 2 for
whole numbers and to a decimal's scale, reads ``0x1F`` and ``1_000``, and drops the hour of a date, and a time's zone.
"""

from __future__ import annotations

from typing import Any

from whimbrel.lake.datasets import literal

_WHOLE = r"[+-]?\d+"
_FLOAT = r"[+-]?((\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|(?i:nan|inf|infinity))"
_PATTERNS = {
    **dict.fromkeys(("TINYINT", "SMALLINT", "INT", "BIGINT"), _WHOLE),
    **dict.fromkeys(("FLOAT", "DOUBLE"), _FLOAT),
    "BOOLEAN": r"(?i:true|false|0|1)",
    "DATE": r"\d{4}-\d\d-\d\d",
    "TIMESTAMP": r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,6}0*)?)?Z?)?",  # a time without a zone is UTC
}
_SCALE = 3  # of DuckDB's DECIMAL that says none


def sql_type(kind: Any) -> str:
    """``kind`` is a type as sqlglot has it."""
    text: str = kind.sql("duckdb")
    return text


def of_text(text: str, kind: Any, column: str, *, strict: bool = True) -> str:
    """The SQL expression ``text`` as the type; a text that is not one is an error of the query, or, not ``strict``,
    NULL.
    """
    wanted, pattern = sql_type(kind), _pattern(kind)
    if not pattern:
        return f"{'' if strict else 'TRY_'}CAST({text} AS {wanted})"
    spaced = literal(rf"\s*{pattern}\s*")
    fits = f"regexp_full_match({text}, {spaced})"
    if not strict:
        return f"CASE WHEN {fits} THEN TRY_CAST({text} AS {wanted}) END"
    return _checked(text, fits, wanted, column)


def of_value(value: str, stored: str, kind: Any, column: str) -> str:
    """The SQL expression ``value``, of DuckDB's type ``stored``, as the type; one that it cannot hold is an error."""
    wanted = sql_type(kind)
    if stored == wanted or not _pattern(kind):
        return f"CAST({value} AS {wanted})"
    same = f"TRY_CAST(TRY_CAST({value} AS {wanted}) AS {stored}) = {value}"
    return (
        f"CASE WHEN {value} IS NULL OR {same} THEN CAST({value} AS {wanted}) ELSE {misfit(value, wanted, column)} END"
    )


def _checked(value: str, fits: str, wanted: str, column: str) -> str:
    wrong = misfit(value, wanted, column)
    return f"CASE WHEN {value} IS NULL OR {fits} THEN CAST({value} AS {wanted}) ELSE {wrong} END"


def misfit(value: str, wanted: str, column: str) -> str:
    """The SQL that ends the query, and says why."""
    said = literal(f"column {column!r}: '"), literal(f"' is not a value of {wanted}")
    return f"error({said[0]} || left(CAST({value} AS VARCHAR), 100) || {said[1]})"


def _pattern(kind: Any) -> str:
    if kind.this.name != "DECIMAL":
        return _PATTERNS.get(kind.this.name, "")
    scale = int(kind.expressions[1].name) if len(kind.expressions) > 1 else 0 if kind.expressions else _SCALE
    return rf"[+-]?(\d+(\.\d{{0,{scale}}}0*)?|\.\d{{0,{scale}}}0*)"
