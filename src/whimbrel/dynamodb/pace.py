"""How fast to go: a cap in units per second, and how long to wait before trying again."""

from __future__ import annotations

import random
import threading
import time

_BURST_SECONDS = 0.1


class RateLimiter:
    """A cap of ``rate`` units per second over all threads; 0 means no cap.

    Units are taken before a call by an estimate and put right after it by what DynamoDB says it charged. Unused time
    is kept for a tenth of a second only, so a pause is not followed by a burst.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._free_at = time.monotonic()
        self._lock = threading.Lock()

    def take(self, units: float) -> float:
        """Take ``units`` (less than none gives back); returns the seconds to wait before using them."""
        if not self.rate:
            return 0.0
        with self._lock:
            now = time.monotonic()
            start = max(self._free_at, now - _BURST_SECONDS)
            self._free_at = start + units / self.rate
        return max(0.0, start - now)

    def debt(self) -> float:
        """Seconds until all units that were taken are within the cap."""
        return max(0.0, self._free_at - time.monotonic()) if self.rate else 0.0


class Backoff:
    """Waits of random length, their upper bound doubled by each failure ("full jitter").

    Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    def __init__(self, first: float = 0.05, most: float = 5.0) -> None:
        self._first, self._most, self._bound = first, most, first

    def next(self) -> float:
        """Seconds to wait now."""
        bound, self._bound = self._bound, min(self._most, self._bound * 2)
        return random.uniform(0, bound)

    def reset(self) -> None:
        """Something went through: begin again with short waits."""
        self._bound = self._first
