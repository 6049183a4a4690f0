"""Threads that are started or not started, but never waited for without an end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, TypeVarTuple

if TYPE_CHECKING:
    import asyncio

A = TypeVarTuple("A")
T = TypeVar("T")
Item = TypeVar("Item")
BEGINS_WITHIN = 5.0  # seconds
AT_ONCE = 8
CANCELLED_AGAIN = 0.1  # seconds


class Thread(threading.Thread):
    """A daemon thread. ``start`` raises MemoryError, or RuntimeError, where there is no memory for one more.

    Python's own waits forever for a new thread that found no memory to say that it has begun.
    """

    def __init__(self, target: Callable[[], object], name: str) -> None:
        super().__init__(target=target, name=name, daemon=True)
        self._started = _Begun()  # what ``start`` waits for

    def _bootstrap(self) -> None:
        """Python would print a traceback where there is no memory to begin, which ``start`` tells."""
        with suppress(MemoryError, KeyError):  # what ``run`` raises does not come here
            super()._bootstrap()  # type: ignore[misc]

    def join(self, timeout: float | None = None) -> None:
        """Waits for its end; not for that of a thread which never began."""
        if self.ident:
            super().join(timeout)


class Beside(Generic[T]):
    """``do``, called in a thread beside the caller."""

    def __init__(self, do: Callable[[], T], name: str) -> None:
        self._do = do
        self._given: list[T] = []
        self._failure: BaseException | None = None
        self._thread = Thread(self._call, name)
        self._thread.start()

    def join(self, seconds: float | None = None) -> None:
        """Waits for the end, whatever it is; ``seconds`` at most."""
        self._thread.join(seconds)

    def result(self) -> T:
        """Waits for the end. Raises what ``do`` did."""
        self.join()
        if self._failure:
            raise self._failure
        return self._given[0]

    def _call(self) -> None:
        try:
            self._given.append(self._do())
        except BaseException as error:
            self._failure = error


def at_once(do: Callable[[Item], T], items: Sequence[Item], name: str) -> list[T]:
    """``do`` of each item, in up to AT_ONCE threads: for what waits for a disk, which makes many files durable in the
    time that one takes. Returns when all have ended. Raises what the first of them raised.
    """
    if len(items) < 2:
        return [do(item) for item in items]
    made: list[T | None] = [None] * len(items)

    def some(first: int) -> None:
        for number in range(first, len(items), AT_ONCE):
            made[number] = do(items[number])

    started: list[Beside[None]] = []
    try:
        for first in range(min(AT_ONCE, len(items))):
            started.append(Beside(partial(some, first), name))
    finally:
        for each in started:
            each.join()
    for each in started:
        each.result()
    return made  # type: ignore[return-value]  # each is there, or one of them has raised


class Timer(Thread):
    """Calls ``do`` after so many seconds, unless it is cancelled before."""

    def __init__(self, seconds: float, do: Callable[[], object]) -> None:
        super().__init__(self._wait, "timer")
        self._seconds, self._do = seconds, do
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        self._cancelled.set()

    def _wait(self) -> None:
        if not self._cancelled.wait(self._seconds):
            self._do()


class _Begun(threading.Event):
    def wait(self, timeout: float | None = None) -> bool:
        if super().wait(BEGINS_WITHIN if timeout is None else timeout) or timeout is not None:
            return self.is_set()
        raise MemoryError("a thread has not begun")


async def in_thread(do: Callable[[*A], T], *arguments: *A) -> T:
    """What ``do`` gives or raises, called in a thread of its own while the event loop runs on.

    A task that is cancelled meanwhile stays here until ``do`` has ended: what is closed or removed next is not in use.
    """
    import asyncio  # which takes longer than many a command that has no event loop

    loop = asyncio.get_running_loop()
    ended: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            end = partial(ended.set_result, do(*arguments))
        except BaseException as error:
            end = partial(ended.set_exception, error)
        loop.call_soon_threadsafe(end)

    Thread(run, "beside the loop").start()
    try:
        return await asyncio.shield(ended)
    except asyncio.CancelledError:
        while not ended.done():
            await _waited(ended)
        ended.exception()  # has been seen
        raise


async def cancelled(tasks: list[asyncio.Task[Any]]) -> None:
    """Until all of ``tasks`` have ended. One that is cancelled just when what it waited for is there may go on as if it
    had not been (asyncio.wait_for before Python 3.12), and wait forever for the others: it is cancelled again.
    """
    import asyncio

    while waiting := [task for task in tasks if not task.done()]:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting, timeout=CANCELLED_AGAIN)
    await asyncio.gather(*tasks, return_exceptions=True)  # nobody else looks at what they raised


async def _waited(ended: asyncio.Future[T]) -> None:
    import asyncio

    try:
        await asyncio.wait([ended])
    except asyncio.CancelledError:
        return
