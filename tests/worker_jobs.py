"""What the workers of test_workers.py do, and a parent of theirs. Imported by processes of their own."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from whimbrel.checkpoint import RunLock
from whimbrel.errors import RequestRefused, Stopped
from whimbrel.workers import Do, Tell, Workers


class Unsendable(Exception):
    def __init__(self) -> None:
        super().__init__("cannot be sent")
        self.lock = threading.Lock()


def begin(setting: str, stop: threading.Event) -> Do[tuple[str, Any], Any]:
    def do(job: tuple[str, Any], tell: Tell[Any]) -> None:
        what, value = job
        if what == "refuse":
            raise RequestRefused("no such table", code="NotFound", place="orders", hint="Make it.")
        if what == "unsendable":
            raise Unsendable
        if what == "exit":
            sys.exit(7)
        if what == "wait":
            tell(os.getpid())
            stop.wait()
            tell("stopped")
            raise Stopped("asked to stop")
        if what == "die":
            tell("about to")
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "work":  # without an end, and without looking at ``stop``, in the interpreter or out of it
            Path(f"{value}.new").write_text(str(os.getpid()))
            Path(f"{value}.new").rename(value)
            while True:
                time.sleep(0.001)
        tell((setting, value))
        tell(value * 2)

    return do


def parent(folder: str) -> None:
    """Has one worker at work, which keeps the run lock, until it is killed itself."""
    lock = RunLock(Path(folder))
    with Workers(begin, ["x"], threading.Event(), keep=[lock.descriptor]) as workers:
        list(workers.answers([("work", f"{folder}/pid")]))
