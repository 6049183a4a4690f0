"""Calls to a service that boto3 asks are made again while it does not answer: for an hour, unless it never did."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from whimbrel.dynamodb.pace import Backoff
from whimbrel.errors import Stopped, TargetUnreachable, Throttled
from whimbrel.notes import note

PATIENCE = 3_600.0  # seconds for which a service may not answer; the source waits as long for the reader of a chunk
LONGEST_PAUSE = 15.0  # seconds between two tries
TRIES = 6  # before the service has answered once, as the endpoint may be wrong

Answered = TypeVar("Answered")


class Patience:
    """With one ``service``, by its name. Thread-safe."""

    def __init__(self, service: str, seconds: float = 0.0) -> None:
        """``seconds``: for how long it is tried again; 0: for PATIENCE."""
        self._service, self._seconds = service, seconds or PATIENCE
        self._stop = threading.Event()
        self._answered = self._is_away = False

    def attend(self, stop: threading.Event) -> None:
        """From here on, whoever waits ends with Stopped when ``stop`` is set."""
        self._stop = stop

    def ask(self, call: Callable[[], Answered]) -> Answered:
        """What ``call`` gives, which raises TargetUnreachable or Throttled where it should be made again. Raises these
        after the time that it is tried, and Stopped.
        """
        backoff, began = Backoff(0.1, LONGEST_PAUSE), time.monotonic()
        for tries in itertools.count(1):
            try:
                found = call()
            except (TargetUnreachable, Throttled) as error:
                if time.monotonic() - began >= self._seconds or (tries >= TRIES and not self._answered):
                    raise
                self._wait(error, backoff.next())
            except FileNotFoundError:
                self._answered, self._is_away = True, False
                raise
            else:
                self._answered, self._is_away = True, False
                return found
        raise AssertionError("without end")

    def _wait(self, error: TargetUnreachable | Throttled, seconds: float) -> None:
        if self._answered and not self._is_away:
            self._is_away = True
            minutes = self._seconds / 60
            note(f"{self._service} does not answer ({error.message}). It is tried again for {minutes:,.0f} minutes.")
        if self._stop.wait(seconds):
            raise Stopped(f"asked to stop while {self._service} did not answer", place=error.place) from error
