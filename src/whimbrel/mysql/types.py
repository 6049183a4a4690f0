"""The source's column types: their kind, how to select them so that the text protocol gives the canonical value, and
their literals.

records.py has the table of canonical values. What a client needs for them: integers from ``int``, ``year`` and
``bit``, floats from ``float`` and ``double``, bytes from ``binary`` and ``geometry``, bytes in the column's character
set for text of another character set than Unicode (``needs_decoding``), and text in UTF-8 for everything else, with
``character_set_results = NULL``.

MariaDB's JSON is LONGTEXT with a check: its kind is ``json`` and its ``charset`` is not empty, where MySQL's own JSON
has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whimbrel.errors import UnsupportedSource
from whimbrel.mysql.charsets import Codec, invalid_text, python_codec
from whimbrel.mysql.connect import quoted
from whimbrel.mysql.floats import as_double, shortest
from whimbrel.records import Column, LookedUp, Value

KINDS = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint"), "int"),
    **dict.fromkeys(("char", "varchar", "tinytext", "text", "mediumtext", "longtext"), "text"),
    **dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector"), "binary"),
    **dict.fromkeys(
        ("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"), "geometry"
    ),
    **dict.fromkeys(("geometrycollection", "geomcollection"), "geometry"),
    **{name: name for name in ("year", "bit", "decimal", "float", "double", "date", "datetime", "timestamp", "time")},
    **{name: name for name in ("enum", "set", "json", "uuid", "inet4", "inet6")},
}

# What information_schema.COLUMNS is asked for; column_from reads a row of it.
COLUMN_FACTS = (
    "COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE, "
    "DATETIME_PRECISION, CHARACTER_SET_NAME, COLLATION_NAME"
)


def column_from(
    facts: Mapping[str, Any], place: str = "", *, json_text: bool = False, members: tuple[str, ...] = ()
) -> Column:
    """A Column from a row of information_schema.COLUMNS (COLUMN_FACTS). ``json_text``: it is MariaDB's JSON.
    ``members`` are those of an ENUM or SET, see ``members.py``.

    Raises UnsupportedSource for a type or a character set that cannot be carried exactly.
    """
    name, words = facts["COLUMN_NAME"], facts["COLUMN_TYPE"]
    where = f"{place}.{name}" if place else name
    kind = KINDS.get(facts["DATA_TYPE"].lower())
    if kind is None:
        raise UnsupportedSource(
            f"type {words} is not known", place=where, hint="Exclude the table, or change the column's type"
        )
    charset = facts["CHARACTER_SET_NAME"] or ""
    if charset == "binary":
        charset = ""
    if charset:
        python_codec(charset, where)
    return Column(
        name=name,
        kind="json" if json_text else kind,
        nullable=facts["IS_NULLABLE"] == "YES",
        unsigned="unsigned" in words.lower() if kind in ("int", "decimal", "float", "double") else False,
        length=facts["CHARACTER_MAXIMUM_LENGTH"] or 0,
        precision=facts["NUMERIC_PRECISION"] or 0,
        scale=(facts["NUMERIC_SCALE"] if facts["NUMERIC_SCALE"] is not None else facts["DATETIME_PRECISION"]) or 0,
        charset=charset,
        collation=(facts["COLLATION_NAME"] or "") if charset else "",
        members=members,
        type_name=words,
    )


def select_expression(column: Column) -> str:
    """What to select so that the text protocol carries the whole value.

    FLOAT prints with six digits, FLOAT(M,D) and DOUBLE(M,D) with D: times 1e0 is a DOUBLE that prints as the shortest
    text that reads back as itself (and unlike ``+ 0e0`` keeps the sign of -0); ``floats.shortest`` makes of it what a
    FLOAT's value is. ZEROFILL would print zeros that are not in the value.

    A column that is looked up is a subquery of its own: the rest of the statement is as without it.
    """
    if column.looked_up:
        return looked_up_expression(column.looked_up)
    name = quoted(column.name)
    if column.kind in ("float", "double"):
        return f"{name} * 1e0"
    if column.kind == "bit" or (column.kind == "decimal" and "zerofill" in column.type_name.lower()):
        return f"{name} + 0"
    if needs_decoding(column) or column.type_name.lower().startswith("vector"):
        return f"CAST({name} AS BINARY)"
    return name


def looked_up_expression(looked: LookedUp) -> str:
    """Unqualified names are the parent's, as it is the inner table. The comparison by the columns' own collation lets
    the server use the key's index; the one by bytes says what is equal.
    """
    conditions = []
    for key, by in zip(looked.key, looked.by, strict=True):
        outer = f"{'.'.join(map(quoted, looked.child))}.{quoted(by)}"
        conditions.append(f"looked_up.{quoted(key.name)} = {outer}")
        if key.kind == "text":
            conditions.append(f"CAST(looked_up.{quoted(key.name)} AS BINARY) = CAST({outer} AS BINARY)")
    parent = ".".join(map(quoted, looked.parent))
    wanted = select_expression(looked.column)
    return f"(SELECT {wanted} FROM {parent} AS looked_up WHERE {' AND '.join(conditions)})"


def needs_decoding(column: Column) -> bool:
    """Whether select_expression gives bytes in the column's character set; names without one are UTF-8, as members.py
    has made sure.
    """
    if column.kind in ("enum", "set") and not column.charset:
        return True
    return column.charset not in ("", "utf8mb4", "utf8mb3", "utf8", "ascii")


def text_codec(column: Column) -> Codec:
    return python_codec(column.charset or "utf8mb4")


def decoded(column: Column, value: Any) -> Value:
    """The canonical value of what the client gave for ``select_expression``. Raises UnsupportedSource for text that is
    not valid in its character set.
    """
    if value is not None and needs_decoding(column):
        try:
            text: str = text_codec(column).decode(value)
        except UnicodeDecodeError as error:
            raise invalid_text(error, column.name) from error
        return text
    if column.kind == "float" and value is not None:
        return shortest(value)
    return value  # type: ignore[no-any-return]


def literal(column: Column, value: Value) -> str:
    """``value`` in SQL, exactly, so that a comparison with the column uses the column's own type, collation and
    index.
    """
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, float):
        text = repr(as_double(value) if column.kind == "float" else value)
        return text if "e" in text else f"{text}e0"
    if isinstance(value, int) or column.kind == "decimal":
        return str(value)
    if column.charset:
        return f"_{column.charset} x'{python_codec(column.charset).encode(value).hex()}'"
    if column.kind == "json":
        return f"CAST(_utf8mb4 x'{value.encode().hex()}' AS JSON)"
    if column.kind in ("enum", "set"):
        return f"x'{value.encode().hex()}'"
    return f"'{value}'"  # temporal, uuid, inet: nothing in it needs an escape
