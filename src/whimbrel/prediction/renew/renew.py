"""Renew: fresh data, a new model, and an endpoint that takes it only if it is at least as good. One resumable run.

The steps are functions that the caller hands in (export, convert, train, gate, update), each safe to repeat. After each
its result is saved; a run that was stopped continues after the last one saved. Every run leaves one line in the record.

A run that cannot continue with its data (a TrainingError, a step refused) ends as ``failed``: the next one begins
with fresh data. What may be over the next time (a server that is away, a signal) leaves the run to be taken up again.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from whimbrel.durable import append_line, replace_file
from whimbrel.errors import StateError, Stopped, UserError

RUN_FILE, RECORD_FILE = "run.json", "renewals.jsonl"
RENEWED, KEPT, RETURNED, FAILED = "renewed", "kept", "returned", "failed"
STEPS = ("export", "convert", "train", "gate", "update")
Result = dict[str, Any]
Step = Callable[[Mapping[str, Result]], Result]  # is given the results of the steps before it


def renew(folder: Path, steps: Mapping[str, Step], stop: threading.Event) -> Result:
    """Run the steps that this renewal has not done yet; returns the line that the record got.

    ``folder`` holds the run under way and the record. A gate that refuses ends the run: the present model stays.
    Raises what a step raises, and Stopped between two steps once ``stop`` is set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = unfinished(folder) or {"run": uuid.uuid4().hex, "began": _now(), "results": {}}
    try:
        _go_on(folder, run, steps, stop)
    except UserError as error:
        _end(folder, run, {"outcome": FAILED, "error": str(error)})
        raise
    return _end(folder, run, {"outcome": outcome(run["results"])})


def _go_on(folder: Path, run: Result, steps: Mapping[str, Step], stop: threading.Event) -> None:
    results: dict[str, Result] = run["results"]
    for name in STEPS:
        if name in results:
            continue
        if name == "update" and not results["gate"]["passed"]:
            return
        if stop.is_set():
            raise Stopped("the renewal was stopped", place=name, hint="Start it again: it continues with this step.")
        began = time.monotonic()
        results[name] = steps[name](results)
        results[name]["seconds"] = round(time.monotonic() - began, 3)
        # Saved after the step is done: a crash in between repeats the step, which is harmless.
        replace_file(folder / RUN_FILE, orjson.dumps(run, option=orjson.OPT_INDENT_2))


def _end(folder: Path, run: Result, how: Result) -> Result:
    """The run's line goes into the record, once: a crash before the run's file is gone does not write it again."""
    line = run | {"ended": _now()} | how
    before = record(folder)
    if not before or before[-1]["run"] != run["run"]:
        append_line(folder / RECORD_FILE, orjson.dumps(line))
    (folder / RUN_FILE).unlink(missing_ok=True)
    return line


def unfinished(folder: Path) -> Result | None:
    """The run that was stopped on its way, if there is one. Raises StateError when its file is not one."""
    path = folder / RUN_FILE
    try:
        run: Result = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except orjson.JSONDecodeError as error:
        raise StateError(
            f"not a renewal: {error}", place=str(path), hint="Remove it: the renewal then starts over."
        ) from None
    return run


def outcome(results: Mapping[str, Result]) -> str:
    """``kept`` (the gate refused), ``returned`` (the endpoint took the new model back) or ``renewed``."""
    if not results["gate"]["passed"]:
        return KEPT
    return RENEWED if results["update"]["live"] else RETURNED


def record(folder: Path) -> list[Result]:
    """Every renewal so far, with its figures, oldest first; half a line, of a crash, is left out."""
    path = folder / RECORD_FILE
    if not path.exists():
        return []
    return [orjson.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
