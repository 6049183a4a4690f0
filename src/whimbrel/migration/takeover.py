"""Taking over the run lock from a process that follows the source, so that nobody must stop it by hand.

Who wants it writes a request file, which only its owner can read, and holds a lock on it for as long as it waits. Who
follows looks at it between two batches, saves what it has done, and ends. A request whose maker died is not locked, and
counts for nothing; so nothing must be cleaned up, and no process id is believed.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from whimbrel.checkpoint import RunLock
from whimbrel.durable import writing
from whimbrel.errors import Locked, Stopped
from whimbrel.migration.state import StateFolder

PATIENCE = 60.0  # seconds until the other process must have ended
LOOK_EVERY = 0.1
POLL_SECONDS = 0.02


def take_over(state: StateFolder, who: str, stop: threading.Event, patience: float = PATIENCE) -> RunLock:
    """The run lock, as soon as the process that follows the source, if there is one, has let it go. ``who`` is asking,
    in words.

    What is read of the state folder must be read after this. Raises Locked when it does not end within ``patience``
    seconds: another command than one that follows, or a target that does not answer; Stopped.
    """
    with suppress(Locked):
        return RunLock(state.root)
    deadline = time.monotonic() + patience
    with _request(state, who):
        while True:
            try:
                return RunLock(state.root)
            except Locked:
                if time.monotonic() > deadline:
                    raise
            if stop.wait(POLL_SECONDS):
                raise Stopped("asked to stop while it waited for another whimbrel to end")


class Requests:
    """What a process that holds the run lock looks at, often: who wants it."""

    def __init__(self, state: StateFolder) -> None:
        self._path = state.takeover
        self._looked_at = 0.0

    def asked(self) -> str:
        """Who waits for the lock, in words; "" if nobody does. The file is looked at ten times a second."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_EVERY:
            return ""
        self._looked_at = now
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return ""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return os.read(descriptor, 200).decode(errors="replace").strip() or "another whimbrel"
        finally:
            os.close(descriptor)
        return ""  # its maker died


@contextmanager
def _request(state: StateFolder, who: str) -> Iterator[None]:
    """A request stands while this is entered. Raises Locked when another one does."""
    descriptor = _locked(state)
    try:
        with writing(state.takeover):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{who} (pid {os.getpid()})\n".encode(), 0)
        yield
    finally:
        with suppress(OSError):
            state.takeover.unlink()  # while it is still ours
        os.close(descriptor)


def _locked(state: StateFolder) -> int:
    """The request file, locked by this process and still there."""
    deadline = time.monotonic() + 1.0  # who looks whether it is locked has it for a moment
    while True:
        with writing(state.takeover):
            descriptor = os.open(state.takeover, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(state.takeover)):
                return descriptor
        except FileNotFoundError:
            pass  # who had it locked has just removed it
        except BlockingIOError:
            if time.monotonic() > deadline:
                said = os.read(descriptor, 200).decode(errors="replace").strip() or "another whimbrel"
                os.close(descriptor)
                raise Locked(
                    f"{said} is already waiting to take over", place=str(state.root), hint="Wait until it has ended."
                ) from None
        os.close(descriptor)
        time.sleep(POLL_SECONDS)
