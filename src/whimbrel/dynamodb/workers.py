"""Jobs done by as many threads as the other side bears: more while it takes them, half when it throttles."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Generic, TypeVar

from whimbrel.threads import Thread

Job = TypeVar("Job")
Result = TypeVar("Result")

_FIRST_LIMIT = 4.0
LOOK = 1.0  # seconds after which a waiting caller looks if the others are still there
_CALM = 0.2  # seconds in which several throttles count as one: they answer calls made under the same limit


class ConcurrencyLimit:
    """How many calls may be under way: one more for each round of successes, half after a throttle (AIMD)."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._value = min(_FIRST_LIMIT, most)
        self._lowered_at = 0.0

    @property
    def now(self) -> int:
        return int(self._value)

    def raise_a_little(self) -> None:
        self._value = min(self._most, self._value + 1 / self._value)

    def halve(self) -> None:
        now = time.monotonic()
        if now - self._lowered_at >= _CALM:
            self._lowered_at = now
            self._value = max(1.0, self._value / 2)


class _Round(Generic[Job, Result]):
    """The jobs of one ``do_all``, and what became of them."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.left = len(jobs)
        self.results: list[Result] = []
        self.error: BaseException | None = None
        self.done = threading.Event()


class Workers(Generic[Job, Result]):
    """Does jobs in the calling thread and, when there are several, in up to ``most`` threads in all.

    All are started here, where there is memory for them: a thread that has too little to begin with can take the
    interpreter down. A worker takes the next job when it has done one, and wakes at most one other: a single job costs
    no switch between threads.
    """

    def __init__(self, do: Callable[[Job], Result], limit: ConcurrencyLimit, most: int) -> None:
        self._do = do
        self._limit = limit
        self._most = most
        self._lock = threading.Lock()
        self._waiting: deque[tuple[_Round[Job, Result], Job]] = deque()
        self._wakes: SimpleQueue[bool] = SimpleQueue()
        self._asleep = most  # threads with nothing to do and no wake promised to them
        self._broken: BaseException | None = None  # what ended a thread; nobody does its job any more
        self._working = 0  # workers at work or woken, the calling threads among them
        for number in range(most):
            Thread(self._live, f"whimbrel-write-{number + 1}").start()

    def do_all(self, jobs: Sequence[Job]) -> list[Result]:
        """Do every job; their results in the order in which they ended.

        The first error ends the round: jobs not begun are dropped, those under way are waited for, then it is raised.
        """
        own = _Round[Job, Result](jobs)
        if not jobs:
            return own.results
        with self._lock:
            self._waiting.extend((own, job) for job in jobs)
            joins = self._working < self._limit.now
            self._working += joins
        if joins:
            self._work(own)
        while not own.done.wait(LOOK):
            if self._broken is not None:
                raise self._broken
        if own.error is not None:
            raise own.error
        return own.results

    def close(self) -> None:
        """Let the threads end."""
        for _ in range(self._most):
            self._wakes.put(False)

    def _work(self, own: _Round[Job, Result] | None) -> None:
        """Do what is waiting, until there is nothing more, there are too many workers, or ``own`` is done."""
        while (own is None or own.left) and (taken := self._take()):
            around, job = taken
            try:
                result = self._do(job)
            except BaseException as error:  # handed to the thread that waits for the round
                self._fail(around, error)
            else:
                self._ended(around, result)
        with self._lock:
            self._working -= 1
            self._asleep += own is None
            self._wake_another()  # what is still waiting must not wait for a worker that leaves; it may be this thread

    def _take(self) -> tuple[_Round[Job, Result], Job] | None:
        with self._lock:
            if not self._waiting or self._working > self._limit.now:
                return None
            taken = self._waiting.popleft()
            self._wake_another()
            return taken

    def _wake_another(self) -> None:
        if not self._waiting or self._working >= self._limit.now:
            return
        if self._asleep:
            self._asleep -= 1
            self._working += 1
            self._wakes.put(True)

    def _live(self) -> None:
        try:
            while self._wakes.get():
                self._work(None)
        except BaseException as error:  # not a job's, which its round is told: without memory even that may fail
            self._broken = error

    def _ended(self, around: _Round[Job, Result], result: Result) -> None:
        with self._lock:
            around.results.append(result)
            around.left -= 1
            if not around.left:
                around.done.set()

    def _fail(self, around: _Round[Job, Result], error: BaseException) -> None:
        with self._lock:
            around.error = around.error or error
            others = deque(entry for entry in self._waiting if entry[0] is not around)
            around.left -= 1 + len(self._waiting) - len(others)
            self._waiting = others
            if not around.left:
                around.done.set()
