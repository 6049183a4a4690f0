"""Questions that the page asks and that are answered at once, each by a function of ``whimbrel.api``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from whimbrel.api import editing, looking, prediction, status
from whimbrel.console.figures import known_figures
from whimbrel.errors import Locked, TargetUnreachable, UserError
from whimbrel.project import Project

Read = Callable[[], Project]
Given = Mapping[str, Any]


def _columns(read: Read, given: Given) -> Any:
    return {name: list(columns) for name, columns in looking.key_columns(read()).items()}


def _item(read: Read, given: Given) -> Any:
    key = given.get("key")
    if not isinstance(key, dict) or not all(isinstance(each, str) for each in key.values()):
        raise UserError("the key must be text by column", place="console")
    return looking.one_item(read(), _text(given, "table"), key).to_dict()


def _project_text(read: Read, given: Given) -> Any:
    text, digest = editing.project_text(read())
    return {"text": text, "digest": digest}


def _look_at_text(read: Read, given: Given) -> Any:
    tables = [_text(given, "table")] if given.get("table") else []
    return editing.look_at_text(read(), _text(given, "text"), tables=tables).to_dict()


def _save_text(read: Read, given: Given) -> Any:
    return {"digest": editing.save_text(read(), _text(given, "text"), before=_text(given, "digest"))}


def _lake(read: Read, given: Given) -> Any:
    return looking.lake_contents(read()).to_dict()


def _models(read: Read, given: Given) -> Any:
    project = read()
    known = [each.to_dict() for each in prediction.endpoints(project)]
    try:
        live, fault = looking.live_endpoints(project), None
    except TargetUnreachable as error:
        live, fault = None, str(error)
    return {"endpoints": known, "live": live, "fault": fault, "renewals": looking.renewals_done(project)}


def _warehouse(read: Read, given: Given) -> Any:
    found = status.warehouse_status(read())
    running = known_figures(found.running)
    live = (running or {}).get("silos") or {}
    silos = [
        {
            "name": name,
            "phase": now.phase,
            "tables": len(now.tables),
            "exported": sum(each.rows_exported for each in now.tables.values()),
            "loaded": sum(each.rows_loaded for each in now.tables.values()),
            "applied": str(now.applied_position or ""),
            "applied_time": now.applied_timestamp,
            "live": live.get(name),
        }
        for name, now in found.silos.items()
    ]
    return {"silos": silos, "running": running}


def _shown(value: Any) -> Any:
    """What JSON has no number for, or JavaScript would round, is text."""
    rounded = isinstance(value, int) and abs(value) >= 1 << 53
    return str(value) if rounded or (isinstance(value, float) and not isfinite(value)) else value


def _text(given: Given, name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str):
        raise UserError(f"{name} must be text", place="console")
    return value


class SqlBox:
    """One query at a time, which ends with the console."""

    def __init__(self) -> None:
        self._one, self._stop = threading.Lock(), threading.Event()

    def ask(self, read: Read, given: Given) -> Any:
        if not self._one.acquire(blocking=False):
            raise Locked("another query is being answered", place="SQL", hint="It ends within a minute or so.")
        try:
            found = looking.first_rows(read(), _text(given, "sql"), stop=self._stop)
        finally:
            self._one.release()
        rows = [[_shown(each) for each in row] for row in found.rows]
        return {"columns": found.columns, "rows": rows, "more": found.more}

    def end(self) -> None:
        self._stop.set()


def asks(box: SqlBox) -> dict[str, Callable[[Read, Given], Any]]:
    """By their names."""
    return {
        "columns": _columns,
        "item": _item,
        "text": _project_text,
        "look-at-text": _look_at_text,
        "save-text": _save_text,
        "lake": _lake,
        "sql": box.ask,
        "models": _models,
        "warehouse": _warehouse,
    }


SAVES = {"save-text"}  # of these, what writes something
