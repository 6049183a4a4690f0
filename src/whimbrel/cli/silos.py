"""``whimbrel status`` of a warehouse."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from whimbrel.api import status as verbs
from whimbrel.cli.frame import OK, say
from whimbrel.project import Project
from whimbrel.ui.shortened import shortened
from whimbrel.ui.words import lag_words


def status(project: Project, as_json: bool) -> int:
    found = verbs.warehouse_status(project)
    say(found, as_json, _lines(found))
    return OK


def _up_to(position: str, when: float | None) -> str:
    """``position`` is "" for tables of DynamoDB."""
    if when and not position:
        return f"as of {datetime.fromtimestamp(when, UTC):%Y-%m-%d %H:%M:%S UTC}"
    return f"up to {shortened(position or 'nothing yet')}"


def _lines(found: verbs.WarehouseStatus) -> Iterator[str]:
    for name, now in found.silos.items():
        yield f"{name}: phase {now.phase}, written {_up_to(str(now.applied_position or ''), now.applied_timestamp)}"
        for table, progress in now.tables.items():
            yield f"  {table}: {progress.rows_exported:,} rows exported"
    live = found.running
    if live is None:
        yield "no process is running"
    elif live["phase"] == "apply":
        yield f"lag        {lag_words(live)} (pid {live['pid']})"
    else:
        yield f"running    {live['phase']} (pid {live['pid']})"
