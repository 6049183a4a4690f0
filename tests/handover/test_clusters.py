"""Sources of which other servers take writes, too, live: what is written there gets past a lock and past triggers."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.servers import MariaDB, Ministack, MySQL, ServerUnavailable, SqlServer
from demo.servers.process import free_port
from demo.shop import CREATE
from tests.conftest import unique
from tests.e2e.work import Work
from tests.handover.conftest import grant, set_up
from tests.handover.test_cutover import step, triggers
from tests.handover.test_plan import codes, plan

GALERA = Path(os.environ.get("WHIMBREL_GALERA", "/usr/lib/galera/libgalera_smm.so"))


def refused(work: Work) -> str:
    """What the plan says; the cutover does not begin."""
    said = work.call("cutover", "--yes", code=2).output
    assert "[cutover-cluster]" in said
    assert (triggers(work), step(work)) == (0, "FOLLOWING")
    return codes(plan(work, code=2))["cutover-cluster"]


def shop_at(server: SqlServer, ministack: Ministack, folder: Path) -> Work:
    database = server.new_database()
    grant(server, database)
    server.execute(CREATE, "INSERT INTO purchase VALUES ('first', 'o1', 'p1', 1)", database=database)
    work = Work(folder, server, database, ministack, unique("purchase"), source_settings="")
    set_up(work)
    work.call("migrate", "--until-caught-up")
    work.call("verify")
    return work


@pytest.mark.slow
def test_a_node_of_a_galera_cluster_is_refused(tmp_path: Path, ministack: Ministack) -> None:
    """Of one node, which is what makes a server a node. Debian's galera-4, or WHIMBREL_GALERA, has the library."""
    if not GALERA.exists():
        pytest.skip(f"no {GALERA}: apt-get install galera-4")
    listens = f"gmcast.listen_addr=tcp://127.0.0.1:{free_port()}"
    options = ["--wsrep-on=ON", f"--wsrep-provider={GALERA}", "--wsrep-cluster-address=gcomm://"]
    options += [f"--wsrep-provider-options={listens}", "--innodb-autoinc-lock-mode=2", "--wsrep-new-cluster"]
    with MariaDB(tmp_path / "node", options=[*options, "--wsrep-node-address=127.0.0.1"]) as node:
        assert node.execute("SHOW STATUS LIKE 'wsrep_ready'") == (("wsrep_ready", "ON"),)
        assert "wsrep_on: is ON" in refused(shop_at(node, ministack, tmp_path))


@pytest.fixture
def group(tmp_path: Path) -> Iterator[tuple[MySQL, MySQL]]:
    """A group of two, both primaries."""
    name, ports = uuid.uuid4(), [free_port(), free_port()]
    seeds = ",".join(f"127.0.0.1:{port}" for port in ports)
    made = []
    for number, port in enumerate(ports):
        settings = {"group-name": name, "local-address": f"127.0.0.1:{port}", "group-seeds": seeds}
        settings |= {"single-primary-mode": "OFF", "start-on-boot": "OFF", "recovery-get-public-key": "ON"}
        options = [f"--loose-group-replication-{key}={value}" for key, value in settings.items()]
        options += ["--plugin-load-add=group_replication.so", "--report-host=127.0.0.1"]
        try:
            made.append(MySQL(tmp_path / f"member{number}", server_id=21 + number, options=options))
        except ServerUnavailable as reason:
            pytest.skip(str(reason))
    first, second = made
    with first.start(), second.start():
        for member in made:
            member.execute(
                "SET sql_log_bin = 0",
                f"CREATE USER recovery@'%' IDENTIFIED BY '{first.password}'",
                "GRANT REPLICATION SLAVE, CONNECTION_ADMIN, GROUP_REPLICATION_STREAM ON *.* TO recovery@'%'",
                f"CHANGE REPLICATION SOURCE TO SOURCE_USER = 'recovery', SOURCE_PASSWORD = '{first.password}' "
                "FOR CHANNEL 'group_replication_recovery'",
            )
        first.execute("SET GLOBAL group_replication_bootstrap_group = ON", "START GROUP_REPLICATION")
        first.execute("SET GLOBAL group_replication_bootstrap_group = OFF")
        second.execute("START GROUP_REPLICATION")
        yield first, second


@pytest.mark.slow
def test_a_group_with_several_primaries_is_refused(
    group: tuple[MySQL, MySQL], tmp_path: Path, ministack: Ministack
) -> None:
    """Also where the account may not ask who its members are."""
    first, _ = group
    work = shop_at(first, ministack, tmp_path)
    work.wait_for(lambda: members(first) == 2)
    assert "is OFF: 2 servers take writes" in refused(work)
    first.execute("REVOKE SELECT ON *.* FROM 'whimbrel'@'%'", f"GRANT SELECT ON `{work.database}`.* TO 'whimbrel'@'%'")
    assert "the account may not ask who else takes writes" in refused(work)


def members(server: MySQL) -> int:
    [(count,)] = server.execute(
        "SELECT COUNT(*) FROM performance_schema.replication_group_members WHERE MEMBER_STATE = 'ONLINE'"
    )
    return int(count)
