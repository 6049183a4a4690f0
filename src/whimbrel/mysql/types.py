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

import codecs
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from whimbrel.errors import UnsupportedSource
from whimbrel.mysql.connect import Mysql, quoted, rows_as_dicts
from whimbrel.records import Column, Value

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


def column_from(facts: Mapping[str, Any], place: str = "", *, json_text: bool = False) -> Column:
    """A Column from a row of information_schema.COLUMNS (COLUMN_FACTS). ``json_text``: it is MariaDB's JSON.

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
        members=members_of(words) if kind in ("enum", "set") else (),
        type_name=words,
    )


def members_of(words: str) -> tuple[str, ...]:
    """The members of ``enum('a','it''s')``; the servers double a quote."""
    texts = re.findall(r"'((?:[^'\\]|''|\\.)*)'", words, re.DOTALL)
    plain = {"0": "\0", "n": "\n", "r": "\r"}
    return tuple(
        re.sub(r"\\(.)|''", lambda found: plain.get(found[1], found[1]) if found[1] else "'", text, flags=re.DOTALL)
        for text in texts
    )


def select_expression(column: Column) -> str:
    """What to select so that the text protocol carries the whole value.

    FLOAT prints with six digits, FLOAT(M,D) and DOUBLE(M,D) with D: times 1e0 is a DOUBLE that prints as the shortest
    text that reads back as itself (and unlike ``+ 0e0`` keeps the sign of -0). ZEROFILL would print zeros that are
    not in the value.
    """
    name = quoted(column.name)
    if column.kind in ("float", "double"):
        return f"{name} * 1e0"
    if column.kind == "bit" or (column.kind == "decimal" and "zerofill" in column.type_name.lower()):
        return f"{name} + 0"
    if needs_decoding(column) or column.type_name.lower().startswith("vector"):
        return f"CAST({name} AS BINARY)"
    return name


def needs_decoding(column: Column) -> bool:
    """Whether select_expression gives bytes in the column's character set."""
    return column.charset not in ("", "utf8mb4", "utf8mb3", "utf8", "ascii")


def decoded(column: Column, value: Any) -> Value:
    """The canonical value of what the client gave for ``select_expression``."""
    if value is not None and needs_decoding(column):
        text: str = python_codec(column.charset).decode(value)
        return text
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
        text = repr(value)
        return text if "e" in text else f"{text}e0"
    if isinstance(value, int) or column.kind == "decimal":
        return str(value)
    if column.charset:
        return f"_{column.charset} x'{python_codec(column.charset).encode(value).hex()}'"
    if column.kind == "json":
        return f"CAST(_utf8mb4 x'{value.encode().hex()}' AS JSON)"
    return f"'{value}'"  # temporal, uuid, inet: nothing in it needs an escape


class Codec(NamedTuple):
    """A MySQL character set in Python. Both raise UnicodeError for what the character set does not have: nothing is
    replaced.
    """

    decode: Callable[[bytes], str]
    encode: Callable[[str], bytes]


# MySQL's name → Python's. Compared with both servers' own conversion byte by byte (tests/snapshot/test_charsets.py).
PYTHON_NAMES = dict(  # noqa: C408
    utf8mb4="utf-8", utf8mb3="utf-8", utf8="utf-8", ascii="ascii",
    ucs2="utf-16-be", utf16="utf-16-be", utf16le="utf-16-le", utf32="utf-32-be",
    latin1="cp1252", latin2="iso8859-2", latin5="iso8859-9", latin7="iso8859-13",
    greek="iso8859-7", hebrew="iso8859-8", tis620="tis-620", hp8="hp-roman8",
    koi8r="koi8-r", koi8u="koi8-u", macce="mac-latin2", macroman="mac-roman",
    cp850="cp850", cp852="cp852", cp866="cp866", cp1250="cp1250", cp1251="cp1251", cp1256="cp1256", cp1257="cp1257",
    big5="big5", gb2312="gb2312", gbk="gbk", gb18030="gb18030", euckr="cp949",
    sjis="shift_jis", cp932="cp932", ujis="euc_jp",
)  # fmt: skip

# Where MySQL's single-byte set has another character than Python's, or ("") none.
PATCHES = {
    "latin1": {byte: chr(byte) for byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D)},
    "koi8u": {0x95: "\u2022"},
    "cp866": {0xFC: "\u207f", 0xFD: "\u00b2"},
    "hebrew": {0xAF: "\u203e"},
    "greek": {0xA1: "\u02bd", 0xA2: "\u02bc", 0xA4: "", 0xA5: "", 0xAA: ""},
    "cp1256": dict.fromkeys((0x8A, 0x8F, 0x98, 0x9A, 0x9F, 0xAA, 0xC0, 0xFF), ""),
}


@functools.cache
def python_codec(charset: str, place: str = "") -> Codec:
    """How to decode and encode MySQL's ``charset``. Raises UnsupportedSource for one that Python has no exact match
    for.
    """
    name = PYTHON_NAMES.get(charset)
    if name is None:
        raise UnsupportedSource(
            f"character set {charset} cannot be decoded exactly",
            place=place,
            hint="Convert it: ALTER TABLE … CONVERT TO CHARACTER SET utf8mb4",
        )
    if charset in PATCHES:
        return _patched(name, PATCHES[charset])
    if name == "utf-8":
        return Codec(bytes.decode, str.encode)
    if name == "gb18030":
        return _gb18030()
    return Codec(lambda data: data.decode(name), lambda text: text.encode(name))


def _patched(name: str, patches: Mapping[int, str]) -> Codec:
    none = "\ufffe"  # charmap_decode's own mark for "undefined"
    characters = [patches.get(byte, bytes([byte]).decode(name, "ignore")) or none for byte in range(256)]
    table = "".join(characters)
    encoding = codecs.charmap_build(table)
    return Codec(
        lambda data: codecs.charmap_decode(data, "strict", table)[0],
        lambda text: codecs.charmap_encode(text, "strict", encoding)[0],
    )


def _gb18030() -> Codec:
    """Python has the standard of 2000; that of 2005, which MySQL has, exchanged two characters."""
    swap = {0xE7C7: 0x1E3F, 0x1E3F: 0xE7C7}
    return Codec(
        lambda data: data.decode("gb18030").translate(swap), lambda text: text.translate(swap).encode("gb18030")
    )


def collation_charsets(connection: Mysql) -> dict[int, str]:
    """Collation id → character set, for the ids in the binlog's table metadata."""
    if rows_as_dicts(
        connection, "SHOW COLUMNS FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY LIKE 'ID'"
    ):
        # MariaDB 10.10 and later: one collation name can stand for several ids, one for each character set.
        table = "COLLATION_CHARACTER_SET_APPLICABILITY"
    else:
        table = "COLLATIONS"
    rows = rows_as_dicts(connection, f"SELECT ID AS id, CHARACTER_SET_NAME AS charset FROM information_schema.{table}")
    return {int(row["id"]): row["charset"] for row in rows if row["id"] is not None and row["charset"]}
