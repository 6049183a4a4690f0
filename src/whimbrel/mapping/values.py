"""Canonical values (see ``whimbrel.records``) as DynamoDB attribute values and as text in templates.

======================================= ================ ==================== ==========================================
kind                                    in an attribute  ``types`` may say    in a template
======================================= ================ ==================== ==========================================
int, bit                                N                N, S, BOOL (0 or 1)  digits
year                                    N                N, S                 digits
decimal                                 N                N, S                 as the server prints it: ``12.50``
float, double                           N                N, S                 shortest text that reads back the same
text                                    S                S, N, B, JSON        as it is
enum                                    S                S, N, B (UTF-8)      as it is
set                                     S                S, SS                as it is
json                                    S                S, JSON (M, L, …)    as it is
uuid                                    S                S, B (16 bytes)      as it is
inet4/6                                 S                S                    as it is
date                                    S                S, EPOCH             ``2026-01-02``
datetime                                S                S, EPOCH, EPOCH_MS   ``2026-01-02T03:04:05.123``
timestamp                               S                S, EPOCH, EPOCH_MS   ``2026-01-02T03:04:05.123Z``
time                                    S                S, SECONDS           as it is
binary, geometry                        B                B                    refused
computed                                unchanged        … B, BOOL, JSON,     as it is, but no binary
                                                         EPOCH, EPOCH_MS
======================================= ================ ==================== ==========================================

NULL is ``{"NULL": true}`` (or left out, by rule) in an attribute and refused in a template. Zero and partial dates keep
their digits, but have no EPOCH. A number that N cannot hold (38 significant digits, 1E-130 to 9.99…E+125) is refused,
never rounded. DynamoDB has no empty set: an empty SET as SS is an empty list, which is not NULL.

The hot code is generated from the ``*_source`` functions here; the plain ones are what it calls for the rarer kinds,
and the rarest are in ``mapping.forms``.
"""

from __future__ import annotations

import re
from decimal import Decimal

from whimbrel.item import MAX_DIGITS, MAX_NUMBER_BYTES, NotANumber, number, plain
from whimbrel.mapping import forms
from whimbrel.mapping.forms import Refused, shown
from whimbrel.records import AttributeValue, Column, Value

TYPES: dict[str, tuple[str, ...]] = {  # the first is the default
    "int": ("N", "S", "BOOL"),
    "bit": ("N", "S", "BOOL"),
    "computed": ("ANY", "S", "N", "B", "BOOL", "JSON", "EPOCH", "EPOCH_MS"),
    "year": ("N", "S"),
    "decimal": ("N", "S"),
    "float": ("N", "S"),
    "double": ("N", "S"),
    "text": ("S", "N", "B", "JSON"),
    "enum": ("S", "N", "B"),
    "set": ("S", "SS"),
    "json": ("S", "JSON"),
    "date": ("S", "EPOCH"),
    "time": ("S", "SECONDS"),
    "datetime": ("S", "EPOCH", "EPOCH_MS"),
    "timestamp": ("S", "EPOCH", "EPOCH_MS"),
    "uuid": ("S", "B"),
    "inet4": ("S",),
    "inet6": ("S",),
    "binary": ("B",),
    "geometry": ("B",),
}
INTEGER_KINDS = frozenset({"int", "bit", "year"})
NUMBER_KINDS = INTEGER_KINDS | {"decimal", "float", "double"}
BINARY_KINDS = frozenset({"binary", "geometry"})

# Most integers of most tables are small: their attribute values (and NULL's) are made once and shared, which saves a
# third of the cost of mapping a row. Like all records they are never changed in place.
SMALL_NUMBERS: dict[Value, AttributeValue] = {None: {"NULL": True}, **{n: {"N": str(n)} for n in range(-1, 1024)}}


# --- what generated code calls --------------------------------------------------------------------------------------


def exact_number(value: str | float | bytes, place: str) -> str:
    """The plain canonical text of a number: ``-12.5``, never an exponent, a trailing zero or ``-0``.

    ``value`` is a number or its text; raises Refused, naming ``place``, if it is none or DynamoDB's N cannot hold it.
    """
    text = value if isinstance(value, str) else repr(value)
    try:
        return plain(number(text))
    except NotANumber as error:
        raise Refused(f"{place} is {shown(value)}, which is {error}") from None


def checked_number(value: str | float, place: str) -> str:
    """The number's own text, if N can hold it; raises Refused like ``exact_number``."""
    if isinstance(value, float):
        text = repr(value)
        if not 1e-100 < abs(value) < 1e100:  # well within, and 17 digits at most
            exact_number(value, place)
        return text
    exact_number(value, place)
    return value


def boolean(value: Value, place: str) -> bool:
    if value not in (0, 1):
        raise Refused(f"{place} is {shown(value)}, and its type is BOOL: only 0 and 1 are")
    return value == 1


# --- sources of generated code --------------------------------------------------------------------------------------


