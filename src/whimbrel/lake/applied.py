"""Up to where a migration has written a table: what an export can say beside its time.

The applied Position is the Checkpoint's: every change of the source up to it is acknowledged by the table. While apply
continues, later changes may be there too. So an export that reads the table after the Checkpoint was read, and does not
miss what was acknowledged before, has everything up to that Position, and maybe more. That is what an AppliedUpTo says.
Where it would not be certain, nothing is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from whimbrel.errors import LogCorrupt, UserError
from whimbrel.project import Project
from whimbrel.records import Position

FILE = "applied.json"  # in an export's folder


@dataclass(frozen=True, slots=True)
class AppliedUpTo:
    """``source`` is the identity of the server that the ``position`` is of."""

    source: str
    position: Position

    def as_fields(self) -> dict[str, Any]:
        return {"source": self.source, **self.position.as_fields()}

    def __str__(self) -> str:
        return f"{self.position.file}:{self.position.offset}"


def from_fields(fields: dict[str, Any] | None) -> AppliedUpTo | None:
    """The inverse of ``as_fields``; None for None. Raises TypeError, KeyError, ValueError."""
    if fields is None:
        return None
    rest = dict(fields)
    applied = AppliedUpTo(str(rest.pop("source")), Position(**rest))
    _ = applied.position.order
    return applied


def applied_now(project: Project, table: str, table_id: str) -> AppliedUpTo | None:
    """Up to where the project's migration has written the table, from its state folder.

    None where that is not certain: nothing is applied yet, or not by this project; items are being written again as of
    an earlier time; there are dead letters; the application does not write at the source; or the table is another one
    of that name. The order matters: a letter is durable before the Checkpoint passes its change, so the letters are
    looked at later.
    """
    from whimbrel import checkpoint, handed_over  # a migration's state, which no conversion looks at

    now = checkpoint.load(project.state / "checkpoint.json")
    rules = sum(each.target == table for each in project.tables)
    known = sum(each.target_id == table_id for each in now.tables.values())
    if now.whole_position is None or not rules or rules != known:
        return None
    letters = project.state / "dead.jsonl"
    if (letters.exists() and letters.stat().st_size) or handed_over.load(project.state).step != handed_over.FOLLOWING:
        return None
    return AppliedUpTo(now.source, now.whole_position)


def to_bytes(applied: AppliedUpTo) -> bytes:
    return orjson.dumps(applied.as_fields()) + b"\n"


def read_applied(folder: Path) -> AppliedUpTo | None:
    """Of the export in ``folder``. Raises LogCorrupt."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        return from_fields(orjson.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = "Remove it: the export then says its time alone."
        raise LogCorrupt(f"not a position: {error!r}", place=str(path), hint=hint) from error


def asked_position(text: str) -> Position:
    """A Position as a person writes it, FILE:OFFSET. Raises UserError."""
    file, _, offset = text.partition(" ")[0].rpartition(":")
    try:
        position = Position(file, int(offset))
        _ = position.order
    except ValueError:
        hint = "Write it as `whimbrel status` does: mysql-bin.000003:1547."
        raise UserError(f"{text!r} is not a position", place="--as-of-position", hint=hint) from None
    return position
