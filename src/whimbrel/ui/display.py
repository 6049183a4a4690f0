"""What a person, or a program, sees while whimbrel works: a live picture, plain lines, or JSON lines."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from whimbrel.migration.progress import Progress, TableCounts
from whimbrel.threads import Thread

LIVE_SECONDS, PLAIN_SECONDS = 0.25, 2.0


@dataclass(slots=True)
class _Rate:
    """Units a second, smoothed over the last few looks."""

    value: float = 0.0
    _count: float = 0.0
    _at: float = 0.0

    def look(self, count: float, now: float) -> float:
        if self._at and now > self._at:
            latest = max(0.0, count - self._count) / (now - self._at)
            self.value = latest if not self.value else 0.7 * self.value + 0.3 * latest
        self._count, self._at = count, now
        return self.value


class Display:
    """Shows a Progress while it is entered. ``style`` is live, plain or json; ``pick`` chooses one for this terminal.

    ``on_look`` is called with each picture's plain form, for the status file.
    """

    def __init__(
        self, progress: Progress, style: str, on_look: Callable[[dict[str, Any]], None] = lambda values: None
    ) -> None:
        self._progress = progress
        self._style = style
        self._on_look = on_look
        self._console = Console(stderr=style != "json", highlight=False)
        self._rates: dict[str, _Rate] = {}
        self._done = threading.Event()
        self._thread = Thread(self._show, "display")

    def __enter__(self) -> Display:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def say(self, text: str) -> None:
        """One line that stays, whatever the style; nothing in JSON."""
        if self._style != "json":
            self._console.print(text)

    def _show(self) -> None:
        if self._style == "live":
            with Live(console=self._console, refresh_per_second=4, transient=True) as live:
                while not self._done.wait(LIVE_SECONDS):
                    live.update(self._picture(self._look()))
                live.update("")
            return
        last = ""
        while not self._done.wait(PLAIN_SECONDS if last else 0.2):
            values = self._look()
            line = json.dumps({"event": "progress"} | values) if self._style == "json" else self._line(values)
            if line != last:
                print(line, file=sys.stdout if self._style == "json" else sys.stderr, flush=True)
            last = line

    def _look(self) -> dict[str, Any]:
        now, values = time.monotonic(), self._progress.as_dict()
        counts = self._progress.tables.values()
        totals = {
            "rows_per_second": sum(each.exported_rows for each in counts),
            "items_per_second": sum(each.loaded_items for each in counts),
            "captured_per_second": self._progress.captured,
            "applied_per_second": self._progress.applied,
        }
        for name, count in totals.items():
            values[name] = round(self._rates.setdefault(name, _Rate()).look(count, now), 1)
        values["seconds_left"] = self._estimate(values)
        self._on_look(values)
        return values

    def _estimate(self, values: dict[str, Any]) -> float | None:
        """Seconds until the phase is done at the present rate; None when nobody can say."""
        counts = list(self._progress.tables.values())
        phase = self._progress.phase
        if phase == "snapshot":
            return _left(
                sum(max(0, each.estimated_rows - each.exported_rows) for each in counts), values["rows_per_second"]
            )
        if phase == "load":
            rows = sum(each.loaded_rows for each in counts) or 1
            items = sum(each.loaded_items for each in counts)
            left = sum(max(0, each.exported_rows - each.loaded_rows) for each in counts)
            return _left(left * items / rows, values["items_per_second"])
        if phase == "apply":
            return _left(self._progress.lag_changes, values["applied_per_second"] - values["captured_per_second"])
        return None

    def _line(self, values: dict[str, Any]) -> str:
        progress, phase = self._progress, self._progress.phase
        parts = [f"{phase:<8}"]
        for name, counts in progress.tables.items():
            if phase in ("snapshot", "load") and progress.note in ("", name):
                parts.append(f"{name}: {_table_words(phase, counts)}")
        if phase == "snapshot":
            parts.append(f"{values['rows_per_second']:,.0f} rows/s")
        if phase == "load":
            parts.append(f"{values['items_per_second']:,.0f} items/s")
        if phase in ("verify", "apply"):
            parts.append(f"applied {progress.applied:,} of {progress.captured:,} changes, {_lag_words(progress)}")
        else:
            parts.append(f"{progress.captured:,} changes captured")
        if phase == "verify" and progress.note:
            parts.append(progress.note)
        if values["seconds_left"] is not None:
            parts.append(f"about {_duration(values['seconds_left'])} left")
        if progress.held:
            parts.append(f"{progress.held:,} held back")
        if progress.dead:
            parts.append(f"{progress.dead:,} dead letters")
        return " · ".join(parts)

    def _picture(self, values: dict[str, Any]) -> Group:
        grid = Table.grid(padding=(0, 2))
        for name, counts in self._progress.tables.items():
            estimated = max(counts.estimated_rows, counts.exported_rows, 1)  # the source's guess, until it is known
            grid.add_row(name, "exported", _bar(counts.exported_rows, estimated), f"{counts.exported_rows:,} rows")
            total = max(counts.exported_rows, 1)
            grid.add_row("", "loaded", _bar(counts.loaded_rows, total), f"{counts.loaded_items:,} items")
        return Group(Text(self._line(values)), grid)


def pick(as_json: bool) -> str:
    """The style for where the output goes: live on a terminal, plain lines elsewhere."""
    return "json" if as_json else "live" if sys.stderr.isatty() else "plain"


def _bar(done: float, total: float) -> ProgressBar:
    return ProgressBar(total=total, completed=min(done, total), width=40)


def _table_words(phase: str, counts: TableCounts) -> str:
    if phase == "snapshot":
        share = min(1.0, counts.exported_rows / counts.estimated_rows) if counts.estimated_rows else 1.0
        return f"{counts.exported_rows:,} rows exported (about {share:.0%})"
    return f"{counts.loaded_rows:,} of {counts.exported_rows:,} rows loaded as {counts.loaded_items:,} items"


def _lag_words(progress: Progress) -> str:
    if progress.caught_up:
        return "caught up"
    return f"behind by {progress.lag_changes:,} changes, {progress.lag_seconds:.1f} s"


def _left(amount: float, rate: float) -> float | None:
    if amount <= 0:
        return 0.0
    return round(amount / rate, 1) if rate > 0 else None


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
