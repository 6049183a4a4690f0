"""How many calls may be under way: more while the other side takes them, half when it throttles."""

from __future__ import annotations

import time

_FIRST_LIMIT = 4.0
_CALM = 0.2  # seconds in which several throttles count as one: they answer calls made under the same limit


class ConcurrencyLimit:
    """One more for each round of successes, half after a throttle (AIMD)."""

    def __init__(self, most: int, first: float = _FIRST_LIMIT) -> None:
        self._most = most
        self._value = min(first, most)
        self._lowered_at = 0.0

    @property
    def now(self) -> int:
        return int(self._value)

    def raise_a_little(self) -> None:
        if self._value < self._most:
            self._value = min(self._most, self._value + 1 / self._value)

    def halve(self) -> None:
        now = time.monotonic()
        if now - self._lowered_at >= _CALM:
            self._lowered_at = now
            self._value = max(1.0, self._value / 2)
