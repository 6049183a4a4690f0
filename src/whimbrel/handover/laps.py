"""Where the time goes while nobody can write."""

from __future__ import annotations

import time

from whimbrel.migration.progress import Progress


class Laps:
    """Of a stall that began at ``began``, by time.monotonic(). ``parts``: each part's milliseconds, in their order.
    ``progress`` shows them as they end.
    """

    def __init__(self, began: float, progress: Progress) -> None:
        self._began = self._last = began
        self._progress = progress
        self.parts: dict[str, float] = {}

    def ended(self, part: str) -> None:
        now = time.monotonic()
        self.parts[part] = round((now - self._last) * 1000, 1)
        self._last = now
        # A copy, as another thread reads it.
        self._progress.laps, self._progress.step = dict(self.parts), f"nobody can write; done: {part}"

    @property
    def seconds(self) -> float:
        """Until the end of the last part."""
        return self._last - self._began
