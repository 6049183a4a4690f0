"""Renew: fresh data, a new model, and an endpoint that takes it only if it is at least as good. One resumable run.

The steps are functions that the caller hands in (export, convert, train, gate, update), each safe to repeat. After each
its result is saved; a run that was stopped goes on after the last one saved. Every run leaves one line in the record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from whimbrel.durable import append_line, replace_file
from whimbrel.errors import StateError

RUN_FILE, RECORD_FILE = "run.json", "renewals.jsonl"
STEPS = ("export", "convert", "train", "gate", "update")
Result = dict[str, Any]
Step = Callable[[Mapping[str, Result]], Result]  # is given the results of the steps before it


def renew(
    folder: Path, steps: Mapping[str, Step], on_step: Callable[[str, Result], None] = lambda name, result: None
) -> Result:
    """Run the steps that this renewal has not done yet; returns the line that the record got.

    ``folder`` holds the run under way and the record. A gate that refuses ends the run: the present model stays.
    Raises what a step raises; the run can be taken up again then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = unfinished(folder) or {"began": _now(), "results": {}}
    results: dict[str, Result] = run["results"]
    for name in STEPS:
        if name in results:
            continue
        if name == "update" and not results["gate"]["passed"]:
            break
        began = time.monotonic()
        results[name] = steps[name](results)
        results[name]["seconds"] = round(time.monotonic() - began, 3)
        # Saved after the step is done: a crash in between repeats the step, which is harmless.
        replace_file(folder / RUN_FILE, orjson.dumps(run, option=orjson.OPT_INDENT_2))
        on_step(name, results[name])
    line = run | {"ended": _now(), "outcome": outcome(results)}
    append_line(folder / RECORD_FILE, orjson.dumps(line))
    (folder / RUN_FILE).unlink()
    return line


def unfinished(folder: Path) -> Result | None:
    """The run that was stopped on its way, if there is one. Raises StateError when its file is no such thing."""
    path = folder / RUN_FILE
    try:
        run: Result = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except orjson.JSONDecodeError as error:
        raise StateError(
            f"not a renewal: {error}", place=str(path), hint="Remove it: the renewal begins anew."
        ) from None
    return run


def outcome(results: Mapping[str, Result]) -> str:
    """``kept`` (the gate refused), ``returned`` (the endpoint took the new model back) or ``renewed``."""
    if not results["gate"]["passed"]:
        return "kept"
    return "renewed" if results["update"]["live"] else "returned"


def record(folder: Path) -> list[Result]:
    """Every renewal so far, with its figures, oldest first; half a line, of a crash, is left out."""
    path = folder / RECORD_FILE
    if not path.exists():
        return []
    return [orjson.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
