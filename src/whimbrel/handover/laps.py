"""Where the time goes while nobody can write."""

from __future__ import annotations

import time


class Laps:
    """Of a stall that began at ``began``, by time.monotonic(). ``parts``: each part's milliseconds, in their order."""

    def __init__(self, began: float) -> None:
        self._began = self._last = began
        self.parts: dict[str, float] = {}

    def ended(self, part: str) -> None:
        now = time.monotonic()
        self.parts[part] = round((now - self._last) * 1000, 1)
        self._last = now

    @property
    def seconds(self) -> float:
        """Until the end of the last part."""
        return self._last - self._began
