"""A source that is a replica, on two real servers: what is replicated gets past triggers, so no cutover begins there.

ghostferry cut over while its source, a replica, was behind, and missed writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from demo.servers import MariaDB, Ministack, MySQL, ServerUnavailable, SqlServer
from demo.shop import CREATE
from tests.conftest import unique
from tests.e2e.work import Work
from tests.handover.conftest import grant, set_up
from tests.handover.test_cutover import cut, step, triggers
from tests.handover.test_fence import CLOSED, tried
from tests.handover.test_plan import codes, plan
from whimbrel.mysql.barrier import execute
from whimbrel.mysql.triggers import drop_triggers, fence_triggers, make_triggers

Pair = tuple[SqlServer, SqlServer]


@pytest.fixture(params=[pytest.param(MariaDB, id="mariadb"), pytest.param(MySQL, id="mysql", marks=pytest.mark.slow)])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    """A primary and a replica that follows it."""
    kind: type[SqlServer] = request.param
    options = ["--log-slave-updates=1"] if kind is MariaDB else []
    try:
        with (
            kind(tmp_path / "primary", server_id=11) as primary,
            kind(tmp_path / "replica", server_id=12, options=options) as replica,
        ):
            primary.execute(
                f"CREATE USER replication@'%' IDENTIFIED BY '{primary.password}'",
                "GRANT REPLICATION SLAVE ON *.* TO replication@'%'",
            )
            follow(replica, primary)
            yield primary, replica
    except ServerUnavailable as reason:
        pytest.skip(str(reason))


def follow(replica: SqlServer, primary: SqlServer) -> None:
    login = {"HOST": f"'{primary.host}'", "PORT": str(primary.port), "USER": "'replication'"}
    login |= {"PASSWORD": f"'{primary.password}'"}
    if isinstance(replica, MySQL):
        options = ", ".join(f"SOURCE_{name} = {value}" for name, value in login.items())
        more = "SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1"
        replica.execute(f"CHANGE REPLICATION SOURCE TO {options}, {more}", "START REPLICA")
    else:
        options = ", ".join(f"MASTER_{name} = {value}" for name, value in login.items())
        replica.execute(f"CHANGE MASTER TO {options}, MASTER_USE_GTID = slave_pos", "START SLAVE")


def catch_up(pair: Pair, database: str, rows: int) -> None:
    primary, replica = pair
    if isinstance(primary, MySQL):
        [(through,)] = primary.execute("SELECT @@GLOBAL.gtid_executed")
        assert replica.execute(f"SELECT WAIT_FOR_EXECUTED_GTID_SET('{through}', 60)") == ((0,),)
    else:
        [(through,)] = primary.execute("SELECT @@GLOBAL.gtid_binlog_pos")
        assert replica.execute(f"SELECT MASTER_GTID_WAIT('{through}', 60)") == ((0,),)
    assert replica.execute("SELECT COUNT(*) FROM purchase", database=database) == ((rows,),)


def count(work: Work) -> int:
    [(rows,)] = work.source.execute("SELECT COUNT(*) FROM purchase", database=work.database)
    return int(rows)


@pytest.fixture
def at_replica(pair: Pair, tmp_path: Path, ministack: Ministack) -> Work:
    """A migration from the replica that has caught up and was verified."""
    primary, replica = pair
    database = primary.new_database()
    grant(primary, database)  # and so at the replica, which nobody else writes to
    replica.execute("SET GLOBAL log_bin_trust_function_creators = 1")
    primary.execute(CREATE, "INSERT INTO purchase VALUES ('first', 'o1', 'p1', 1)", database=database)
    catch_up(pair, database, rows=1)
    work = Work(tmp_path, replica, database, ministack, unique("purchase"), source_settings="")
    set_up(work)
    work.call("migrate", "--until-caught-up")
    work.call("verify")
    return work


def stop(replica: SqlServer) -> None:
    replica.execute("STOP REPLICA" if isinstance(replica, MySQL) else "STOP SLAVE")


def forget(replica: SqlServer) -> None:
    replica.execute("RESET REPLICA ALL" if isinstance(replica, MySQL) else "RESET SLAVE ALL")


def test_a_replica_is_refused_and_nothing_is_changed(pair: Pair, at_replica: Work) -> None:
    """By the documented grants alone; also while its replication only stands still."""
    primary, replica = pair
    work = at_replica
    refused = work.call("cutover", "--yes", code=2).output
    assert "error[NotReady]" in refused
    assert "[cutover-replica]" in refused
    assert "triggers do not stop what comes so" in refused
    assert (triggers(work), step(work)) == (0, "FOLLOWING")
    primary.execute("INSERT INTO purchase VALUES ('more', 'o1', 'p1', 1)", database=work.database)
    catch_up(pair, work.database, rows=2)  # nor did it write to the replica, whose next transaction is the primary's
    stop(replica)
    found = codes(plan(work, code=2))
    if isinstance(replica, MySQL):
        assert "replicates from 127.0.0.1" in found["cutover-replica"]
        return
    assert "may not ask whether the source is a replica" in found["cutover-privileges"]
    replica.execute("SET sql_log_bin = 0", "GRANT SLAVE MONITOR ON *.* TO 'whimbrel'@'%'")
    assert "replicates from 127.0.0.1" in codes(plan(work, code=2))["cutover-replica"]


@pytest.mark.slow
def test_what_is_replicated_gets_past_triggers_until_it_is_a_replica_no_more(pair: Pair, at_replica: Work) -> None:
    """Why it is refused; and a server that was promoted can be cut over, with all that it has."""
    primary, replica = pair
    work = at_replica
    if isinstance(replica, MariaDB):
        replica.execute("SET sql_log_bin = 0", "GRANT SLAVE MONITOR ON *.* TO 'whimbrel'@'%'")
    name, insert = (work.database, "purchase"), "INSERT INTO purchase VALUES ({}, 'o1', 'p1', 1)"
    made = fence_triggers([name], 1, "")
    with closing(replica.connect(work.database)) as admin:
        tried(admin, "SET sql_log_bin = 0")
        make_triggers(partial(execute, admin), made, {})
        assert tried(admin, insert.format("'closed'")) == CLOSED
        primary.execute(insert.format("'past'"), database=work.database)
        work.wait_for(lambda: count(work) == 2)
        drop_triggers(partial(execute, admin), [(work.database, each.name) for each in made])
    stop(replica)
    forget(replica)
    work.call("migrate", "--until-caught-up")
    work.call("verify")
    assert cut(work)["side"] == "dynamodb"
    items = work.endpoint.client().scan(TableName=work.target)["Items"]
    assert {item["customerid"]["S"] for item in items} == {"first", "past"}
