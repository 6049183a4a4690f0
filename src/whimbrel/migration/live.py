"""A run as it is seen while it is under way: by ``whimbrel status`` through a file, and by whoever asked to be told."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import exp
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, NamedTuple

from whimbrel.checkpoint import Checkpoint
from whimbrel.errors import Stopped
from whimbrel.migration.figures import FigureFile
from whimbrel.migration.progress import Progress, TableCounts
from whimbrel.migration.state import StateFolder
from whimbrel.threads import Thread

EVERY = 0.25  # seconds between two looks
WRITTEN_EVERY = 1.0
NOTED_EVERY = 10.0  # seconds between two lines of the figures that are kept
SMOOTHED_OVER = 3.0  # seconds, for rates


@dataclass(frozen=True, slots=True)
class Update:
    """How far a run is. ``message`` is one line that a person should see, or "" where only the figures moved.

    ``progress`` has the run's own counters, which go on counting. ``rates`` are per second: ``rows_per_second``,
    ``items_per_second``, ``captured_per_second``, ``applied_per_second``, ``write_units_per_second``,
    ``throttles_per_second`` and ``source_queries_per_second``. ``seconds_left`` is of the present phase, None while
    that cannot be said.
    """

    message: str
    progress: Progress
    rates: dict[str, float]
    seconds_left: float | None

    def to_dict(self) -> dict[str, Any]:
        return self.progress.to_dict() | self.rates | {"seconds_left": self.seconds_left}


Tell = Callable[[Update], None]


class Asked(NamedTuple):
    """How a caller takes part in a run: ``stop`` ends it at a safe place, ``tell`` is told how far it is."""

    stop: threading.Event
    tell: Tell | None = None


class Live:
    """Looks at ``progress`` while it is entered, keeps the status file, and calls ``tell`` with every Update, always
    from one thread, which the work does not wait for.

    What ``tell`` raises ends the run, and is raised when this is left.
    """

    def __init__(self, progress: Progress, folder: StateFolder, stop: threading.Event, tell: Tell | None) -> None:
        self._progress = progress
        self._file, self._written = folder.status, 0.0
        self._last = folder.last_status
        self._kept, self._noted = FigureFile(folder.figures), 0.0
        self._stop = stop
        self._tell = tell
        self._rates: dict[str, _Rate] = {}
        self._messages: SimpleQueue[str | None] = SimpleQueue()  # None: the end
        self._failure: BaseException | None = None
        self._thread = Thread(self._look, "live")

    def __enter__(self) -> Live:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._messages.put(None)
        self._thread.join()
        self._forget()
        if self._failure is not None and (error is None or isinstance(error, Stopped)):
            raise self._failure

    def _forget(self) -> None:
        """Nobody is at work any more. A file of another process stays: it may run beside a verification."""
        with suppress(OSError, ValueError, TypeError, KeyError):
            if json.loads(self._file.read_bytes())["pid"] == os.getpid():
                self._file.replace(self._last)

    def say(self, message: str) -> None:
        self._messages.put(message)

    def _look(self) -> None:
        while (message := self._next()) is not None:
            update = self._update(message)
            if time.monotonic() - self._written >= WRITTEN_EVERY:
                self._written = time.monotonic()
                self._write(update.to_dict())
            try:
                if self._tell:
                    self._tell(update)
            except MemoryError:
                raise  # as any thread's: nobody may be left who could do what is waited for
            except BaseException as error:
                self._failure, self._tell = error, None
                self._stop.set()

    def _write(self, figures: dict[str, Any]) -> None:
        write_status(self._file, figures)
        if time.monotonic() - self._noted >= NOTED_EVERY:
            self._noted = time.monotonic()
            self._kept.add(figures)

    def _next(self) -> str | None:
        """What is to be said; "" when it is time for a look, None at the end."""
        with suppress(Empty):
            return self._messages.get(timeout=EVERY)
        return ""

    def _update(self, message: str) -> Update:
        now, progress = time.monotonic(), self._progress
        counts = list(progress.tables.values())
        totals = {
            "rows_per_second": sum(each.exported_rows for each in counts),
            "items_per_second": sum(each.loaded_items for each in counts),
            "captured_per_second": progress.captured,
            "applied_per_second": progress.applied,
            "write_units_per_second": progress.write_units,
            "throttles_per_second": progress.throttles,
            "source_queries_per_second": progress.source_queries or 0,
        }
        rates = {name: round(self._rates.setdefault(name, _Rate()).look(of, now), 1) for name, of in totals.items()}
        return Update(message, progress, rates, seconds_left(progress, rates))


@dataclass(slots=True)
class _Rate:
    """Units a second, smoothed."""

    value: float = 0.0
    _count: float = 0.0
    _at: float = 0.0

    def look(self, count: float, now: float) -> float:
        if self._at and now > self._at:
            latest = max(0.0, count - self._count) / (now - self._at)
            kept = exp((self._at - now) / SMOOTHED_OVER)
            self.value = latest if not self.value else kept * self.value + (1 - kept) * latest
        self._count, self._at = count, now
        return self.value


def seconds_left(progress: Progress, rates: dict[str, float]) -> float | None:
    """Until the phase is done at the present rates; None when nobody can say."""
    counts = list(progress.tables.values())
    if progress.phase == "snapshot":
        left = sum(max(0, each.estimated_rows - each.exported_rows) for each in counts)
        return _left(left, rates["rows_per_second"])
    if progress.phase == "load":
        rows = sum(each.loaded_rows for each in counts) or 1
        items = sum(each.loaded_items for each in counts)
        left = sum(max(0, each.exported_rows - each.loaded_rows) for each in counts)
        return _left(left * items / rows, rates["items_per_second"])
    if progress.phase == "apply":
        return _left(progress.lag_changes, rates["applied_per_second"] - rates["captured_per_second"])
    return None


def _left(amount: float, rate: float) -> float | None:
    if amount <= 0:
        return 0.0
    return round(amount / rate, 1) if rate > 0 else None


def read_status(folder: StateFolder) -> dict[str, Any] | None:
    """The status file, if the process that writes it is still at it."""
    try:
        values: dict[str, Any] = json.loads(folder.status.read_bytes())
        return values if time.time() - values["time"] < 10 else None
    except (OSError, ValueError, TypeError, KeyError):  # half written, or by nobody of ours: nothing is decided by it
        return None


def counts_so_far(folder: StateFolder, estimates: Mapping[str, int], now: Checkpoint) -> dict[str, TableCounts]:
    """What earlier runs did, by source table; the bytes that they sent as far as the last one's figures are there."""
    before: dict[str, Any] = {}
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        tables = json.loads(folder.last_status.read_bytes())["tables"]
        before = {source: int(counts["sent_bytes"]) for source, counts in tables.items()}
    found = {}
    for source, estimate in estimates.items():
        done = now.table(source)
        sent = before.get(source, 0)
        found[source] = TableCounts(estimate, done.rows_exported, done.rows_loaded, done.items_loaded, sent)
    return found


def read_last_status(folder: StateFolder) -> dict[str, Any] | None:
    """The newest figures of a process that has ended, also one that was killed."""
    found = []
    for path in (folder.status, folder.last_status):
        with suppress(OSError, ValueError, TypeError, KeyError):
            values: dict[str, Any] = json.loads(path.read_bytes())
            found.append((float(values["time"]), values))
    return max(found, key=lambda each: each[0])[1] if found else None


def write_status(path: Path, values: dict[str, Any]) -> None:
    fresh = path.with_suffix(".new")
    with suppress(OSError):  # nothing depends on it, and a full disk is found out by who must write
        fresh.write_text(json.dumps(values | {"pid": os.getpid(), "time": time.time()}))
        fresh.replace(path)
