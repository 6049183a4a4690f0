"""What the application is told at a cutover, by commands and an HTTP call of the user's. docs/cutover.md has the
contract.

A hook may be called again with the same event and epoch, after a crash or when it failed: it must do no harm then.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from http.client import HTTPException
from typing import NamedTuple
from urllib.error import URLError
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener

import orjson

from whimbrel.errors import HandoverError, Stopped
from whimbrel.project.cutover import Cutover
from whimbrel.project.password import VARIABLES

SECONDS = 10.0  # for one call of a hook
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds between two calls
_DIRECT: OpenerDirector = build_opener(ProxyHandler({}))  # whatever the surroundings name as a proxy


class Told(NamedTuple):
    """``event``: pause, resume, switch, close or return. ``side`` takes writes from now on: mysql (the source),
    none, dynamodb."""

    event: str
    side: str
    epoch: int
    tables: tuple[str, ...]
    lease_seconds: float

    def as_json(self) -> bytes:
        return orjson.dumps(self._asdict())


def run_command(command: Sequence[str], told: Told) -> None:
    """Raises HandoverError if it does not end with exit code 0 within SECONDS."""
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES} | {
        "WHIMBREL_EVENT": told.event,
        "WHIMBREL_SIDE": told.side,
        "WHIMBREL_EPOCH": str(told.epoch),
        "WHIMBREL_TABLES": ",".join(told.tables),
        "WHIMBREL_LEASE_SECONDS": f"{told.lease_seconds:g}",
    }
    try:
        done = subprocess.run(
            list(command), env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise _failed(command, told, f"did not end within {SECONDS:g} seconds") from None
    except OSError as error:
        raise _failed(command, told, f"could not be started: {error.strerror}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[-300:]
        raise _failed(command, told, f"ended with {done.returncode}{f': {said}' if said else ''}")


def post(url: str, told: Told) -> None:
    """Raises HandoverError unless the answer is a 2xx."""
    request = Request(url, data=told.as_json(), headers={"Content-Type": "application/json"}, method="POST")
    try:
        with _DIRECT.open(request, timeout=SECONDS) as answer:
            status = answer.status
    except (URLError, HTTPException, OSError, ValueError) as error:  # HTTPException: an answer that is not HTTP
        raise _failed([url], told, str(error)) from error
    if not 200 <= status < 300:
        raise _failed([url], told, f"answered {status}")


def tell(settings: Cutover, told: Told, stop: threading.Event, say: Callable[[str], None]) -> None:
    """Call ``on_switch`` and ``on_switch_url`` until both succeeded. Raises Stopped."""
    if settings.on_switch:
        until_done(lambda: run_command(settings.on_switch, told), stop, say)
    if settings.on_switch_url:
        until_done(lambda: post(settings.on_switch_url, told), stop, say)


def until_done(call: Callable[[], None], stop: threading.Event, say: Callable[[str], None]) -> None:
    pause = _FIRST_PAUSE
    while True:
        try:
            return call()
        except HandoverError as error:
            say(f"{error} Trying again.")
        if stop.wait(pause):
            raise Stopped("asked to stop before the application was told", hint="The same command continues.")
        pause = min(pause * 2, _LONGEST_PAUSE)


def _failed(command: Sequence[str], told: Told, how: str) -> HandoverError:
    return HandoverError(f"the hook {how}", place=f"{command[0]} ({told.event})", hint="See docs/cutover.md.")
