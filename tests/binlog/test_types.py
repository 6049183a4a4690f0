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


@pytest.mark.parametrize("metadata", ["MINIMAL", "FULL"])
def test_every_type_is_what_select_gives(source: Source, metadata: str) -> None:
    """Each in a table of its own with a NOT NULL and a nullable column: inserted, updated and deleted."""
    metadata = "NO_LOG" if source.flavor == "mariadb" and metadata == "MINIMAL" else metadata
    kinds = columns_for(source.flavor)
    tables = []
    creates = [
        f"CREATE TABLE t{i} (id INT PRIMARY KEY, a {kind.replace(' NULL', '')} NOT NULL, b {kind}) CHARACTER SET utf8mb4"
        for i, (kind, _) in enumerate(kinds)
    ]
    source.execute("SET SESSION explicit_defaults_for_timestamp = 1", f"SET GLOBAL binlog_row_metadata = {metadata}", *creates)
    start = source.position()
    inserts = []
    for i, (_, values) in enumerate(kinds):
        values = [value for value in values if value != "NULL"]
        rows = [f"({n}, {value}, {value})" for n, value in enumerate(values)] + [f"(99, {values[0]}, NULL)"]
        inserts.append(f"INSERT IGNORE INTO t{i} (id, a, b) VALUES {', '.join(rows)}")
    source.execute(*inserts)
    tables = [source.table(f"t{i}") for i in range(len(kinds))]
    selected = {table.name: sorted(source.rows(table)) for table in tables}
    source.execute(*[f"UPDATE t{i} SET b = NULL WHERE id = 0" for i in range(len(kinds))])
    source.execute(*[f"DELETE FROM t{i} WHERE id = 0" for i in range(len(kinds))])
    source.execute("SET GLOBAL binlog_row_metadata = DEFAULT")
    changes = source.changes(start, *tables)
    for table, (kind, _) in zip(tables, kinds, strict=True):
        mine = [change for change in changes if change.table == table]
        rows = selected[table.name]
        assert exact([change.after for change in mine[: len(rows)]]) == exact(rows), kind
        old, new = rows[0], (*rows[0][:2], None)
        assert [exact(pair) for pair in images(mine[len(rows) :])] == [exact((old, new)), exact((new, None))], kind


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
