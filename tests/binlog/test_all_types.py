"""Random values of every type, read three ways: by the snapshot's SELECT, from a binlog without row metadata, and from
one with all of it. All three must be equal to the last digit. mysql-replication is the fourth, where it is right.
"""

from __future__ import annotations

import json
import re
import struct
import uuid
from collections.abc import Callable
from datetime import date, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.row_event import WriteRowsEvent

from tests.binlog.conftest import Source
from tests.binlog.test_values import decimals, documents, literal, numbers, texts
from whimbrel.mapping.values import TYPES
from whimbrel.mysql.types import KINDS
from whimbrel.records import Position, Row, Table

Strategy = st.SearchStrategy[Any]
WORDS = ("a", "it's", "b c", "é", "")


def text_in(codec: str, most: int = 20) -> Strategy:
    return st.text(st.characters(codec=codec, exclude_characters="\0"), max_size=most)


def moments(digits: int) -> Strategy:
    """Of a DATETIME: real ones, zero, and such as have no month or no day."""
    fraction = st.integers(0, 10**digits - 1).map(lambda n: f".{n:0{digits}d}" if digits else "")
    partial = st.sampled_from(
        ["0000-00-00 00:00:00", "2020-00-00 01:02:03", "2021-07-00 23:59:59", "0000-01-01 00:00:00"]
    )
    plain = (
        st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31))
        .map(lambda d: f"{d:%H:%M:%S}")
        .flatmap(lambda clock: st.dates(date(1000, 1, 1), date(9999, 12, 30)).map(lambda day: f"{day} {clock}"))
    )
    return st.tuples(partial | plain, fraction).map("".join)


def stamps(digits: int) -> Strategy:
    """Of a TIMESTAMP, in UTC; 0 is its zero."""
    seconds = st.integers(1, 2**31 - 2).map(lambda n: str(datetime(1970, 1, 1) + timedelta(seconds=n)))
    fraction = st.integers(0, 10**digits - 1).map(lambda n: f".{n:0{digits}d}" if digits else "")
    return st.tuples(seconds, fraction).map("".join) | st.just("0000-00-00 00:00:00")


def times(digits: int) -> Strategy:
    """From -838:59:59 to 838:59:59, with fractions: below zero they borrow from the second."""
    top = (838 * 3600 + 59 * 60 + 59) * 10**digits

    def shown(n: int) -> str:
        seconds, part = divmod(abs(n), 10**digits)
        text = f"{'-' if n < 0 else ''}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        return f"{text}.{part:0{digits}d}" if digits else text

    return (numbers(-top, top) | st.integers(-(10**digits), 10**digits)).map(shown)


def members(names: tuple[str, ...]) -> str:
    return ", ".join("'" + name.replace("'", "''") + "'" for name in names)


points = st.tuples(st.floats(-180, 180), st.floats(-90, 90)).map(
    lambda p: Sql(f"ST_GeomFromText('POINT({p[0]!r} {p[1]!r})')")
)
uuids = st.uuids(version=4).map(str) | st.uuids(version=1).map(str) | st.just(str(uuid.UUID(int=0)))


class Sql(str):
    """An expression, not a text."""


def vector(length: int) -> Strategy:
    floats = st.floats(allow_nan=False, allow_infinity=False, width=32)
    return st.lists(floats, min_size=length, max_size=length).map(
        lambda v: Sql(f"x'{struct.pack(f'<{length}f', *v).hex()}'")
    )


