"""From an attribute's value back to the column's: the inverse of ``values`` and ``forms``.

What a column of its kind could not hold exactly is refused, never rounded: a fraction beyond the column's digits, a
number with a fraction for an integer, an unknown member of a SET. What is only written otherwise gets the column's
canonical form (see ``whimbrel.records``): ``12.5`` is ``12.50`` for a DECIMAL(10,2).
"""

from __future__ import annotations

import json
import re
import uuid
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import Any

from whimbrel.item import NotANumber, number, spelled
from whimbrel.mapping.forms import Refused, shown
from whimbrel.mapping.values import INTEGER_KINDS, values_of_text
from whimbrel.records import AttributeValue, Column, Row, Table, Value

Reader = Callable[[AttributeValue], Value]

_WIRE = {"EPOCH": "N", "EPOCH_MS": "N", "SECONDS": "N"}  # what a type of ``types`` is in DynamoDB; others are their own
_FRACTION = re.compile(r"([0-9-]{10}T[0-9:]{8}|-?[0-9]{2,3}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?(Z?)")


def loses(column: Column, kind: str) -> str:
    """What the attribute does not say of the column's value, although it is the same value; "" if it says all."""
    if kind == "JSON":
        return "the text of a JSON document: its blanks, the order of its names, how numbers are written; null is NULL"
    if kind == "N" and column.kind == "text":
        return "how a number is written: 007 is 7"
    return ""


def reader(column: Column, kind: str) -> Reader:
    """The way back from an attribute of type ``kind`` (see ``values.TYPES``). It raises Refused."""
    place = f"column {column.name!r}"
    if kind == "JSON":
        return lambda value: None if _is_null(value) and column.nullable else json_text(value, place)
    read, wire = _content_reader(column, kind, place), _WIRE.get(kind, kind)

    def back(value: AttributeValue) -> Value:
        [(found, content)] = value.items()
        if found == wire or (kind == "SS" and value == {"L": []}):
            return read(content)
        if found == "NULL":
            if not column.nullable:
                raise Refused(f"{place} is NOT NULL, and the attribute is NULL")
            return None
        raise Refused(f"{place} takes {wire}, and the attribute is {found}: {shown(content)}")

    return back


def _content_reader(column: Column, kind: str, place: str) -> Callable[[Any], Value]:
    if kind == "N":
        return _number_reader(column, place)
    if kind == "B":
        return _binary_reader(column, place)
    if kind == "BOOL":
        return lambda content: 1 if content else 0
    if kind == "SS":
        return lambda content: _set_text(column, content, place)
    if kind in ("EPOCH", "EPOCH_MS"):
        unit = 1 if kind == "EPOCH" else 1000
        return lambda content: time_of_microseconds(column, _microseconds(content, unit, place), place)
    if kind == "SECONDS":
        return lambda content: _of_seconds(column, _microseconds(content, 1, place), place)
    return lambda content: text_back(column, content, place)


# --- text -----------------------------------------------------------------------------------------------------------


def text_back(column: Column, text: str, place: str) -> Value:
    """The column's value whose text (in an S, or in a template) is ``text``, in its canonical form."""
    if column.kind == "text":
        return _kept_text(column, text, place)
    if column.kind in ("datetime", "timestamp", "time"):
        text = _with_fraction(column, text, place)
    elif column.kind == "decimal":
        return _fixed(column, _decimal(text, place), place)
    elif column.kind == "uuid":
        text = text.lower()
    found = values_of_text(column, text)
    if not found:
        raise Refused(f"{place} ({column.kind}) cannot be {shown(text)}")
    return found[0]


def _kept_text(column: Column, text: str, place: str) -> str:
    """The server drops blanks at the end of a CHAR, and says nothing."""
    if column.type_name.lower().startswith("char") and text.endswith(" "):
        raise Refused(f"{place} is a CHAR, which drops the blanks at the end of {shown(text)}")
    return text


