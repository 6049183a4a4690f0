"""The changes of one row that are in the log, for whoever looks for them: the newest first, in a bounded time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from whimbrel.changelog.record import is_commit
from whimbrel.changelog.segments import lines, read_mark, segment_path, segments
from whimbrel.durable import is_sound


class LoggedChange(NamedTuple):
    """``type`` as the log has it; ``time`` is its Commit's, by the source's clock; values are as JSON has them."""

    type: str
    position: str
    time: float | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class FoundChanges(NamedTuple):
    """``searched`` lines were looked at; ``whole``: that was all that the log has."""

    changes: list[LoggedChange]
    searched: int
    whole: bool


def find_changes(
    folder: Path, table: tuple[str, str], key: Mapping[str, str], *, most: int = 100, seconds: float = 5.0
) -> FoundChanges:
    """Those of the rows of ``table`` whose columns have the values of ``key``, as text, before or after. What was
    applied is removed from the log after a while. Raises LogCorrupt.
    """
    mark, until, found, searched = read_mark(folder), time.monotonic() + seconds, list[LoggedChange](), 0
    if mark is None:
        return FoundChanges([], 0, True)
    begins = orjson.dumps({"schema": table[0], "table": table[1]})[:-1]
    for segment in reversed([each for each in segments(folder) if each <= mark.point.segment]):
        here, open_changes = list[LoggedChange](), list[LoggedChange]()
        with suppress(FileNotFoundError):  # removed just now, as it is applied
            for offset, line in lines(segment_path(folder, segment)):
                if (segment, offset) >= mark.point:
                    break
                searched += 1
                if time.monotonic() > until:
                    return FoundChanges([*found, *reversed(here)][:most], searched, False)
                if is_commit(line):
                    moment = orjson.loads(line)["timestamp"] if open_changes else None
                    here += [each._replace(time=moment) for each in open_changes]
                    open_changes.clear()
                elif line.startswith(begins) and (change := _change(line, key)):
                    open_changes.append(change)
        found += reversed(here)
        if len(found) >= most:
            return FoundChanges(found[:most], searched, False)
    return FoundChanges(found, searched, True)


def _change(line: bytes, key: Mapping[str, str]) -> LoggedChange | None:
    if not is_sound(line):
        return None
    fields = orjson.loads(line)
    row, kind, position = fields["row"], fields["type"], fields["position"]
    before, after = row.get("before_values"), row.get("after_values", row.get("values"))
    if kind == "DeleteRowsEvent":
        before, after = after, None
    if not any(
        image and all(_text(image.get(name)) == value for name, value in key.items()) for image in (before, after)
    ):
        return None
    return LoggedChange(kind, f"{position['file']}:{position['offset']}", None, before, after)


def _text(value: Any) -> str:
    return value["base64"] if isinstance(value, dict) else str(value)
