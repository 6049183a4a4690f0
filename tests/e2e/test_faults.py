"""What networks, servers and DynamoDB do to a migration while it runs: nothing is lost, and nothing is doubled."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pymysql
import pytest

from demo.servers import MariaDB, Ministack, SqlServer
from demo.shop import LiveWriter, fill
from tests.e2e import judge
from tests.e2e.conftest import MakeWork
from tests.e2e.work import RECORD, Work, dump_threads
from tests.faults import FaultProxy

FAULTS: dict[str, list[dict[str, Any]]] = {
    "throttled": [{"kind": "throttle", "probability": 0.25}],
    "unprocessed": [{"kind": "unprocessed", "probability": 0.7}],
    "broken": [{"kind": "error_500", "probability": 0.2}, {"kind": "error_500_after", "probability": 0.2}],
    "slow": [{"kind": "slow", "probability": 0.3, "seconds": 0.05}],
    "reset before": [{"kind": "reset_before", "probability": 0.2}],
    "reset after the write": [{"kind": "reset_after", "probability": 0.2}],
    "truncated": [{"kind": "truncate", "probability": 0.2}],
    "damaged": [{"kind": "wrong_crc", "probability": 0.2}],
}
LOAD, APPLY = {"BatchWriteItem"}, {"UpdateItem", "DeleteItem"}


@pytest.fixture
def proxy(ministack: Ministack) -> Iterator[FaultProxy]:
    with FaultProxy(ministack.endpoint, seed=1) as proxy:
        yield proxy


@pytest.fixture
def proxied(work: Work, proxy: FaultProxy) -> Work:
    """A migration through the proxy, exported, with changes captured that touch most of its items."""
    work.endpoint_url = proxy.endpoint
    work.source_settings = "chunk_rows = 100"
    work.target_settings = 'mark = "off"'  # its calls would meet faults that are meant for the others
    return exported(work)


def exported(work: Work, rows: int = 400, changes: int = 150) -> Work:
    work.write_project()
    rows = fill(work.source, work.database, rows)
    work.begin()
    work.call("snapshot")
    write(work, rows, changes)
    work.call("capture", "--until-caught-up")
    return work


def write(work: Work, rows: int, changes: int) -> None:
    writer = LiveWriter(work.source, work.database, orders=rows // 4, rate=100_000)
    writer.start()
    work.wait_for(lambda: writer.changes >= changes)
    writer.stop()


@pytest.mark.parametrize("name", FAULTS)
def test_the_target_fails_in_the_load_and_in_the_apply(proxied: Work, proxy: FaultProxy, name: str) -> None:
    for fault in FAULTS[name]:
        settings = {key: value for key, value in fault.items() if key != "kind"}
        for operation in LOAD | APPLY:
            proxy.add(fault["kind"], operation=operation, **settings)
    proxied.call("load")
    proxied.call("apply", "--until-caught-up")
    met = {logged.operation for logged in proxy.log if logged.fault}
    assert met >= (LOAD if name == "unprocessed" else LOAD | {"UpdateItem"})
    proxied.assert_equal()


def test_records_survive_unprocessed_deletes_and_puts(proxied: Work, proxy: FaultProxy) -> None:
    """In the record shape the apply too writes by BatchWriteItem."""
    proxied.mapping = RECORD
    proxied.folder /= "record"
    proxied.folder.mkdir()
    proxied.write_project()
    proxied.begin()
    proxied.call("snapshot")
    write(proxied, 400, changes=200)
    proxied.call("load")
    loaded = len(proxy.log)
    proxy.add("reset_after", operation="BatchWriteItem", count=2)
    proxy.add("unprocessed", count=5)
    proxied.drain()
    assert {"unprocessed", "reset_after"} <= {logged.fault for logged in proxy.log[loaded:]}
    proxied.assert_equal(judge.lines, ("customer_orderid", "productid"))


@pytest.mark.parametrize("phase", ["load", "apply"])
def test_the_target_is_unreachable_for_a_while(proxied: Work, proxy: FaultProxy, phase: str) -> None:
    if phase == "apply":
        proxied.call("load")
    before = proxy.counts.total()
    with meanwhile(lambda: away_after(proxy, before + 3)):
        proxied.call(phase, *["--until-caught-up"] * (phase == "apply"))
    assert proxy.counts.total() > before + 3
    proxied.call("load")
    proxied.call("apply", "--until-caught-up")
    proxied.assert_equal()


def away_after(proxy: FaultProxy, requests: int) -> None:
    while proxy.counts.total() < requests:
        time.sleep(0.001)
    with proxy.unreachable():
        time.sleep(1.0)


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[None]:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    thread.join(60)
    assert not thread.is_alive()


def test_the_cap_on_write_units_holds_in_the_load_and_in_the_apply(work: Work, proxy: FaultProxy) -> None:
    cap = 200.0
    work.endpoint_url = proxy.endpoint
    work.target_settings = f"max_write_units = {cap}"
    exported(work, rows=1_600, changes=500)
    for arguments in (("load",), ("apply", "--until-caught-up")):
        seen = len(proxy.log)
        began = time.monotonic()
        work.call(*arguments)
        seconds = time.monotonic() - began
        units = sum(len(logged.items) for logged in proxy.log[seen:] if logged.operation in LOAD | APPLY)
        assert units > 1.5 * cap
        # All items here are below 1 KB, so each costs a unit. What may come at once: a tenth of a second's worth and
        # one batch.
        assert units <= cap * (seconds + 0.1) + 25, f"{units} units in {seconds:.2f} s"
    work.assert_equal()


# -- the source --------------------------------------------------------------------------------------------------------


def test_the_source_is_restarted_and_killed_in_every_phase(
    make_work: MakeWork, source_server: SqlServer, ministack: Ministack
) -> None:
    work = make_work(source_server, ministack, source_settings="chunk_rows = 50\nmax_rows_per_second = 400")
    work.target_settings = "max_write_units = 100"
    work.write_project()
    rows = fill(source_server, work.database, 600)
    writer = LiveWriter(source_server, work.database, orders=rows // 4, rate=50)
    writer.start()
    with work.running("migrate") as process:
        work.wait_for(lambda: any((work.state / "export").glob("*/chunk-*.zst")), process)
        assert work.checkpoint()["phase"] == "snapshot"
        source_server.kill()
        source_server.start()
        work.wait_for(work.in_phase("load"), process)
        source_server.restart()
        work.wait_for(work.in_phase("apply"), process)
        goes_on(work, writer, process)
        source_server.kill()
        source_server.start()
        goes_on(work, writer, process)
    writer.stop()
    work.call("migrate", "--until-caught-up")
    work.assert_equal()


def test_the_replication_connection_is_cut_again_and_again(
    make_work: MakeWork, source_server: SqlServer, ministack: Ministack
) -> None:
    work = make_work(source_server, ministack)
    rows = fill(source_server, work.database, 600)
    writer = LiveWriter(source_server, work.database, orders=rows // 4, rate=150)
    writer.start()
    cuts = 0
    with work.running("migrate") as process:
        while cuts < 8:
            cuts += cut_replication(source_server)
            work.wait_for(lambda: dump_threads(source_server), process)
        work.wait_for(work.in_phase("apply"), process)
        goes_on(work, writer, process)
    writer.stop()
    work.call("migrate", "--until-caught-up")
    work.assert_equal()


def goes_on(work: Work, writer: LiveWriter, process: Any) -> None:
    """Wait until the writer has written more, and what it wrote by then has been applied."""
    changes = writer.changes
    work.wait_for(lambda: writer.changes > changes, process)
    file, offset = work.source.execute(
        "SHOW BINARY LOG STATUS" if work.source.flavor == "mysql" else "SHOW MASTER STATUS"
    )[0][:2]

    def applied() -> bool:
        at = work.checkpoint()["applied_position"]
        return bool(at) and (at["file"], at["offset"]) >= (file, offset)

    work.wait_for(applied, process)


def cut_replication(server: SqlServer) -> int:
    """KILL every replica's connection; returns how many there were."""
    cut = 0
    for thread in dump_threads(server):
        with suppress(pymysql.err.MySQLError):  # it ended by itself meanwhile
            server.execute(f"KILL {thread}")
            cut += 1
    return cut


def test_a_restart_under_an_idle_source_is_not_mistaken_for_changes(work: Work, mariadb: MariaDB) -> None:
    fill(mariadb, work.database, 100)
    work.call("migrate", "--until-caught-up")
    mariadb.restart()
    work.call("migrate", "--until-caught-up")
    assert work.verify()["found"] == len(judge.orders(mariadb, work.database))
