"""Source filters of a selection rule as one SQLite expression over canonical values (see ``whimbrel.records``).

Numbers compare as numbers, exactly; text by its bytes; dates and times as the text that they are. NULL meets no
condition but ``null``. A filter says which rows exist for the target: one that an update takes out of it is deleted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from whimbrel.dms.expressions import quoted_name, quoted_text
from whimbrel.dms.names import unknown
from whimbrel.dms.rules import Filter, FilterCondition
from whimbrel.records import Column, Table

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)")
_TIMES = {
    "date": r"\d{4}-\d\d-\d\d",
    "datetime": r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d(\.\d{1,6})?)?",
    "timestamp": r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d(\.\d{1,6})?)?",
    "time": r"-?\d{2,3}:\d\d:\d\d(\.\d{1,6})?",
}
_SIGNS = {"lte": "<=", "gte": ">=", "eq": "=", "noteq": "<>"}
_UNORDERED = ("time", "uuid", "inet4", "inet6")
MOST_DIGITS = 18


class _Unfit(Exception):
    """``str()`` says why a value cannot be compared with the column."""


def expression(filters: Iterable[Filter], table: Table, place: str, faults: list[str]) -> str:
    """ "" if there is no filter. All filters must hold, and in each of them one condition."""
    parts = []
    for each in filters:
        if each.column not in table.names:
            faults.append(f"{place}: filters: {unknown(each.column, table.names, table.full_name)}")
            continue
        column = table.column(each.column)
        try:
            alternatives = [_condition(column, condition) for condition in each.conditions]
        except _Unfit as reason:
            faults.append(f"{place}: filters on {table.full_name}.{each.column}: {reason}")
            continue
        parts.append(alternatives[0] if len(alternatives) == 1 else f"({' OR '.join(alternatives)})")
    return " AND ".join(parts)


def _condition(column: Column, condition: FilterCondition) -> str:
    name = quoted_name(column.name)
    if condition.operator in ("null", "notnull"):
        return f"{name} IS {'NOT ' if condition.operator == 'notnull' else ''}NULL"
    if column.kind in ("binary", "geometry", "json"):
        raise _Unfit(f"a filter cannot compare {column.kind}")
    values = [_literal(column, value) for value in condition.values]
    if condition.operator in ("between", "notbetween"):
        inside = f"{_compared(column, name, '>=', values[0])} AND {_compared(column, name, '<=', values[1])}"
        return f"({inside})" if condition.operator == "between" else f"NOT ({inside})"
    return _compared(column, name, _SIGNS[condition.operator], values[0])


def _compared(column: Column, name: str, sign: str, literal: str) -> str:
    if column.kind == "decimal":
        return f"decimal_cmp({name}, {literal}) {sign} 0"
    if column.kind in _UNORDERED and sign in ("<=", ">="):
        raise _Unfit(f"the text of {column.kind} has another order than its values: compare it with eq or noteq")
    return f"{name} {sign} {literal}"


def _literal(column: Column, value: str) -> str:
    text = value.strip()
    if column.kind in ("int", "bit", "year", "decimal", "float", "double"):
        if not _NUMBER.fullmatch(text):
            raise _Unfit(f"{value!r} is not a number, and the column is {column.type_name or column.kind}")
        return _number(column, text)
    if column.kind in _TIMES:
        if not re.fullmatch(_TIMES[column.kind], text, re.ASCII):
            raise _Unfit(f"{value!r} is not a {column.kind}: write YYYY-MM-DD or YYYY-MM-DD HH:MM:SS")
        return quoted_text(_time(column, text))
    if "\0" in value:
        raise _Unfit("a NUL character cannot be compared")
    return quoted_text(value)


def _number(column: Column, text: str) -> str:
    if column.kind == "decimal":
        return quoted_text(text)
    if "." not in text and len(text.lstrip("+-0")) <= MOST_DIGITS:
        return str(int(text))
    if column.kind in ("int", "bit", "year"):
        whole, _, fraction = text.partition(".")
        if not fraction.strip("0") and len(whole.lstrip("+-0")) <= MOST_DIGITS:
            return str(int(whole or "0") if whole not in ("+", "-") else 0)
        if len(text) > 15:
            raise _Unfit(f"{text} has too many digits to be compared exactly")
    return repr(float(text))


def _time(column: Column, text: str) -> str:
    """As the column's values are written: midnight where there is no time, and all its fractional digits."""
    if column.kind in ("datetime", "timestamp") and len(text) == len("YYYY-MM-DD"):
        text += " 00:00:00"
    if column.kind != "date" and column.scale:
        whole, _, fraction = text.partition(".")
        return f"{whole}.{fraction.ljust(column.scale, '0')}"
    return text
