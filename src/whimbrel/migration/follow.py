"""Follow: capture and apply together, for as long as somebody wants the target to keep up with the source."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from types import TracebackType

from whimbrel.changelog.segments import prune
from whimbrel.errors import Stopped
from whimbrel.migration.apply import Applier
from whimbrel.migration.run import Run
from whimbrel.migration.send import Sender
from whimbrel.migration.settle import Settling
from whimbrel.threads import Thread

PRUNE_SECONDS = 10.0


def follow(run: Run, done: Callable[[], bool]) -> None:
    """Apply what comes until ``done`` says so or the run is stopped; the applied part of the log is deleted.

    Raises what ended the capture, if something did.
    """
    with closing(run.applier()) as applier:
        _apply_until(run, applier, done)
        applier.save()
    run.check_capture()


def quieten(run: Run) -> None:
    """Before items are written past the log: wait until nothing that was read from it is on its way to the target, and
    no function is at work. Raises Stopped.
    """
    with closing(run.applier()) as applier:
        applier.quiet()


def _apply_until(run: Run, applier: Applier | Sender, done: Callable[[], bool]) -> None:
    settling = Settling(run, applier.quiet)
    pruned_at = time.monotonic()
    try:
        while not run.stop.is_set():
            run.claim.sure()  # also where nothing is written: it should be known that somebody else took over
            settling.step()  # between two batches: what it reads and writes is in order with the applier's
            if done() and not settling.pending:
                applier.check_end()
                break
            if not applier.step():
                applier.idle()
            if time.monotonic() - pruned_at > PRUNE_SECONDS:
                _prune_applied(run)
                pruned_at = time.monotonic()
    except Stopped:
        pass  # in the middle of a batch: the Checkpoint stands before it, and it will be repeated


class Follower:
    """``follow`` in a thread, beside a verification."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._done = threading.Event()
        self._failure: BaseException | None = None
        self._thread = Thread(self._follow, "apply")

    def __enter__(self) -> Follower:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        if error is not None:
            self._run.stop.set()  # else a target that does not answer would be waited for
        self._thread.join()
        ours = error is not None and isinstance(self._failure, Stopped)  # it says nothing of what happened
        if self._failure and not ours:
            raise self._failure

    def _follow(self) -> None:
        try:
            follow(self._run, self._done.is_set)
        except BaseException as error:
            self._failure = error
            self._run.stop.set()


def _prune_applied(run: Run) -> None:
    """Remove the segments that the saved Checkpoint has passed: nobody will ask for them again."""
    if run.checkpoints.now.applied is not None:
        prune(run.folder.log, run.checkpoints.now.applied)
