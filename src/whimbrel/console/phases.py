"""The way of a migration as a line: what is done of each phase, at which rate, and how long it still takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whimbrel.api.status import Status
from whimbrel.handed_over import CUTTING, DECIDED, FINISHED, FOLLOWING, OPEN

_ORDER = ("new", "snapshot", "load", "apply")
DONE, NOW, LATER = "done", "now", "later"


def phases(now: Status, figures: Mapping[str, Any] | None, report: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """``figures`` are those of the process at work, or of the last one. ``done`` is a share, 0 to 1, or None."""
    at = _ORDER.index(now.checkpoint.phase) if now.checkpoint.phase in _ORDER else 0
    live = now.running or {}
    rows = _sums(now, figures)
    step = now.handover.step
    return [
        _phase("Start", DONE if at else NOW, None, "capturing" if at else "not fixed yet"),
        _phase("Snapshot", _state(at, 1), _share(rows["exported"], rows["estimated"], at > 1), _rows(rows["exported"]))
        | _pace(live, "snapshot", "rows_per_second", "rows"),
        _phase("Load", _state(at, 2), _share(rows["loaded"], rows["exported"], at > 2), f"{rows['items']:,} items")
        | _pace(live, "load", "items_per_second", "items"),
        _phase("Follow", _state(at, 3) if step in (FOLLOWING, CUTTING) else DONE, None, _lag(live, at, step))
        | _pace(live, "apply", "applied_per_second", "changes"),
        _phase("Verify", *_verified(report, at, step)),
        _phase("Cut over", *_handed_over(step)),
    ]


def _phase(name: str, state: str, done: float | None, text: str) -> dict[str, Any]:
    return {"name": name, "state": state, "done": done, "text": text, "rate": None, "unit": "", "seconds_left": None}


def _state(at: int, of: int) -> str:
    return DONE if at > of else NOW if at == of else LATER


def _pace(live: Mapping[str, Any], phase: str, rate: str, unit: str) -> dict[str, Any]:
    if live.get("phase") != phase:
        return {}
    return {"rate": live.get(rate), "unit": unit, "seconds_left": live.get("seconds_left")}


def _sums(now: Status, figures: Mapping[str, Any] | None) -> dict[str, int]:
    saved = now.checkpoint.tables.values()
    found = {
        "exported": sum(each.rows_exported for each in saved),
        "loaded": sum(each.rows_loaded for each in saved),
        "items": sum(each.items_loaded for each in saved),
        "estimated": 0,
    }
    if figures:
        tables = figures["tables"].values()
        live = {
            "exported": sum(each["exported_rows"] for each in tables),
            "loaded": sum(each["loaded_rows"] for each in tables),
            "items": sum(each["loaded_items"] for each in tables),
        }
        found |= live if now.running else {}
        found["estimated"] = sum(max(each["estimated_rows"], each["exported_rows"]) for each in tables)
    return found


def _share(done: int, of: int, whole: bool) -> float | None:
    if whole:
        return 1.0
    return min(1.0, done / of) if of else None


def _rows(count: int) -> str:
    return f"{count:,} rows"


def _lag(live: Mapping[str, Any], at: int, step: str) -> str:
    if step not in (FOLLOWING, CUTTING):
        return "ended by the cutover"
    if at < 3:
        return f"{live['captured']:,} changes wait" if live else ""
    if not live:
        return "nobody follows the source"
    if live.get("caught_up"):
        return "caught up"
    seconds = live.get("lag_seconds")
    return f"{live['lag_changes']:,} changes" + (f", {seconds:,.1f} s" if seconds is not None else "") + " behind"


def _verified(report: Mapping[str, Any] | None, at: int, step: str) -> tuple[str, float | None, str]:
    if report and at == 3:
        count = sum(sum(table["counts"].values()) for table in report["tables"])
        differ = "1 item differs" if count == 1 else f"{count:,} items differ"
        return DONE if report["equal"] else NOW, None, "both sides equal" if report["equal"] else differ
    return DONE if step not in (FOLLOWING, CUTTING) else LATER, None, "not verified yet" if at == 3 else ""


def _handed_over(step: str) -> tuple[str, float | None, str]:
    words = {
        FOLLOWING: (LATER, "the source takes writes"),
        OPEN: (DONE, "DynamoDB takes writes"),
        FINISHED: (DONE, "DynamoDB, for good"),
        DECIDED: (NOW, "decided"),
    }
    state, text = words.get(step, (NOW, f"under way: {step.lower()}"))
    return state, None, text
