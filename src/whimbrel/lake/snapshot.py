"""What became of a data set in an Iceberg table. Apart from what makes it, which not everybody has installed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class IcebergSnapshot:
    """The snapshot of the current data set in its ``table``; ``metadata`` is the address of the table's newest file.

    ``added`` counts the snapshots that were made now. ``began_again``: the columns are of other types than before, and
    the table has the snapshots since then alone.
    """

    table: str
    snapshot: int
    metadata: str
    added: int
    began_again: bool

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
