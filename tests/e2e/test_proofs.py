"""What makes a start refuse also makes a run stop when it comes about later: keys, cascades, settings, privileges, and
the binlog itself. docs/operations.md has the list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from demo.servers import Ministack, SqlServer
from demo.servers.sql import GRANTS
from tests.e2e import judge
from tests.e2e.conftest import MakeWork
from tests.e2e.proving import ended, following
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
        assert "it was reset" in said or "keep its binlog for longer" in said
    said = work.call("migrate", "--until-caught-up", code=3).output
    assert "it was reset" in said or "the server has" in said


WITHOUT = [
    pytest.param("--skip-log-bin", "log_bin", id="log_bin"),
    pytest.param("--binlog-do-db=elsewhere", "left out of the binlog", id="binlog-do-db", marks=SLOW),
    pytest.param("--binlog-ignore-db={database}", "left out of the binlog", id="binlog-ignore-db", marks=SLOW),
]


@pytest.mark.parametrize(("option", "said"), WITHOUT)
def test_a_server_that_comes_back_does_not_log(make: Make, source_server: SqlServer, option: str, said: str) -> None:
    """What is written then is in no log: the migration cannot go on, also when the setting is right again."""
    work = make(BY_ID)
    options = source_server.options
    try:
        with following(work) as process:
            source_server.options = (*options, option.format(database=work.database))
            source_server.restart()
            assert said in ended(work, process)
        source_server.execute("DELETE FROM t WHERE id = 1", database=work.database)
    finally:
        source_server.options = options
        source_server.restart()
    again = work.call("migrate", "--until-caught-up", code=3)
    assert said in again.output
    assert "new state folder" in again.output


@SLOW
@pytest.mark.parametrize("engine", ["MyISAM", "MEMORY"])
def test_a_table_moves_to_an_engine_without_transactions(make: Make, engine: str) -> None:
    work = make(BY_ID)
    with following(work) as process:
        work.source.execute(f"ALTER TABLE t ENGINE = {engine}", database=work.database)
        said = ended(work, process)
        assert f"ENGINE = {engine}" in said or f"engine {engine} has no transactions" in said
    work.source.execute("ALTER TABLE t ENGINE = InnoDB", database=work.database)  # but it was not
    assert f"ENGINE = {engine}" in work.call("migrate", "--until-caught-up", code=3).output


@SLOW
@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("ALTER TABLE t ENGINE = MyISAM", "engine MyISAM has no transactions"),
        ("ALTER TABLE t ADD CONSTRAINT fk FOREIGN KEY (seat) REFERENCES owner (id) ON DELETE CASCADE", "fk has ON"),
        ("DROP TABLE t", "does not exist, or may not be read"),
    ],
)
def test_what_is_done_without_a_word_in_the_binlog_is_seen(make: Make, statement: str, said: str) -> None:
    work = make(BY_ID)
    if "CASCADE" in statement and work.source.flavor == "mysql":
        pytest.skip("such a key's changes are in this server's binlog")
    with following(work) as process:
        work.source.execute("SET SESSION sql_log_bin = 0", statement, database=work.database)
        assert said in ended(work, process)


@SLOW
def test_what_stands_in_for_a_primary_key_is_dropped(
    make_work: MakeWork, source_server: SqlServer, ministack: Ministack
) -> None:
    work = make_work(source_server, ministack, table="t", mapping=BY_SEAT)
    without = TABLE.replace("INT NOT NULL PRIMARY KEY", "INT NOT NULL")
    source_server.execute(without, ROWS, database=work.database)
    work.call("migrate", "--until-caught-up")
    with following(work) as process:
        source_server.execute("ALTER TABLE t DROP KEY one_seat, ADD KEY (seat)", database=work.database)
        assert "the key that tells its rows apart (seat) was dropped" in ended(work, process)


PARTED = """CREATE TABLE t (
    id INT NOT NULL PRIMARY KEY, seat INT NOT NULL, note VARCHAR(20) NOT NULL
) PARTITION BY RANGE (id) (PARTITION few VALUES LESS THAN (2), PARTITION many VALUES LESS THAN MAXVALUE)"""


PARTITIONS = {
    "drop": ["ALTER TABLE t DROP PARTITION few"],
    "truncate": ["ALTER TABLE t TRUNCATE PARTITION few"],
    "exchange": [
        "CREATE TABLE plain LIKE t",
        "ALTER TABLE plain REMOVE PARTITIONING",
        "ALTER TABLE t EXCHANGE PARTITION few WITH TABLE plain",
    ],
    "exchanged": [
        PARTED.replace("TABLE t", "TABLE other"),
        "ALTER TABLE t REMOVE PARTITIONING",
        "DELETE FROM t WHERE id = 1",
        "ALTER TABLE other EXCHANGE PARTITION many WITH TABLE t",
    ],
}


@SLOW
@pytest.mark.parametrize("what", list(PARTITIONS))
def test_rows_go_with_a_partition(
    make_work: MakeWork, source_server: SqlServer, ministack: Ministack, what: str
) -> None:
    work = make_work(source_server, ministack, table="t", mapping=BY_ID)
    source_server.execute(PARTED, ROWS, database=work.database)
    work.call("migrate", "--until-caught-up")
    with following(work) as process:
        source_server.execute(*PARTITIONS[what], database=work.database)
        assert "are gone without row events" in ended(work, process)
    assert "are gone without row events" in work.call("migrate", "--until-caught-up", code=3).output


@SLOW
@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DROP TABLE t", "are gone without row events"),
        ("RENAME TABLE t TO gone", "was renamed"),
        ("TRUNCATE TABLE t", "was emptied"),
    ],
)
def test_a_table_is_gone(make: Make, statement: str, said: str) -> None:
    work = make(BY_ID)
    with following(work) as process:
        work.source.execute(statement, database=work.database)
        ended_with = ended(work, process)
        assert said in ended_with or "does not exist, or may not be read" in ended_with


@SLOW
@pytest.mark.parametrize("source_server", ["mysql"], indirect=True)
def test_gtids_are_turned_off_and_on(make: Make) -> None:
    """Without a failover files and offsets are enough: nothing is lost, whether it follows or has stopped."""
    work = make(BY_ID)
    try:
        for number, mode in enumerate(("ON_PERMISSIVE", "OFF_PERMISSIVE", "OFF", "OFF_PERMISSIVE", "ON_PERMISSIVE"), 3):
            work.source.execute(f"SET GLOBAL gtid_mode = {mode}")
            added = f"INSERT INTO t VALUES ({number}, {number * 10}, '{mode}')"
            with following(work) as process:
                work.source.execute(added, database=work.database)
                work.wait_for(lambda number=number: len(items(work)) == number, process)  # type: ignore[misc]
            gone = "INSERT INTO t VALUES (99, 990, 'x')", "DELETE FROM t WHERE id = 99"
            work.source.execute(*gone, database=work.database)
    finally:
        work.source.execute("SET GLOBAL gtid_mode = ON_PERMISSIVE", "SET GLOBAL gtid_mode = ON")
    work.source.execute("DELETE FROM t WHERE id = 3", database=work.database)
    work.call("migrate", "--until-caught-up")
    assert len(items(work)) == 6
    work.verify()


def items(work: Work) -> dict[Any, Any]:
    return judge.items(work.endpoint, work.target, "id")
