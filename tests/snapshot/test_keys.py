"""Chunks: every row in exactly one, whatever the key's type and collation, and rows that the server calls equal
together.

The judge is the server: SELECT by hand for the rows, a self-join for what its collation calls equal.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.snapshot.conftest import Shop
from whimbrel.errors import UnsupportedSource
from whimbrel.mysql.chunks import chunk_condition, chunk_statement
from whimbrel.mysql.snapshot import plan, read_rows, rows_where_equal
from whimbrel.records import Row
from whimbrel.snapshot_files import Chunk

WORDS = [
    "a",
    "A",
    "a ",
    "á",
    "Á",
    "aa",
    "Aa ",
    "ä",
    "b",
    "B ",
    "",
    "  ",
    "\\t",
    "ß",
    "ss",
    "SS",
    "z",
    "Z",
    "é",
    "É",
    "e",
    "ab",
    "'",
    "\\\\",
    "%",
]
# ruff: noqa: RUF001
JAPANESE = ["あ", "ア", "ｱ", "亜", "A", "a ", "Ａ", "\\\\", "￣"]
RUSSIAN = ["а", "А", "ё", "Е", "е ", "я", "a"]

COLLATIONS = {
    "both": [
        ("utf8mb4", "utf8mb4_general_ci", WORDS + JAPANESE),
        ("utf8mb4", "utf8mb4_unicode_520_ci", WORDS + JAPANESE + ["😀", "😁"]),
        ("utf8mb4", "utf8mb4_bin", WORDS + JAPANESE),
        ("utf8mb3", "utf8mb3_general_ci", WORDS + JAPANESE),
        ("latin1", "latin1_swedish_ci", WORDS),
        ("latin1", "latin1_german2_ci", WORDS),
        ("latin1", "latin1_bin", WORDS),
        ("latin2", "latin2_czech_cs", ["a", "A", "c", "ch", "h", "i", "č", "Č", "e "]),
        ("cp1251", "cp1251_general_ci", RUSSIAN),
        ("sjis", "sjis_japanese_ci", JAPANESE[:7]),
        ("ujis", "ujis_japanese_ci", JAPANESE[:7]),
        ("utf16", "utf16_unicode_ci", WORDS + JAPANESE),
    ],
    "mysql": [
        ("utf8mb4", "utf8mb4_0900_ai_ci", WORDS + JAPANESE),
        ("utf8mb4", "utf8mb4_0900_bin", WORDS),
        ("utf8mb4", "utf8mb4_ja_0900_as_cs_ks", WORDS + JAPANESE),
    ],
    "mariadb": [
        ("utf8mb4", "utf8mb4_unicode_nopad_ci", WORDS + JAPANESE),
        ("latin1", "latin1_swedish_nopad_ci", WORDS),
        ("utf8mb4", "utf8mb4_uca1400_ai_ci", WORDS + JAPANESE),
    ],
}
CASES = [(flavor, *case) for flavor, cases in COLLATIONS.items() for case in cases]


@pytest.mark.parametrize(("flavor", "charset", "collation", "words"), CASES, ids=[f"{c[0]}-{c[2]}" for c in CASES])
def test_what_a_collation_calls_equal_is_in_one_chunk(
    shop: Shop, flavor: str, charset: str, collation: str, words: list[str]
) -> None:
    if flavor not in ("both", shop.server.flavor):
        pytest.skip(f"{collation} is {flavor}'s")
    shop.execute(
        f"CREATE TABLE t (k VARCHAR(20) CHARACTER SET {charset} COLLATE {collation}, id INT, PRIMARY KEY (k, id))",
        "INSERT INTO t VALUES "
        + ", ".join(f"('{word.replace(chr(39), chr(39) * 2)}', {i})" for i, word in enumerate(words * 2)),
    )
    equal = shop.execute("SELECT a.id, b.id FROM t a JOIN t b ON a.k = b.k")
    by_hand = sorted(shop.execute("SELECT CONVERT(k USING utf8mb4), id FROM t"))
    table = shop.table()
    for size in (1, 4):
        chunks = [*plan(shop.connection, table, ("k",), size)]
        chunk_of = {row[1]: chunk.number for chunk in chunks for row in rows_of(shop, table, chunk)}
        found = sorted(row for chunk in chunks for row in rows_of(shop, table, chunk))
        assert found == by_hand, f"rows by {size}"
        assert all(chunk_of[one] == chunk_of[other] for one, other in equal), f"equal keys by {size}"
        assert len(chunks) > len(words) // (3 * size)


def rows_of(shop: Shop, table: Any, chunk: Chunk) -> list[Any]:
    """A chunk's rows, by the condition that the snapshot uses."""
    order = f" ORDER BY {', '.join(chunk.key)}" if chunk.key else ""
    return read_rows(shop.connection, table, chunk_condition(table, chunk) + order)


