"""Random values through both servers, and MySQL's JSON text digit by digit. SELECT is the judge."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demo.servers import MySQL
from tests.binlog.conftest import Source
from whimbrel.mysql.binlog.json import double_text

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5), max_leaves=30
)


def numbers(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high) | st.sampled_from([low, high, 0])


def decimals(precision: int, scale: int) -> st.SearchStrategy[str]:
    top = 10**precision - 1
    return numbers(-top, top).map(lambda n: f"{n}e-{scale}")


COLUMNS: dict[str, st.SearchStrategy[Any]] = {
    "TINYINT": numbers(-128, 127),
    "SMALLINT UNSIGNED": numbers(0, 65535),
    "MEDIUMINT": numbers(-(2**23), 2**23 - 1),
    "MEDIUMINT UNSIGNED": numbers(0, 2**24 - 1),
    "INT UNSIGNED": numbers(0, 2**32 - 1),
    "BIGINT": numbers(-(2**63), 2**63 - 1),
    "BIGINT UNSIGNED": numbers(0, 2**64 - 1),
    "DECIMAL(65,30)": decimals(65, 30),
    "DECIMAL(12,5)": decimals(12, 5),
    "DECIMAL(7,7)": decimals(7, 7),
    "DOUBLE": st.floats(allow_nan=False, allow_infinity=False),
    "FLOAT": st.floats(allow_nan=False, allow_infinity=False, width=32),
    "VARCHAR(400)": st.text(st.characters(codec="utf-8"), max_size=400),
    "CHAR(40)": texts,
    "TEXT CHARACTER SET utf16": texts,
    "BINARY(20)": st.binary(max_size=20),
    "VARBINARY(300)": st.binary(max_size=300),
    "BLOB": st.binary(max_size=300),
    "BIT(37)": numbers(0, 2**37 - 1),
    "YEAR": st.integers(1901, 2155) | st.just(0),
    "DATETIME(6)": st.datetimes().map(str),
    "DATETIME(3)": st.datetimes().map(str),
    "DATE": st.dates().map(str),
    "TIME(6)": st.integers(-3020399999999, 3020399999999).map(
        lambda n: f"{'-' if n < 0 else ''}{abs(n) // 3600000000}:{abs(n) // 60000000 % 60}:{abs(n) % 60000000 / 1e6:.6f}"
    ),
}  # fmt: skip


def literal(value: Any) -> str:
    if isinstance(value, str):
        return f"_utf8mb4 x'{value.encode().hex()}'" if value else "''"
    return f"x'{value.hex()}'" if isinstance(value, bytes) else "NULL" if value is None else repr(value)


@pytest.mark.timeout(60)
def test_random_rows(source: Source) -> None:
    names = ", ".join(f"c{i} {kind}" for i, kind in enumerate(COLUMNS))
    source.execute(f"CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, {names}) CHARACTER SET utf8mb4")
    table, start = source.table(), source.position()
    row = st.tuples(*(st.none() | column for column in COLUMNS.values()))

    @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(row, min_size=1, max_size=6))
    def insert(rows: list[tuple[Any, ...]]) -> None:
        values = ", ".join(f"(NULL, {', '.join(map(literal, row))})" for row in rows)
        source.execute(f"INSERT INTO t VALUES {values}")

    insert()
    found = [change.after for change in source.changes(start, table)]
    assert repr(found) == repr(source.rows(table))


def test_random_json(mysql: MySQL) -> None:
    source = Source(mysql, mysql.new_database())
    source.execute("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, j JSON)")
    table, start = source.table(), source.position()

    @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(documents, min_size=1, max_size=10))
    def insert(values: list[Any]) -> None:
        source.execute(
            "INSERT INTO t (j) VALUES "
            + ", ".join(f"(CONVERT(x'{json.dumps(value).encode().hex()}' USING utf8mb4))" for value in values)
        )

    insert()
    assert [change.after for change in source.changes(start, table)] == source.rows(table)


def test_json_of_every_form(mysql: MySQL) -> None:
    """Values that only SQL can put into JSON, and documents with large offsets."""
    source = Source(mysql, mysql.new_database())
    source.execute("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, j JSON)")
    table, start = source.table(), source.position()
    expressions = [
        "CAST(12.50 AS JSON)", "CAST(-0.000001 AS JSON)", "CAST(CAST(9 AS DECIMAL(65,30)) AS JSON)",
        "CAST(DATE '2020-02-29' AS JSON)", "CAST(TIMESTAMP '2020-02-29 01:02:03.45' AS JSON)",
        "CAST(TIME '-838:59:59' AS JSON)", "CAST(TIME '-00:00:00.000001' AS JSON)", "CAST(b'1010' AS JSON)", "CAST(x'00ff' AS JSON)",
        "JSON_ARRAY(REPEAT(x'41', 100))", "CAST(ST_GeomFromText('POINT(1 2)') AS JSON)", "CAST(1e300 AS JSON)", "CAST(TRUE AS JSON)",
        "JSON_OBJECT('a', REPEAT('x', 70000), 'b', JSON_ARRAY(1, -70000, 70000, 3000000000, NULL, 'é'))",
        "JSON_ARRAY(65535, 65536, -32768, -32769, 4294967295, 4294967296, 18446744073709551615, -9223372036854775808)",
        "JSON_OBJECT('', 1, 'bb', 2, 'a', 3)", "CAST('\"\\\\u0000\\\\u001f\\\\u007f\\\\b\\\\f\\\\/\"' AS JSON)", "CAST('[]' AS JSON)",
        "CAST('{}' AS JSON)", "CAST(CAST(2020 AS YEAR) AS JSON)",
    ]  # fmt: skip
    # ruff: noqa: E501
    for expression in expressions:
        source.execute(f"INSERT INTO t (j) VALUES ({expression})")
    found = [change.after for change in source.changes(start, table)]
    for expression, row, wanted in zip(expressions, found, source.rows(table), strict=True):
        assert row == wanted, expression


def test_doubles_as_json_prints_them(mysql: MySQL) -> None:
    numbers = [
        s * float(f"{d}e{e}") for s in (1, -1) for d in ("1", "1.5", "123456789012345678") for e in range(-40, 30)
    ]
    numbers += [5e-324, 1.7976931348623157e308, 2**53, 0.1 + 0.2, 1e15, 999999999999999.9, 123456789012345.6]
    numbers += struct.unpack("<8d", bytes(range(64)))
    printed = mysql.execute("SELECT " + ", ".join(f"CAST(CAST({n!r} AS DOUBLE) AS JSON)" for n in numbers))[0]
    assert [double_text(n) for n in numbers] == list(printed)
