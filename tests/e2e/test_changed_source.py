"""The source changes under a migration: what cannot be followed exactly ends it by name."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from demo.servers import Ministack, SqlServer
from demo.shop import fill
from tests.e2e import judge
from tests.e2e.beside import Beside
from tests.e2e.conftest import MakeWork
from tests.e2e.work import Work


def test_a_binlog_purged_beyond_the_position_is_an_error_that_names_both(
    make_work: MakeWork, source_server: SqlServer, ministack: Ministack
) -> None:
    work = make_work(source_server, ministack)
    fill(source_server, work.database, 50)
    work.call("migrate", "--until-caught-up")
    was = work.checkpoint()["applied_position"]["file"]
    source_server.execute("INSERT INTO purchase VALUES ('lost', 'lost', 'lost', 1)", database=work.database)
    source_server.execute("FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
    newest = [row[0] for row in source_server.execute("SHOW BINARY LOGS")][-1]

    def purged() -> bool:
        # In vain, and without an error, while an ended connection or a checkpoint of the server still holds a file.
        source_server.execute(f"PURGE BINARY LOGS TO '{newest}'")
        return bool(source_server.execute("SHOW BINARY LOGS")[0][0] == newest)

    work.wait_for(purged)
    told = work.call("migrate", "--until-caught-up", code=3).stderr
    assert was in told
    assert newest in told
    report = json.loads(work.call("check", "--json", code=2).stdout)
    [lost] = [each for each in report["findings"] if each["code"] == "position-lost"]
    assert was in lost["reason"]
    assert json.loads(work.call("migrate", "--json", code=3).stdout.splitlines()[-1])["error"] == "PositionLost"


STATEMENTS: dict[str, Callable[[SqlServer, Work], object]] = {
    "StatementChange": lambda server, work: server.execute(
        "SET SESSION binlog_format = STATEMENT", "UPDATE purchase SET quantity = 0", database=work.database
    ),
    "SchemaDrift": lambda server, work: server.execute(
        "ALTER TABLE purchase ADD COLUMN note INT", "UPDATE purchase SET note = 1", database=work.database
    ),
}


@pytest.mark.parametrize("error", STATEMENTS)
def test_what_cannot_be_followed_exactly_ends_the_run_by_name(
    make_work: MakeWork, source_server: SqlServer, ministack: Ministack, error: str
) -> None:
    work = make_work(source_server, ministack)
    fill(source_server, work.database, 50)
    with Beside(work, "migrate", "--json") as process:
        work.wait_for(lambda: work.checkpoint()["applied_position"], process)
        before = judge.items(ministack, work.target, "customerid", "orderid")
        STATEMENTS[error](source_server, work)
        out, _ = process.communicate(timeout=60)
    said = json.loads(out.splitlines()[-1])
    assert (process.returncode, said["error"]) == (3, error)
    assert "purchase" in said["place"] + said["message"]
    assert said["hint"]
    assert judge.items(ministack, work.target, "customerid", "orderid") == before


def test_the_other_tables_of_the_source_may_change_as_they_like(work: Work) -> None:
    fill(work.source, work.database, 200)
    work.call("migrate", "--until-caught-up")
    work.source.execute(
        "CREATE TABLE other (id INT PRIMARY KEY)",
        "INSERT INTO other VALUES (1)",
        "ALTER TABLE other ADD COLUMN name TEXT",
        "UPDATE other SET name = 'x'",
        "TRUNCATE other",
        "DROP TABLE other",
        database=work.database,
    )
    work.source.execute("DELETE FROM purchase LIMIT 5", database=work.database)
    work.call("migrate", "--until-caught-up")
    work.assert_equal()
