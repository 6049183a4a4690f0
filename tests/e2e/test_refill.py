"""Old rows get what an ALTER gave them without a word in the binlog, whatever is written meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from demo.servers import MariaDB, Ministack, SqlServer
from tests.e2e.conftest import MakeWork
from tests.e2e.work import Work
from whimbrel.migration.refill import Refiller
from whimbrel.records import Row

TABLE = "CREATE TABLE t (id INT PRIMARY KEY, g VARCHAR(9) NOT NULL, a INT) CHARACTER SET utf8mb4"
ROWS = "INSERT INTO t VALUES (1, 'x', 10), (2, 'x', 20), (3, 'y', 30), (4, 'z', 40), (5, 'w', 50)"
RECORD = 'shape = "record"\npartition_key = { name = "id", type = "N" }'
MAP = """
shape = "group"
partition_key = { name = "g" }
entry = { name = "${id}", as = "map", into = "rows" }
"""
INCLUDE = '\nnew_columns = "include"'

MEANWHILE = [
    "UPDATE t SET a = 11 WHERE id = 1",
    "UPDATE t SET g = 'y', d = 'moved' WHERE id = 2",
    "UPDATE t SET id = 33 WHERE id = 3",
    "DELETE FROM t WHERE id = 4",
    "INSERT INTO t VALUES (6, 'v', 60, 'new')",
]


def loaded(make_work: MakeWork, source: SqlServer, endpoint: Ministack, mapping: str) -> Work:
    work = make_work(source, endpoint, table="t", mapping=mapping + INCLUDE, source_settings="chunk_rows = 2")
    source.execute(TABLE, ROWS, database=work.database)
    work.call("migrate", "--until-caught-up")
    return work


def test_the_default_of_a_new_column(make_work: MakeWork, source_server: SqlServer, ministack: Ministack) -> None:
    work = loaded(make_work, source_server, ministack, RECORD)
    work.source.execute(
        "UPDATE t SET a = 12 WHERE id = 2",  # not captured yet
        "ALTER TABLE t ADD d VARCHAR(9) NOT NULL DEFAULT 'old' AFTER id",
        "UPDATE t SET a = 31 WHERE id = 3",
        database=work.database,
    )
    said = work.call("verify", code=5).output
    assert "Differences: 4 (4 changed)" in said
    assert "was altered (d): items of rows not written since are unchanged" in said
    assert f"`whimbrel refill {work.database}.t`" in said
    assert "Nothing was done" in work.call("refill", "t", "--dry-run").output
    assert "5 items of" in work.call("refill", "t").output
    assert work.verify()["found"] == 5
    assert "was altered" not in work.call("verify").output
    assert "there is no [[table]] for u" in work.call("refill", "u", code=2).output


@pytest.mark.parametrize("mapping", [RECORD, MAP], ids=["record", "map"])
def test_rows_that_change_between_reading_and_writing(
    make_work: MakeWork, mariadb: MariaDB, ministack: Ministack, mapping: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = loaded(make_work, mariadb, ministack, mapping)
    work.source.execute("ALTER TABLE t ADD d VARCHAR(9) DEFAULT 'old'", database=work.database)
    put: Callable[[Refiller, list[Row]], None] = Refiller._put
    pending = list(MEANWHILE)

    def interrupted(refiller: Refiller, rows: list[Row]) -> None:
        work.source.execute(*pending, database=work.database) if pending else None
        pending.clear()
        put(refiller, rows)

    monkeypatch.setattr(Refiller, "_put", interrupted)
    work.call("refill", f"{work.database}.t")
    assert not pending
    work.call("migrate", "--until-caught-up")
    work.verify()


def test_a_column_that_went(make_work: MakeWork, mariadb: MariaDB, ministack: Ministack) -> None:
    work = loaded(make_work, mariadb, ministack, RECORD)
    work.source.execute("ALTER TABLE t DROP a", database=work.database)
    work.mapping += '\nexclude = ["a"]'
    work.write_project()
    said: Any = work.call("verify", code=5).output
    assert "was altered (a)" in said
    work.call("refill", "t")
    work.verify()


def test_not_before_the_load_is_done(make_work: MakeWork, mariadb: MariaDB, ministack: Ministack) -> None:
    work = make_work(mariadb, ministack, table="t", mapping=RECORD)
    mariadb.execute(TABLE, ROWS, database=work.database)
    work.begin()
    assert "Run `whimbrel load` first" in work.call("refill", "t", code=3).output
