"""What happens to a command at a durable step: in its own process, before whimbrel runs in it."""

from __future__ import annotations

import errno
import faulthandler
import json
import os
import signal
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

KILL, CTRL_C, DISK_FULL = "kill", "ctrl-c", "disk full"


class Step(NamedTuple):
    """At the ``number``-th durable step of a command, before it is done or after, SIGKILL goes to ``victim``: a
    process's number, 0 for the command itself. Or else the command gets a Ctrl-C; or its disk has no room from then on.
    """

    number: int
    before: bool
    victim: int = 0
    how: str = KILL


def prepare(step: str, struck: str) -> None:
    faulthandler.enable(all_threads=True)
    if found := json.loads(step):
        arm(Step(*found), Path(struck))


DURABLE = [  # by module of whimbrel.handover; and each COMMIT of a step
    ("state", "save"),
    ("by_triggers", "make_triggers"),
    ("by_triggers", "drop_triggers"),
    ("by_revoke", "note_revoked"),
    ("by_revoke", "revoke"),
    ("by_revoke", "give_back"),
    ("fence", "run_command"),
    ("route", "write_route"),
    ("streams", "mark_shards"),
    ("switching", "announce"),
    ("returning", "announce"),
    ("rollback", "announce"),
    ("reversing", "close_gate"),
    ("reversing", "reconcile"),
    ("rollback", "continue_from"),
]


def strike(step: Step, struck: Path) -> None:
    def no_room(_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    struck.touch()
    if step.how == DISK_FULL:
        setattr(os, "fsync", no_room)  # noqa: B010
        setattr(os, "fdatasync", no_room)  # noqa: B010
    else:
        os.kill(step.victim or os.getpid(), signal.SIGINT if step.how == CTRL_C else signal.SIGKILL)


def arm(step: Step, struck: Path) -> None:
    left, lock = step.number, threading.Lock()

    def reached() -> bool:
        nonlocal left
        with lock:
            left -= 1
            return left == 0

    def counted(module: Any, name: str, counts: Callable[..., bool] = lambda *_: True) -> None:
        real = getattr(module, name)

        def call(*arguments: Any, **more: Any) -> Any:
            now = counts(*arguments) and reached()
            if now and step.before:
                strike(step, struck)
            done = real(*arguments, **more)
            if now and not step.before:
                strike(step, struck)
            return done

        setattr(module, name, call)

    for module, name in DURABLE:
        counted(import_module(f"whimbrel.handover.{module}"), name)
    counted(import_module("whimbrel.handover.state"), "execute", lambda _, statement, *more: statement == "COMMIT")
