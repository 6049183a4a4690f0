"""How a column of MySQL or MariaDB is carried in a warehouse: the one table of types, for all engines.

Each kind of column has a form, which says how its values are handed over, and each engine a type for the form. A value
is exact there, or the column is carried as text by a rule, or it is refused by name: docs/warehouse.md has the table.
"""

from __future__ import annotations

from typing import NamedTuple

from whimbrel.errors import UnsupportedSource
from whimbrel.project import Silo
from whimbrel.records import Column

LONGEST_TEXT = 65_535  # bytes of a text in Redshift
LONGEST_BYTES = LONGEST_TEXT // 2  # which go there as hexadecimal digits
MOST_DIGITS = {"duckdb": 38, "redshift": 38}  # of a DECIMAL; an engine that is not here has enough for every source
_FORMS = {
    **dict.fromkeys(("int", "bit", "year"), "int"),
    **dict.fromkeys(("text", "enum", "set", "inet4", "inet6"), "text"),
    **dict.fromkeys(("binary", "geometry"), "bytes"),
    **{kind: kind for kind in ("decimal", "float", "double", "date", "datetime", "timestamp", "time", "json", "uuid")},
}
# Forms that an engine has no type for, and what stands for them. SUPER keeps what a JSON text says, not the text.
_INSTEAD = {"redshift": {"time": "text", "json": "super", "uuid": "text"}}
DATES = ("date", "datetime", "timestamp")  # forms that have no zero and no day that is not in the calendar
TIMESTAMP = "TIMESTAMP WITH TIME ZONE"  # of every engine, also for columns of our own
_TYPES = {
    "duckdb": {
        "float": "FLOAT",
        "double": "DOUBLE",
        "date": "DATE",
        "datetime": "TIMESTAMP",
        "timestamp": TIMESTAMP,
        "time": "INTERVAL",
        "text": "VARCHAR",
        "json": "JSON",
        "uuid": "UUID",
        "bool": "BOOLEAN",
        "bytes": "BLOB",
    },
    "postgres": {
        "float": "REAL",
        "double": "DOUBLE PRECISION",
        "date": "DATE",
        "datetime": "TIMESTAMP",
        "timestamp": TIMESTAMP,
        "time": "INTERVAL",
        "text": "TEXT",
        "json": "JSON",
        "uuid": "UUID",
        "bool": "BOOLEAN",
        "bytes": "BYTEA",
    },
}
_TYPES["redshift"] = _TYPES["postgres"] | {"super": "SUPER"}  # of the forms that it has
_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_SIGNED = {8: "TINYINT", 16: "SMALLINT", 32: "INTEGER", 64: "BIGINT"}


class CarriedAs(NamedTuple):
    """``form`` is one of the kinds of values; ``sql`` is the engine's type for it."""

    form: str
    sql: str


def carried_as(engine: str, column: Column, silo: Silo, place: str) -> CarriedAs:
    """How ``column`` is carried; ``place`` is ``table.column``, by which ``silo.types`` names it. Raises
    UnsupportedSource where what is said of it cannot be.
    """
    form = form_of(engine, column, silo, place)
    return CarriedAs(form, sql_of(engine, form, column))


def sql_of(engine: str, form: str, column: Column) -> str:
    """The engine's type for ``column`` in a form."""
    if form == "int":
        return _integer(engine, column)
    if form == "decimal":
        word = "DECIMAL" if engine == "duckdb" else "NUMERIC"
        return f"{word}({column.precision}, {column.scale})"
    if engine == "redshift" and form in ("text", "bytes"):
        return _with_length(form, column)
    return _TYPES[engine][form]


def form_of(engine: str, column: Column, silo: Silo, place: str) -> str:
    wanted = silo.types.get(place)
    form = _FORMS[column.kind]
    if wanted == "bytes":
        if form not in ("text", "json"):
            raise UnsupportedSource(
                f"{column.type_name} is not a text",
                place=f"{silo.name}: {place}",
                hint='types = "bytes" is for texts: their UTF-8.',
            )
        return "bytes"
    if wanted == "text":
        if form == "bytes":
            raise UnsupportedSource(
                f"{column.type_name} holds bytes, which are not a text", place=f"{silo.name}: {place}"
            )
        return "text"
    if form == "decimal" and column.precision > MOST_DIGITS.get(engine, column.precision):
        return "text"
    if form == "json" and column.charset:  # MariaDB's: a LONGTEXT that was checked by rules of its own
        return "text"
    if form in DATES and silo.zero_dates == "text":
        return "text"
    return form_in(engine, form)


def form_in(engine: str, form: str) -> str:
    """``form``, or what stands for it in an engine that has no type for it."""
    return _INSTEAD.get(engine, {}).get(form, form)


def _with_length(form: str, column: Column) -> str:
    """Redshift counts bytes of UTF-8, and cuts off what is longer: a character has four at most, whatever it has in the
    column's character set. An attribute of DynamoDB has no length.
    """
    word, most = ("VARCHAR", LONGEST_TEXT) if form == "text" else ("VARBYTE", LONGEST_BYTES)
    length = {"text": 4, "binary": 1}.get(column.kind, 0) * column.length
    return f"{word}({min(max(length, 64), most) if length else most})"


def _integer(engine: str, column: Column) -> str:
    """The narrowest type that has every value."""
    bits, unsigned = _width(column)
    if engine == "duckdb":
        at_least = next(size for size in _SIGNED if size >= bits)
        return f"U{_SIGNED[at_least]}" if unsigned else _SIGNED[at_least]
    # One bit more where there are no unsigned integers, and none of eight bits.
    wanted = bits + unsigned
    at_least = next((size for size in (16, 32, 64) if size >= wanted), 0)
    return _SIGNED[at_least] if at_least else "NUMERIC(20, 0)"


def _width(column: Column) -> tuple[int, bool]:
    if column.kind == "year":
        return 16, False
    if column.kind == "bit":
        return column.precision, True
    return _BITS[column.type_name.lower().partition("(")[0].partition(" ")[0]], column.unsigned
