"""What a verification found, of one target table."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from whimbrel.records import Item

LISTED = 1_000  # differences named in the report; beyond them only counted


@dataclass(frozen=True, slots=True)
class Difference:
    """One item that is not what the source says. ``kind``: missing, changed, extra, unmappable or unsettled.

    ``key`` is empty, and ``reason`` names the row, when a row cannot even have an item's key.
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
            self.waived.append(difference)
            return
        self.count(difference.kind)
        if len(self.differences) < LISTED:
            self.differences.append(difference)

    def count(self, kind: str) -> None:
        """A difference that is not named."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
