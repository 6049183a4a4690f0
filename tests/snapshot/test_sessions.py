"""A session that cannot be set is an error by name; and if one is cut off all the same, the counts tell."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from demo.servers import SqlServer
from tests.snapshot.conftest import Shop
from whimbrel.errors import IncompleteRead, UnsupportedSource
from whimbrel.mysql import readers, reading, settings
from whimbrel.mysql.connect import connect
from whimbrel.mysql.points import count_rows
from whimbrel.mysql.sessions import Sessions
from whimbrel.records import Column, Table


def cut_off(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """A limit of the readers' sessions that comes after these were set, as from something in between."""

    def settled(place: str, before: settings.Changed) -> settings.Steps:
        yield from settings.settle(place, before)
        yield f"SET SESSION sql_select_limit = {rows}"

    monkeypatch.setattr(readers, "settle", settled)


@contextlib.contextmanager
def limited(server: SqlServer, rows: int) -> Iterator[None]:
    server.execute(f"SET GLOBAL sql_select_limit = {rows}")
    try:
        yield
    finally:
        server.execute("SET GLOBAL sql_select_limit = DEFAULT")


def numbers(shop: Shop, count: int) -> None:
    shop.execute("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
    shop.execute("INSERT INTO t VALUES " + ", ".join(f"({n}, {n})" for n in range(count)))


@pytest.mark.parametrize("limit", [1, 7, 119])
def test_a_chunk_that_is_cut_off_is_an_error(shop: Shop, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """Whatever is missed in the list of what is set, a limit among it does not go unseen."""
    numbers(shop, 120)
    table = shop.table()
    cut_off(monkeypatch, limit)
    with pytest.raises(IncompleteRead, match=f"sent {limit} rows and counts 120 "):
        shop.export(table)
    assert not shop.files()


@pytest.mark.parametrize("limit", [2, 5, 6, 7, 11, 12])
def test_a_chunk_that_is_cut_off_within_equal_keys_is_an_error(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Keys of a group come many times, and in two spellings that their collation calls equal."""
    shop.execute("CREATE TABLE t (name VARCHAR(9) COLLATE utf8mb4_general_ci, n INT, PRIMARY KEY (name, n))")
    shop.execute("INSERT INTO t VALUES " + ", ".join(f"('{name}', {n})" for name in "aB" for n in range(6)))
    shop.execute("INSERT INTO t VALUES ('b', 6)")
    table = shop.table()
    assert shop.export(table, ("name",)).rows == 13
    shutil.rmtree(shop.folder)
    cut_off(monkeypatch, limit)
    with pytest.raises(IncompleteRead, match=f"sent {limit} rows and counts 13 "):
        shop.export(table, ("name",))


def test_far_too_many_rows_are_an_error_before_they_fill_the_disk(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers(shop, 120)
    table = shop.table()
    name = f"`{shop.database}`.t"
    endless = f"SELECT a.id, a.v FROM {name} a{''.join(f', {name} b{n}' for n in range(2))}"  # 120 ** 3
    monkeypatch.setattr(reading, "chunk_statement", lambda *_: endless)
    source = replace(shop.source, chunk_rows=20)
    with pytest.raises(IncompleteRead, match=r"sent [56][0-9]{2} rows and counts "):
        shop.export(table, source=source)
    assert not shop.files()


def test_a_chunk_that_cannot_be_cut_is_counted_before_it_is_read(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group of a hundred rows, where a chunk is to have two."""
    shop.execute("CREATE TABLE t (name VARCHAR(9), n INT, PRIMARY KEY (name, n))")
    shop.execute("INSERT INTO t VALUES ('b', 0), " + ", ".join(f"('a', {n})" for n in range(100)))
    monkeypatch.setattr(reading, "LINE_ROWS", 5)
    table = shop.table()
    read = 0

    def count(rows: int) -> None:
        nonlocal read
        read += rows

    result = shop.export(table, ("name",), source=replace(shop.source, chunk_rows=2), on_rows=count)
    assert (result.rows, read) == (101, 101)
    assert sorted(shop.rows()) == sorted((name, n) for name, n in [("b", 0), *(("a", n) for n in range(100))])


@pytest.mark.parametrize("limit", [0, 1, 10])
def test_a_session_that_shows_too_few_of_its_variables_is_an_error(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.delitem(settings.BASIC, "sql_select_limit")
    with limited(shop.server, limit), pytest.raises(UnsupportedSource, match=r"must have \w+ = .* and has None"):
        connect(shop.source)


def test_what_cannot_be_set_is_named(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both servers refuse it in a session: the server's limit of what a packet may have."""
    monkeypatch.setitem(settings.MORE, "max_allowed_packet", 1024)
    with pytest.raises(UnsupportedSource, match=r"must have max_allowed_packet = 1024, and has \d+ \("):
        connect(shop.source)


def test_what_the_server_sets_to_something_else_is_named(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(settings.MORE, "max_sort_length", 1)
    with pytest.raises(UnsupportedSource, match="must have max_sort_length = 1, and has"):
        connect(shop.source)


def test_a_reader_is_opened_for_its_first_chunk(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers(shop, 50)
    opened = []

    async def counted(*arguments: Any) -> readers.SourceReader:
        opened.append(arguments)
        return await readers.open_reader(*arguments)

    monkeypatch.setattr(reading, "open_reader", counted)
    assert shop.export(shop.table(), source=replace(shop.source, connections=3)).rows == 50
    assert len(opened) == 1


@pytest.mark.parametrize(
    "before", [None, {}, {"lock_wait_timeout": 7}, {"no_such_variable": 1}, {"max_sort_length": 1}]
)
def test_settings_of_another_connection_are_no_more_than_a_first_try(
    shop: Shop, before: settings.Changed | None
) -> None:
    like = connect(shop.source)
    assert like.changed["lock_wait_timeout"] == 300
    if before is not None:
        like.changed = before

    async def shown() -> list[tuple[object, ...]]:
        reader = await readers.open_reader(shop.source, like)
        rows = await readers.rows_of(reader, "SELECT @@lock_wait_timeout, @@max_sort_length, @@autocommit")
        reader.close()
        return rows

    with contextlib.closing(like):
        assert asyncio.run(shown()) == [(300, 1024, 1)]


def test_counted_by_a_query_of_its_own(shop: Shop) -> None:
    numbers(shop, 123)
    assert count_rows(shop.connection, shop.table()) == 123


def test_tables_that_are_read_together_are_asked_about_at_once() -> None:
    a, b, other = (Table("shop", name, (Column("id", "int"),), ("id",)) for name in ("a", "b", "other"))
    first: Any = object()
    second: Any = object()
    with Sessions() as sessions:
        assert sessions.facts(first, a) is not sessions.facts(first, a)
        sessions.expect([a, b])
        asked = sessions.facts(first, a)
        assert sessions.facts(first, b) is asked
        assert sessions.facts(first, other) is not asked
        assert sessions.facts(second, a) is not asked, "the connection was made again"
        sessions.expect([a, b])
        assert sessions.facts(first, a) is not asked, "what was known is old"
