"""Which rows are looked at, where the server's own estimates mislead."""

from __future__ import annotations

from contextlib import closing

import pytest

from demo.servers import MariaDB
from whimbrel.checks import scope
from whimbrel.checks.ask import TimedQueries
from whimbrel.checks.scope import TEXT_TIMES, some_rows
from whimbrel.mysql.connect import connect, server_info
from whimbrel.mysql.schema import read_table


@pytest.mark.parametrize("key", ["id INT PRIMARY KEY, name INT", "name INT, id VARCHAR(20) PRIMARY KEY"])
def test_rows_of_any_length_fit_in_memory(mariadb: MariaDB, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are wanted."""
    database = mariadb.new_database()
    mariadb.execute(
        f"CREATE TABLE t ({key}, body TEXT)",
        "INSERT INTO t (id, name, body) SELECT seq, 1, REPEAT('x', 1000) FROM seq_1_to_400",
        database=database,
    )
    with closing(connect(mariadb.source(database))) as connection:
        queries, table = TimedQueries(connection, server_info(connection), 0), read_table(connection, database, "t")
        assert len(some_rows(queries, table, 400)) == 400
        monkeypatch.setattr(scope, "BYTES_AT_ONCE", TEXT_TIMES * 50_000)
        assert 20 <= len(some_rows(queries, table, 400)) <= 50
        monkeypatch.setattr(scope, "BYTES_AT_ONCE", TEXT_TIMES)
        assert len(some_rows(queries, table, 400)) == 1
