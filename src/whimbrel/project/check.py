"""The ``[check]`` part of the project file: what ``whimbrel check`` reckons with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from whimbrel.project.section import Section


@dataclass(frozen=True, slots=True)
class Check:
    """``prices`` is a price file instead of the one that comes with whimbrel, None for that one."""

    prices: Path | None = None


def read_check(top: Section, folder: Path) -> Check:
    """A path is relative to the project file. What is wrong goes to the section's faults."""
    section = top.section("check")
    prices = section.string("prices", "")
    section.finish()
    return Check(prices=folder / prices if prices else None)
