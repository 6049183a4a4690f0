"""The renewals of a model that many machines may run: in the bucket of the lake, below ``renewals/<model>/``.

=====================  ========================================================================================
run.json               the run under way, or how the last one ended; replaced by whoever still has its version
record/<…>.json        the line of each run, written once
lock.json              who renews, and until when nobody else may
=====================  ========================================================================================

The lock keeps two renewals from doing the same work. What keeps them from doing harm is ``run.json``: of two processes
that continue one run, the second to save a step loses, by name; and the steps themselves may be repeated. So a clock
that is wrong, or a process that slept past its time, costs work and nothing else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import orjson

from whimbrel.bucket import Bucket
from whimbrel.errors import Locked, LogCorrupt, WhimbrelError
from whimbrel.notes import note
from whimbrel.prediction.renew.renew import Result
from whimbrel.threads import Thread

LEASE = 900.0  # seconds; longer than a task of a cluster takes to begin
KEPT_EVERY = 60.0
HOME = "renewals"


class SharedRuns:
    """``execution`` names what runs the steps one by one, "" where one process runs them all."""

    def __init__(self, bucket: Bucket, model: str, execution: str = "") -> None:
        self._bucket, self._home, self._execution = bucket, f"{HOME}/{model}", execution
        self._version = ""

    def unfinished(self) -> Result | None:
        found = self._now()
        return found if "results" in found else None

    def ended_by(self, execution: str) -> str:
        """How the last run ended, if it was this execution's; else ""."""
        found = self._now()
        return str(found["ended"]["outcome"]) if found.get("ended", {}).get("execution") == execution else ""

    def save(self, run: Result) -> None:
        self._replace(run | self._whose())

    def end(self, line: Result) -> None:
        """The order matters: the line, and then that there is no run. Whoever aborts it leaves it its execution, which
        is told so.
        """
        line = line | self._whose()
        began = line["began"].replace(":", "").replace("-", "")
        self._bucket.put_new(
            f"{self._home}/record/{began}-{line['run']}.json", _bytes(line)
        )  # once: a second is not put
        of = line.get("execution", "")
        self._replace({"ended": {"run": line["run"], "outcome": line["outcome"], "execution": of}})

    def record(self) -> list[Result]:
        names = [name for name, _ in self._bucket.list(f"{self._home}/record/")]
        return [_read(self._bucket.get(name), self._bucket.url(name)) for name in names]

    def _whose(self) -> Result:
        return {"execution": self._execution} if self._execution else {}

    def _now(self) -> Result:
        data, self._version = self._bucket.read(f"{self._home}/run.json")
        return _read(data, self._bucket.url(f"{self._home}/run.json")) if data else {}

    def _replace(self, value: Result) -> None:
        self._version = self._bucket.replace(f"{self._home}/run.json", _bytes(value), self._version)
        if not self._version:
            raise Locked(
                "another process has continued this renewal",
                place=self._bucket.url(f"{self._home}/run.json"),
                hint="Leave it to that one; `whimbrel status` shows what runs.",
            )


@contextmanager
def sole_renewal(bucket: Bucket, model: str, owner: str, keep: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Hold the model's lock as ``owner``, who may have it already. ``keep``: whether it stays held then, for LEASE.

    Raises Locked while another owner has it.
    """
    name = f"{HOME}/{model}/lock.json"
    _take(bucket, name, owner)
    done = threading.Event()
    keeper = Thread(lambda: _keep(bucket, name, owner, done), "renewal lock")
    keeper.start()
    try:
        yield
    finally:
        done.set()
        keeper.join()
        if not keep():
            release(bucket, model, owner)


def release(bucket: Bucket, model: str, owner: str = "") -> None:
    """Let the lock go; without an ``owner`` whoever has it."""
    name = f"{HOME}/{model}/lock.json"
    data, version = bucket.read(name)
    if data and (not owner or _read(data, name)["owner"] == owner):
        bucket.replace(name, _lock("", 0.0), version)


def _take(bucket: Bucket, name: str, owner: str) -> None:
    data, version = bucket.read(name)
    found: Any = _read(data, bucket.url(name)) if data else {"owner": "", "until": 0.0}
    free = found["owner"] in ("", owner) or found["until"] < time.time()
    if not (free and bucket.replace(name, _lock(owner, time.time() + LEASE), version)):
        until = datetime.fromtimestamp(found["until"], UTC)
        raise Locked(
            f"{found['owner'] or 'another process'} renews it, and says so until {until:%Y-%m-%d %H:%M:%S} UTC",
            place=bucket.url(name),
            hint="Wait until it has ended; if nothing of it runs any more: whimbrel renew --abort",
        )


def _keep(bucket: Bucket, name: str, owner: str, done: threading.Event) -> None:
    while not done.wait(KEPT_EVERY):
        try:
            _take(bucket, name, owner)
        except Locked as error:  # taken from us; the next save of the run says so, too
            note(f"whimbrel: {error.message}")
            return
        except WhimbrelError as error:
            note(f"whimbrel: the lock of the renewal was not kept: {error.message}")


def _lock(owner: str, until: float) -> bytes:
    return _bytes({"owner": owner, "until": until})


def _bytes(value: Result) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n"


def _read(data: bytes | None, place: str) -> Any:
    try:
        found = orjson.loads(data or b"")
        if not isinstance(found, dict):
            raise ValueError("not an object")
    except ValueError as error:
        raise LogCorrupt(f"not a renewal: {error}", place=place, hint="Remove it: the renewal starts over.") from None
    return found
