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
from typing import Any, Protocol

import orjson

from whimbrel.durable import append_line, replace_file
from whimbrel.errors import StateError, Stopped, UserError
from whimbrel.project.renew import STEPS

RUN_FILE, RECORD_FILE = "run.json", "renewals.jsonl"
RENEWED, KEPT, RETURNED, FAILED, ABORTED = "renewed", "kept", "returned", "failed", "aborted"
Result = dict[str, Any]
Step = Callable[[Mapping[str, Result]], Result]  # is given the results of the steps before it


class Runs(Protocol):
    """Where the run under way and the record of a model's renewals are."""

    def unfinished(self) -> Result | None:
        """The run that was stopped on its way, if there is one. Raises StateError when it cannot be read."""

    def save(self, run: Result) -> None:
        """Durable when it returns. Raises Locked where another process works on the run."""

    def end(self, line: Result) -> None:
        """The line goes into the record, once, and the run is over: a crash in between does not write it twice."""

    def record(self) -> list[Result]:
        """Every renewal so far, with its figures, oldest first."""


def renew(runs: Runs, steps: Mapping[str, Step], stop: threading.Event) -> Result:
    """Run the steps that this renewal has not done yet; returns the line that the record got.

    A gate that refuses ends the run: the present model stays. Raises what a step raises, and Stopped between two steps
    once ``stop`` is set.
    """
    run = runs.unfinished() or new_run(runs)
    for name in STEPS:
        if stop.is_set() and name not in run["results"]:
            raise Stopped("the renewal was stopped", place=name, hint="Start it again: it continues with this step.")
        if line := one_step(runs, run, name, steps):
            return line
    raise AssertionError("the last step ends the run")


def new_run(runs: Runs) -> Result:
    """A run that is saved before it does anything, so that whoever aborts it finds it."""
    runs.save(run := begun())
    return run


def begun() -> Result:
    return {"run": uuid.uuid4().hex, "began": _now(), "results": {}}


def one_step(runs: Runs, run: Result, name: str, steps: Mapping[str, Step]) -> Result | None:
    """Do the step unless the run has its result; the line of the record, if the run is over. Raises what it raises."""
    results: dict[str, Result] = run["results"]
    try:
        if name not in results:
            began = time.monotonic()
            results[name] = steps[name](results)
            results[name]["seconds"] = round(time.monotonic() - began, 3)
            # Saved after the step is done: a crash in between repeats the step, which is harmless.
            runs.save(run)
    except UserError as error:
        ended(runs, run, {"outcome": FAILED, "error": str(error)})
        raise
    if name == STEPS[-1] or (name == "gate" and not results["gate"]["passed"]):
        return ended(runs, run, {"outcome": outcome(results)})
    return None


def ended(runs: Runs, run: Result, how: Result) -> Result:
    line = run | {"ended": _now()} | how
    runs.end(line)
    return line


class FolderRuns:
    """Those of a folder: ``run.json`` and ``renewals.jsonl``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def unfinished(self) -> Result | None:
        path = self._folder / RUN_FILE
        try:
            run: Result = orjson.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except orjson.JSONDecodeError as error:
            raise StateError(
                f"not a renewal: {error}", place=str(path), hint="Remove it: the renewal then starts over."
            ) from None
        return run

    def save(self, run: Result) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        replace_file(self._folder / RUN_FILE, orjson.dumps(run, option=orjson.OPT_INDENT_2))

    def end(self, line: Result) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        before = self.record()
        if not before or before[-1]["run"] != line["run"]:
            append_line(self._folder / RECORD_FILE, orjson.dumps(line))
        (self._folder / RUN_FILE).unlink(missing_ok=True)

    def record(self) -> list[Result]:
        """Half a line, of a crash, is left out."""
        path = self._folder / RECORD_FILE
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        return [orjson.loads(line) for line in lines if line]


def outcome(results: Mapping[str, Result]) -> str:
    """``kept`` (the gate refused), ``returned`` (the endpoint took the new model back) or ``renewed``."""
    if not results["gate"]["passed"]:
        return KEPT
    return RENEWED if results["update"]["live"] else RETURNED


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
