"""What a run has done so far, for people. Not resume state: where a run continues does not depend on them."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from whimbrel.records import Position

log = logging.getLogger(__name__)
MOST_BATCHES = 5
ASKED_LATELY = 6.0  # seconds


@dataclass(slots=True)
class TableCounts:
    """Rows and items of one source table; ``estimated_rows`` is the source's own guess."""

    estimated_rows: int = 0
    exported_rows: int = 0
    loaded_rows: int = 0
    loaded_items: int = 0
    sent_bytes: int = 0  # of the requests that wrote the items


@dataclass(slots=True)
class Progress:
    """Counters that the working threads write and the display reads; each counter has one writer."""

    phase: str = "start"
    note: str = ""
    held_writers_ms: float = 0.0  # the longest time for which the source's writers may have waited for the start
    tables: dict[str, TableCounts] = field(default_factory=dict)
    captured: int = 0  # changes in the log since it began
    capturing: int = 0  # changes of a transaction that has not ended yet: not in ``captured``
    applied: int = 0  # of the captured ones, those of whole transactions that are in the target
    applying: int = 0  # changes in the target of a transaction that is not whole there yet: not in ``applied``
    captured_position: Position | None = None
    captured_time: float = 0.0  # source clock of the newest captured commit
    capture_idle: bool = False  # the source has nothing that is not captured
    heard: float = 0.0  # when it last said so, by time.monotonic()
    applied_position: Position | None = None
    applied_time: float = 0.0
    log_drained: bool = False  # the applier has seen the end of the change log
    quiet: bool = True  # nothing that counts as applied is still being written, by a function say
    source_ahead: float = 0.0  # seconds that the source's clock is ahead of ours, when it was last asked
    asked: float = 0.0  # when the source was last asked and nothing was wrong, by time.monotonic()
    dead: int = 0
    held: int = 0  # writes that a condition skipped; those of a replay again
    reconnects: int = 0
    job: str = ""  # how the job is that loads for this run
    step: str = ""  # of a cutover or a rollback: what is being done
    laps: dict[str, float] = field(default_factory=dict)  # milliseconds of each part while nobody could write
    write_units: float = 0.0  # that DynamoDB charged this run for
    throttles: int = 0  # writes that it refused for going too fast; each was sent again
    refused: str = ""  # why DynamoDB has taken no write for some seconds, while there are some
    refused_at: float = 0.0  # when that was noted first, by time.monotonic()
    batches: list[dict[str, float]] = field(default_factory=list)  # of a silo, the last ones that were written
    silos: dict[str, dict[str, Any]] = field(default_factory=dict)  # of a warehouse, how far each is
    source_threads: int | None = None  # statements at work on the source, when it was last asked
    source_queries: int | None = None  # statements that it has had since it was started

    def spend(self, units: float, throttles: int) -> None:
        self.write_units += units
        self.throttles += throttles

    def note_refused(self, reason: str) -> None:
        if reason and not self.refused:
            log.warning("said", extra={"text": f"DynamoDB takes no writes; they are tried again: {reason}"})
        elif self.refused and not reason:
            log.info("said", extra={"text": "DynamoDB takes writes again."})
        self.refused_at = (self.refused_at or time.monotonic()) if reason else 0.0
        self.refused = reason

    def note_batch(self, changes: int, seconds: float) -> None:
        batch = {"time": time.time(), "changes": changes, "seconds": round(seconds, 3)}
        self.batches = [*self.batches[1 - MOST_BATCHES :], batch]

    @property
    def lag_changes(self) -> int:
        """Captured changes that are not in the target yet."""
        return max(0, self.captured - self.applied)

    @property
    def caught_up(self) -> bool:
        """Everything that the source has committed is in the target, as far as the last heartbeat says; and the source
        was asked lately: one whose binlog was reset has heartbeats, too.
        """
        return (
            self.capture_idle
            and self.lag_changes == 0
            and self.applied_position == self.captured_position
            and time.monotonic() - self.asked < ASKED_LATELY
        )

    @property
    def lag_seconds(self) -> float | None:
        """How old the newest change in the target is, in seconds by the source's clock; 0 when nothing is behind; None
        while nothing was applied by this run, as in the snapshot and the load.
        """
        if self.caught_up:
            return 0.0
        return max(0.0, time.time() + self.source_ahead - self.applied_time) if self.applied_time else None

    def to_dict(self) -> dict[str, Any]:
        """A plain form for ``--json`` and the status file."""
        values = asdict(self)
        values["asked"] = round(time.monotonic() - self.asked, 1) if self.asked else None  # seconds ago
        values["refused_at"] = round(time.monotonic() - self.refused_at, 1) if self.refused else None  # seconds ago
        for name in ("captured_position", "applied_position"):
            position = getattr(self, name)
            values[name] = str(position) if position else None
        seconds = None if (lag := self.lag_seconds) is None else round(lag, 3)
        return values | {"caught_up": self.caught_up, "lag_changes": self.lag_changes, "lag_seconds": seconds}
