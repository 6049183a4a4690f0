"""No connection outlives the event loop that it was made in, whenever its making is broken off."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from demo.servers import SqlServer
from demo.servers.process import free_port
from tests.snapshot.conftest import Shop
from whimbrel.errors import SourceUnreachable
from whimbrel.mysql.readers import open_reader
from whimbrel.mysql.sessions import Sessions
from whimbrel.project import Source


class Broken:
    """``work``, cancelled at the wait with this number: when it begins to wait, or when what it waits for is there."""

    def __init__(self, work: Coroutine[Any, Any, Any], number: int, *, there: bool) -> None:
        self.work, self.left, self.there = work, number, there

    def __await__(self) -> Generator[Any, Any, Any]:
        task = asyncio.current_task()
        assert task

        def cancel(*_: Any) -> None:
            task.cancel()

        steps = self.work.__await__()
        step: Callable[[], Any] = partial(next, steps)
        while True:
            try:
                waits_for = step()
            except StopIteration as end:
                return end.value
            if self.left == 0 and self.there:
                waits_for.add_done_callback(cancel)
            elif self.left == 0:
                cancel()
            self.left -= 1
            try:
                yield waits_for
                step = partial(next, steps)
            except BaseException as error:
                step = partial(steps.throw, error)


def broken_off(source: Source, number: int, *, there: bool) -> bool:
    """False when it has not so many waits. That it was cancelled may be lost in asyncio.wait_for."""
    login = Broken(open_reader(source), number, there=there)

    async def begin() -> None:
        (await login).close()

    with suppress(asyncio.CancelledError):
        asyncio.run(begin())
    return login.left < 0


def left_open(do: Callable[[], Any]) -> list[str]:
    gc.collect()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", ResourceWarning)
        do()
        gc.collect()
    return [str(each.message) for each in seen]


@pytest.mark.parametrize("there", [False, True], ids=["while it waits", "when what it waits for is there"])
def test_a_login_that_is_broken_off_at_any_wait(source_server: SqlServer, database: str, there: bool) -> None:
    source = source_server.source(database)
    waits = 0

    def at_any() -> None:
        nonlocal waits
        while broken_off(source, waits, there=there):
            waits += 1

    assert left_open(at_any) == []
    assert waits > 5


def test_the_source_is_gone_before_the_next_table(shop: Shop) -> None:
    shop.execute(
        "CREATE TABLE t (id INT PRIMARY KEY)", f"INSERT INTO t VALUES {', '.join(f'({n})' for n in range(50))}"
    )
    table = shop.table()
    gone = replace(shop.source, port=free_port())

    def twice() -> None:
        with Sessions() as sessions:
            shop.export(table, source=replace(shop.source, connections=3, chunk_rows=10), sessions=sessions)
            assert len([each for each in sessions.readers if each]) == 3
            assert sessions.side
            shop.server.execute(f"KILL CONNECTION {sessions.side.thread_id()}")
            with pytest.raises(SourceUnreachable):
                shop.export(table, source=gone, sessions=sessions, folder=shop.folder / "again")

    assert left_open(twice) == []
