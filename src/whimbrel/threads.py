"""Threads that are started or not started, but never waited for without an end."""

from __future__ import annotations

import threading
from collections.abc import Callable

BEGINS_WITHIN = 5.0  # seconds


class Thread(threading.Thread):
    """A daemon thread. ``start`` raises MemoryError, or RuntimeError, where there is no memory for one more.

    Python's own waits for ever for a new thread that found no memory to say that it has begun.
    """

    def __init__(self, target: Callable[[], object], name: str) -> None:
        super().__init__(target=target, name=name, daemon=True)
        self._started = _Begun()  # what ``start`` waits for


class _Begun(threading.Event):
    def wait(self, timeout: float | None = None) -> bool:
        if super().wait(BEGINS_WITHIN if timeout is None else timeout) or timeout is not None:
            return self.is_set()
        raise MemoryError("a thread has not begun")
