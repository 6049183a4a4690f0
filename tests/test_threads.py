"""Threads: those that there is no memory for are not waited for, and what they do is not left half done."""

from __future__ import annotations

import ast
import asyncio
import sys
import threading
from pathlib import Path

import pytest

from whimbrel import threads

PACKAGE = Path(threads.__file__).parent
# Pools of batch work over files: of the standard library, as nothing else has to go on while one of them waits.
POOLS = {"lake/export.py", "lake/parquet_parts.py", "prediction/train/search.py"}
PLAIN = {"Thread", "Timer", "ThreadPoolExecutor", "to_thread", "run_in_executor"}


def test_no_other_file_starts_threads_of_its_own() -> None:
    found = {
        (str(file.relative_to(PACKAGE)), name)
        for file in PACKAGE.rglob("*.py")
        if file != Path(threads.__file__)
        for name in plain_threads(ast.parse(file.read_text()))
    }
    assert {each for each in found if each[0] not in POOLS} == set()


def plain_threads(tree: ast.AST) -> set[str]:
    """What starts threads and is not of ``whimbrel.threads``."""
    ours = {
        name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "whimbrel.threads"
        for name in node.names
    }
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {name.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names} - ours
    return used & PLAIN


def test_a_thread_that_does_not_begin_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "BEGINS_WITHIN", 0.05)
    monkeypatch.setattr(threading.Thread, "_bootstrap", lambda self: None)  # as where its first allocation fails
    with pytest.raises(MemoryError):
        threads.Thread(lambda: None, "never").start()
    with pytest.raises(MemoryError):
        asyncio.run(threads.in_thread(lambda: None))


def test_of_a_thread_without_memory_to_begin_only_its_start_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(threads, "BEGINS_WITHIN", 0.05)
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    began = threading.Event()

    def used_up(self: threading.Thread) -> None:
        began.set()
        raise MemoryError

    monkeypatch.setattr(threading.Thread, "_set_ident", used_up)  # before the thread is noted as one that runs
    with pytest.raises(MemoryError):
        threads.Thread(lambda: None, "short").start()
    assert began.is_set()
    assert not told


def test_a_thread_that_never_began_is_not_waited_for_at_the_end() -> None:
    threads.Thread(lambda: None, "never").join()


def test_a_timer_calls_once_or_not_at_all() -> None:
    called = threading.Event()
    threads.Timer(0.001, called.set).start()
    assert called.wait(10)
    early = threading.Event()
    timer = threads.Timer(3600, early.set)
    timer.start()
    timer.cancel()
    timer.join(10)
    assert not timer.is_alive()
    assert not early.is_set()


def test_what_a_thread_answers_or_raises_comes_back() -> None:
    assert asyncio.run(threads.in_thread(divmod, 7, 2)) == (3, 1)
    assert asyncio.run(threads.in_thread(threading.get_ident)) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        asyncio.run(threads.in_thread(divmod, 7, 0))


def test_the_loop_goes_on_meanwhile() -> None:
    async def both() -> bool:
        done = threading.Event()
        waiting = asyncio.ensure_future(threads.in_thread(done.wait, 10))
        await asyncio.sleep(0)
        done.set()
        return await waiting

    assert asyncio.run(both())


@pytest.mark.parametrize("times", [1, 2])
def test_one_that_is_cancelled_ends_first(times: int) -> None:
    """What comes after it, as the closing of a file, must not meet it at work."""

    async def cancelled() -> list[str]:
        seen: list[str] = []
        begun, may_end = threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            assert may_end.wait(10)
            seen.append("worked")

        task = asyncio.ensure_future(threads.in_thread(work))
        while not begun.is_set():
            await asyncio.sleep(0)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        return [*seen, "cancelled"]

    assert asyncio.run(cancelled()) == ["worked", "cancelled"]


def test_an_error_of_one_that_is_cancelled_is_not_reported_as_lost() -> None:
    async def cancelled() -> list[object]:
        lost: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context))
        begun = threading.Event()

        def fails() -> None:
            begun.set()
            raise OSError("a connection that was closed")

        task = asyncio.ensure_future(threads.in_thread(fails))
        while not begun.is_set():
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        await asyncio.sleep(0)
        return lost

    assert asyncio.run(cancelled()) == []


def test_at_once_is_beside_each_other_and_in_order() -> None:
    together = threading.Barrier(threads.AT_ONCE)

    def met(number: int) -> int:
        together.wait(10)  # each waits for seven others
        return 2 * number

    items = range(2 * threads.AT_ONCE)
    assert threads.at_once(met, items, "test") == [2 * number for number in items]
    assert threads.at_once(str, [1], "test") == ["1"]
    assert threads.at_once(str, [], "test") == []


def test_at_once_ends_when_all_have_ended_and_says_what_failed() -> None:
    failed, ended = threading.Event(), list[int]()

    def do(number: int) -> None:
        if number == 0:
            failed.set()
            raise ValueError("the first")
        assert failed.wait(10)
        ended.append(number)

    with pytest.raises(ValueError, match="the first"):
        threads.at_once(do, range(5), "test")
    assert sorted(ended) == [1, 2, 3, 4]
