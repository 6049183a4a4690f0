"""What makes a start refuse also makes a run stop when it comes about later: keys, cascades, settings, privileges, and
the binlog itself. docs/operations.md has the list.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from demo.servers import Ministack, SqlServer
from demo.servers.sql import GRANTS
from tests.e2e import judge
from tests.e2e.conftest import MakeWork
from tests.e2e.work import Work

BY_ID = 'shape = "record"\npartition_key = { name = "id", type = "N" }\n'
BY_SEAT = 'shape = "record"\npartition_key = { name = "seat", type = "N" }\n'
TABLE = """CREATE TABLE t (
    id INT NOT NULL PRIMARY KEY, seat INT NOT NULL, note VARCHAR(20) NOT NULL, UNIQUE KEY one_seat (seat)
)"""
ROWS = "INSERT INTO t VALUES (1, 10, 'a'), (2, 20, 'b')"
SLOW = pytest.mark.slow
ON_MARIADB = pytest.mark.parametrize("source_server", ["mariadb"], indirect=True)

Make = Callable[[str], Work]


@pytest.fixture
def make(make_work: MakeWork, source_server: SqlServer, ministack: Ministack) -> Make:
    def make(mapping: str) -> Work:
        work = make_work(source_server, ministack, table="t", mapping=mapping)
        source_server.execute("CREATE TABLE owner (id INT PRIMARY KEY)", TABLE, ROWS, database=work.database)
        source_server.execute("INSERT INTO owner VALUES (10), (20)", database=work.database)
        work.call("migrate", "--until-caught-up")
        return work

    return make


def ended(work: Work, process: Any) -> str:
    """What a migrate that was running says as it stops by itself, with the exit code for a source it cannot follow."""
    out, err = process.communicate(timeout=60)
    assert process.returncode in (2, 3), f"{process.returncode}\n{out}\n{err}"
    assert "Traceback" not in err
    return str(err)


@contextmanager
def following(work: Work) -> Iterator[Any]:
    (work.state / "status.json").unlink()
    process = work.start("migrate")
    try:
        work.wait_for(lambda: applying(work), process)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def applying(work: Work) -> bool:
    try:
        status = json.loads((work.state / "status.json").read_text())
    except (FileNotFoundError, ValueError):
        return False
    return status["phase"] == "apply" and status["asked"] is not None


WIDENED = ["ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (id, note)", "INSERT INTO t VALUES (1, 11, 'z')"]
CHANGED = [
    (BY_ID, WIDENED, "note of the primary key is not in the key"),
    pytest.param(BY_SEAT, ["ALTER TABLE t DROP INDEX one_seat"], "its keys were changed", marks=SLOW),
    pytest.param(BY_SEAT, ["DROP INDEX one_seat ON t"], "its keys were changed", marks=SLOW),
    pytest.param(
        BY_SEAT, ["ALTER TABLE t /* x */ DROP KEY `one_seat`, ADD KEY (seat)"], "its keys were changed", marks=SLOW
    ),
]


@pytest.mark.parametrize(("mapping", "statements", "said"), CHANGED)
def test_a_key_that_a_mapping_needs_is_dropped(make: Make, mapping: str, statements: list[str], said: str) -> None:
    work = make(mapping)
    with following(work) as process:
        work.source.execute(*statements, database=work.database)
        assert said in ended(work, process)
    again = work.call("migrate", "--until-caught-up", code=2)
    assert "of the primary key is not in the key" in again.output


@SLOW
@pytest.mark.parametrize(
    "statements",
    [
        [
            "DROP INDEX one_seat ON t",
            "INSERT INTO t VALUES (3, 10, 'twice')",
            "DELETE FROM t WHERE id = 3",
            "CREATE UNIQUE INDEX one_seat ON t (seat)",
        ],
        [
            "ALTER TABLE t DROP KEY one_seat, ADD UNIQUE KEY one_seat (seat, note)",
            "INSERT INTO t VALUES (3, 10, 'twice')",
            "DELETE FROM t WHERE id = 1",
            "ALTER TABLE t DROP KEY one_seat, ADD UNIQUE KEY one_seat (seat)",
        ],
    ],
)
def test_a_key_that_is_back_when_its_loss_is_read(make: Make, statements: list[str]) -> None:
    """The server shows the key; only the binlog tells that it was away while rows were written."""
    work = make(BY_SEAT)
    work.source.execute(*statements, database=work.database)
    assert "its keys were changed" in work.call("migrate", "--until-caught-up", code=2).output


HARMLESS = [
    "ALTER TABLE t ADD INDEX (note), DROP INDEX one_seat",
    "ALTER TABLE t MODIFY id BIGINT NOT NULL",
    "ALTER TABLE t ADD CONSTRAINT fk FOREIGN KEY (seat) REFERENCES owner (id) ON DELETE RESTRICT",
    "ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (id)",
    "CREATE UNIQUE INDEX more ON t (note, seat)",
]


@SLOW
def test_other_keys_may_come_and_go(make: Make) -> None:
    work = make(BY_ID)
    for number, statement in enumerate(HARMLESS, 3):
        work.source.execute(
            statement, f"INSERT INTO t VALUES ({number}, {10 * (number % 2 + 1)}, '{number}')", database=work.database
        )
        work.call("migrate", "--until-caught-up")
    assert len(judge.items(work.endpoint, work.target, "id")) == 2 + len(HARMLESS)
    work.verify()


@ON_MARIADB
@pytest.mark.parametrize(
    "action",
    [
        "ON DELETE CASCADE",
        pytest.param("ON UPDATE SET NULL", marks=SLOW),
        pytest.param("ON DELETE RESTRICT ON UPDATE CASCADE", marks=SLOW),
    ],
)
def test_a_cascade_is_added(make: Make, action: str) -> None:
    work = make(BY_ID)
    work.source.execute("ALTER TABLE t MODIFY seat INT NULL", database=work.database)
    added = f"ALTER TABLE t ADD CONSTRAINT fk FOREIGN KEY (seat) REFERENCES owner (id) {action}"
    with following(work) as process:
        work.source.execute(added, "DELETE FROM owner WHERE id = 99", database=work.database)
        assert "such changes are not in the binlog" in ended(work, process)
    work.source.execute("ALTER TABLE t DROP FOREIGN KEY fk", database=work.database)  # but it was there
    assert "was added" in work.call("migrate", "--until-caught-up", code=3).output


SETTINGS: list[tuple[str, Sequence[str], str, str, str]] = [
    ("statements", ("mariadb", "mysql"), "SET GLOBAL binlog_format = 'STATEMENT'", "", "binlog_format"),
    ("mixed", ("mariadb",), "SET GLOBAL binlog_format = 'MIXED'", "", "binlog_format"),
    ("row-image", ("mariadb", "mysql"), "SET GLOBAL binlog_row_image = 'MINIMAL'", "", "binlog_row_image"),
    ("partial-json", ("mysql",), "SET GLOBAL binlog_row_value_options = 'PARTIAL_JSON'", "", "PARTIAL_JSON"),
]
BACK = {
    "binlog_format": "SET GLOBAL binlog_format = 'ROW'",
    "binlog_row_image": "SET GLOBAL binlog_row_image = 'FULL'",
    "PARTIAL_JSON": "SET GLOBAL binlog_row_value_options = ''",
}


@SLOW
@pytest.mark.parametrize(("_name", "flavors", "change", "_back", "said"), SETTINGS, ids=[each[0] for each in SETTINGS])
def test_a_setting_is_changed(
    make: Make, source_server: SqlServer, _name: str, flavors: Sequence[str], change: str, _back: str, said: str
) -> None:
    if source_server.flavor not in flavors:
        pytest.skip(f"{source_server.flavor} has no such setting")
    work = make(BY_ID)
    try:
        with following(work) as process:
            source_server.execute(change)
            assert said in ended(work, process)
    finally:
        source_server.execute(BACK[said])
    work.call("migrate", "--until-caught-up")


@SLOW
@pytest.mark.parametrize("right", ["REPLICATION SLAVE ON *.*", "SELECT ON *.*"])
def test_a_privilege_is_taken_away(make: Make, source_server: SqlServer, right: str) -> None:
    work = make(BY_ID)
    account = f"'{source_server.user}'@'%'"
    try:
        with following(work) as process:
            source_server.execute(f"REVOKE {right} FROM {account}")
            said = ended(work, process)
            assert "denied" in said.lower() or "lacks" in said or "may not be read" in said
    finally:
        source_server.execute(f"GRANT {GRANTS} ON *.* TO {account}")
    work.call("migrate", "--until-caught-up")


def test_the_binlog_is_reset_while_it_is_followed(make: Make, source_server: SqlServer) -> None:
    work = make(BY_ID)
    with following(work) as process:
        reset = "RESET MASTER" if source_server.flavor == "mariadb" else "RESET BINARY LOGS AND GTIDS"
        source_server.execute(reset)
        said = ended(work, process)
        assert "it was reset" in said or "Start anew with a fresh snapshot" in said
    said = work.call("migrate", "--until-caught-up", code=3).output
    assert "it was reset" in said or "the server has" in said
