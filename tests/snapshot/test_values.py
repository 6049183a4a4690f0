"""Every type: what was put in by hand is, in canonical form and to the last digit, what an export file and a point
read give.
"""

from __future__ import annotations

import math
import struct

import pytest

from tests.snapshot.conftest import Shop
from whimbrel.errors import UnsupportedSource
from whimbrel.mysql.snapshot import read_rows
from whimbrel.records import Value

POINT = bytes(4) + b"\x01" + struct.pack("<Idd", 1, 1.0, 2.0)  # SRID 0, then WKB

# (type, [(SQL, canonical value)], flavor)
VALUES: list[tuple[str, list[tuple[str, Value]], str]] = [
    ("TINYINT", [("-128", -128), ("127", 127)], ""),
    ("TINYINT(1)", [("1", 1), ("-1", -1)], ""),
    ("MEDIUMINT(8) UNSIGNED ZEROFILL", [("7", 7), ("16777215", 2**24 - 1)], ""),
    ("BIGINT", [("-9223372036854775808", -(2**63)), ("9223372036854775807", 2**63 - 1)], ""),
    ("BIGINT UNSIGNED", [("18446744073709551615", 2**64 - 1)], ""),
    ("YEAR", [("0", 0), ("1901", 1901), ("2155", 2155)], ""),
    ("BIT(1)", [("b'0'", 0), ("b'1'", 1)], ""),
    ("BIT(64)", [("x'8000000000000001'", 2**63 + 1)], ""),
    ("DECIMAL(10,2)", [("-12.5", "-12.50"), ("0", "0.00"), ("99999999.99", "99999999.99")], ""),
    ("DECIMAL(65,30)", [("1e-30", "0." + "0" * 29 + "1"), ("-" + "9" * 35, "-" + "9" * 35 + "." + "0" * 30)], ""),
    ("DECIMAL(8,3) ZEROFILL", [("1.5", "1.500")], ""),
    ("FLOAT", [("0.1", 0.1), ("16777216", 16777216.0), ("1e-40", 1e-40), ("-3.4e38", None)], ""),
    ("FLOAT(7,3)", [("0.1", 0.1)], ""),
    ("DOUBLE", [("0.1", 0.1), ("1.7976931348623157e308", 1.7976931348623157e308), ("5e-324", 5e-324)], ""),
    ("DOUBLE", [("1e22", 1e22), ("123456789012345680000", 1.2345678901234568e20), ("0.30000000000000004", 0.1 + 0.2)], ""),
    ("DOUBLE(20,3)", [("1.005", 1.005)], ""),
    ("DATE", [("'0000-00-00'", "0000-00-00"), ("'2020-00-31'", "2020-00-31"), ("'9999-12-31'", "9999-12-31")], ""),
    ("DATETIME", [("'0000-00-00'", "0000-00-00 00:00:00"), ("'2020-02-29 23:59:59'", "2020-02-29 23:59:59")], ""),
    ("DATETIME(3)", [("'2020-01-01 00:00:00.120'", "2020-01-01 00:00:00.120")], ""),
    ("DATETIME(6)", [("'1000-01-01'", "1000-01-01 00:00:00.000000"), ("'2020-01-01 1:2:3.000001'", "2020-01-01 01:02:03.000001")], ""),
    ("TIMESTAMP(2) NULL", [("'2038-01-19 03:14:07.99'", "2038-01-19 03:14:07.99"), ("'0000-00-00'", "0000-00-00 00:00:00.00")], ""),
    ("TIME", [("'-838:59:59'", "-838:59:59"), ("'1:2:3'", "01:02:03"), ("'0'", "00:00:00")], ""),
    ("TIME(4)", [("'-00:00:00.0001'", "-00:00:00.0001"), ("'100:00:00.5'", "100:00:00.5000")], ""),
    ("CHAR(5)", [("''", ""), ("' x '", " x"), ("'😀é'", "😀é")], ""),
    ("VARCHAR(20)", [("' x '", " x "), ("'a\\0b\\n\\t\"\\'\\\\'", "a\0b\n\t\"'\\")], ""),
    ("VARCHAR(20) CHARACTER SET latin1", [("'é€'", "é€"), ("_latin1 x'81ff'", "\x81ÿ")], ""),
    ("VARCHAR(20) CHARACTER SET utf8mb3", [("'日本'", "日本")], ""),
    ("VARCHAR(20) CHARACTER SET utf16", [("'日本😀'", "日本😀")], ""),
    ("VARCHAR(20) CHARACTER SET ucs2", [("'日本'", "日本")], ""),
    ("VARCHAR(20) CHARACTER SET sjis", [("'日本ソ表'", "日本ソ表")], ""),
    ("VARCHAR(20) CHARACTER SET ascii", [("'x'", "x")], ""),
    ("MEDIUMTEXT", [("REPEAT('ä', 70000)", "ä" * 70000)], ""),
    ("LONGTEXT", [("REPEAT('x', 300000)", "x" * 300000)], ""),
    ("ENUM('a','it''s','b\\\\c','x,y','é')", [("'it''s'", "it's"), ("3", "b\\c"), ("'x,y'", "x,y"), ("'é'", "é"), ("0", "")], ""),
    ("SET('a','b c','ß') CHARACTER SET latin1", [("''", ""), ("'ß,a'", "a,ß"), ("'b c'", "b c")], ""),
    ("BINARY(4)", [("x'0100'", b"\1\0\0\0"), ("''", bytes(4)), ("x'ff202000'", b"\xff  \0")], ""),
    ("VARBINARY(9)", [("x''", b""), ("x'00ff00'", b"\0\xff\0")], ""),
    ("LONGBLOB", [("REPEAT(x'00ff', 200000)", b"\0\xff" * 200000)], ""),
    ("GEOMETRY", [("ST_GeomFromText('POINT(1 2)')", POINT)], ""),
    ("POINT", [("ST_GeomFromText('POINT(1 2)')", POINT)], ""),
    ("JSON", [("'{\"a\": [1, \"é\"]}'", '{"a": [1, "é"]}'), ("'null'", "null")], ""),
    ("JSON", [("'[1,2.50]'", "[1,2.50]")], "mariadb"),
    ("JSON", [("'[1,2.50]'", "[1, 2.5]")], "mysql"),
    ("VECTOR(2)", [("TO_VECTOR('[1,-2]')", struct.pack("<ff", 1, -2))], "mysql"),
    ("UUID", [("'123e4567-e89b-12d3-a456-426655440000'", "123e4567-e89b-12d3-a456-426655440000")], "mariadb"),
    ("INET4", [("'10.0.0.1'", "10.0.0.1")], "mariadb"),
    ("INET6", [("'fe80::1'", "fe80::1"), ("'::ffff:1.2.3.4'", "::ffff:1.2.3.4")], "mariadb"),
    ("VARCHAR(50) COMPRESSED", [("REPEAT('x', 50)", "x" * 50)], "mariadb"),
    ("INT INVISIBLE", [("5", 5)], ""),
]  # fmt: skip
# ruff: noqa: E501