def attribute_source(column: Column, kind: str, variable: str, place: str) -> str:
    """Python source of the AttributeValue of type ``kind`` for a value that is not NULL."""
    if kind == "N" and column.kind in INTEGER_KINDS:
        return f'SMALL_NUMBERS.get({variable}) or {{"N": f"{{{variable}}}"}}'
    if kind == "N":
        return f'{{"N": {_number_source(column, variable, place)}}}'
    if column.kind == "computed" and kind.startswith("EPOCH"):
        variable = f"calendar_text({variable}, {place!r})"
    if kind in forms.SOURCES:
        return forms.SOURCES[kind].format(variable=variable, place=repr(place))
    if column.kind == "computed" and kind == "B":
        return f'{{"B": computed_binary({variable}, {place!r})}}'
    if kind == "BOOL":
        return f'{{"BOOL": boolean({variable}, {place!r})}}'
    if kind == "B":
        if column.kind == "uuid":
            return f'{{"B": base64(bytes.fromhex({variable}.replace("-", "")))}}'
        as_bytes = variable if column.kind in BINARY_KINDS else f"{variable}.encode()"
        return f'{{"B": base64({as_bytes})}}'
    return f'{{"S": {text_source([column_piece(column, variable)])}}}'


def _number_source(column: Column, variable: str, place: str) -> str:
    if column.kind == "decimal" and 0 < column.precision <= MAX_DIGITS:
        return variable
    if column.kind == "float":  # a FLOAT is within 1.5E-45 to 3.5E+38
        return f"repr({variable})"
    if column.kind in NUMBER_KINDS:
        return f"checked_number({variable}, {place!r})"
    return f"exact_number({variable}, {place!r})"


def key_number_source(column: Column, variable: str, place: str) -> str:
    """Source of the one text that stands for a key's number: to DynamoDB, equal numbers are equal keys."""
    if column.kind in INTEGER_KINDS:
        return f'f"{{{variable}}}"'
    return f"exact_number({variable}, {place!r})"


def column_piece(column: Column, variable: str) -> str:
    """The inside of an f-string that renders the column's canonical text."""
    if column.kind in ("float", "double"):
        return f"{{{variable}!r}}"
    if column.kind == "computed":
        return f"{{computed_text({variable})}}"
    if column.kind == "datetime":
        return f"{{{variable}.replace(' ', 'T')}}"
    if column.kind == "timestamp":
        return f"{{{variable}.replace(' ', 'T')}}Z"
    return f"{{{variable}}}"


def literal_piece(text: str) -> str:
    """The inside of an f-string (in double quotes) that renders ``text``."""
    escaped = "".join(c if c.isprintable() and c not in '\\"' else f"\\U{ord(c):08x}" for c in text)
    return escaped.replace("{", "{{").replace("}", "}}")


def text_source(pieces: list[str]) -> str:
    return 'f"' + "".join(pieces) + '"'


# --- bounds, so that most items need not be measured ----------------------------------------------------------------


def text_bound(column: Column) -> int | None:
    """The most bytes that the column's text takes, None if that is unknown."""
    if column.kind == "text":
        return column.length * 4 if column.length else None
    if column.kind == "enum":
        return max((len(member) * 4 for member in column.members), default=0) if column.members else None
    if column.kind == "set":
        return sum(len(member) * 4 + 1 for member in column.members) if column.members else None
    if column.kind == "decimal":
        return 70
    return None if column.kind in BINARY_KINDS or column.kind in ("json", "computed") else 64


def value_bound(column: Column, kind: str) -> int | None:
    """The most bytes that the column's attribute value takes, None if that is unknown."""
    if kind in ("N", "EPOCH", "EPOCH_MS", "SECONDS"):
        return MAX_NUMBER_BYTES
    if kind in ("JSON", "ANY"):
        return None
    if column.kind in BINARY_KINDS:
        return column.length or None
    return 1 if kind == "BOOL" else text_bound(column)


# --- back from a key to column values -------------------------------------------------------------------------------

_TEXT_FORMS = {
    "int": re.compile(r"0|-?[1-9][0-9]*"),
    "year": re.compile(r"0|[1-9][0-9]*"),
    "bit": re.compile(r"0|[1-9][0-9]*"),
    "decimal": re.compile(r"-?[0-9]+(\.[0-9]+)?"),
    "float": re.compile(r"-?[0-9.]+(e[+-]?[0-9]+)?"),
    "double": re.compile(r"-?[0-9.]+(e[+-]?[0-9]+)?"),
    "date": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"),
    "time": re.compile(r"-?[0-9]{2,3}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"),
    "datetime": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"),
    "timestamp": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z"),
}


def values_of_text(column: Column, text: str) -> tuple[Value, ...]:
    """The column's canonical values whose text in a template is ``text``: none or one."""
    form = _TEXT_FORMS.get(column.kind)
    if form and not form.fullmatch(text):
        return ()
    if column.kind in ("int", "year", "bit"):
        return (int(text),)
    if column.kind in ("float", "double"):
        return _float_of_text(text)
    if column.kind in ("datetime", "timestamp"):
        return (text.replace("T", " ").removesuffix("Z"),)
    if column.kind == "enum" and column.members:
        return (text,) if text in column.members or not text else ()
    if column.kind == "set" and column.members:
        return (text,) if not text or set(text.split(",")) <= set(column.members) else ()
    return () if column.kind in BINARY_KINDS else (text,)


def _float_of_text(text: str) -> tuple[Value, ...]:
    try:
        value = float(text)
    except ValueError:
        return ()
    return (value,) if repr(value) == text else ()


def values_of_number(column: Column, text: str) -> tuple[Value, ...]:
    """The values of a column of a number kind that are the number ``text`` of a key."""
    number = Decimal(text)
    if column.kind in ("float", "double"):
        return (0.0, -0.0) if not number else (float(number),)
    if column.kind != "decimal":
        return (int(number),) if number == number.to_integral_value() else ()
    digits = f"{number:.{column.scale}f}"
    if Decimal(digits) != number:
        return ()
    return (digits.lstrip("-"), f"-{digits.lstrip('-')}") if not number else (digits,)