# key columns, SQL values of the first key column (or whole tuples), whether it can be cut, and where
# ruff: noqa: E501
KEYS: list[tuple[str, str, list[str], bool, str]] = [
    ("BIGINT UNSIGNED", "k", ["0", "1", "9223372036854775807", "9223372036854775808", "18446744073709551615"], True, ""),
    ("BIGINT", "k", ["-9223372036854775808", "-1", "0", "9223372036854775807"], True, ""),
    ("DECIMAL(38,10)", "k", ["-1.5", "-1.4999999999", "0", "1234567890123456789012345678.0000000001"], True, ""),
    ("DOUBLE", "k", ["-1e308", "-0.1", "0", "0.1", "0.30000000000000004", "0.3", "1e22"], True, ""),
    ("FLOAT", "k", ["-1.5", "0.1", "0.3", "16777216", "1e-40"], True, ""),
    ("DATE", "k", ["'0000-00-00'", "'2020-00-00'", "'2020-02-29'", "'9999-12-31'"], True, ""),
    ("DATETIME(6)", "k", ["'0000-00-00'", "'2020-01-01 00:00:00.000001'", "'2020-01-01 00:00:00.000002'"], True, ""),
    ("TIMESTAMP(3) NOT NULL DEFAULT '2000-01-01'", "k", ["'2020-10-25 00:30:00'", "'2020-10-25 01:30:00.001'", "'2038-01-19 03:14:07'"], True, ""),
    ("TIME(2)", "k", ["'-838:59:59'", "'-00:00:00.01'", "'00:00:00'", "'99:00:00'", "'838:59:59'"], True, ""),
    ("YEAR", "k", ["0", "1901", "2000", "2155"], True, ""),
    ("BIT(64)", "k", ["0", "1", "b'1000000000000000000000000000000000000000000000000000000000000000'"], True, ""),
    ("BINARY(4)", "k", ["x'00'", "x'0001'", "x'61'", "x'6100ff'", "x'ffffffff'", "x'27'", "x'5c'"], True, ""),
    ("VARBINARY(9)", "k", ["x''", "x'00'", "x'0000'", "x'61'", "x'6100'", "x'ff'"], True, ""),
    ("UUID", "k", ["'00000000-0000-0000-0000-000000000000'", "'123e4567-e89b-12d3-a456-426655440000'", "'f23e4567-e89b-42d3-a456-426655440000'"], True, "mariadb"),
    ("INET6", "k", ["'::'", "'::ffff:1.2.3.4'", "'fe80::1'"], True, "mariadb"),
    ("INET4", "k", ["'0.0.0.0'", "'9.0.0.1'", "'10.0.0.1'"], True, "mariadb"),
    ("ENUM('z','a','m')", "k", ["'z'", "'a'", "'m'"], False, ""),
    ("SET('z','a','m')", "k", ["'z'", "'z,a'", "'m'", "''"], False, ""),
    ("VARCHAR(20)", "k(2)", ["'aa1'", "'ab1'", "'b'", "''"], False, ""),
    ("INT", "k DESC", ["1", "2", "3", "-4"], True, "mysql"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "key", "values", "cut", "flavor"), KEYS, ids=[f"{k[0]} {k[1]}" for k in KEYS])
def test_every_key_type(shop: Shop, kind: str, key: str, values: list[str], cut: bool, flavor: str) -> None:
    if flavor not in ("", shop.server.flavor):
        pytest.skip(f"{kind} as {key} is {flavor}'s")
    shop.execute(
        f"CREATE TABLE t (k {kind}, id INT NOT NULL UNIQUE KEY, PRIMARY KEY ({key}))",
        "INSERT INTO t VALUES " + ", ".join(f"({value}, {i})" for i, value in enumerate(values)),
    )
    table = shop.table()
    assert table.primary_key == ("k",)
    for size in (1, 2):
        chunks = [*plan(shop.connection, table, ("k",), size)]
        ids = [row[1] for chunk in chunks for row in rows_of(shop, table, chunk)]
        assert sorted(ids) == list(range(len(values))), f"by {size}: {chunks}"
        assert (len(chunks) >= len(values) / size) == cut
    for row in read_rows(shop.connection, table, "TRUE"):
        assert rows_where_equal(shop.connection, table, ("k",), [(row[0],)]) == [row], "its own literal finds it"


def test_composite_keys_use_the_index(shop: Shop) -> None:
    shop.execute(
        "CREATE TABLE t (a INT, b VARCHAR(5), c INT, v INT, PRIMARY KEY (a, b, c))",
        "CREATE TABLE d (n INT)",
        "INSERT INTO d VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)",
        "INSERT INTO t SELECT x.n, y.n, z.n * 10 + w.n, 1 FROM d x, d y, d z, d w",
        "ANALYZE TABLE t",
    )
    table, size = shop.table(), 700
    chunks = [*plan(shop.connection, table, ("a", "b", "c"), size)]
    assert [len(rows_of(shop, table, chunk)) for chunk in chunks] == [700] * 14 + [200]
    for chunk in chunks:
        assert rows_examined(shop, chunk_statement(table, chunk, "PRIMARY")) <= size + 2
    whole = shop.execute("SELECT a, b, c FROM t ORDER BY a, b, c")
    assert [row[:3] for chunk in chunks for row in rows_of(shop, table, chunk)] == list(whole)


