"""The formats of templates in SQL, so that the server can count what their texts are."""

from __future__ import annotations

import re

from whimbrel.mapping.epochs import UNITS
from whimbrel.mapping.formats import Format, Reference, format_of

_PLACES = {"Y": (1, 4), "m": (6, 2), "d": (9, 2), "H": (12, 2), "M": (15, 2), "S": (18, 2)}


def form_in_sql(part: Reference, column: str, text: str) -> str | None:
    """Text in utf8mb4 of ``column``, a quoted name, whose own text is ``text``: NULL where the format cannot carry the
    value. "" for the column's own text, None if the server cannot say it.
    """
    form = format_of(part.form) if part.form else None
    if form is None:
        return ""
    made = _expression(form, column, text)
    return f"CONVERT({made} USING utf8mb4)" if made else None


def _expression(form: Format, column: str, text: str) -> str | None:
    if form.kind == "padded":
        fits = f"{column} >= 0 AND LENGTH({text}) <= {form.number}"
        return f"IF({fits}, LPAD({text}, {form.number}, '0'), NULL)"
    if form.kind == "modulo":
        return f"MOD(MOD({column} + 0, {form.number}) + {form.number}, {form.number})"
    if form.kind == "bucket":
        return f"MOD(CONV(LEFT(SHA2({text}, 256), 8), 16, 10), {form.number})"
    if form.kind in UNITS:
        unit = UNITS[form.kind]
        count = f"TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {column}) DIV {10 ** (6 - unit.digits)}"
        inside = f"{count} BETWEEN 0 AND {10**unit.width - 1} AND {column} >= '1970-01-01'"
        made = f"{10**unit.width - 1} - ({count})" if unit.reversed else count
        return f"IF({inside}, LPAD({made}, {unit.width}, '0'), NULL)"
    if form.kind == "time":
        return _time(form, text)
    if form.kind in ("uuid", "uuid_swapped"):
        return _uuid(form, column)
    return None  # the server's letters are more than ASCII's


def _time(form: Format, text: str) -> str:
    fraction = f"RPAD(REPLACE(SUBSTR({text}, 21), 'Z', ''), 6, '0')"
    pieces = [
        f"_utf8mb4 x'{literal.encode().hex()}'"
        if literal
        else fraction
        if letter == "f"
        else "SUBSTR({}, {}, {})".format(text, *_PLACES[letter])
        for letter, literal in re.findall("%(.)|([^%])", form.text)
    ]
    return f"CONCAT({', '.join(pieces)})"


def _uuid(form: Format, column: str) -> str:
    digits = f"LOWER(HEX({column}))"
    places = [(1, 8), (9, 4), (13, 4), (17, 4), (21, 12)]
    if form.kind == "uuid_swapped":
        places[:3] = [(9, 8), (5, 4), (1, 4)]
    return "CONCAT_WS('-', " + ", ".join(f"SUBSTR({digits}, {at}, {length})" for at, length in places) + ")"
