"""Columns that the servers keep for themselves, of which information_schema says nothing."""

from __future__ import annotations

from functools import partial

import pytest

from tests.binlog.conftest import Source, images
from whimbrel.errors import SchemaDrift, UnsupportedSource
from whimbrel.mysql.schema import hidden_columns
from whimbrel.records import Change, Position, Table


def changes(source: Source, start: Position, table: Table) -> list[Change]:
    return source.changes(start, table, hidden=partial(hidden_columns, source.source))


@pytest.mark.parametrize("source_server", ["mariadb", "mariadb-11.8"], indirect=True)
@pytest.mark.parametrize("metadata", ["NO_LOG", "MINIMAL", "FULL"])
@pytest.mark.parametrize(
    "keys",
    [
        "UNIQUE (url)",
        "UNIQUE (url), UNIQUE (hits, url), UNIQUE (b), KEY (hits)",
        "UNIQUE (hits) USING HASH",
        "UNIQUE (b(500), url)",
    ],
)
def test_the_hashes_of_long_unique_keys(source: Source, metadata: str, keys: str) -> None:
    source.execute(f"SET GLOBAL binlog_row_metadata = {metadata}")
    try:
        source.execute(f"CREATE TABLE t (id INT PRIMARY KEY, url TEXT, hits BIGINT, b BLOB, {keys})")
        table, start = source.table(), source.position()
        source.execute(
            "INSERT INTO t VALUES (1, 'a', 1, 'x'), (2, 'b', 2, NULL), (3, NULL, NULL, 'z')",
            "UPDATE t SET hits = 9 WHERE id = 2",
            "DELETE FROM t WHERE id = 1",
        )
    finally:
        source.execute("SET GLOBAL binlog_row_metadata = DEFAULT")
    a, b, c = (1, "a", 1, b"x"), (2, "b", 2, None), (3, None, None, b"z")
    assert images(changes(source, start, table)) == [
        (None, a), (None, b), (None, c), (b, (2, "b", 9, None)), (a, None)
    ]  # fmt: skip
    assert sorted(source.rows(table)) == [(2, "b", 9, None), c]


@pytest.mark.parametrize("source_server", ["mariadb", "mariadb-11.8"], indirect=True)
def test_a_long_unique_key_that_comes_and_goes(source: Source) -> None:
    source.execute("CREATE TABLE t (id INT PRIMARY KEY, url TEXT)")
    table, start = source.table(), source.position()
    source.execute("INSERT INTO t VALUES (1, 'a')", "ALTER TABLE t ADD UNIQUE u (url)", "INSERT INTO t VALUES (2, 'b')")
    assert images(changes(source, start, table)) == [(None, (1, "a")), (None, (2, "b"))]
    start = source.position()
    source.execute("DROP INDEX u ON t", "INSERT INTO t VALUES (3, 'c')")
    assert images(changes(source, start, table)) == [(None, (3, "c"))]


@pytest.mark.parametrize("source_server", ["mariadb", "mariadb-11.8"], indirect=True)
def test_a_column_that_nobody_told_of_is_not_taken_for_a_hash(source: Source) -> None:
    source.execute("CREATE TABLE t (id INT PRIMARY KEY, url TEXT, UNIQUE (url))")
    table, start = source.table(), source.position()
    source.execute(
        "SET sql_log_bin = 0", "ALTER TABLE t ADD n BIGINT", "SET sql_log_bin = 1", "INSERT INTO t VALUES (1, 'a', 5)"
    )
    with pytest.raises(SchemaDrift, match="its rows have 4 columns, and 2 are known"):
        changes(source, start, table)


@pytest.mark.parametrize("source_server", ["mysql"], indirect=True)
def test_the_columns_behind_functional_keys_are_not_in_the_rows(source: Source) -> None:
    source.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, a INT, j JSON, INDEX ((a + 1)), INDEX ((CAST(j AS UNSIGNED ARRAY))))"
    )
    table, start = source.table(), source.position()
    source.execute("INSERT INTO t VALUES (1, 2, '[3]')")
    assert images(changes(source, start, table)) == [(None, (1, 2, "[3]"))]


@pytest.mark.parametrize("source_server", ["mysql"], indirect=True)
def test_the_key_that_mysql_makes_by_itself(source: Source) -> None:
    source.execute("SET sql_generate_invisible_primary_key = ON", "CREATE TABLE t (a INT)")
    table, start = source.table(), source.position()
    assert table.primary_key == ("my_row_id",)
    source.execute("INSERT INTO t VALUES (7)")
    assert images(changes(source, start, table)) == [(None, (1, 7))]


@pytest.mark.parametrize("source_server", ["mariadb"], indirect=True)
@pytest.mark.parametrize(
    "more", ["", ", s TIMESTAMP(6) AS ROW START, e TIMESTAMP(6) AS ROW END, PERIOD FOR SYSTEM_TIME (s, e)"]
)
def test_system_versioned_tables_are_refused(source: Source, more: str) -> None:
    made = more.replace("AS ROW", "GENERATED ALWAYS AS ROW")
    source.execute(f"CREATE TABLE t (id INT PRIMARY KEY{made}) WITH SYSTEM VERSIONING")
    with pytest.raises(UnsupportedSource, match="is a system versioned, not a plain table"):
        source.table()
