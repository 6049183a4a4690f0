"""The target's side of a first look in a worker, so that both sides are read at once, each on a core."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing, suppress
from types import TracebackType
from typing import NamedTuple

from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.migration.digests import TargetSide
from whimbrel.spill import KeyedDigests
from whimbrel.threads import Beside
from whimbrel.workers import Do, Tell, Workers


class _Kept(NamedTuple):
    """The last that is told: so many items were kept."""

    items: int


class TargetProcess:
    """Reads ``side`` from when it is made; ``found`` is told of each page how many items it has, in another thread. As
    a context, it ends the reading in any case.
    """

    def __init__(self, side: TargetSide, stop: threading.Event, found: Callable[[int], None]) -> None:
        self._side, self._stop, self._found = side, stop, found
        self._over = threading.Event()
        self._reading = Beside(self._read, "verify")

    def result(self) -> KeyedDigests:
        """What was read. Raises what reading raised, Stopped, and WorkerLost."""
        return self._reading.result()

    def __enter__(self) -> TargetProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        with suppress(Exception):  # there is an error already, or it was told
            self._reading.result()

    def _read(self) -> KeyedDigests:
        read = KeyedDigests(self._side.folder, self._side.partitions)
        with Workers(target_reading, [self._side], self._over, meanwhile=self._look) as workers:
            for _, told in workers.answers([None]):
                if isinstance(told, _Kept):
                    read.added = told.items
                else:
                    self._found(told)
        return read

    def _look(self) -> None:
        if self._stop.is_set():
            self._over.set()


def target_reading(side: TargetSide, stop: threading.Event) -> Do[None, int | _Kept]:
    """In the worker. What it read is in the files of ``side`` when that is told."""

    def read(_: None, tell: Tell[int | _Kept]) -> None:
        with closing(DynamoClient(side.target)) as wire:
            kept = side.read(wire, stop, tell)
        kept.flush()
        tell(_Kept(kept.added))

    return read
