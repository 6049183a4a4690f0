"""What is told of a restoration, before and after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from whimbrel.lake.refused import Refused


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """``table`` would be written, with the key as (name, type) pairs, from ``files``."""

    table: str
    key: tuple[tuple[str, str], ...]
    files: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"table": self.table, "key": [list(each) for each in self.key], "files": list(self.files)}


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """``refused`` are the lines and items that could not be written, each with its reason."""

    table: str
    puts: int
    deletes: int
    refused: tuple[Refused, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"table": self.table, "puts": self.puts, "deletes": self.deletes, "refused": len(self.refused)}
