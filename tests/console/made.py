"""State folders as a run leaves them, made without servers: any number of tables, events and dead letters."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from whimbrel import checkpoint, handed_over
from whimbrel.checkpoint import Checkpoint, TableProgress
from whimbrel.handed_over import Handover
from whimbrel.migration.live import write_status
from whimbrel.migration.progress import Progress, TableCounts
from whimbrel.records import Position

PROJECT = """
[source]
url = "mysql://whimbrel@127.0.0.1:1/shop"
max_rows_per_second = 20000
[target]
endpoint = "http://127.0.0.1:1"
region = "us-east-1"
max_write_units = 2000
[cutover]
reverse_user = "way_back"
"""
TABLE = """
[[table]]
source = "{source}"
target = "{target}"
shape = "record"
partition_key = {{ name = "id", type = "N" }}
"""
NAMES = ("shop.customer", "shop.purchase", "shop.product", "shop.invoice")
START = Position("bin.000003", 7041)


class Made:
    """A project in ``folder`` with a state folder that says what is set."""

    def __init__(self, folder: Path, names: tuple[str, ...] = NAMES) -> None:
        self.folder, self.names = folder, names
        self.state = folder / ".whimbrel"
        self.state.mkdir(mode=0o700, exist_ok=True)
        (folder / "whimbrel.toml").write_text(PROJECT + "".join(map(_table, names)))

    def checkpoint(self, phase: str = "apply", rows: int = 48_211, **more: Any) -> None:
        tables = {name: TableProgress(4, rows, frozenset({1, 2, 3, 4}), rows, rows) for name in self.names}
        now = Checkpoint(phase=phase, start=START, tables=tables, migration="5e0c")
        checkpoint.save(self.state / "checkpoint.json", replace(now, **more))

    def running(self, phase: str = "apply", **more: Any) -> None:
        """The figures of a process at work, as of now."""
        write_status(self.state / "status.json", figures(phase, self.names, **more))

    def handover(self, step: str, **more: Any) -> None:
        handed_over.save(self.state, Handover(step=step, epoch=1, tables=(("shop", "purchase"),), **more))

    def way_back(self, lag: float) -> None:
        """Somebody follows DynamoDB back, and is so many seconds behind."""
        (self.state / "reverse.json").write_text(json.dumps({"time": time.time(), "lag_seconds": lag, "letters": 0}))

    def events(self, count: int, *last: tuple[str, str]) -> None:
        """``count`` events a minute apart, and then those of ``last``: level and text."""
        begun = time.time() - 60 * (count + len(last))
        lines = [("info", f"Table shop.t{number} was exported.") for number in range(count)]
        with (self.state / "whimbrel.log").open("a") as file:
            for number, (level, text) in enumerate([*lines, *last]):
                file.write(json.dumps(event(begun + 60 * number, level, text)) + "\n")

    def figures(self, seconds: float, lag: Any, throttles: Any = lambda ago: 0) -> None:
        """A line each ten seconds; ``lag`` and ``throttles`` (so far) are called with how many seconds ago it was."""
        now = time.time()
        with (self.state / "figures.jsonl").open("w") as file:
            for ago in range(int(seconds), 0, -10):
                values = figures("apply", self.names, lag_seconds=lag(ago), lag_changes=int(300 * lag(ago)))
                values["throttles"] = throttles(ago)
                file.write(json.dumps({"time": now - ago} | values | {"tables": None}) + "\n")

    def letters(self, count: int, reason: str = "the key is empty") -> None:
        with (self.state / "dead.jsonl").open("a") as file:
            for number in range(count):
                file.write(json.dumps(letter(self.names[0], number, reason)) + "\n")

    def verification(self, *differences: dict[str, Any]) -> None:
        tables = [verified(name, [each for each in differences if each["table"] == name]) for name in self.names]
        report = {"time": time.time() - 300, "equal": not differences, "tables": tables}
        (self.state / "verification.json").write_text(json.dumps(report))


def figures(phase: str, names: tuple[str, ...], **more: Any) -> dict[str, Any]:
    tables = {name: TableCounts(50_000, 48_211, 48_211, 48_211, 9_400_000) for name in names}
    made = Progress(phase=phase, tables=tables, captured=182_007, applied=182_007)
    rates = {"rows_per_second": 0.0, "items_per_second": 0.0, "captured_per_second": 41.0, "applied_per_second": 42.0}
    rates |= {"write_units_per_second": 131.0, "source_queries_per_second": 820.0}
    known = {"seconds_left": None, "lag_seconds": 0.4, "caught_up": False, "asked": 0.7, "source_threads": 3}
    return made.to_dict() | rates | known | more


def _table(name: str) -> str:
    return TABLE.format(source=name, target=name.partition(".")[2] + "-items")


def event(moment: float, level: str, text: str) -> dict[str, Any]:
    when = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(moment))
    return {"time": when, "level": level, "logger": "whimbrel", "event": "said", "text": text}


def letter(table: str, number: int, reason: str) -> dict[str, Any]:
    row = {"id": number, "name": f"customer {number}", "email": None}
    return {
        "time": "2026-11-30T12:00:00Z",
        "phase": "load",
        "table": table,
        "reason": reason,
        "source_key": {"id": number},
        "item_key": None,
        "position": str(START),
        "before": None,
        "after": row,
    }


def verified(name: str, differences: list[dict[str, Any]]) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for each in differences:
        counts[each["kind"]] = counts.get(each["kind"], 0) + 1
    return {
        "source": name,
        "target": name.partition(".")[2] + "-items",
        "rows": 48_211,
        "items": 48_211,
        "found": 48_211,
        "candidates": 0,
        "counts": counts,
        "differences": differences,
        "not_compared": [],
        "held": 0,
        "softly_deleted": 0,
        "seconds": 1.0,
        "waived": [],
        "equal": not differences,
    }
