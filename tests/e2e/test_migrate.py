"""The whole way, on real servers, while an application writes."""

from __future__ import annotations

import json

import pytest

from demo.servers import DynamoServer, SqlServer
from demo.shop import LiveWriter, fill
from tests.e2e import judge
from tests.e2e.conftest import MakeWork
from tests.e2e.work import RECORD, Work


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("mariadb", "ministack"),
        ("mysql", "ministack"),
        ("mariadb", "dynalite"),
        pytest.param("mysql", "dynalite", marks=pytest.mark.slow),
    ],
)
def test_a_live_table_is_migrated_verified_and_followed(
    request: pytest.FixtureRequest, make_work: MakeWork, source: str, target: str
) -> None:
    source_server: SqlServer = request.getfixturevalue(source)
    dynamodb_endpoint: DynamoServer = request.getfixturevalue(target)
    work = make_work(source_server, dynamodb_endpoint)
    rows = fill(source_server, work.database, 4_000)
    writer = LiveWriter(source_server, work.database, orders=rows // 4, rate=300)
    writer.start()
    with work.running("migrate") as process:
        work.wait_for(work.in_phase("apply"), process)
        live = json.loads(work.run("verify", "--json").stdout.splitlines()[-1])
        writer.stop()
        assert live["equal"]
        assert writer.changes > 0
    work.run("migrate", "--until-caught-up")
    work.assert_equal()
    final = json.loads(work.run("verify", "--json").stdout.splitlines()[-1])
    assert final["tables"][0]["items"] == final["tables"][0]["found"] == len(judge.orders(source_server, work.database))


def test_a_row_becomes_an_item_under_the_posts_own_key(work: Work) -> None:
    work.mapping = RECORD
    work.write_project()
    rows = fill(work.source, work.database, 2_000)
    writer = LiveWriter(work.source, work.database, orders=rows // 4, rate=500)
    writer.start()
    with work.running("migrate") as process:
        work.wait_for(work.in_phase("apply"), process)
        work.wait_for(lambda: writer.changes > 300, process)
    writer.stop()
    work.run("migrate", "--until-caught-up")
    work.assert_equal(judge.lines, ("customer_orderid", "productid"))


def test_each_phase_runs_alone(work: Work) -> None:
    rows = fill(work.source, work.database, 2_000)
    writer = LiveWriter(work.source, work.database, orders=rows // 4, rate=300)
    writer.start()
    with work.running("capture") as capturing:
        work.wait_for(work.in_phase("snapshot"), capturing)
        work.run("snapshot")
        work.run("load")
        with work.running("apply") as applying:
            work.wait_for(lambda: work.checkpoint()["applied_position"], applying)
            work.wait_for(lambda: writer.changes > 300, applying)
    writer.stop()
    work.run("capture", "--until-caught-up")
    work.run("apply", "--until-caught-up")
    work.assert_equal()


@pytest.mark.parametrize("phase", ["load", "apply"])
def test_a_phase_out_of_order_is_refused(work: Work, phase: str) -> None:
    fill(work.source, work.database, 100)
    assert "phase is 'new'" in work.run(phase, code=3).stderr
