"""Counting what a variant answers: totals for Prometheus, and the last two minutes, second by second, for the page."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

from whimbrel.prediction.model.unknown import UnknownValues

# Upper bounds in seconds; one more bucket counts what is longer.
BOUNDS = (50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 0.1, 0.2, 0.5, 1.0, 5.0)
SECONDS = 120


class Window(NamedTuple):
    """What happened in some span of time. ``faults`` are the errors that were the model's own."""

    calls: int = 0
    errors: int = 0
    faults: int = 0
    buckets: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)

    def latency(self, quantile: float) -> float:
        """The upper bound, in seconds, of the bucket in which the quantile lies; 0 without calls."""
        return quantile_of(self.buckets, quantile)

    def since(self, earlier: Window) -> Window:
        buckets = tuple(now - then for now, then in zip(self.buckets, earlier.buckets, strict=True))
        return Window(self.calls - earlier.calls, self.errors - earlier.errors, self.faults - earlier.faults, buckets)


class Second:
    """One second of the last two minutes; ``buckets`` are of what the callers waited."""

    __slots__ = ("buckets", "calls", "errors", "second")

    def __init__(self) -> None:
        self.begin(-1)

    def begin(self, second: int) -> None:
        self.second = second
        self.calls = self.errors = 0
        self.buckets = [0] * (len(BOUNDS) + 1)


class Figures:
    """Counts of one variant of one fleet. One thread writes; whoever reads sees figures at most one call old."""

    __slots__ = (
        *("_ring", "buckets", "calls", "codes", "errors", "faults", "rows", "seconds", "unknown", "waited", "waits"),
    )

    def __init__(self) -> None:
        self.calls = self.errors = self.faults = self.rows = 0
        self.seconds = self.waited = 0.0
        self.codes: dict[int, int] = {}
        self.unknown = UnknownValues()
        self.buckets = [0] * (len(BOUNDS) + 1)  # of the model's own time
        self.waits = [0] * (len(BOUNDS) + 1)  # of the time from a request's arrival to its answer
        self._ring = [Second() for _ in range(SECONDS)]

    def record(self, at: float, seconds: float, waited: float, status: int, rows: int) -> None:
        """A call that was answered at ``at`` (monotonic) with ``status``; the model took ``seconds`` for it, and its
        caller had ``waited`` that long."""
        bucket = bisect_left(BOUNDS, waited)
        self.waited += waited
        self.waits[bucket] += 1
        self.calls += 1
        self.rows += rows
        self.seconds += seconds
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.codes[status] = self.codes.get(status, 0) + 1
        whole = int(at)
        second = self._ring[whole % SECONDS]
        if second.second != whole:
            second.begin(whole)
        second.calls += 1
        second.buckets[bucket] += 1
        if status != 200:
            self.errors += 1
            second.errors += 1
            if status >= 500:
                self.faults += 1

    def window(self) -> Window:
        return Window(self.calls, self.errors, self.faults, tuple(self.buckets))

    def last(self, now: float, seconds: int) -> list[Second]:
        """The whole seconds before ``now`` (monotonic), oldest first; a second without a call is an empty one."""
        found = []
        for second in range(int(now) - seconds, int(now)):
            kept = self._ring[second % SECONDS]
            found.append(kept if kept.second == second else _NOTHING)
        return found


_NOTHING = Second()


def quantile_of(buckets: Iterable[int], quantile: float) -> float:
    """The upper bound of the bucket that holds the quantile; the last bound for what is longer; 0 if empty."""
    counts = list(buckets)
    wanted = sum(counts) * quantile
    if not wanted:
        return 0.0
    seen = 0
    for bound, count in zip((*BOUNDS, BOUNDS[-1]), counts, strict=True):
        seen += count
        if seen >= wanted:
            return bound
    return BOUNDS[-1]