COLUMNS: dict[str, Strategy] = {
    **{f"{word}INT": numbers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
       for word, bits in (("TINY", 8), ("SMALL", 16), ("MEDIUM", 24), ("", 32), ("BIG", 64))},
    **{f"{word}INT UNSIGNED": numbers(0, 2**bits - 1)
       for word, bits in (("TINY", 8), ("SMALL", 16), ("MEDIUM", 24), ("", 32), ("BIG", 64))},
    "BOOL": st.integers(0, 1),
    "INT(7) UNSIGNED ZEROFILL": numbers(0, 2**32 - 1),
    **{f"DECIMAL({p},{s})": decimals(p, s) for p, s in ((1, 0), (9, 9), (18, 9), (19, 10), (38, 0), (65, 0), (65, 30))},
    "FLOAT": st.floats(allow_nan=False, allow_infinity=False, width=32),
    "DOUBLE": st.floats(allow_nan=False, allow_infinity=False),
    **{f"BIT({n})": numbers(0, 2**n - 1) for n in (1, 8, 9, 37, 64)},
    "YEAR": st.integers(1901, 2155) | st.just(0),
    "DATE": st.dates(date(1000, 1, 1)).map(str) | st.sampled_from(["0000-00-00", "2020-02-00", "2020-00-00", "0000-00-01"]),
    **{f"DATETIME({n})": moments(n) for n in (0, 1, 2, 3, 6)},
    **{f"TIMESTAMP({n})": stamps(n) for n in (0, 3, 4, 6)},
    **{f"TIME({n})": times(n) for n in range(7)},
    "CHAR(20)": texts.map(lambda text: text[:20]),
    "CHAR(80)": texts,
    "VARCHAR(20) CHARACTER SET latin1": text_in("latin-1"),
    "VARCHAR(300) CHARACTER SET utf8mb3": st.text(st.characters(max_codepoint=0xFFFF, codec="utf-8"), max_size=40),
    "VARCHAR(20) CHARACTER SET utf16": text_in("utf-8"),
    "VARCHAR(20) CHARACTER SET utf32": text_in("utf-8"),
    "VARCHAR(20) CHARACTER SET cp1251": text_in("koi8-r").filter(lambda text: text.isalnum() or not text),
    "VARCHAR(20) CHARACTER SET ascii": text_in("ascii"),
    "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin": text_in("utf-8"),
    "TINYTEXT": texts, "TEXT": texts, "MEDIUMTEXT": texts, "LONGTEXT CHARACTER SET utf16": texts,
    **{f"BINARY({n})": st.binary(max_size=n) | st.just(bytes(n)) for n in (1, 16, 255)},
    "VARBINARY(20)": st.binary(max_size=20).map(lambda data: data + b"\0")  .map(lambda data: data[:20]),
    "VARBINARY(300)": st.binary(max_size=300),
    "TINYBLOB": st.binary(max_size=255), "BLOB": st.binary(max_size=300), "MEDIUMBLOB": st.binary(), "LONGBLOB": st.binary(),
    f"ENUM({members(WORDS[:4])})": st.sampled_from(WORDS[:4]),
    f"ENUM({', '.join(repr(f'e{n}') for n in range(300))})": st.integers(0, 299).map("e{}".format),
    f"SET({members(WORDS[:4])}) CHARACTER SET latin1": st.sets(st.sampled_from(WORDS[:4])).map(",".join),
    "JSON": documents.map(lambda value: json.dumps(value, ensure_ascii=False)),
    "GEOMETRY": points, "POINT": points,
    "INT INVISIBLE": numbers(-5, 5),
}  # fmt: skip
MARIADB: dict[str, Strategy] = {
    "UUID": uuids,
    "INET4": st.integers(0, 2**32 - 1).map(lambda n: str(IPv4Address(n))),
    "INET6": (st.integers(0, 2**128 - 1) | st.integers(0, 2**32) | st.sampled_from([0, 1, 0xFFFF << 32])).map(
        lambda n: str(IPv6Address(n))
    ),
    "VARCHAR(200) COMPRESSED": texts,
    "BLOB COMPRESSED": st.binary(max_size=300),
}
MYSQL: dict[str, Strategy] = {"VECTOR(3)": vector(3)}
GENERATED = [
    "g0 INT AS (c0 + 1) VIRTUAL",
    "g1 VARCHAR(200) AS (CONCAT('<', c0, '>')) STORED",
    "g2 BIGINT AS (c0 * 2) VIRTUAL INVISIBLE",
]
# ruff: noqa: E501


def columns_of(source: Source) -> dict[str, Strategy]:
    return COLUMNS | (MARIADB if source.flavor == "mariadb" else MYSQL)


def sql_of(value: Any) -> str:
    return str(value) if isinstance(value, Sql) else literal(value)


@pytest.fixture
def written(source: Source) -> tuple[Source, Position]:
    """Two tables with the same random rows: ``least`` written without row metadata, ``most`` with all of it."""
    columns = columns_of(source)
    named = ", ".join(
        [*(f"c{i} {kind}{' NULL' if 'TIMESTAMP' in kind else ''}" for i, kind in enumerate(columns)), *GENERATED]
    )
    source.execute(
        *(
            f"CREATE TABLE {name} (id INT AUTO_INCREMENT PRIMARY KEY, {named}) CHARACTER SET utf8mb4 ROW_FORMAT = DYNAMIC"
            for name in ("least", "most")
        )
    )
    start = source.position()
    names = ", ".join(f"c{i}" for i in range(len(columns)))
    row = st.tuples(*(st.none() | column for column in columns.values()))
    least = "NO_LOG" if source.flavor == "mariadb" else "MINIMAL"
    statements: dict[str, list[str]] = {"least": [], "most": []}

    @settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(row, min_size=1, max_size=6))
    def insert(rows: list[tuple[Any, ...]]) -> None:
        values = ", ".join(f"({', '.join(map(sql_of, row))})" for row in rows)
        for table, kept in statements.items():
            kept.append(f"INSERT IGNORE INTO {table} ({names}) VALUES {values}")

    insert()
    utc = "SET SESSION time_zone = '+00:00'"
    try:
        source.execute(f"SET GLOBAL binlog_row_metadata = {least}")
        source.execute(utc, *statements["least"])
        source.execute("SET GLOBAL binlog_row_metadata = FULL")
        source.execute(utc, *statements["most"])
    finally:
        source.execute("SET GLOBAL binlog_row_metadata = DEFAULT")
    return source, start


