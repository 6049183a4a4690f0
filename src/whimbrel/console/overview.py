"""The first screen: is it all right, how long still, what must I do? Made of what the state folder says, whichever
process is at work.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from whimbrel.api import looking
from whimbrel.api import status as statuses
from whimbrel.api.status import Status
from whimbrel.console.attention import INFO, Standing, task, verdict_and_tasks, verdict_of_a_warehouse
from whimbrel.console.figures import known_figures, known_report
from whimbrel.console.phases import phases
from whimbrel.console.works import error_words
from whimbrel.errors import WhimbrelError
from whimbrel.migration.state import StateFolder
from whimbrel.project import NO_SOURCE, Project

EVENTS = 100  # that are looked through for what ended the last run


def overview(project: Project, steering: str, read_only: bool) -> dict[str, Any]:
    """All that the first screen shows, as JSON. ``steering`` is what the console itself is at, "" for nothing."""
    found = _always(project, steering, read_only)
    warehouse = not project.tables and not project.dms and found["project"]["warehouse"]
    begun = (
        (project.state / "silos").glob("*/checkpoint.json") if warehouse else [StateFolder(project.state).checkpoint]
    )
    if not any(each.exists() for each in begun):
        return found | {"begun": False} | _not_begun(warehouse=warehouse)
    try:
        if warehouse:
            return found | {"begun": False} | _of_a_warehouse(project)
        return found | {"begun": True} | _begun(project, statuses.status(project), steering)
    except WhimbrelError as error:
        return unreadable(project, read_only, error)


def _not_begun(*, warehouse: bool) -> dict[str, Any]:
    verdict = {"level": "idle", "title": "Nothing has begun yet", "text": "Check the project, then migrate."}
    tasks = [
        task(INFO, "Look for problems first", command="whimbrel check", page="mapping"),
        task(INFO, "Then begin", command="whimbrel migrate"),
    ]
    if warehouse:
        verdict["text"] = "This project has a warehouse, and no table to migrate."
        tasks = [
            task(INFO, "Look for problems first", command="whimbrel check --warehouse"),
            task(INFO, "Then begin", command="whimbrel converge", page="warehouse"),
        ]
    return {"verdict": verdict, "tasks": tasks}


def _of_a_warehouse(project: Project) -> dict[str, Any]:
    """Of a project that has one, and no table to migrate."""
    running = known_figures(statuses.warehouse_status(project).running)
    events = [each.to_dict() for each in looking.events(project, count=EVENTS)]
    verdict, tasks = verdict_of_a_warehouse(running, events)
    return {"verdict": verdict, "tasks": tasks, "running": running}


def unreadable(project: Project, read_only: bool, error: Exception) -> dict[str, Any]:
    """What is shown instead where the state folder is damaged, or whimbrel has a bug."""
    words = error_words(error)
    verdict = {"level": "bad", "title": "The state folder cannot be read", "text": words["message"]}
    found = _always(project, "", read_only)
    return found | {"begun": True, "error": words, "verdict": verdict, "tasks": []}


def _always(project: Project, steering: str, read_only: bool) -> dict[str, Any]:
    return {"project": _project(project), "read_only": read_only, "steering": steering, "error": None}


def _begun(project: Project, now: Status, steering: str) -> dict[str, Any]:
    now = replace(now, running=known_figures(now.running))
    report = known_report(looking.last_verification(project))
    figures = now.running or known_figures(looking.last_figures(project))
    events = looking.events(project, count=EVENTS)
    free = shutil.disk_usage(project.state).free
    facts = Standing(project, now, report, [each.to_dict() for each in events], steering, free)
    verdict, tasks = verdict_and_tasks(facts)
    return {
        "verdict": verdict,
        "tasks": tasks,
        "phase": now.checkpoint.phase,
        "phases": phases(now, figures, report),
        "running": now.running,
        "seen": figures["time"] if figures else None,
        "start": str(now.checkpoint.start or ""),
        "applied": str(now.checkpoint.applied_position or ""),
        "applied_time": now.checkpoint.applied_timestamp,
        "tables": _tables(project, now, figures, report),
        "dead_letters": now.dead_letters,
        "reasons": [{"reason": reason[:500], "count": count} for reason, count in now.reasons[:10]],
        "handover": now.handover.to_dict() | {"end": str(now.handover.end or "")},
        "way_back": now.way_back.to_dict() if now.way_back else None,
        "late": now.late.to_dict() if now.late else None,
        "past_fence": now.past_fence.to_dict() if now.past_fence else None,
        "verification": _verification(report),
    }


def _project(project: Project) -> dict[str, Any]:
    source, target = project.source, project.target
    where = f"{source.host}:{source.port}/{source.database}" if source != NO_SOURCE else ""
    return {
        "path": str(project.path.resolve()),
        "name": project.path.resolve().parent.name,
        "source": where,
        "target": target.endpoint or f"DynamoDB {target.region}".strip(),
        "max_write_units": target.max_write_units,
        "max_rows_per_second": source.max_rows_per_second,
        "max_threads_running": source.max_threads_running,
        "max_lag": project.cutover.max_lag,
        "reverse_user": project.cutover.reverse_user,
        "warehouse": bool(project.silos or project.item_silos),
    }


def _tables(
    project: Project, now: Status, figures: Mapping[str, Any] | None, report: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """A line for each [[table]], also of those that no process has come to yet."""
    targets = {rule.name: rule.target for rule in project.tables}
    live: Mapping[str, Any] = figures["tables"] if figures else {}
    dead = looking.letters_by_table(project)
    # How many items of a target differ, by the last verification: one that several rules write is verified as one.
    differ = {each["target"]: sum(each["counts"].values()) for each in report["tables"]} if report else {}
    names = dict.fromkeys([*now.checkpoint.tables, *live, *targets])
    return [
        {
            "source": name,
            "target": targets.get(name, ""),
            **_counts(now, live.get(name) if now.running else None, name),
            "estimated": live.get(name, {}).get("estimated_rows", 0),
            "bytes": live.get(name, {}).get("sent_bytes", 0),
            "dead": dead.get(name, 0),
            "differences": differ.get(targets.get(name, "")),
        }
        for name in names
    ]


def _counts(now: Status, live: Mapping[str, Any] | None, name: str) -> dict[str, int]:
    """By the process that is at work, else as it was saved last."""
    if live:
        return {"exported": live["exported_rows"], "loaded": live["loaded_rows"], "items": live["loaded_items"]}
    saved = now.checkpoint.table(name)
    return {"exported": saved.rows_exported, "loaded": saved.rows_loaded, "items": saved.items_loaded}


def _verification(report: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not report:
        return None
    return {
        "time": report["time"],
        "equal": report["equal"],
        "differences": sum(sum(table["counts"].values()) for table in report["tables"]),
        "items": sum(table["items"] for table in report["tables"]),
    }
