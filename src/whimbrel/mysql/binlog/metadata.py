"""What a table map says about its columns beyond their types, checked against the table as it is known.

MySQL always writes signedness and character sets, and names and members with binlog_row_metadata=FULL; MariaDB writes
all or nothing. Source: mysql-server sql/log_event.cc (Table_map_log_event::init_metadata_fields).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from whimbrel.errors import SchemaDrift
from whimbrel.mysql.binlog import codes
from whimbrel.mysql.binlog.events import TableMap, length_encoded
from whimbrel.mysql.binlog.refused import REDEFINED
from whimbrel.mysql.types import text_codec
from whimbrel.records import Column, Table

SIGNEDNESS, DEFAULT_CHARSET, COLUMN_CHARSET, NAMES, SETS, ENUMS = 1, 2, 3, 4, 5, 6
_NUMERIC = frozenset((*codes.INTEGERS, codes.FLOAT, codes.DOUBLE, codes.YEAR, codes.NEWDECIMAL))
_CHARACTER = frozenset(
    (
        codes.VARCHAR,
        codes.VAR_STRING,
        codes.STRING,
        codes.BLOB,
        codes.BLOB_COMPRESSED,
        codes.VARCHAR_COMPRESSED,
        codes.VECTOR,
    )
)
_CHARACTER_IN_MARIADB = _CHARACTER | {codes.GEOMETRY}
_BINARY_COLLATION = 63


def check_metadata(table_map: TableMap, table: Table, charsets: Mapping[int, str], *, mariadb: bool) -> None:
    """Raises SchemaDrift. ``charsets`` has the character set of each collation id; what it has not is not checked."""
    has = table_map.optional
    if NAMES in has:
        _check(table, table.columns, _texts(has[NAMES]), "is named {}", lambda column: column.name)
    if SIGNEDNESS in has:
        numeric = _of_type(table_map, table, _NUMERIC)
        bits = has[SIGNEDNESS]
        unsigned = [bool(bits[i >> 3] & 0x80 >> (i & 7)) for i in range(len(numeric))]
        pairs = [(column, flag) for column, flag in zip(numeric, unsigned, strict=True) if column.kind == "int"]
        _check(table, [c for c, _ in pairs], [f for _, f in pairs], "is unsigned: {}", lambda column: column.unsigned)
    character = _of_type(table_map, table, _CHARACTER_IN_MARIADB if mariadb else _CHARACTER)
    if collations := _collations(has, len(character)):
        known = [(column, c) for column, c in zip(character, collations, strict=True) if c in charsets]
        found = ["" if c == _BINARY_COLLATION else _plain(charsets[c]) for _, c in known]
        _check(table, [c for c, _ in known], found, "has the character set {!r}", lambda column: _plain(column.charset))
    for field, kind in ((ENUMS, codes.ENUM), (SETS, codes.SET)):
        if field in has:
            _check_members(table_map, table, kind, has[field])


def column_names(table_map: TableMap) -> list[str]:
    """Empty without binlog_row_metadata=FULL."""
    return [str(name) for name in _texts(table_map.optional[NAMES])] if NAMES in table_map.optional else []


def _check(
    table: Table,
    columns: tuple[Column, ...] | list[Column],
    found: Sequence[object],
    says: str,
    known: Callable[[Column], object],
) -> None:
    for column, value in zip(columns, found, strict=True):
        if known(column) != value:
            raise SchemaDrift(
                f"{says.format(value)} in its rows, and was {known(column)!r}",
                place=f"{table.full_name}.{column.name}",
                hint=REDEFINED,
            )


def _plain(charset: str) -> str:
    return "utf8mb3" if charset == "utf8" else charset


def real_type(kind: int, metadata: int) -> int:
    """CHAR, BINARY, ENUM and SET share the type STRING, and the metadata says which it is."""
    return (metadata >> 8) | 0x30 if kind == codes.STRING else kind


def _of_type(table_map: TableMap, table: Table, kinds: frozenset[int]) -> list[Column]:
    return [
        column
        for kind, metadata, column in zip(table_map.types, table_map.metadata, table.columns, strict=True)
        if real_type(kind, metadata) in kinds
    ]


def _collations(has: Mapping[int, bytes], count: int) -> list[int]:
    """A default with exceptions, or one for each column."""
    if DEFAULT_CHARSET in has:
        default, *exceptions = _numbers(has[DEFAULT_CHARSET])
        collations = [default] * count
        for index, collation in zip(exceptions[::2], exceptions[1::2], strict=True):
            collations[index] = collation
        return collations
    return list(_numbers(has[COLUMN_CHARSET])) if COLUMN_CHARSET in has else []


def _numbers(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        number, at = length_encoded(data, at)
        yield number


def _texts(data: bytes) -> list[object]:
    texts: list[object] = []
    at = 0
    while at < len(data):
        length, at = length_encoded(data, at)
        texts.append(data[at : at + length].decode())
        at += length
    return texts


def _check_members(table_map: TableMap, table: Table, kind: int, data: bytes) -> None:
    """Their names are in the column's own character set."""
    at = 0
    for column in _of_type(table_map, table, frozenset((kind,))):
        count, at = length_encoded(data, at)
        members = []
        for _ in range(count):
            length, at = length_encoded(data, at)
            members.append(data[at : at + length])
            at += length
        known = [text_codec(column).encode(member) for member in column.members]
        if members != known:
            raise SchemaDrift(
                f"has the members {members!r} in its rows, and {known!r} are known",
                place=f"{table.full_name}.{column.name}",
                hint=REDEFINED,
            )
