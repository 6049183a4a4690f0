"""What happened, in plain words, from the run's log: the newest events first, however long the log is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MOST_AT_ONCE = 1_000
LONGEST = 2_000  # characters of an event's text
ENDED = "Ended by an error"  # what the last event of a run that failed begins with
_BLOCK = 1 << 20
_SKIPPED = {"start fixed"}  # said in words as well
_DONE = {
    "new": "Capturing every change from here on.",
    "snapshot": "All tables are exported.",
    "load": "All is loaded.",
}


@dataclass(frozen=True, slots=True)
class Event:
    """``place`` is that of its line in the log, in bytes; ``time`` as ISO 8601; ``level`` info, warning or error."""

    place: int
    time: str
    level: str
    text: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def read_events(path: Path, *, before: int | None = None, count: int = 200) -> list[Event]:
    """The last ``count`` events before the place ``before`` (None: of all), newest first."""
    found: list[Event] = []
    with suppress(OSError):
        for place, line in _lines_backwards(path, before):
            if event := _event(place, line):
                found.append(event)
            if len(found) >= min(count, MOST_AT_ONCE):
                break
    return found


def read_new_events(path: Path, after: int) -> tuple[list[Event], int]:
    """The events from the place ``after`` on, oldest first, and the place where the next ones will be. Of very many
    only the newest.
    """
    with suppress(OSError), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = max(after if after <= size else 0, size - _BLOCK)  # another log has taken its place: from its start
        file.seek(start)
        data = file.read(size - start)
        whole = data[: data.rfind(b"\n") + 1]
        events, place = [], start
        for line in whole.splitlines(keepends=True):
            if event := _event(place, line):
                events.append(event)
            place += len(line)
        return events[-MOST_AT_ONCE:], place
    return [], 0


def _lines_backwards(path: Path, before: int | None) -> Iterator[tuple[int, bytes]]:
    """The lines that end before the place ``before``, the last one first, each with its place."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        at = size if before is None else min(before, size)
        rest = b""
        while at > 0:
            start = max(0, at - _BLOCK)
            file.seek(start)
            data = file.read(at - start) + rest
            lines = data.splitlines(keepends=True)
            first = 1 if start else 0  # it may begin before this block
            end = start + len(data)
            for line in reversed(lines[first:]):
                end -= len(line)
                yield end, line
            rest = lines[0] if first and len(lines[0]) < _BLOCK else b""
            at = start


def _event(place: int, line: bytes) -> Event | None:
    """None for half a line, for what is no event, and for what another event says too."""
    try:
        values: dict[str, Any] = json.loads(line)
        name, level, time = str(values["event"]), str(values["level"]), str(values["time"])
    except (ValueError, TypeError, KeyError):
        return None
    if name in _SKIPPED:
        return None
    try:
        text = _WORDS[name](values) if name in _WORDS else _plain(name, values)
    except (KeyError, TypeError, ValueError):  # of another version
        text = _plain(name, values)
    level = {"info": "info", "warning": "warning"}.get(level, "error")
    return Event(place, time[:40], level, text if len(text) <= LONGEST else text[:LONGEST] + " …")


def _plain(name: str, values: dict[str, Any]) -> str:
    more = [f"{key} {value}" for key, value in values.items() if key not in _FRAME and value not in ("", None)]
    reason = str(values.get("reason", ""))
    text = f"{name[:1].upper()}{name[1:]}" + (f": {reason}" if reason else "")
    return f"{text} ({', '.join(more)})" if more else text


_FRAME = {"time", "level", "logger", "event", "reason", "traceback"}
_WORDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "said": lambda found: str(found["text"]),
    "phase done": lambda found: _DONE[found["phase"]],
    "ended by an error": lambda found: f"{ENDED}, {found['error']}: {found['reason']}",
    "table altered": lambda found: f"{found['table']} was altered; its new columns hold from {found['position']} on.",
    "capture reconnects": lambda found: f"The capture connects to the source again: {found['reason']}",
    "capture ended": lambda found: f"The capture ended: {found['reason']}",
    "dead letters of the load settled": lambda found: (
        f"The dead letters of the load were looked at again: {found['items']:,} items written, "
        f"{found['confirmed']:,} dead letters are left."
    ),
}
