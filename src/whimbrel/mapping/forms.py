"""The rarer forms that a column may have in an item: JSON as a tree, SET as a set, times as numbers, computed values.

Each function raises Refused, naming its ``place``, for a value that has no such form.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from whimbrel.item import MAX_DEPTH, base64, plain
from whimbrel.records import AttributeValue, Value

SOURCES = {  # of generated code, for each type of ``types`` that is made here
    "JSON": "json_tree({variable}, {place})",
    "SS": "string_set({variable})",
    "EPOCH": '{{"N": epoch({variable}, {place})}}',
    "EPOCH_MS": '{{"N": epoch_ms({variable}, {place})}}',
    "SECONDS": '{{"N": seconds({variable})}}',
    "ANY": "computed({variable}, {place})",
}


EXPIRY_KINDS = ("date", "datetime", "timestamp", "int", "computed")  # of columns that [table.ttl] takes
_CALENDAR = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}( ([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?)?")


class Refused(Exception):
    """A row cannot become (part of) an item; ``str()`` is the reason. Never leaves this package: it ends as a Fault."""


def shown(value: object) -> str:
    """A value for a message, cut to a bearable length."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:70]}… ({len(text)} characters)"


# --- JSON -----------------------------------------------------------------------------------------------------------


class _Object(list[tuple[str, Any]]):
    """An object's members as they were written, so that a name that comes twice is seen."""


class _Number(str):
    """A number's own text."""


def json_tree(text: Value, place: str, number: Callable[[str, str], str]) -> AttributeValue:
    """JSON text as M, L, S, N, BOOL or NULL. ``number`` makes the exact text of a number for N, or raises Refused.

    A name that comes twice (MariaDB keeps what was written) or is empty, and more than 32 levels, are refused.
    """

    def not_json(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    if not isinstance(text, str):
        raise Refused(f"{place} is {shown(text)}, which is not JSON text")
    try:
        tree = json.loads(
            text, parse_int=_Number, parse_float=_Number, parse_constant=not_json, object_pairs_hook=_Object
        )
    except (ValueError, RecursionError) as error:
        raise Refused(f"{place} is not JSON that can be read: {error or 'it is nested too deeply'}") from None
    return _value(tree, place, number, 0)


def json_document(text: Value, kind: str, place: str, number: Callable[[str, str], str]) -> AttributeValue:
    """JSON text that is an object (``kind`` M) or an array (L), or null."""
    found = json_tree(text, place, number)
    if kind in found or "NULL" in found:
        return found
    what = "an object" if kind == "M" else "an array"
    raise Refused(f"{place} is {shown(text)}, which is JSON, and not {what}")


def _value(tree: Any, place: str, number: Callable[[str, str], str], depth: int) -> AttributeValue:
    if tree is None:
        return {"NULL": True}
    if isinstance(tree, bool):
        return {"BOOL": tree}
    if isinstance(tree, _Number):
        return {"N": number(tree, place)}
    if isinstance(tree, str):
        if not tree.isascii() and any("\ud800" <= each <= "\udfff" for each in tree):
            raise Refused(f"{place} has half of a surrogate pair, which is not Unicode text: {shown(tree)}")
        return {"S": tree}
    if depth == MAX_DEPTH:
        raise Refused(f"{place} is nested more than {MAX_DEPTH} levels deep, which DynamoDB does not allow")
    if isinstance(tree, _Object):
        return {"M": _members(tree, place, number, depth + 1)}
    return {"L": [_value(each, place, number, depth + 1) for each in tree]}


def _members(members: _Object, place: str, number: Callable[[str, str], str], depth: int) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {}
    for name, each in members:
        if name in found or not name:
            raise Refused(f"{place} has the name {name!r} {'twice' if name else 'which DynamoDB does not allow'}")
        _value(name, place, number, 0)
        found[name] = _value(each, place, number, depth)
    return found


# --- sets, dates and times ------------------------------------------------------------------------------------------


def string_set(text: str) -> AttributeValue:
    return {"SS": text.split(",")} if text else {"L": []}


def epoch(text: str, place: str) -> str:
    """Seconds since 1970 of a date or a time in UTC, with all fractional digits."""
    return plain(_seconds_since_1970(text, place))


def epoch_ms(text: str, place: str) -> str:
    """Whole milliseconds since 1970."""
    milliseconds = _seconds_since_1970(text, place) * 1000
    if milliseconds != milliseconds.to_integral_value():
        raise Refused(f"{place} is {text}, which is not a whole number of milliseconds: use EPOCH")
    return plain(milliseconds)


def calendar_text(value: Value, place: str) -> str:
    """A computed column's time: a date, or a date and a time, as SQLite's functions print them."""
    if not isinstance(value, str) or not _CALENDAR.fullmatch(value):
        raise Refused(f"{place} is {shown(value)}, which is not a date or a time such as '2026-01-31 12:00:00'")
    return value


def microseconds_since_1970(text: str, place: str) -> int:
    """Of a date or a time in UTC, whose columns have no smaller parts."""
    return int(_seconds_since_1970(text, place) * 1_000_000)


def _seconds_since_1970(text: str, place: str) -> Decimal:
    day, _, time = text.partition(" ")
    try:
        days = date.fromisoformat(day).toordinal() - date(1970, 1, 1).toordinal()
        return days * 86_400 + (_seconds(time) if time else Decimal(0))
    except (ValueError, InvalidOperation):
        raise Refused(f"{place} is {text}, which is not a calendar date: it has no EPOCH") from None


def expiry(value: Value, offset: int, place: str) -> str:
    """Whole seconds since 1970, the part of a second cut off: of a time, or of what is such seconds already."""
    if isinstance(value, int):
        return str(value + offset)
    text = calendar_text(value, place)
    return str(math.floor(_seconds_since_1970(text, place)) + offset)


def seconds(text: str) -> str:
    """A TIME as seconds, with its sign and fractional digits."""
    return plain(-_seconds(text[1:]) if text.startswith("-") else _seconds(text))


def _seconds(text: str) -> Decimal:
    hours, minutes, rest = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + Decimal(rest)


# --- the result of an expression ------------------------------------------------------------------------------------


def computed(value: Value, place: str, number: Callable[[Any, str], str]) -> AttributeValue:
    """INTEGER and REAL as N, TEXT as S, BLOB as B."""
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, bytes):
        return {"B": base64(value)}
    return {"N": number(value, place)} if isinstance(value, float) else {"N": str(value)}


def computed_text(value: Value) -> str:
    if isinstance(value, bytes):
        raise Refused("a computed column is binary, which has no text")
    return repr(value) if isinstance(value, float) else str(value)


def computed_binary(value: Value, place: str) -> str:
    if isinstance(value, str):
        value = value.encode()
    if not isinstance(value, bytes):
        raise Refused(f"{place} is {shown(value)}, and its type is B: only text and binary are")
    return base64(value)


def truth(text: str, place: str) -> bool:
    """A template as BOOL."""
    if text.lower() not in ("0", "1", "false", "true"):
        raise Refused(f"{place} is {shown(text)}, and its type is BOOL: only 0, 1, false and true are")
    return text.lower() in ("1", "true")
