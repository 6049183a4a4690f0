"""What the application is told at a cutover, by commands and an HTTP call of the user's. docs/cutover.md has the
contract.

A hook may be called again with the same event and epoch, after a crash or when it failed: it must do no harm then.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import NamedTuple
from urllib.parse import urlsplit

import orjson

from whimbrel.errors import HandoverError, Stopped
from whimbrel.handed_over import Handover
from whimbrel.project.cutover import Cutover
from whimbrel.project.password import VARIABLES
from whimbrel.threads import Thread, Timer

SECONDS = 10.0  # for one call of a hook
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds between two calls
SAID = 300  # characters of what a command printed last
DRAINED_WITHIN = 0.5  # seconds, in which what it printed before its end is read
_LOOK = 0.05


class Told(NamedTuple):
    """``event``: pause, resume, switch, close or return; fence or unfence. ``side`` takes writes from now on: mysql
    (the source), none, dynamodb.
    """

    event: str
    side: str
    epoch: int
    tables: tuple[str, ...]
    lease_seconds: float

    def as_json(self) -> bytes:
        return orjson.dumps(self._asdict())


def told(event: str, side: str, now: Handover, settings: Cutover) -> Told:
    tables = tuple(".".join(table) for table in now.tables)
    return Told(event, side, now.epoch, tables, settings.lease_seconds)


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
        code, said = _run(command, environment)
    except subprocess.TimeoutExpired:
        raise _failed(command, told, f"did not end within {SECONDS:g} seconds") from None
    except OSError as error:
        raise _failed(command, told, f"could not be started: {error.strerror}") from error
    if code:
        raise _failed(command, told, f"ended with {code}{f': {said}' if said else ''}")


def _run(command: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """The exit code and the end of what was printed. It is the end of the program itself that counts: another one that
    it left behind may hold its output open. Raises TimeoutExpired, with all that it started ended, and OSError.
    """
    process = subprocess.Popen(
        list(command),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # a Ctrl-C is for whimbrel to answer
    )
    assert process.stdout is not None
    with process.stdout as output:
        reading = _Tail(output.fileno())
        try:
            code = process.wait(SECONDS)
        except BaseException:
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        finally:
            said = reading.end()
    return code, said


class _Tail(Thread):
    """Reads what a program prints, so that it never waits for a reader, and keeps the end of it."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(self._read, "hook")
        self._descriptor, self._kept = descriptor, b""
        self._over = threading.Event()
        self.start()

    def end(self) -> str:
        """What was printed last, up to now or a moment later."""
        self._over.set()
        self.join()
        return self._kept.decode(errors="replace").strip()[-SAID:]

    def _read(self) -> None:
        give_up = None
        while give_up is None or time.monotonic() < give_up:
            if self._over.is_set() and give_up is None:
                give_up = time.monotonic() + DRAINED_WITHIN
            ready, _, _ = select.select([self._descriptor], [], [], _LOOK)
            if ready:
                data = os.read(self._descriptor, 65536)
                if not data:
                    return
                self._kept = (self._kept + data)[-4 * SAID :]
            elif give_up is not None:
                return


def post(url: str, told: Told) -> None:
    """Raises HandoverError unless the answer is a 2xx, within SECONDS in all."""
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    late = threading.Event()
    try:
        with closing(kind(parts.hostname or "", parts.port, timeout=SECONDS)) as connection:
            limit = Timer(SECONDS, partial(_cut, connection, late))
            limit.start()
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", path, told.as_json(), {"Content-Type": "application/json"})
            status = connection.getresponse().status
            limit.cancel()
    except (HTTPException, OSError, ValueError) as error:  # HTTPException: an answer that is not HTTP
        raise _failed([url], told, str(error) or type(error).__name__) from error
    if late.is_set():  # half an answer may look like a whole one
        raise _failed([url], told, f"was not answered within {SECONDS:g} seconds")
    if not 200 <= status < 300:
        raise _failed([url], told, f"answered {status}")


def _cut(connection: HTTPConnection, late: threading.Event) -> None:
    """One that sends its answer a byte at a time is waited for no longer."""
    late.set()
    if connection.sock:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


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