def rows_examined(shop: Shop, statement: str) -> int:
    with shop.server.connect(shop.database) as connection, connection.cursor() as cursor:  # who may FLUSH
        cursor.execute("FLUSH STATUS")
        cursor.execute(statement)
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
        counts = dict(cursor.fetchall())
    return sum(int(counts[name]) for name in ("Handler_read_next", "Handler_read_prev", "Handler_read_rnd_next"))


def test_a_group_is_never_split_however_large(shop: Shop) -> None:
    shop.execute(
        "CREATE TABLE t (a INT, b INT, PRIMARY KEY (a, b))",
        "INSERT INTO t VALUES "
        + ", ".join(f"({a}, {b})" for a, n in ((1, 3), (2, 50), (3, 1), (4, 9)) for b in range(n)),
    )
    table = shop.table()
    chunks = [*plan(shop.connection, table, ("a",), 5)]
    groups = [{row[0] for row in rows_of(shop, table, chunk)} for chunk in chunks]
    assert groups == [{1, 2}, {3, 4}, set()]


def test_an_enum_in_the_middle_is_not_cut_by(shop: Shop) -> None:
    shop.execute(
        "CREATE TABLE t (a INT, e ENUM('z','a'), b INT, PRIMARY KEY (a, e, b))",
        "INSERT INTO t VALUES (1,'z',1),(1,'a',1),(2,'z',1),(2,'a',2),(3,'z',1)",
    )
    table = shop.table()
    chunks = [*plan(shop.connection, table, ("a", "e", "b"), 1)]
    assert {chunk.key for chunk in chunks} == {("a",)}
    assert [len(rows_of(shop, table, chunk)) for chunk in chunks] == [2, 2, 1, 0]


def test_a_unique_key_without_nulls_stands_in(shop: Shop) -> None:
    shop.execute(
        "CREATE TABLE t (n INT NULL UNIQUE, a INT NOT NULL, b INT NOT NULL, c INT NOT NULL, UNIQUE abc (a, b, c), UNIQUE ab (b, a))",
        "INSERT INTO t VALUES (NULL,1,1,1),(NULL,1,2,1),(3,2,1,1)",
    )
    table = shop.table()
    assert table.primary_key == ("b", "a")
    chunks = [*plan(shop.connection, table, table.primary_key, 1)]
    assert [[row[1:3] for row in rows_of(shop, table, chunk)] for chunk in chunks] == [[(1, 1)], [(2, 1)], [(1, 2)], []]


def test_a_table_without_a_key_is_refused(shop: Shop) -> None:
    shop.execute("CREATE TABLE t (a INT, b VARCHAR(300) NOT NULL, UNIQUE (a), UNIQUE (b(10)))")
    with pytest.raises(UnsupportedSource, match=rf"{shop.database}\.t: has no primary key.*ADD id BIGINT"):
        shop.table()


def test_the_plan_goes_on_after_a_chunk(shop: Shop) -> None:
    shop.execute("CREATE TABLE t (a INT PRIMARY KEY)", "INSERT INTO t VALUES (1),(2),(3),(4),(5)")
    table = shop.table()
    chunks = [*plan(shop.connection, table, ("a",), 2)]
    assert [(chunk.low, chunk.high) for chunk in chunks] == [(None, (2,)), ((2,), (4,)), ((4,), None)]
    assert [*plan(shop.connection, table, ("a",), 2, after=chunks[0])] == chunks[1:]
    assert [*plan(shop.connection, table, ("a",), 2, after=chunks[-1])] == []


def test_an_empty_table_is_one_chunk(shop: Shop) -> None:
    shop.execute("CREATE TABLE t (a INT PRIMARY KEY)")
    assert [*plan(shop.connection, shop.table(), ("a",), 2)] == [Chunk(1, None, None, ("a",))]


def test_point_reads_are_exact_where_the_collation_is_not(shop: Shop) -> None:
    shop.execute(
        "CREATE TABLE t (k VARCHAR(9) COLLATE utf8mb4_general_ci, id INT, PRIMARY KEY (k, id))",
        "INSERT INTO t VALUES ('a',1),('A',2),('a ',3),('á',4),('b',5)",
    )
    table = shop.table()
    assert rows_where_equal(shop.connection, table, ("k",), [("A",), ("a ",), ("x",)]) == [("A", 2), ("a ", 3)]
    assert rows_where_equal(shop.connection, table, ("k", "id"), [("a", 1), ("a", 2)]) == [("a", 1)]
    assert rows_where_equal(shop.connection, table, ("k",), []) == []
    many: list[Row] = [*((f"k{i}",) for i in range(1200)), ("b",)]
    assert rows_where_equal(shop.connection, table, ("k",), many) == [("b", 5)]
