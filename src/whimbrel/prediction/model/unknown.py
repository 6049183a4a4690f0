"""Categories that training never saw: how often each column had one, and which they were.

The model scores them as "other"; whoever asks must be able to tell that from a category that it knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

HEADER = "x-whimbrel-unknown-categories"
MOST_VALUES = 20  # kept of a column, the newest
LONGEST = 60  # characters of a value that are kept
MOST_HEADER = 1_000  # bytes
Found = tuple[str, str]  # a column and its value


class UnknownValues:
    """``counts`` of values by column, and the ``values`` themselves: different ones, oldest first, shortened."""

    def __init__(self, found: Iterable[Found] = ()) -> None:
        self.counts: dict[str, int] = {}
        self.values: dict[str, dict[str, None]] = {}
        self.add(found)

    def add(self, found: Iterable[Found]) -> None:
        for column, value in found:
            self.counts[column] = self.counts.get(column, 0) + 1
            self._keep(column, value if len(value) <= LONGEST else value[: LONGEST - 1] + "…")

    def merge(self, other: UnknownValues) -> None:
        for column, count in other.counts.items():
            self.counts[column] = self.counts.get(column, 0) + count
            for value in other.values[column]:
                self._keep(column, value)

    def _keep(self, column: str, value: str) -> None:
        kept = self.values.setdefault(column, {})
        kept.pop(value, None)
        kept[value] = None
        if len(kept) > MOST_VALUES:
            del kept[next(iter(kept))]

    def header(self) -> str:
        """A line for the answer: the number of values, then as many ``column=value``, percent-encoded, as fit
        for, and ``...`` where that is not all."""
        line = f"{HEADER}: {sum(self.counts.values())}"
        for column, values in self.values.items():
            for value in values:
                part = f"; {quote(column[:LONGEST], safe=' ')}={quote(value, safe=' ')}"
                if len(line) + len(part) > MOST_HEADER:
                    return f"{line}; ...\r\n"
                line += part
        return f"{line}\r\n"

    def __str__(self) -> str:
        """For people: ``job 'ADMIN.' 'boss' (3)``."""
        some = (
            f"{column} {' '.join(map(repr, self.values[column]))} ({count})" for column, count in self.counts.items()
        )
        return "; ".join(some)
