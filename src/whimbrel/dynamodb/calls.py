"""A call that is made until it is through: paced, retried with back-off and counted.

It is abandoned when asked to, and when an answer did not have its documented form a dozen times: that is not an outage,
it is something that does not speak as DynamoDB does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import orjson

from whimbrel.dynamodb.answers import Answer, Undocumented
from whimbrel.dynamodb.answers import units as units_in
from whimbrel.dynamodb.limit import ConcurrencyLimit
from whimbrel.dynamodb.loop import complete, moment, whose
from whimbrel.dynamodb.pace import Backoff, RateLimiter
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import Stopped, TargetUnreachable, Throttled, UnexpectedAnswer
from whimbrel.memory import out_of_memory

Result = TypeVar("Result")

UNEXPECTED_TRIES = 12  # of one call, before its answers count as an error: about a quarter of a minute
REFUSED_AFTER = 5.0  # seconds without a call that was through, before somebody is told
_LOOK = 0.1  # seconds between looks at the stops during a long wait


@dataclass
class Counters:
    """What the calls came to. ``units`` are those that DynamoDB reported."""

    requests: int = 0  # calls made, those that failed among them
    units: float = 0.0
    bytes: int = 0  # of the bodies that got an answer
    throttles: int = 0  # calls refused for going too fast
    retries: int = 0  # calls repeated after no answer, a damaged one or a 5xx


class Spent(NamedTuple):
    """What some calls cost: units as DynamoDB charged them, refusals for going too fast, and bytes of the requests that
    it answered.
    """

    units: float = 0.0
    throttles: int = 0
    bytes: int = 0


class RetryingClient:
    """Calls through one DynamoClient under one RateLimiter, with retries; thread-safe.

    Any of ``stops``, when set, ends waiting and retrying. So do ``tries`` of one call that all fail (0: any number).
    """

    def __init__(
        self,
        wire: DynamoClient,
        pace: RateLimiter,
        limit: ConcurrencyLimit,
        *stops: threading.Event,
        tries: int = 0,
        refused: Callable[[str], object] = lambda reason: None,
    ) -> None:
        """``refused`` is called, in any thread, with the reason when no call is through for some seconds, and with ""
        when one is.
        """
        self._wire = wire
        self._limit = limit
        self._stops = stops
        self._tries = tries
        self.pace = pace
        self.counters = Counters()
        self._spent = Spent()
        self._refused, self._told = refused, ""
        self._none_since = 0.0  # when a call failed and none was through after it, by time.monotonic()
        self.unanswered = wire.unanswered
        self.lock = threading.Lock()

    def take_spent(self, left_out: int) -> Spent:
        """What was spent since this was asked last; ``left_out`` throttles are counted elsewhere."""
        with self.lock:
            counted, before = self.counters, self._spent
            now = self._spent = Spent(counted.units, counted.throttles + left_out, counted.bytes)
        return Spent(now.units - before.units, now.throttles - before.throttles, now.bytes - before.bytes)

    def call(self, operation: str, body: bytes, read: Callable[[Answer], Result], units: float = 0.0) -> Result:
        """As ``ask``; the calling thread waits for the answer."""
        return complete(self.ask(operation, body, read, units))

    async def ask(
        self,
        operation: str,
        body: bytes,
        read: Callable[[Answer], Result],
        units: float = 0.0,
        took: Callable[[Result], bool] | None = None,
    ) -> Result:
        """What ``read`` makes of the answer to one call, however often it must be made.

        ``read`` raises Undocumented for an answer that is not known to be a success. ``units`` is what the call will
        cost by estimate. ``took`` says whether a success did anything, where it may have done nothing. Raises Stopped,
        UnexpectedAnswer, and what DynamoClient.ask raises except Throttled and TargetUnreachable.
        """
        if pause := self.pace.take(units):
            await self.wait(pause)
        self._refuse_if_stopped()
        backoff: Backoff | None = None
        failed = unexpected = 0
        while True:
            try:
                used, result = self._read(operation, await self._wire.ask(operation, body), read)
                break
            except (Throttled, TargetUnreachable) as error:
                if used_up := out_of_memory(error):
                    raise used_up from error  # of this process: to try again does not help
                self._failed(error)
                unexpected += isinstance(error, UnexpectedAnswer)
                failed += 1
                if unexpected == UNEXPECTED_TRIES or failed == self._tries:
                    raise
                backoff = backoff or Backoff()
                await self.wait(backoff.next(), error)
        if used:
            self.pace.take(used - units)
        if took and not took(result):
            self._note(f"{operation} left out everything")
        elif self._none_since:
            self._note("")
        with self.lock:
            self._limit.raise_a_little()
            self.counters.requests += 1
            self.counters.bytes += len(body)
            self.counters.units += used
        return result

    async def wait(self, seconds: float, reason: Exception | None = None) -> None:
        """Wait. Raises Stopped as soon as one of the stops is set, also when there is nothing to wait for."""
        end = time.monotonic() + seconds if seconds else 0.0
        while True:
            self._refuse_if_stopped(reason)
            left = end - time.monotonic() if end else 0.0
            if left <= 0:
                return
            await moment(min(left, _LOOK))

    def _refuse_if_stopped(self, reason: Exception | None = None) -> None:
        for stop in self._stops:
            if stop.is_set():
                raise Stopped("asked to stop before this was done", hint=f"Last: {reason}" if reason else "")

    def _read(self, operation: str, data: bytes, read: Callable[[Answer], Result]) -> tuple[float, Result]:
        """The units that an answer reports, and what it says."""
        try:
            answer = orjson.loads(data)
            if type(answer) is not dict:
                raise Undocumented("it is not a JSON object")
            return units_in(answer), read(answer)
        except (Undocumented, orjson.JSONDecodeError) as error:
            raise self._wire.unexpected(operation, f"{error}, in {data[:60]!r}") from error

    def _note(self, reason: str) -> None:
        """A call was through, or was not for this ``reason``."""
        with self.lock:
            now, before = time.monotonic(), self._told
            self._none_since = (self._none_since or now) if reason else 0.0
            if not reason or now - self._none_since >= REFUSED_AFTER:
                self._told = reason
            told = self._told
        if told != before:
            self._refused(told)

    def _failed(self, error: Exception) -> None:
        self._note(str(error))
        with self.lock:
            self.counters.requests += 1
            if isinstance(error, Throttled):
                self._limit.halve()
                self.counters.throttles += 1
            else:
                self.counters.retries += 1
                self.unanswered.add(whose())
