"""What is proposed, and why: what ``whimbrel design`` prints and gives back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class DesignedStatement:
    """``how`` it is served by the design, with its units each time; ``plain`` how one table for each table serves it.

    ``dollars`` are of a month on demand, ``plain_dollars`` of the same with one table for each table.
    """

    statement: str
    per_second: float
    how: str
    read_units: float
    write_units: float
    dollars: float
    plain: str
    plain_dollars: float
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DesignedTable:
    """``place`` in words, ``why`` the statements that decide it. ``weighed`` has the other places that were tried, with
    what everything would cost in a month then.
    """

    source: str
    target: str
    place: str
    indexes: tuple[str, ...]
    why: tuple[str, ...]
    weighed: tuple[tuple[str, float], ...]
    assumed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DesignResult:
    """The project file that was written. ``dollars`` are a month of the design, ``indexed_dollars`` of one table for
    each table with the indexes that its statements want, ``plain_dollars`` of the same without indexes.

    ``unread`` are statements that were not understood: (statement, count, why). ``left_out`` says why tables are not in
    the design. ``other`` counts statements about no table of it.
    """

    path: str
    dollars: float
    indexed_dollars: float
    plain_dollars: float
    prices: str
    tables: tuple[DesignedTable, ...]
    statements: tuple[DesignedStatement, ...]
    unread: tuple[tuple[str, int, str], ...]
    other: int
    left_out: tuple[str, ...]
    password_given: bool

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
