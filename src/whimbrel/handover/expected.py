"""How long the parts of a cutover may take, before they were measured."""

from __future__ import annotations

from whimbrel.project import Project

QUICK_DRAIN = 0.2  # seconds, or a tenth of max_stall
LITTLE = 200  # items, for which no round of verification is worth its time
EXPECTED_RATE = 1_000.0  # items that are verified in a second, before that was measured


def little_left(rate: float, max_stall: float) -> float:
    """How many items may be left to verify when writes are closed, of ``rate`` that are verified in a second."""
    return max(LITTLE, rate * max_stall / 4)


def quick_drain(project: Project) -> float:
    """In seconds: a drain that is worth waiting for. Through a stream none is quick."""
    longest = project.cutover.max_stall
    return longest / 2 if project.stream else min(QUICK_DRAIN, longest / 10)
