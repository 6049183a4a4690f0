"""Dirty keys in a state folder, as the process that keeps them and one that reads them see them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from whimbrel import checkpoint
from whimbrel.changelog.record import LogPoint
from whimbrel.checkpoint import Checkpoint
from whimbrel.migration.dirty import Dirty, DirtyKeys, dirty_since
from whimbrel.migration.state import StateFolder
from whimbrel.migration.verified import Verified, write_verified
from whimbrel.records import Item, Position, Put

AT = Position("bin.000001", 100)


class Kept:
    """A state folder and the set in it. ``everything`` that a verification read is ``verified``."""

    def __init__(self, root: Path, sent: int | None = None) -> None:
        """``sent`` as DirtyKeys has it."""
        self.state = StateFolder(root)
        self.state.make()
        self.passed(0)
        self.open(sent)

    def open(self, sent: int | None = None) -> None:
        """As a new process does."""
        self.keys = DirtyKeys(self.state, checkpoint.load(self.state.checkpoint), sent)

    def passed(self, applied: int) -> None:
        """The Checkpoint passes so many changes."""
        now = Checkpoint(phase="apply", applied=LogPoint(1, applied), applied_position=AT)
        checkpoint.save(self.state.checkpoint, replace(now, counters={"applied": applied}))

    def write(self, *names: str, table: str = "t") -> None:
        self.keys.begin_write([Put(table, key(name), key(name)) for name in names])

    def save(self, applied: int) -> None:
        self.keys.save(applied)
        self.passed(applied)

    def verified(self) -> Verified:
        """All items, as of now."""
        at = dirty_since(self.state.root, None)
        assert at.place is not None
        found = Verified(at.position, 1.0, {"s.t": "t"}, "rules", at.place)
        write_verified(self.state.root, found)
        return found

    def since(self, verified: Verified | None) -> set[str]:
        found = self.dirty(verified)
        assert not found.everything, found.everything
        return {each["k"]["S"] for each in found.keys("t")}

    def dirty(self, verified: Verified | None) -> Dirty:
        return dirty_since(self.state.root, verified)

    def files(self) -> list[Path]:
        return sorted(self.state.dirty.glob("0*.jsonl"))


def key(name: str) -> Item:
    return {"k": {"S": name}}