def by_id(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row[0])  # type: ignore[arg-type,return-value]


@pytest.mark.timeout(120)
def test_every_type_is_carried_the_same_by_all_ways(written: tuple[Source, Position]) -> None:
    source, start = written
    least, most = source.table("least"), source.table("most")
    changes = source.changes(start, least, most)
    rows = {table: [c.after for c in changes if c.table == table and c.after] for table in (least, most)}
    selected = by_id(source.rows(least))
    assert len(selected) > 12
    for index, column in enumerate(least.columns):
        snapshot, without, full = ([row[index] for row in way] for way in (selected, rows[least], rows[most]))
        assert repr(without) == repr(snapshot), f"{column.name} {column.type_name}"
        assert repr(full) == repr(snapshot), f"{column.name} {column.type_name}, with full metadata"
    assert [repr(row) for row in by_id(source.rows(most))] == [repr(row) for row in selected]


def test_no_type_is_left_out(source: Source) -> None:
    """Of those that schemas may have, and of the kinds that mappings know."""
    words = {re.split(r"[ (]", kind.lower())[0] for kind in columns_of(source)} | {"bool"}
    same = {
        "integer",
        "numeric",
        "linestring",
        "polygon",
        "multipoint",
        "multilinestring",
        "multipolygon",
        "geometrycollection",
        "geomcollection",
    }
    only = {"mariadb": {"vector"}, "mysql": {"uuid", "inet4", "inet6"}}[source.flavor]
    assert set(KINDS) - words - same - only == set()
    assert set(KINDS.values()) == set(TYPES) - {"computed"}


# mysql-replication as one more opinion. Its metadata parser gives up on the table of all COLUMNS ("not a valid
# MetadataFieldType"), an empty VARBINARY is a str, and the other types it gives in other forms than the servers print
# (datetime, timedelta, set, text of bits, Python's JSON), some with loss: SELECT is the judge of those.
AGREED = [
    *(kind for kind in COLUMNS if re.fullmatch(r"(TINY|SMALL|MEDIUM|BIG)?INT( UNSIGNED)?|DECIMAL\(.*", kind)),
    "DOUBLE", "CHAR(80)", "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "TEXT", "VARBINARY(300)",
]  # fmt: skip
THEIRS: dict[str, Callable[[Any], Any]] = {"decimal": "{:f}".format, "binary": lambda value: value or b""}


@pytest.mark.timeout(60)
def test_where_mysql_replication_is_right_it_says_the_same(source: Source) -> None:
    named = ", ".join(f"c{i} {kind}" for i, kind in enumerate(AGREED))
    source.execute(f"CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, {named}) CHARACTER SET utf8mb4")
    table, start, statements = source.table(), source.position(), []

    @settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.tuples(*(st.none() | COLUMNS[kind] for kind in AGREED)))
    def insert(row: tuple[Any, ...]) -> None:
        statements.append(f"INSERT INTO t VALUES (NULL, {', '.join(map(sql_of, row))})")

    insert()
    try:
        source.execute("SET GLOBAL binlog_row_metadata = FULL")
        source.execute(*statements)
        end = source.position()
        found = theirs(source, table, start, end)  # it looks at the setting, not at what the events have
    finally:
        source.execute("SET GLOBAL binlog_row_metadata = DEFAULT")
    assert found == [list(change.after or ()) for change in source.changes(start, table, end=end)]


def theirs(source: Source, table: Table, start: Position, end: Position) -> list[list[Any]]:
    server = source.server
    reader = BinLogStreamReader(
        connection_settings={"host": server.host, "port": server.port, "user": server.admin, "passwd": server.password},
        server_id=4712, resume_stream=True, log_file=start.file, log_pos=start.offset, end_log_pos=end.offset,
        only_events=[WriteRowsEvent], only_schemas=[source.database],
    )  # fmt: skip
    try:
        rows = [row["values"] for event in reader for row in event.rows]
    finally:
        reader.close()
    plain = [(column.name, THEIRS.get(column.kind, lambda value: value)) for column in table.columns]
    return [[None if row[name] is None else form(row[name]) for name, form in plain] for row in rows]
