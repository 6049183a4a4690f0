"""The state folder: where everything of a run lies, and the one place that saves the Checkpoint."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from whimbrel import checkpoint
from whimbrel.checkpoint import Checkpoint
from whimbrel.errors import BEGIN_AGAIN, StateError
from whimbrel.migration.progress import Progress

# The hint where counts that must agree do not.
TOTALS_DIFFER = "Restore the state folder from one copy, or begin again with a new one, and please report this."


class StateFolder:
    """Paths below the project's state folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.checkpoint = root / "checkpoint.json"
        self.tables = root / "tables.jsonl"
        self.servers = root / "servers.jsonl"
        self.binlogs = root / "binlogs.jsonl"
        self.log = root / "log"
        self.dead = root / "dead.jsonl"
        self.dirty = root / "dirty"
        self.lookups = root / "lookups.sqlite"
        self.sent = root / "sent.json"
        self.takeover = root / "takeover"
        self.spill = root / "spill"
        self.verify = root / "verify"
        self.status = root / "status.json"
        self.last_status = root / "last-status.json"
        self.figures = root / "figures.jsonl"
        self.report = root / "verification.json"
        self.run_log = root / "whimbrel.log"
        self.kept = root / "kept.json"
        self.imports = root / "imports.json"

    def make(self) -> None:
        """The folder has the rows of the source in it: only its owner may look."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def silo(self, name: str) -> StateFolder:
        """That of a silo, in a warehouse's."""
        return StateFolder(self.root / "silos" / name)

    def export(self, source_table: str) -> Path:
        return self.root / "export" / source_table.replace("/", "_")


def refuse_remains(folder: StateFolder) -> None:
    """Where a migration begins: rows and changes from before its start would be taken for newer ones."""
    remains = [path for path in (folder.log, folder.root / "export", folder.lookups) if path.exists()]
    if remains:
        raise StateError(
            "belongs to a migration whose checkpoint is missing",
            place=str(remains[0]),
            hint=f"Restore checkpoint.json from a copy of the state folder, or {BEGIN_AGAIN}.",
        )


def with_held(now: Checkpoint, progress: Progress) -> Checkpoint:
    """With all writes counted that conditions skipped."""
    more = progress.held - now.counters.get("held", 0)
    return now.with_counted("held", more) if more else now


class CheckpointStore:
    """Holds the current Checkpoint of the process that owns the run lock, and saves each new one before it counts.

    ``keep`` is called with each one when it is durable.
    """

    def __init__(self, path: Path, keep: Callable[[Checkpoint], object] = lambda now: None) -> None:
        self._path = path
        self._keep = keep
        self._lock = threading.Lock()
        self._later = self._pending = False
        self._pause = self._next = 0.0
        self.now: Checkpoint = checkpoint.load(path)

    def save(self, fresh: Checkpoint) -> None:
        if self._later:
            self.now = fresh
        elif monotonic() < self._next:
            self.now, self._pending = fresh, True
        else:
            self.save_at_once(fresh)

    def save_at_once(self, fresh: Checkpoint) -> None:
        """Also within ``together`` and ``seldom``."""
        with self._lock:
            checkpoint.save(self._path, fresh)
            self.now, self._pending = fresh, False
            self._next = monotonic() + self._pause
            self._keep(fresh)

    def save_due(self) -> None:
        """Within ``seldom``, what is not durable yet, if its time has come."""
        if self._pending and monotonic() >= self._next:
            self.save_at_once(self.now)

    def keep(self) -> None:
        """Have it kept again: something beside it is new."""
        with self._lock:
            self._keep(self.now)

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is saved within is saved at the end, at once: nothing within may depend on its being durable, but for
        what is in a ``together`` of its own, which saves when that ends.
        """
        before, later = self.now, self._later
        self._later = True
        try:
            yield
        finally:
            self._later = later
        if self.now is not before:
            self.save_at_once(self.now)

    @contextmanager
    def seldom(self, seconds: float) -> Iterator[None]:
        """What is saved within may be durable so many seconds later: with what is saved next, by ``save_due``, or at
        the end, whatever ends it. Nothing within may depend on its being durable.
        """
        self._pause = seconds
        try:
            yield
        finally:
            self._pause = self._next = 0.0
            if self._pending:
                self.save_at_once(self.now)
