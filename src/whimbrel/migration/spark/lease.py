"""The lease of a job: how a run can be sure that none of its tasks writes any more, whatever became of them.

What a snapshot has of an item is older than any change in the log. So a task that is thought dead, and is not, must not
write once changes are applied: an executor that lost its driver, a process that outlived its machine's connection. No
cluster promises that it ends them. So a task writes only while it knows that the job is open, and knows it for
LEASE_SECONDS. The order, on both sides:

- a task puts its file into ``writing/``, then sees that the job is open, then writes; it takes the file away when every
  call is answered, and leaves it there where one is not;
- a run that ends a job removes ``open``, then looks into ``writing/``. If nothing is there, no task will ever write.
  Else it waits for LATE_SECONDS: by then each of them has found out, and its last call was answered or given up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from whimbrel.errors import Stopped, WhimbrelError
from whimbrel.migration.spark.places import Place
from whimbrel.migration.spark.told import OPEN, WRITING
from whimbrel.threads import Thread

LOOK_SECONDS = 2.0  # between two looks of a process that writes
LEASE_SECONDS = 10.0  # since the last look that found the job open, in which it may write
CALL_SECONDS = 8.0  # that a call to DynamoDB may take
PAUSE = 0.2  # between two looks of a run that waits for tasks
LATE_SECONDS = LEASE_SECONDS + CALL_SECONDS + 4.0


class JobLease:
    """Of one process on one job. ``stop`` is set when it has ended, which is for good."""

    def __init__(self, place: Place, clock: Callable[[], float] = time.monotonic) -> None:
        self._place = place
        self._clock = clock
        self._seen = clock() - LEASE_SECONDS
        self._over = threading.Event()
        self.stop = threading.Event()
        self._thread = Thread(self._watch, "lease")

    def begin(self) -> None:
        self.look()
        self._thread.start()

    def end(self) -> None:
        """No more looks: nothing is written any more."""
        self.stop.set()
        self._over.set()

    def look(self) -> None:
        """Raises Stopped if the job is not open."""
        began = self._clock()  # it may be closed as soon as this is answered
        if self._place.get(OPEN) is None:
            self.stop.set()
        self.sure(began)

    def sure(self, seen: float | None = None) -> None:
        """To be called before each write. Raises Stopped."""
        if seen is not None and not self.stop.is_set():
            self._seen = seen
        if self._clock() - self._seen >= LEASE_SECONDS:
            self.stop.set()
        if self.stop.is_set():
            raise Stopped("the job was ended by the run that submitted it", place=self._place.url(OPEN))

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS) and not self.stop.is_set():
            try:
                self.look()
            except Stopped:
                return
            except (WhimbrelError, OSError):  # not known to be open: for how long, the next look says
                if self._clock() - self._seen >= LEASE_SECONDS:
                    self.stop.set()


def wait_until_nobody_writes(place: Place) -> None:
    """To be called when ``open`` is removed: until every task has said that it is done, or must be."""
    until = time.monotonic() + LATE_SECONDS
    while names := [name for name, _ in place.list(WRITING)]:
        if time.monotonic() >= until:
            place.remove(names)
            return
        time.sleep(PAUSE)
