"""A row read from the binlog is the row that a SELECT gives, for every type. The server's own SELECT is the judge."""

from __future__ import annotations

import pytest

from tests.binlog.conftest import Source, images
from tests.snapshot.test_values import VALUES
from whimbrel.records import Value

MORE: list[tuple[str, list[str], str]] = [
    ("BOOL", ["TRUE", "-7"], ""),
    ("SMALLINT", ["-32768", "32767"], ""),
    ("SMALLINT UNSIGNED", ["65535", "0"], ""),
    ("MEDIUMINT", ["-8388608", "8388607", "-1"], ""),
    ("INT", ["-2147483648", "2147483647"], ""),
    ("INT UNSIGNED", ["4294967295"], ""),
    ("TINYINT UNSIGNED", ["255"], ""),
    *[(f"BIT({n})", ["1", f"b'{'10' * (n // 2)}1'"], "") for n in (7, 9, 17, 33, 63)],
    *[(f"DECIMAL({p},{s})", ["-0.4", "1", f"-{'9' * (p - s)}.{'9' * s}" if p > s else f"0.{'8' * s}"], "")
      for p, s in ((1, 0), (2, 2), (9, 0), (9, 9), (10, 9), (18, 9), (19, 10), (20, 1), (27, 3), (30, 30), (65, 0), (65, 30))],
    *[(f"TIME({n})", ["'-838:59:58.999999'", "'-0:0:0.999999'", "'23:59:59.123456'", "'101:01:01.000001'"], "") for n in range(7)],
    *[(f"DATETIME({n})", ["'9999-12-31 23:59:59.000000'", "'2020-02-29 1:2:3.123456'", "'0000-00-00'", "'2020-00-00 01:02:03'"], "") for n in range(7)],
    *[(f"TIMESTAMP({n}) NULL", ["'1970-01-01 00:00:01'", "'2001-09-09 01:46:40.987654'", "0"], "") for n in range(7)],
    ("CHAR(255)", ["REPEAT('😀', 255)", "'x'"], ""),
    ("CHAR(10) CHARACTER SET ascii", ["'abc'", "''"], ""),
    ("CHAR(10) CHARACTER SET utf16", ["'aé😀'", "''"], ""),
    ("BINARY(255)", ["REPEAT(x'00', 255)", "x'20'", "CONCAT(x'01', REPEAT(x'00', 200), x'01')"], ""),
    ("VARCHAR(64)", ["REPEAT('x', 64)"], ""),
    ("VARCHAR(63)", ["REPEAT('x', 63)", "''"], ""),
    ("VARCHAR(300) CHARACTER SET latin1", ["REPEAT('ÿ', 300)"], ""),
    ("TINYTEXT", ["REPEAT('x', 255)", "''"], ""),
    ("TINYBLOB", ["REPEAT(x'00', 255)"], ""),
    ("TEXT CHARACTER SET cp932", ["'日本'"], ""),
    ("BLOB", ["x'00'"], ""),
    ("MEDIUMBLOB", ["REPEAT('a', 70000)"], ""),
    ("ENUM(" + ",".join(f"'e{i}'" for i in range(300)) + ")", ["'e299'", "'e0'"], ""),
    *[("SET(" + ",".join(f"'s{i}'" for i in range(n)) + ")", [f"'s0,s{n - 1}'", "''"], "") for n in (1, 9, 17, 33, 64)],
    ("LINESTRING", ["ST_GeomFromText('LINESTRING(0 0,1 1,2 2)')"], ""),
    ("GEOMETRYCOLLECTION", ["ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1))')"], ""),
    ("UUID", ["'01890a5d-ac96-774b-bcce-b302099a8057'", "'6ccd780c-baba-1026-9564-5b8c656024db'", "'00000000-0000-0000-0000-000000000000'"], "mariadb"),
    ("INET6", ["'::'", "'2001:db8::ff00:42:8329'", "'::1.2.3.4'", "'::ffff'", "'1:0:0:2:0:0:0:3'", "'1:0:2:3:4:5:6:7'", "'ff00::'"], "mariadb"),
    ("INET4", ["'0.0.0.0'", "'255.255.255.255'", "'1.2.3.0'"], "mariadb"),
    ("TEXT COMPRESSED", ["REPEAT('y', 5000)", "'y'", "''"], "mariadb"),
    ("MEDIUMBLOB COMPRESSED", ["REPEAT(x'00', 70000)"], "mariadb"),
    ("VARBINARY(300) COMPRESSED", ["REPEAT(x'00', 300)", "x''"], "mariadb"),
]  # fmt: skip
# ruff: noqa: E501