def _with_fraction(column: Column, text: str, place: str) -> str:
    """A time's text with exactly as many digits after the second as the column has."""
    match = _FRACTION.fullmatch(text)
    if match is None:
        raise Refused(f"{place} ({column.kind}) cannot be {shown(text)}")
    digits = (match[2] or "").rstrip("0")
    if len(digits) > column.scale:
        raise Refused(f"{place} has {column.scale} digits after the second, and {shown(text)} has more")
    fraction = f".{digits:0<{column.scale}}" if column.scale else ""
    return f"{match[1]}{fraction}{match[3]}"


def _set_text(column: Column, names: list[str], place: str) -> str:
    """The names in the order of the column's own definition, as the server prints them."""
    known = list(column.members) or sorted(names)
    if unknown := [name for name in names if name not in known]:
        raise Refused(f"{place} is a SET without a member {shown(unknown[0])}")
    return ",".join(name for name in known if name in names)


# --- numbers --------------------------------------------------------------------------------------------------------


def _number_reader(column: Column, place: str) -> Callable[[str], Value]:
    if column.kind in INTEGER_KINDS:
        return lambda text: _integer(text, place)
    if column.kind == "decimal":
        return lambda text: _fixed(column, _decimal(text, place), place)
    if column.kind in ("float", "double"):
        return lambda text: _float(text, place)
    if column.kind == "enum":
        return lambda text: _member_of_number(column, text, place)
    return lambda text: spelled(text)


def _decimal(text: str, place: str) -> Decimal:
    try:
        return number(text)
    except NotANumber as error:
        raise Refused(f"{place} cannot be {shown(text)}: {error}") from None


def _integer(text: str, place: str) -> int:
    try:
        return int(text)
    except ValueError:
        value = _decimal(text, place)
    if value != value.to_integral_value():
        raise Refused(f"{place} is an integer, and cannot be {shown(text)}")
    return int(value)


def _fixed(column: Column, value: Decimal, place: str) -> str:
    """With all digits of the column's scale: more would be rounded by the server."""
    text = f"{value:.{column.scale}f}"
    if Decimal(text) != value:
        raise Refused(f"{place} has {column.scale} digits after the point, and {value} has more")
    return text.lstrip("-") if not value else text


def _float(text: str, place: str) -> float:
    value = float(_decimal(text, place))
    if Decimal(repr(value)) != Decimal(text):
        raise Refused(f"{place} is a floating point number, which {shown(text)} has too many digits for")
    return value


def _member_of_number(column: Column, text: str, place: str) -> str:
    wanted = _decimal(text, place)
    found = []
    for name in column.members:
        try:
            if number(name) == wanted:
                found.append(name)
        except NotANumber:
            continue
    if len(found) != 1:
        raise Refused(f"{place} is an ENUM with {len(found)} names that are the number {shown(text)}")
    return found[0]


# --- binary ---------------------------------------------------------------------------------------------------------


def _binary_reader(column: Column, place: str) -> Callable[[Any], Value]:
    def back(content: Any) -> Value:
        data = decoded(content, place)
        if column.kind == "uuid":
            return _uuid_of(data, place)
        if column.kind in ("text", "enum"):
            return _text_of(column, data, place)
        if column.type_name.lower().startswith("binary(") and len(data) != column.length:
            raise Refused(f"{place} always has {column.length} bytes, and the attribute has {len(data)}")
        return data

    return back


def decoded(content: Any, place: str) -> bytes:
    """The bytes of a B."""
    try:
        return a2b_base64(content, strict_mode=True) if isinstance(content, str) else bytes(content)
    except (Base64Error, TypeError, ValueError):
        raise Refused(f"{place} is not base64: {shown(content)}") from None


def _uuid_of(data: bytes, place: str) -> str:
    if len(data) != 16:
        raise Refused(f"{place} is a UUID of 16 bytes, and the attribute has {len(data)}")
    return str(uuid.UUID(bytes=data))


