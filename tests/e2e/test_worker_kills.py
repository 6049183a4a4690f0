"""Workers that load or apply, ended in the middle: nothing lost, nothing doubled, and nobody goes on writing."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
from contextlib import closing

import pytest

from demo.servers import Dynalite, DynamoServer, MariaDB, SqlServer
from demo.shop import LiveWriter, fill
from tests.e2e.conftest import MakeWork
from tests.e2e.peaks import children
from tests.e2e.work import GROUP, PATIENCE, RECORD, RUN, WITH_WORKERS, Work

ROWS = 400
ENDS = {"parent": (signal.SIGKILL, -9), "worker": (signal.SIGKILL, 3), "stop": (signal.SIGTERM, 130)}


def by_workers(work: Work) -> None:
    work.mapping, work.program = f"{work.mapping}\n{RUN}\n", ("-c", WITH_WORKERS)


def exported(work: Work, rows: int = ROWS) -> None:
    work.source_settings, work.target_settings = "chunk_rows = 20", "max_write_units = 60"
    by_workers(work)
    fill(work.source, work.database, rows)
    work.write_project()


def loading(work: Work, *command: str) -> subprocess.Popen[str]:
    """``whimbrel`` with two workers, when both are there and a part is loaded."""
    loaded = loaded_chunks(work)
    process = work.start(*command)
    work.wait_for(lambda: len(children(process.pid)) == 2 and loaded_chunks(work) != loaded, process)
    return process


def loaded_chunks(work: Work) -> str:
    return "".join(str(each["loaded"]) for each in work.checkpoint()["tables"].values())


def far_behind(work: Work, rows: int = ROWS) -> None:
    """All is loaded, and changes wait to be applied, a few a second."""
    by_workers(work)
    fill(work.source, work.database, rows)
    work.write_project()
    work.call("migrate", "--until-caught-up")
    writer = LiveWriter(work.source, work.database, orders=rows // 4, rate=5_000)
    writer.start()
    work.wait_for(lambda: writer.changes > 500)
    writer.stop()
    work.target_settings = "max_write_units = 60"
    work.write_project()


def applying(work: Work, *command: str) -> subprocess.Popen[str]:
    """``whimbrel`` with two workers, when both are there and some of their changes are applied for good."""
    process = work.start(*command)
    work.wait_for(lambda: len(children(process.pid)) == 2, process)
    applied = work.checkpoint()["counters"]
    work.wait_for(lambda: len(children(process.pid)) == 2 and work.checkpoint()["counters"] != applied, process)
    return process


def end(process: subprocess.Popen[str], how: str) -> str:
    """End it, and wait for its workers; what it says of that."""
    sent, code = ENDS[how]
    workers = [os.pidfd_open(pid) for pid in children(process.pid)]
    victim = children(process.pid)[0] if how == "worker" else process.pid
    os.kill(victim, sent)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, said
    for worker in workers:
        with closing(os.fdopen(worker)):
            assert select.select([worker], [], [], 10)[0], "it goes on without its parent"
    return said


@pytest.mark.parametrize(
    "how", ["parent", pytest.param("worker", marks=pytest.mark.slow), pytest.param("stop", marks=pytest.mark.slow)]
)
def test_a_load_by_workers_continues_where_it_was_ended(
    make_work: MakeWork, mariadb: MariaDB, dynalite: Dynalite, how: str
) -> None:
    work = make_work(mariadb, dynalite, mapping=GROUP)
    exported(work)
    said = end(loading(work, "migrate"), how)
    if how == "worker":
        assert "error[WorkerLost]: a worker process was ended by SIGKILL" in said
    work.target_settings = ""
    work.write_project()
    work.call("migrate", "--until-caught-up")
    work.assert_equal()
    assert work.letters() == []
    work.run("verify")  # by a worker, too
    if how != "parent":
        item = work.endpoint.client().scan(TableName=work.target, Limit=1)["Items"][0]
        key = {name: item[name] for name in ("customerid", "orderid")}
        work.endpoint.client().delete_item(TableName=work.target, Key=key)
        assert key["orderid"]["S"] in work.run("verify", code=5).stdout


@pytest.mark.slow
@pytest.mark.parametrize("how", ENDS)
def test_changes_by_workers_continue_where_they_were_ended(
    make_work: MakeWork, mariadb: MariaDB, dynalite: Dynalite, how: str
) -> None:
    work = make_work(mariadb, dynalite, mapping=GROUP)
    far_behind(work)
    said = end(applying(work, "migrate"), how)
    if how == "worker":
        assert "error[WorkerLost]: a worker process was ended by SIGKILL" in said
    work.target_settings = ""
    work.write_project()
    work.run("migrate", "--until-caught-up")
    work.assert_equal()
    assert work.letters() == []


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["group", "record"])
@pytest.mark.timeout(600)
def test_changes_ended_again_and_again_while_an_application_writes(
    make_work: MakeWork, source_server: SqlServer, dynalite: DynamoServer, shape: str
) -> None:
    chance = random.Random(f"{source_server.name} {shape} changes")
    work = make_work(source_server, dynalite, mapping=GROUP if shape == "group" else RECORD)
    far_behind(work)
    writer = LiveWriter(source_server, work.database, orders=100, rate=80)
    writer.start()
    for _ in range(8):
        end(applying(work, "migrate"), chance.choice(list(ENDS)))
    writer.stop()
    work.target_settings = ""
    work.write_project()
    work.run("migrate", "--until-caught-up")
    work.assert_nothing_lost()


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["group", "record"])
@pytest.mark.timeout(600)
def test_ended_again_and_again_while_an_application_writes(
    make_work: MakeWork, source_server: SqlServer, dynalite: DynamoServer, shape: str
) -> None:
    chance = random.Random(f"{source_server.name} {shape}")
    work = make_work(source_server, dynalite, mapping=GROUP if shape == "group" else RECORD)
    exported(work, 2_000)
    writer = LiveWriter(source_server, work.database, orders=500, rate=80)
    writer.start()
    for _ in range(8):
        end(loading(work, "migrate"), chance.choice(list(ENDS)))
    writer.stop()
    work.target_settings = ""
    work.write_project()
    work.run("migrate", "--until-caught-up")
    work.assert_nothing_lost()