def test_every_type_comes_out_as_it_was_put_in(shop: Shop) -> None:
    cases = [(kind, values) for kind, values, flavor in VALUES if flavor in ("", shop.server.flavor)]
    columns = ", ".join(f"c{i} {kind}" for i, (kind, _) in enumerate(cases))
    shop.execute(f"CREATE TABLE t (id INT PRIMARY KEY, {columns}) CHARACTER SET utf8mb4 ROW_FORMAT=DYNAMIC")
    expected: list[list[Value]] = []
    for number in range(max(len(values) for _, values in cases)):
        here = [values[number] if number < len(values) else ("NULL", None) for _, values in cases]
        here = [("NULL", None) if value is None else (sql, value) for sql, value in here]
        names = ", ".join(f"c{i}" for i in range(len(cases)))
        shop.execute(f"INSERT INTO t (id, {names}) VALUES ({number}, {', '.join(sql for sql, _ in here)})")
        expected.append([number, *(value for _, value in here)])
    table = shop.table()
    shop.export(table)
    for rows in (shop.rows(), read_rows(shop.connection, table, "TRUE")):
        for row, wanted in zip(sorted(rows), expected, strict=True):
            for column, value, want in zip(table.columns, row, wanted, strict=True):
                assert (type(value), value) == (type(want), want), f"{column.name} {column.type_name}, {column.kind}"


def test_generated_columns_are_columns(shop: Shop) -> None:
    shop.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, s INT AS (id * 2) STORED, v VARCHAR(9) AS (CONCAT('v', id)) VIRTUAL)",
        "INSERT INTO t (id) VALUES (1), (2)",
    )
    shop.export(shop.table())
    assert shop.rows() == [(1, 2, "v1"), (2, 4, "v2")]


def test_negative_zero_keeps_its_sign(shop: Shop) -> None:
    shop.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, d DOUBLE, f FLOAT)",
        "INSERT INTO t VALUES (1, -1e-300 * 1e-300, -1e-300 * 1e-300)",
    )
    printed = shop.execute("SELECT CAST(d AS CHAR) FROM t")[0][0]
    shop.export(shop.table())
    _, double, single = shop.rows()[0]
    assert math.copysign(1, double) == math.copysign(1, single) == (-1 if printed == "-0" else 1)  # type: ignore[arg-type]


def test_text_that_is_not_valid_is_refused_by_name(shop: Shop) -> None:
    """Hebrew 0xA1 is not a character: the server would have given a question mark."""
    shop.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, h VARCHAR(9) CHARACTER SET hebrew)",
        "INSERT INTO t VALUES (1, 'x'), (2, _hebrew x'a1')",
    )
    with pytest.raises(UnsupportedSource, match=rf"{shop.database}\.t: text between.*not valid in its character set"):
        shop.export(shop.table())
    assert list(shop.folder.glob("chunk*")) == []