def _text_of(column: Column, data: bytes, place: str) -> Value:
    try:
        return text_back(column, data.decode(), place)
    except UnicodeDecodeError:
        raise Refused(f"{place} is text, and the attribute is not UTF-8: {shown(data)}") from None


# --- times as numbers -----------------------------------------------------------------------------------------------

_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_EXACT = Context(prec=100)  # Python's own has 28 digits


def _microseconds(text: str, unit: int, place: str) -> int:
    """Of a number of which ``unit`` make a second: no column of a time has smaller parts."""
    found = _EXACT.multiply(_decimal(text, place), Decimal(1_000_000 // unit))
    if found.adjusted() > 20 or found != found.to_integral_value():
        raise Refused(f"{place} is a time, which {shown(text)} cannot be")
    return int(found)


def time_of_microseconds(column: Column, microseconds: int, place: str) -> str:
    whole, fraction = divmod(microseconds, 1_000_000)
    try:
        moment = _FIRST + timedelta(seconds=whole)
    except OverflowError:
        raise Refused(f"{place} cannot be {whole} seconds since 1970") from None
    day = f"{moment.year:04}-{moment:%m-%d}"
    if column.kind == "date":
        if microseconds % 86_400_000_000:
            raise Refused(f"{place} is a date, and {whole} seconds since 1970 is not the beginning of one")
        return day
    return _with_fraction(column, f"{day}T{moment:%H:%M:%S}.{fraction:06}", place).replace("T", " ")


def _of_seconds(column: Column, microseconds: int, place: str) -> str:
    """As the server prints a TIME: with its sign, and two digits of hours at least."""
    whole, fraction = divmod(abs(microseconds), 1_000_000)
    sign = "-" if microseconds < 0 else ""
    text = f"{sign}{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}.{fraction:06}"
    return _with_fraction(column, text, place)


# --- documents ------------------------------------------------------------------------------------------------------


def json_text(value: AttributeValue, place: str) -> str:
    """JSON text of the tree. Refused: sets and binary, which JSON does not have."""
    [(kind, content)] = value.items()
    if kind == "M":
        members = (
            f"{json.dumps(name, ensure_ascii=False)}: {json_text(each, place)}" for name, each in content.items()
        )
        return "{" + ", ".join(members) + "}"
    if kind == "L":
        return "[" + ", ".join(json_text(each, place) for each in content) + "]"
    if kind == "S":
        return json.dumps(content, ensure_ascii=False)
    if kind == "N":
        return spelled(content)
    if kind in ("BOOL", "NULL"):
        return "null" if kind == "NULL" else "true" if content else "false"
    raise Refused(f"{place} is a JSON document, which cannot have a {kind}")


def same_document(one: Value, other: Value) -> bool:
    """Whether two JSON texts are one document, however they are written."""
    if one == other or not isinstance(one, str) or not isinstance(other, str):
        return one == other
    try:
        return bool(_parsed(one) == _parsed(other))
    except (ValueError, RecursionError):
        return False


def same_value(name: str, value: Value, *, row: Row, table: Table, lossy: Collection[str]) -> bool:
    """Whether the column ``name`` of ``row`` is ``value``, as far as an item says it: JSON documents are compared as
    such, numbers in a text as numbers where the attribute is a number.
    """
    there, column = row[table.index(name)], table.column(name)
    if name in lossy and {there, value} == {None, "null"}:
        return True  # one attribute says both
    if value == there or value is None or there is None:
        return value == there
    if column.kind == "json" or name in lossy:
        return same_document(value, there) or _same_number(value, there)
    return False


def _same_number(one: Value, other: Value) -> bool:
    try:
        return number(str(one)) == number(str(other))
    except NotANumber:
        return False


def _parsed(text: str) -> Any:
    return json.loads(text, parse_int=Decimal, parse_float=Decimal)


def _is_null(value: AttributeValue) -> bool:
    return "NULL" in value
