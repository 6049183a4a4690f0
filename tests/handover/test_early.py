"""What was touched is compared while applications write; whatever comes meanwhile is compared again at the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from demo.servers import MariaDB, SqlServer
from tests.handover.site import Site, StreamsServer
from tests.handover.test_reconcile import EXPECTED, order, orders, touch_all
from whimbrel.handover import early as early_module
from whimbrel.handover import look
from whimbrel.handover.early import Early
from whimbrel.handover.reconcile import Reconciled, reconcile, verify_back
from whimbrel.handover.writing import ItemLetters, WriteRules
from whimbrel.item import key_id
from whimbrel.migration.dead import DeadLetters
from whimbrel.mysql.connect import connect_to_write
from whimbrel.mysql.reverse_tables import Lane
from whimbrel.mysql.touched_items import Touched, add_items, count_items, listed_items, take_in_hand
from whimbrel.mysql.write_rows import ItemChange, RowWriter
from whimbrel.records import Item


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[StreamsServer]:
    with StreamsServer(tmp_path / "streams").start() as server:
        yield server


def listed(site: Site) -> list[str]:
    """The orders that the end of a rollback would compare."""
    with closing(connect_to_write(site.account)) as connection:
        pages = listed_items(connection, site.database, 1, "shop", 2)
        return sorted(each.key["pk"]["S"] for page in pages for each in page)


def list_all(site: Site) -> None:
    with closing(connect_to_write(site.account)) as connection:
        add_items(connection, site.database, 1, [("shop", key_id({"pk": {"S": f"ORDER#{n}"}})) for n in range(3)])


def early(site: Site, rules: WriteRules = WriteRules()) -> Early:  # noqa: B008
    return Early(site.beside(rules=rules), ItemLetters(DeadLetters(site.project.state / "reverse-dead.jsonl")).has)


def compare(site: Site, rules: WriteRules = WriteRules()) -> None:  # noqa: B008
    early(site, rules).until(lambda: False)


def test_what_is_as_its_rows_say_is_not_compared_again(
    source_server: SqlServer, streams: StreamsServer, tmp_path: Path
) -> None:
    site = orders(source_server, streams, tmp_path)
    touch_all(site)
    assert listed(site) == ["ORDER#0", "ORDER#1", "ORDER#2"]
    compare(site)
    assert listed(site) == []
    list_all(site)
    site.source.execute(
        "UPDATE line SET n = 7 WHERE id = 0", "INSERT INTO line VALUES (99, 1, 1, 'y', 1)", database=site.database
    )
    compare(site)
    assert listed(site) == ["ORDER#0", "ORDER#1"]
    assert reconcile(site.beside()) == Reconciled(written=1, deleted=1, letters=0, aside=0)
    assert site.whole_rows("line") == EXPECTED


def test_a_change_that_comes_meanwhile_is_compared_at_the_end(
    source_server: SqlServer, streams: StreamsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = orders(source_server, streams, tmp_path)
    starts = site.mark("start")
    touch_all(site)
    read = look.Site.items

    def changed_after_it_was_read(self: look.Site, *asked: Any) -> look.Found:
        found = read(self, *asked)
        site.put(order(1, (3, 1, "c3"), (4, 1, "c4"), (5, 1, "c5")))
        site.drain(site.reverse(starts))
        return found

    monkeypatch.setattr(look.Site, "items", changed_after_it_was_read)
    compare(site)
    assert listed(site) == ["ORDER#1"]


@pytest.mark.parametrize("there", ["by a put", "in nobody's item"])
def test_an_item_whose_row_another_takes_is_compared_at_the_end(
    source_server: SqlServer, streams: StreamsServer, tmp_path: Path, there: str
) -> None:
    site = orders(source_server, streams, tmp_path)
    starts = site.mark("start")
    touch_all(site)
    compare(site)
    own = tuple((n, 10 * n, f"c{n}") for n in (3, 4, 5))
    site.put(order(1, *own, (0, 0, "c0")) if there == "by a put" else order(1, *own, (77, 0, "c0")))
    site.drain(site.reverse(starts))
    assert listed(site) == ["ORDER#0", "ORDER#1"]  # of the second, a row of order 0 was put aside
    site.put(order(1, *own))
    site.drain(site.reverse(starts))
    compare(site)
    reconcile(site.beside())
    [report] = verify_back(site.beside())
    assert report.equal
    assert site.whole_rows("line")[1:] == EXPECTED[1:]
    assert site.whole_rows("line")[0][:4] == EXPECTED[0][:4]


def test_what_was_in_hand_of_a_command_that_ended_is_compared_at_the_end(
    source_server: SqlServer, streams: StreamsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = orders(source_server, streams, tmp_path)
    touch_all(site)

    def killed(self: look.Site, *_: Any) -> look.Found:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(look.Site, "items", killed)
        with pytest.raises(SystemExit):
            compare(site)
    assert listed(site) == []
    site.source.execute("UPDATE line SET n = 7 WHERE id = 0", database=site.database)
    assert reconcile(site.beside()) == Reconciled(written=1, deleted=0, letters=0, aside=0)


def test_passes_end_when_few_are_left_or_as_many_as_change(
    mariadb: MariaDB, streams: StreamsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = orders(mariadb, streams, tmp_path)
    touch_all(site)
    monkeypatch.setattr(early_module, "FEW", 1)
    monkeypatch.setattr(look, "AT_ONCE", 2)
    told: list[tuple[int, int]] = []
    early(site).until_few(lambda done, of: told.append((done, of)))
    assert (told, listed(site)) == ([(2, 3), (3, 3)], [])
    list_all(site)
    site.source.execute("UPDATE line SET n = 7 WHERE id IN (0, 3)", database=site.database)  # and they stay so
    early(site).until_few(lambda done, of: told.append((done, of)))
    assert (told[2:], listed(site)) == ([(2, 3), (3, 3)], ["ORDER#0", "ORDER#1"])


def test_what_a_transaction_has_touched_is_not_taken_in_hand_before_it_ends(
    source_server: SqlServer, streams: StreamsServer, tmp_path: Path
) -> None:
    """It was on the list before, so the transaction writes nothing there: it must hold it all the same."""
    site = orders(source_server, streams, tmp_path)
    touch_all(site)
    key = key_id({"pk": {"S": "ORDER#1"}})
    with closing(connect_to_write(site.account)) as writer, closing(connect_to_write(site.account)) as connection:
        [page] = listed_items(connection, site.database, 1, "shop", 10)
        mine: list[Touched] = [each for each in page if each.key_id == key]
        writer.begin()
        add_items(writer, site.database, 1, [("shop", key)])
        taking = threading.Thread(
            target=take_in_hand, args=(connection, site.database, 1, "shop", mine), kwargs={"alone": False}
        )
        taking.start()
        wait_for_a_lock(site, taking)
        writer.commit()
        taking.join(timeout=30)
        assert count_items(connection, site.database, 1) == 2


def wait_for_a_lock(site: Site, thread: threading.Thread) -> None:
    waiting = "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'"
    while site.source.execute(waiting) == ((0,),):
        thread.join(timeout=0.2)  # asked for more often than ten times a second, InnoDB answers from memory
        assert thread.is_alive(), "it did not wait"


def test_no_item_is_compared_while_a_writer_that_found_no_row_may_take_its(
    source_server: SqlServer, streams: StreamsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new row went to order 1 and on to order 2. The writer of the first is slow: it has looked for the row, which is
    not there, so that nobody can lock it.
    """
    site = orders(source_server, streams, tmp_path)
    beside = site.beside()
    own = [(n, n, f"c{n}") for n in range(9)]
    first, second = order(1, *own[3:6], (50, 1, "new")), order(2, *own[6:9], (50, 2, "new"))
    starts = site.mark("start")
    site.put(second)
    site.drain(site.reverse(starts))
    compare(site)
    site.source.execute("DELETE FROM line WHERE id = 50", database=site.database)  # as before that

    def write(writer: RowWriter, lane: int, old: Item | None, new: Item | None) -> None:
        changes, reasons = beside.inverses["shop"].changes(old, new)
        assert not reasons
        key = key_id({"pk": (new or old or {})["pk"]})
        writer.write([ItemChange(Lane("s", "s", lane), 1, "shop", key, changes)], {}, lambda refused: None)

    slow, quick = beside.writer(), beside.writer()
    looked, go, look_at_former = threading.Event(), threading.Event(), slow._look_at_former

    def look_slowly(*given: Any) -> Any:
        found = look_at_former(*given)
        looked.set()
        assert go.wait(60)
        return found

    monkeypatch.setattr(slow, "_look_at_former", look_slowly)
    with closing(slow), closing(quick):
        writing = threading.Thread(target=write, args=(slow, 1, order(1, *own[3:6]), first))
        writing.start()
        assert looked.wait(60)
        write(quick, 2, order(2, *own[6:9]), second)
        assert listed(site) == ["ORDER#2"]
        comparing = threading.Thread(target=compare, args=(site,))
        comparing.start()
        wait_for_a_lock(site, comparing)
        go.set()
        for thread in (writing, comparing):
            thread.join(timeout=60)
        write(quick, 1, first, order(1, *own[3:6]))  # which deletes the row
    compare(site)
    assert reconcile(site.beside()).written == 1
    [report] = verify_back(site.beside())
    assert report.equal
    assert (50, 2, 2, "new", None) in site.whole_rows("line")
