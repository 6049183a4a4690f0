"""What a person, or a program, sees while whimbrel works: a live picture, plain lines, or JSON lines."""

from __future__ import annotations

import json
import logging
import sys
import time
from contextlib import suppress
from types import TracebackType

from whimbrel.migration.live import Update
from whimbrel.migration.progress import TableCounts
from whimbrel.ui.shortened import shortened
from whimbrel.ui.words import lag_words

log = logging.getLogger(__name__)

PLAIN_SECONDS = 2.0


class Display:
    """Shows each Update of a run while it is entered. ``style`` is live, plain or json; ``pick`` chooses one for this
    terminal.
    """

    def __init__(self, style: str) -> None:
        self._style = style
        self._picture = None
        if style == "live":
            from whimbrel.ui.picture import Picture  # takes a tenth of the start of a command, and a terminal uses it

            self._picture = Picture()
        self._last, self._shown = "", 0.0

    def __enter__(self) -> Display:
        if self._picture:
            self._picture.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._picture:
            self._picture.stop()

    def show(self, update: Update) -> None:
        """A message is a line that stays; JSON has none. The figures are shown now and then."""
        if update.message:
            log.info("said", extra={"text": update.message})
            if self._picture:
                self._picture.say(shortened(update.message))
            elif self._style != "json":
                with suppress(BrokenPipeError):
                    print(shortened(update.message), file=sys.stderr, flush=True)
            return
        if self._picture:
            self._picture.show(_line(update), update.progress)
        elif not self._last or time.monotonic() - self._shown >= PLAIN_SECONDS:
            self._shown = time.monotonic()
            as_json = self._style == "json"
            line = json.dumps({"event": "progress"} | update.to_dict()) if as_json else _line(update)
            if line != self._last:
                with suppress(BrokenPipeError):  # who read it has seen enough; the work continues
                    print(line, file=sys.stdout if as_json else sys.stderr, flush=True)
            self._last = line


def _line(update: Update) -> str:
    progress, rates, phase = update.progress, update.rates, update.progress.phase
    parts = [f"{phase:<8}"]
    for name, counts in progress.tables.items():
        if phase in ("snapshot", "load") and progress.note in ("", name):
            parts.append(f"{name}: {_table_words(phase, counts)}")
    if phase == "snapshot":
        parts.append(f"{rates['rows_per_second']:,.0f} rows/s")
    if phase == "load":
        parts.append(f"{rates['items_per_second']:,.0f} items/s")
        parts += [progress.job] if progress.job else []
    if phase in ("verify", "apply"):
        parts.append(f"applied {progress.applied:,} of {progress.captured:,} changes, {lag_words(progress.to_dict())}")
    else:
        parts.append(f"{progress.captured:,} changes captured")
    if progress.capturing:
        parts.append(f"capturing a transaction: {progress.capturing:,} changes so far")
    if progress.applying:
        parts.append(f"applying a transaction: {progress.applying:,} changes so far")
    if phase in ("apply", "verify") and progress.note:
        parts.append(progress.note)
    if progress.refused:
        parts.append(f"DynamoDB takes no writes: {progress.refused}")
    if update.seconds_left is not None:
        parts.append(f"about {_duration(update.seconds_left)} left")
    if progress.held:
        parts.append(f"{progress.held:,} skipped")
    if progress.dead:
        parts.append(f"{progress.dead:,} dead letters")
    return " · ".join(parts)


def pick(as_json: bool) -> str:
    """The style for where the output goes: live on a terminal, plain lines elsewhere."""
    return "json" if as_json else "live" if sys.stderr.isatty() else "plain"


def _table_words(phase: str, counts: TableCounts) -> str:
    if phase == "snapshot":
        share = min(1.0, counts.exported_rows / counts.estimated_rows) if counts.estimated_rows else 1.0
        return f"{counts.exported_rows:,} rows exported (about {share:.0%}, by the source's estimate)"
    return f"{counts.loaded_rows:,} of {counts.exported_rows:,} rows loaded as {counts.loaded_items:,} items"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
