"""Calls under way at once in one thread: coroutines that wait for a connection or for a moment.

A thread for each call cost several times what the call itself does, in switches between them. asyncio was measured no
slower than this, but its loop would have to run wherever a single call is made: these coroutines are also completed by
a thread that has nothing else to do (``complete``).
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator
from socket import socket
from types import coroutine
from typing import Generic, NamedTuple, TypeVar

from whimbrel.dynamodb.limit import ConcurrencyLimit

Job = TypeVar("Job")
Result = TypeVar("Result")

_READ, _WRITE = select.POLLIN, select.POLLOUT
_LOOK = 0.1  # seconds between looks at those whose time is over
_now = time.monotonic
_new = tuple.__new__  # a NamedTuple without the cost of its constructor: one for each wait
_current = threading.local()


class Wait(NamedTuple):
    """For ``connection`` to become readable or writable before ``until`` (by time.monotonic), or for that moment."""

    connection: socket | None
    event: int
    until: float


Work = Coroutine[Wait, bool | None, Result]


@coroutine
def readable(connection: socket, seconds: float) -> Generator[Wait, bool, None]:
    """Raises TimeoutError."""
    if not (yield _new(Wait, (connection, _READ, _now() + seconds))):
        raise TimeoutError


@coroutine
def writable(connection: socket, seconds: float) -> Generator[Wait, bool, None]:
    """Raises TimeoutError."""
    if not (yield _new(Wait, (connection, _WRITE, _now() + seconds))):
        raise TimeoutError


@coroutine
def moment(seconds: float) -> Generator[Wait, bool, None]:
    """So many seconds from now."""
    yield Wait(None, 0, _now() + seconds)


def complete(work: Work[Result]) -> Result:
    """What ``work`` gives or raises; the calling thread waits for it."""
    happened: bool | None = None
    try:
        while True:
            happened = _happens(work.send(happened))
    except StopIteration as end:
        result: Result = end.value
        return result
    finally:
        work.close()


def whose() -> int:
    """Which of several jobs is running now, or else which thread."""
    return getattr(_current, "job", 0) or threading.get_ident()


class AtOnce(Generic[Job, Result]):
    """Does jobs in the thread that asks for it, as many at once as ``limit`` says; other threads wait their turn."""

    def __init__(self, do: Callable[[Job], Work[Result]], limit: ConcurrencyLimit) -> None:
        self._do = do
        self._limit = limit
        self._turn = threading.Lock()

    def do_all(self, jobs: Iterable[Job]) -> list[Result]:
        """Do every job; their results in the order in which they ended.

        The first error ends the round: jobs not begun are dropped, those under way are waited for, then it is raised.
        """
        with self._turn:
            return _Round(self._do, self._limit).results(jobs)


class _Round(Generic[Job, Result]):
    def __init__(self, do: Callable[[Job], Work[Result]], limit: ConcurrencyLimit) -> None:
        self._do = do
        self._limit = limit
        self._poll = select.poll()
        # By the connection's descriptor. That stays registered after it: most connections are waited for again.
        self._waiting: dict[int, tuple[Work[Result], Wait]] = {}
        self._registered: dict[int, int] = {}  # for which event
        self._asleep: list[tuple[Work[Result], Wait]] = []
        self._results: list[Result] = []
        self._error: BaseException | None = None
        self._looked = _now()

    def results(self, jobs: Iterable[Job]) -> list[Result]:
        left = iter(jobs)
        try:
            while self._begin(left):
                self._advance()
        finally:
            for work, _ in [*self._waiting.values(), *self._asleep]:
                work.close()
        if self._error is not None:
            raise self._error
        return self._results

    def _begin(self, left: Iterator[Job]) -> bool:
        """As many more as the limit allows; whether any is under way."""
        while self._error is None and len(self._waiting) + len(self._asleep) < self._limit.now:
            for job in left:
                self._step(self._do(job), None)
                break
            else:
                break
        return bool(self._waiting or self._asleep)

    def _advance(self) -> None:
        """Wait until something has happened, and go on with what waited for it."""
        now = _now()
        pause = min([_LOOK, *(wait.until - now for _, wait in self._asleep)]) if self._asleep else _LOOK
        for descriptor, _ in self._poll.poll(max(0.0, pause) * 1000):
            if descriptor in self._waiting:
                self._step(self._waiting.pop(descriptor)[0], True)
            else:  # it is idle and was closed by the other side, or is none any more
                del self._registered[descriptor]
                self._poll.unregister(descriptor)
        now = _now()
        if self._asleep:
            due = [each for each in self._asleep if each[1].until <= now]
            self._asleep = [each for each in self._asleep if each[1].until > now]
            for work, _ in due:
                self._step(work, True)
        if now - self._looked >= _LOOK:
            self._looked = now
            for descriptor in [each for each, (_, wait) in self._waiting.items() if wait.until <= now]:
                self._step(self._waiting.pop(descriptor)[0], False)

    def _step(self, work: Work[Result], happened: bool | None) -> None:
        _current.job = id(work)
        try:
            wait = work.send(happened)
        except StopIteration as end:
            self._results.append(end.value)
        except BaseException as error:  # raised when those under way have ended
            self._error = self._error or error
        else:
            if wait.connection is None:
                self._asleep.append((work, wait))
            else:
                descriptor = wait.connection.fileno()
                self._waiting[descriptor] = work, wait
                if self._registered.get(descriptor) != wait.event:
                    self._registered[descriptor] = wait.event
                    self._poll.register(descriptor, wait.event)
        finally:
            _current.job = 0


def _happens(wait: Wait) -> bool:
    """Whether it does before its moment has come, by waiting for it."""
    seconds = max(0.0, wait.until - _now())
    if wait.connection is None:
        time.sleep(seconds)
        return True
    poll = select.poll()
    poll.register(wait.connection, wait.event)
    return bool(poll.poll(seconds * 1000))