def columns_for(flavor: str) -> list[tuple[str, list[str]]]:
    given = [(kind, [sql for sql, _ in values], only) for kind, values, only in VALUES]
    return [(kind, values) for kind, values, only in given + MORE if only in ("", flavor) and "INVISIBLE" not in kind]


@pytest.mark.parametrize("metadata", ["least", "FULL"])
def test_every_type_is_what_select_gives(source: Source, metadata: str) -> None:
    """One table with a NOT NULL and a nullable column of each type: inserted, updated and deleted."""
    kinds = columns_for(source.flavor)
    a = ", ".join(f"a{i} {kind.replace(' NULL', '')} NOT NULL" for i, (kind, _) in enumerate(kinds))
    b = ", ".join(f"b{i} {kind}" for i, (kind, _) in enumerate(kinds))
    least = "NO_LOG" if source.flavor == "mariadb" else "MINIMAL"
    source.execute(
        f"SET GLOBAL binlog_row_metadata = {least if metadata == 'least' else metadata}",
        "SET SESSION explicit_defaults_for_timestamp = 1",
        f"CREATE TABLE t (id INT PRIMARY KEY, {a}, {b}) CHARACTER SET utf8mb4 ROW_FORMAT = DYNAMIC",
    )
    start = source.position()
    plain = [[value for value in values if value != "NULL"] for _, values in kinds]
    inserts = []
    for n in range(max(map(len, plain)) + 1):
        here = [values[n % len(values)] for values in plain]
        nulls = ["NULL"] * len(kinds) if n == 0 else ["NULL" if (n + i) % 5 == 0 else v for i, v in enumerate(here)]
        inserts.append(f"INSERT IGNORE INTO t VALUES ({n}, {', '.join(here + nulls)})")
    source.execute(*inserts)
    table = source.table()
    rows = source.rows(table)
    reset = ", ".join(f"b{i} = NULL" for i in range(len(kinds)))
    source.execute(f"UPDATE t SET {reset} WHERE id = 1", "DELETE FROM t WHERE id = 1")
    source.execute("SET GLOBAL binlog_row_metadata = DEFAULT")
    changes = source.changes(start, table)
    inserted = [change.after for change in changes[: len(rows)]]
    for column, found, wanted in zip(table.columns, zip(*inserted, strict=True), zip(*rows, strict=True), strict=True):
        assert exact(found) == exact(wanted), f"{column.name} {column.type_name}"
    old, new = rows[1], rows[1][: len(kinds) + 1] + (None,) * len(kinds)
    assert exact(images(changes[len(rows) :])) == exact([(old, new), (new, None)])


def exact(rows: object) -> str:
    """With the types, and so that -0.0 is not 0.0."""
    return repr(rows)


def test_the_canonical_values_themselves(source: Source) -> None:
    """The same values as tests/snapshot/test_values.py has by hand."""
    kinds = [(kind, values) for kind, values, only in VALUES if only in ("", source.flavor)]
    columns = ", ".join(f"c{i} {kind}" for i, (kind, _) in enumerate(kinds))
    source.execute(f"CREATE TABLE t (id INT PRIMARY KEY, {columns}) CHARACTER SET utf8mb4")
    start = source.position()
    expected: list[tuple[Value, ...]] = []
    names = ", ".join(f"c{i}" for i in range(len(kinds)))
    for number in range(max(len(values) for _, values in kinds)):
        here = [values[number] if number < len(values) else ("NULL", None) for _, values in kinds]
        here = [("NULL", None) if value is None else (sql, value) for sql, value in here]
        source.execute(f"INSERT INTO t (id, {names}) VALUES ({number}, {', '.join(sql for sql, _ in here)})")
        expected.append((number, *(value for _, value in here)))
    assert exact([change.after for change in source.changes(start, source.table())]) == exact(expected)
