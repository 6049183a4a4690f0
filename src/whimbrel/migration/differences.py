"""What a verification found, of one target table."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from whimbrel.item import item_size
from whimbrel.records import Item

LISTED = 1_000  # differences named in the report; beyond them only counted
WHOLE, LONGEST = 5, 4_096  # the first so many have both items, whatever their size; the others if they have fewer bytes
LEFT_OUT = f"both items are left out here: they have more than {LONGEST:,} bytes"


@dataclass(frozen=True, slots=True)
class Difference:
    """One item that is not what the source says. ``kind``: missing, changed, extra, unmappable or unsettled.

    Items of more than LONGEST bytes are left out after the first WHOLE, and ``reason`` says so. ``key`` is empty, and
    ``reason`` names the row, when a row cannot even have an item's key.
    """

    table: str
    kind: str
    key: Item
    expected: Item | None
    found: Item | None
    reason: str = ""


@dataclass(slots=True)
class TableReport:
    """``counts`` has all differences that stand, ``differences`` the first LISTED of them. ``waived`` has those of dead
    letters that somebody accepts.
    """

    source: str
    target: str
    rows: int = 0
    items: int = 0  # that the source's rows make
    found: int = 0  # that the target has
    candidates: int = 0  # that differed at first sight, most by being changed meanwhile
    counts: dict[str, int] = field(default_factory=dict)  # by kind
    differences: list[Difference] = field(default_factory=list)
    not_compared: list[str] = field(default_factory=list)  # change metadata, which no source can
    held: int = 0  # items that are not what the source says, and that a condition protects
    softly_deleted: int = 0  # items that stay although their rows went, and say so
    seconds: float = 0.0
    waived: list[Difference] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        return not self.counts

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"equal": self.equal}

    def note(self, difference: Difference, *, waived: bool = False) -> None:
        if waived:
            self.waived.append(_listed(difference, len(self.waived)))
            return
        self.count(difference.kind)
        if len(self.differences) < LISTED:
            self.differences.append(_listed(difference, len(self.differences)))

    def count(self, kind: str, times: int = 1) -> None:
        """So many differences that are not named."""
        if times:
            self.counts[kind] = self.counts.get(kind, 0) + times


def _listed(difference: Difference, before: int) -> Difference:
    """As it is listed behind ``before`` others: a thousand items of 400 KB would not fit in memory."""
    size = item_size(difference.expected or {}) + item_size(difference.found or {})
    if before < WHOLE or size <= LONGEST:
        return difference
    return replace(difference, expected=None, found=None, reason=difference.reason or LEFT_OUT)
