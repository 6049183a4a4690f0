"""Cutovers and rollbacks of a project whose changes go through a stream: the same proofs, and kills of the function and
of the stream's server besides, while shards split and merge.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from demo.servers import Kinesalite, MariaDB, Ministack, MySQL, SqlServer
from tests.function.served import Served
from tests.handover import both_sides
from tests.handover.chaos import chaos, survives
from tests.handover.forked import ForkedWork
from tests.handover.striking import CTRL_C, KILL
from whimbrel.migration.dirty import dirty_since
from whimbrel.migration.verified import read_verified


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_there_and_back_and_there_again(
    source_server: SqlServer,
    ministack: Ministack,
    kinesalite: Kinesalite,
    database: str,
    tmp_path: Path,
) -> None:
    with Served(kinesalite, ministack) as served:
        site = both_sides.make(
            source_server, ministack, database, tmp_path, kind=ForkedWork, more=served.project_lines, rate=100
        )
        assert isinstance(site.work, ForkedWork)
        site.work.run("migrate", "--until-caught-up")
        with site.application():
            for _ in range(2):
                site.wait_for_writes("mysql", 50)
                site.work.run("migrate", "--until-caught-up")
                site.work.run("verify")
                site.wait_for_writes("mysql", 50)
                found = dirty_since(site.work.state, read_verified(site.work.state))
                assert not found.everything
                said = site.said("cutover", "--until-open")
                print(f"{source_server.name}: stall {said['stall_ms']} ms, {said['stall_parts']}")
                assert said["side"] == "dynamodb"
                site.wait_for_writes("dynamodb", 50)
                numbers = site.work.checkpoint()["counters"]["applied"]
                assert site.said("rollback")["side"] == "mysql"
                assert site.work.checkpoint()["counters"]["applied"] >= numbers  # the log goes on, with its numbers
            site.wait_for_writes("mysql", 50)
        site.work.run("migrate", "--until-caught-up")
        site.work.run("verify")
        assert site.at_dynamodb() == site.at_mysql() == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("verb", "how"), [("cutover", KILL), ("cutover", CTRL_C), ("rollback", KILL)])
def test_struck_before_every_step(verb: str, how: str, tmp_path: Path) -> None:
    with chaos(MariaDB, tmp_path, seed=1, stream=True) as made:
        steps = made.before_each_step(verb, how)
        made.end()
    print(f"{verb}: {how} before each of {steps} durable steps")
    assert steps > 15


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(14_400)
@pytest.mark.parametrize("kind", [MariaDB, MySQL], ids=["MariaDB", "MySQL"])
def test_exactly_one_side_is_open_whenever_whoever_is_killed(kind: type[SqlServer], tmp_path: Path) -> None:
    """``WHIMBREL_CHAOS_N`` kills by ``WHIMBREL_CHAOS_SEED``."""
    seed, kills = (int(os.environ.get(f"WHIMBREL_CHAOS_{name}", "10")) for name in ("SEED", "N"))
    survives(kind, tmp_path, kills, seed, stream=True)
