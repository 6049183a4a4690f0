"""The target's side of a first look in a process of its own, so that both sides are read at once, each on a core.

That process takes a TargetSide from its input, and answers with messages: how many items each page has, at last what
came of it. It ends at once when its input does, and so with its parent.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from types import TracebackType
from typing import NamedTuple

from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import Stopped, TargetError
from whimbrel.migration.digests import TargetSide
from whimbrel.spill import KeyedDigests
from whimbrel.threads import Beside, Thread


class _End(NamedTuple):
    """The last message: how many items were kept, or what was raised, as (type, arguments, state)."""

    added: int = 0
    error: tuple[type[BaseException], tuple[object, ...], dict[str, object]] | None = None


class TargetProcess:
    """Reads ``side`` from when it is made. As a context, it ends the process in any case."""

    def __init__(self, side: TargetSide, stop: threading.Event, found: Callable[[int], None]) -> None:
        self._side, self._stop, self._found = side, stop, found
        # Not what lies in the current folder is imported; and what the terminal interrupts is the parent.
        command = [sys.executable, "-P", "-c", f"from {__name__} import run; run()"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        self._listening = Beside(self._listen, "verify")

    def result(self) -> KeyedDigests:
        """What was read. Raises what reading raised, Stopped, and TargetError if the process ended too early."""
        end = self._listening.result()
        if end is None:
            if self._stop.is_set():
                raise Stopped("asked to stop", place=self._side.table)
            raise TargetError(
                f"the process that read the table ended with {self._process.wait()}",
                place=self._side.table,
                hint="Give the machine more memory, and verify again.",
            )
        if end.error is not None:
            kind, arguments, state = end.error
            error = kind.__new__(kind, *arguments)
            error.__dict__.update(state)
            raise error
        read = KeyedDigests(self._side.folder, self._side.partitions)
        read.added = end.added
        return read

    def __enter__(self) -> TargetProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        with suppress(Exception):  # there is an error already, or it was told
            self._listening.result()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]

    def _listen(self) -> _End | None:
        assert self._process.stdin
        assert self._process.stdout
        with suppress(OSError):  # the process has ended: what it answered, if anything, is read below
            pickle.dump(self._side, self._process.stdin)
            self._process.stdin.flush()
        watch = Thread(self._end_if_stopped, "verify-stop")
        watch.start()
        with suppress(EOFError, OSError, ValueError, pickle.UnpicklingError):
            while not isinstance(message := pickle.load(self._process.stdout), _End):
                self._found(message)
            return message
        return None

    def _end_if_stopped(self) -> None:
        while self._process.poll() is None:
            if self._stop.wait(0.1):
                self._process.kill()


def run() -> None:
    """The process."""
    given, out = sys.stdin.buffer, sys.stdout.buffer
    side: TargetSide = pickle.load(given)

    def end_with_parent() -> None:
        given.read()
        os._exit(1)

    def tell(message: int | _End) -> None:
        pickle.dump(message, out)
        out.flush()

    Thread(end_with_parent, "parent").start()
    try:
        with closing(DynamoClient(side.target)) as wire:
            read = side.read(wire, threading.Event(), tell)
        read.flush()
    except BaseException as error:
        tell(_End(error=(type(error), error.args, error.__dict__)))
    else:
        tell(_End(read.added))
