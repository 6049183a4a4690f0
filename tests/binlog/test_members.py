"""The names of ENUM and SET, of every character set, as snapshot and binlog have them, against what another session of
the server says they are. The servers' own texts about a table have "?" for what is beyond the Basic Multilingual Plane.
"""

# ruff: noqa: RUF001
from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.binlog.conftest import Source
from whimbrel.errors import UnsupportedSource
from whimbrel.records import Position, Row, Table

# Some characters that the set has, those first that a parser of DDL could stumble over.
ASCII = "aZ0'\"\\`?%_#;/*)-= \t\n"
REPERTOIRES = {
    "utf8mb4": "é日😀🚀𝔘\U0010fffd",
    "utf16": "é日😀🚀𝔘",
    "utf16le": "é日😀🚀𝔘",
    "utf32": "é日😀🚀𝔘",
    "utf8mb3": "é日€",
    "ucs2": "é日€",
    "latin1": "é€ÿ",
    "gbk": "日本中€é",
    "sjis": "日本表ソｱ",
    "cp932": "日本表ソ①",
    "big5": "中文功許",
    "euckr": "한글漢",
    "ujis": "日本表ｱ",
    "gb18030": "日中😀ü",
    "binary": "é日",
}


@contextmanager
def metadata(source: Source, how: str) -> Iterator[None]:
    source.execute(f"SET GLOBAL binlog_row_metadata = {how}")
    try:
        yield
    finally:
        source.execute("SET GLOBAL binlog_row_metadata = DEFAULT")


def quoted(text: str) -> str:
    """What stands between ENUM's parentheses is converted from the session's character set to the column's."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def names(charset: str, count: int, chance: random.Random) -> list[str]:
    characters = REPERTOIRES[charset] * 4 + ASCII
    found = {f"{n}" + "".join(chance.choices(characters, k=chance.randrange(6))) + "." for n in range(count)}
    return sorted(found, key=lambda name: chance.random())


def has(source: Source, charset: str) -> bool:
    known = f"SELECT 1 FROM information_schema.CHARACTER_SETS WHERE CHARACTER_SET_NAME = '{charset}'"
    return bool(source.execute(known))


def by_another_session(source: Source) -> list[tuple[int, ...] | tuple[object, ...]]:
    rows = source.execute(
        "SELECT id, "
        + ", ".join(f"HEX(CONVERT({name} USING utf8mb4))" for name in columns(source))
        + " FROM t ORDER BY id"
    )
    return [(row[0], *(bytes.fromhex(value).decode() for value in row[1:])) for row in rows]


def columns(source: Source) -> list[str]:
    return [f"`{prefix}_{charset}`" for charset in REPERTOIRES if has(source, charset) for prefix in "es"]


def ddl(source: Source, chance: random.Random) -> str:
    made = []
    for charset in REPERTOIRES:
        if has(source, charset):
            for prefix, kind, count in (("e", "ENUM", 300 if charset == "utf16" else 12), ("s", "SET", 64)):
                members = ", ".join(quoted(name.replace(",", "")) for name in names(charset, count, chance))
                collation = "" if charset == "binary" else f" COLLATE {charset}_bin"
                made.append(f"`{prefix}_{charset}` {kind}({members}) CHARACTER SET {charset}{collation}")
    return f"CREATE TABLE t (id INT PRIMARY KEY, {', '.join(made)})"


@pytest.mark.parametrize("how", ["MINIMAL", "FULL"])
def test_every_name_is_the_servers(source: Source, how: str) -> None:
    chance = random.Random(7)
    with metadata(source, how):
        source.execute(ddl(source, chance))
        start, table = source.position(), source.table()
        for number in range(13):
            masks = [
                str(number % 13) if n % 2 == 0 else str(chance.getrandbits(64)) for n in range(len(columns(source)))
            ]
            source.execute(f"INSERT INTO t VALUES ({number}, {', '.join(masks)})")
        changes = source.changes(start, table)
    expected = by_another_session(source)
    assert len(expected) == 13
    assert any("😀" in str(value) for row in expected for value in row)
    for number, column in enumerate(table.columns):
        wanted = [row[number] for row in expected]
        assert [row[number] for row in sorted(source.rows(table))] == wanted, column.name
        assert [change.after[number] for change in changes if change.after] == wanted, column.name


def test_what_has_no_text_is_refused_by_name(source: Source) -> None:
    source.execute("CREATE TABLE t (id INT PRIMARY KEY, e ENUM('a', x'ff41') CHARACTER SET binary)")
    with pytest.raises(UnsupportedSource, match=r"t\.e: its member 2 \(x'FF41'\) is not text"):
        source.table()


def test_a_name_that_an_alter_changes(source: Source) -> None:
    """The server describes both tables in the same words."""
    source.execute("CREATE TABLE t (id INT PRIMARY KEY, e ENUM('😀', '🚀'))", "INSERT INTO t VALUES (1, 1)")
    before = source.table()
    source.execute("ALTER TABLE t MODIFY e ENUM('🚀', '😀')")
    after = source.table()
    assert before.column("e").type_name == after.column("e").type_name
    assert (before.column("e").members, after.column("e").members) == (("😀", "🚀"), ("🚀", "😀"))


def rows_of(source: Source, table: Table, start: Position) -> list[Row | None]:
    return [change.after for change in source.changes(start, table)]


def test_a_great_many_names(source: Source) -> None:
    members = [f"{n}😀" for n in range(1200)]
    source.execute(f"CREATE TABLE t (id INT PRIMARY KEY, e ENUM({', '.join(map(quoted, members))}))")
    start, table = source.position(), source.table()
    assert table.column("e").members == tuple(members)
    source.execute("INSERT INTO t VALUES (1, 1), (2, 256), (3, 257), (4, 1200)")
    assert rows_of(source, table, start) == [(1, "0😀"), (2, "255😀"), (3, "256😀"), (4, "1199😀")]


def test_the_servers_depth_of_recursion_does_not_matter(source: Source) -> None:
    name = "max_recursive_iterations" if source.flavor == "mariadb" else "cte_max_recursion_depth"
    (was,) = source.execute(f"SELECT @@GLOBAL.{name}")[0]
    source.execute("CREATE TABLE t (id INT PRIMARY KEY, e ENUM('a', '😀', 'b'))", f"SET GLOBAL {name} = 1")
    try:
        assert source.table().column("e").members == ("a", "😀", "b")
    finally:
        source.execute(f"SET GLOBAL {name} = {was}")
