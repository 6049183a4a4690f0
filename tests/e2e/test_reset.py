"""A binary log that was reset has files of the same names again, and, once it has grown, also our place in them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from demo.servers import Ministack, MySQL, ServerUnavailable, SqlServer
from tests.e2e.conftest import MakeWork
from tests.e2e.proving import ended, following
from tests.e2e.work import Work

BY_ID = 'shape = "record"\npartition_key = { name = "id", type = "N" }\n'
TABLE = "CREATE TABLE t (id INT PRIMARY KEY, note VARCHAR(20) NOT NULL)"
MORE = 60  # transactions: more than a migration of ours has captured before

Make = Callable[[], Work]


@pytest.fixture
def make(make_work: MakeWork, source_server: SqlServer, ministack: Ministack) -> Make:
    def make() -> Work:
        reset(source_server)  # other tests' transactions would be too many to write again
        work = make_work(source_server, ministack, table="t", mapping=BY_ID)
        source_server.execute(TABLE, "INSERT INTO t VALUES (1, 'a'), (2, 'b')", database=work.database)
        work.call("migrate", "--until-caught-up")
        return work

    return make


def reset(server: SqlServer, to: str = "") -> None:
    server.execute(("RESET MASTER" if server.flavor == "mariadb" else "RESET BINARY LOGS AND GTIDS") + to)


def grow(work: Work, size: int = MORE) -> None:
    """Past our place; the first of them is what would be lost."""
    with closing(work.source.connect(work.database)) as connection, connection.cursor() as cursor:
        for number in range(10, 10 + size):
            cursor.execute("INSERT INTO t VALUES (%s, 'more')", (number,))


def refused(work: Work) -> None:
    for command in (("migrate", "--until-caught-up"), ("capture", "--until-caught-up")):
        said = work.call(*command, code=3).output
        assert "it was reset" in said, said
        assert "new state folder" in said, said
    report = json.loads(work.call("check", "--json", code=2).stdout)
    assert ["it was reset" in each["reason"] for each in report["findings"] if each["code"] == "position-lost"] == [
        True
    ]


def test_a_log_is_reset_and_grows_beyond_our_place_while_whimbrel_is_stopped(make: Make) -> None:
    work = make()
    reset(work.source)
    grow(work)
    refused(work)


@pytest.mark.slow
@pytest.mark.parametrize("files", [1, 3])
def test_a_log_of_several_files_is_reset(make: Make, files: int) -> None:
    """Our place is in a file that was begun while it was captured."""
    work = make()
    with following(work):
        for number in range(files):
            work.source.execute(
                "FLUSH BINARY LOGS", f"INSERT INTO t VALUES ({5 + number}, 'x')", database=work.database
            )
        end = work.source.execute("SHOW BINARY LOGS")[-1][0]
        work.wait_for(lambda: work.checkpoint()["applied_position"]["file"] == end)
    work.call("migrate", "--until-caught-up")
    reset(work.source)
    work.source.execute("DELETE FROM t", database=work.database)
    for _ in range(files):
        work.source.execute("FLUSH BINARY LOGS")
    grow(work)
    refused(work)


@pytest.mark.slow
def test_a_log_is_reset_to_files_of_other_names(make: Make) -> None:
    work = make()
    reset(work.source, " TO 50")
    grow(work)
    for command in (("migrate", "--until-caught-up"), ("capture", "--until-caught-up")):
        assert "new state folder" in work.call(*command, code=3).output


@pytest.mark.slow
def test_a_log_is_reset_and_grows_beyond_our_place_while_it_is_followed(make: Make) -> None:
    """Faster than anybody asks."""
    work = make()
    with following(work) as process:
        reset(work.source)
        grow(work, 600)
        said = ended(work, process)
        assert "it was reset" in said or "keep its binlog for longer" in said, said
    refused(work)


@pytest.mark.slow
def test_files_that_are_purged_are_not_a_log_that_was_reset(make: Make) -> None:
    work = make()
    work.source.execute("FLUSH BINARY LOGS")
    work.call("migrate", "--until-caught-up")
    work.source.execute("FLUSH BINARY LOGS", "INSERT INTO t VALUES (5, 'x')", database=work.database)
    files = [row[0] for row in work.source.execute("SHOW BINARY LOGS")]
    work.source.execute(f"PURGE BINARY LOGS TO '{files[-1]}'")
    work.call("migrate", "--until-caught-up")
    work.verify()
    work.source.restart()
    work.source.execute("DELETE FROM t WHERE id = 2", database=work.database)
    work.call("migrate", "--until-caught-up")
    work.verify()


@pytest.fixture
def without_gtids(tmp_path: Path) -> Iterator[MySQL]:
    try:
        server = MySQL(tmp_path / "server", options=("--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"))
    except ServerUnavailable as reason:
        pytest.skip(str(reason))
    with server:
        yield server


@pytest.mark.slow
def test_without_gtids(make_work: MakeWork, without_gtids: MySQL, ministack: Ministack) -> None:
    work = make_work(without_gtids, ministack, table="t", mapping=BY_ID)
    without_gtids.execute(TABLE, database=work.database)
    work.call("migrate", "--until-caught-up")
    reset(without_gtids)
    grow(work)
    refused(work)
