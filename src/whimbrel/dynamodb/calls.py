"""A call that is made until it is through: paced, retried with back-off, counted, and given up only when asked to."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import orjson

from whimbrel.dynamodb.pace import Backoff, Pace
from whimbrel.dynamodb.wire import Wire
from whimbrel.dynamodb.workers import Limit
from whimbrel.errors import Stopped, TargetUnreachable, Throttled

_LOOK = 0.1  # seconds between looks at the stops during a long wait


@dataclass
class Counters:
    """What the calls came to. ``units`` are those that DynamoDB reported."""

    requests: int = 0  # calls made, those that failed among them
    units: float = 0.0
    bytes: int = 0  # of the bodies that got an answer
    throttles: int = 0  # calls refused for going too fast
    retries: int = 0  # calls repeated after no answer, a damaged one or a 5xx


class Calls:
    """Calls over one Wire under one Pace; thread-safe. Any of ``stops``, when set, ends waiting and retrying."""

    def __init__(self, wire: Wire, pace: Pace, limit: Limit, *stops: threading.Event) -> None:
        self._wire = wire
        self._limit = limit
        self._stops = stops
        self.pace = pace
        self.counters = Counters()
        self.lock = threading.Lock()

    def call(self, operation: str, body: bytes, units: float = 0.0) -> dict[str, Any]:
        """The answer to one call, however often it must be made; ``units`` is what it will cost by estimate.

        Raises Stopped, and what Wire.call raises except Throttled and TargetUnreachable.
        """
        self.wait(self.pace.take(units))
        backoff = Backoff()
        while True:
            try:
                answer: dict[str, Any] = orjson.loads(self._wire.call(operation, body))
                break
            except (Throttled, TargetUnreachable, orjson.JSONDecodeError) as error:
                self._failed(error)
                self.wait(backoff.next(), error)
        used = _consumed(answer)
        if used:
            self.pace.take(used - units)
        with self.lock:
            self._limit.raise_a_little()
            self.counters.requests += 1
            self.counters.bytes += len(body)
            self.counters.units += used
        return answer

    def wait(self, seconds: float, reason: Exception | None = None) -> None:
        """Wait. Raises Stopped as soon as one of the stops is set, also when there is nothing to wait for."""
        end = time.monotonic() + seconds if seconds else 0.0
        while True:
            for stop in self._stops:
                if stop.is_set():
                    raise Stopped("asked to stop before this was done", hint=f"Last: {reason}" if reason else "")
            left = end - time.monotonic() if end else 0.0
            if left <= 0:
                return
            self._stops[0].wait(min(left, _LOOK))

    def _failed(self, error: Exception) -> None:
        with self.lock:
            self.counters.requests += 1
            if isinstance(error, Throttled):
                self._limit.halve()
                self.counters.throttles += 1
            else:
                self.counters.retries += 1


def _consumed(answer: dict[str, Any]) -> float:
    """The capacity units in an answer: a list from batch calls, one object from the others; 0 where not reported."""
    found = answer.get("ConsumedCapacity")
    if not found:
        return 0.0
    return sum(float(each["CapacityUnits"]) for each in ([found] if isinstance(found, dict) else found))
