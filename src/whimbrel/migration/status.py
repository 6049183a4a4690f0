"""How far a migration is, by its state folder alone. It imports nothing that reaches a server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from whimbrel import checkpoint, handed_over
from whimbrel.checkpoint import Checkpoint
from whimbrel.errors import StateError
from whimbrel.handed_over import Handover
from whimbrel.migration.dead import Letter, read_letters
from whimbrel.migration.late_writes import LateWrites, read_late
from whimbrel.migration.letters_seen import while_unchanged
from whimbrel.migration.live import read_status
from whimbrel.migration.past_fence_noted import PastFence, read_past_fence
from whimbrel.migration.state import StateFolder
from whimbrel.migration.time_to_return import WayBack, read_way_back
from whimbrel.project import Project

MOST_REASONS = 1_000
OTHERS = "other reasons"


@dataclass(frozen=True, slots=True)
class DataSetStatus:
    """The current data set of a target table, in the lake. It has everything that was applied up to ``position``, ""
    where that is not known.
    """

    name: str
    table: str
    as_of: str
    position: str


@dataclass(frozen=True, slots=True)
class Status:
    """``running`` has the figures of the process that is at work, None if none is. ``reasons``: of the dead letters,
    with how often each is given, the most frequent ones first. ``handover`` says which side takes writes, ``way_back``
    how long one may return to the source, ``late`` what was written at DynamoDB after a return, ``past_fence`` what
    others wrote to the source since a cutover. ``data_sets`` are made of exports of the target tables.
    """

    checkpoint: Checkpoint
    running: dict[str, Any] | None
    dead_letters: int
    reasons: tuple[tuple[str, int], ...]
    handover: Handover = field(default_factory=Handover)
    way_back: WayBack | None = None
    late: LateWrites | None = None
    past_fence: PastFence | None = None
    data_sets: tuple[DataSetStatus, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        found = checkpoint.as_dict(self.checkpoint)
        return {
            "checkpoint": found,
            "running": self.running,
            "dead_letters": self.dead_letters,
            "reasons": [{"reason": reason, "dead_letters": count} for reason, count in self.reasons],
            "handover": self.handover.to_dict(),
            "way_back": self.way_back.to_dict() if self.way_back else None,
            "past_fence": self.past_fence.to_dict() if self.past_fence else None,
            "late_writes": self.late.to_dict() if self.late else None,
            "data_sets": [asdict(each) for each in self.data_sets],
        }


def status(project: Project) -> Status:
    """The Checkpoint, the live figures of a running process, and the dead letters by reason."""
    folder = StateFolder(project.state)
    if not folder.checkpoint.exists():
        raise StateError("nothing has begun yet", place=str(folder.root), hint="Begin with: whimbrel migrate")
    letters, reasons = while_unchanged(folder.dead, "reasons", lambda file: counted(read_letters(file)))
    handover = handed_over.load(folder.root)
    now, way_back = checkpoint.load(folder.checkpoint), read_way_back(folder.root, handover)
    late, past_fence = read_late(folder.root), read_past_fence(folder.root, handover)
    return Status(now, read_status(folder), letters, reasons, handover, way_back, late, past_fence)


def dead_letters(project: Project) -> int:
    return sum(1 for _ in read_letters(StateFolder(project.state).dead))


def counted(letters: Iterable[Letter]) -> tuple[int, tuple[tuple[str, int], ...]]:
    """How many there are, and their reasons, the most frequent first. A reason may quote its row: beyond MOST_REASONS
    the rest are told together.
    """
    reasons: Counter[str] = Counter()
    for letter in letters:
        reasons[letter["reason"] if letter["reason"] in reasons or len(reasons) < MOST_REASONS else OTHERS] += 1
    return reasons.total(), tuple(reasons.most_common())
