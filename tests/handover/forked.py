"""whimbrel's commands as processes that are forked from one that has everything imported: to start one takes
milliseconds, so that many can be killed. A ``Step`` says at which durable step what happens.
"""

from __future__ import annotations

import errno
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from tests.e2e.work import PATIENCE, Work

KILL, CTRL_C, DISK_FULL = "kill", "ctrl-c", "disk full"


class Step(NamedTuple):
    """At the ``number``-th durable step of a command, before it is done or after, SIGKILL goes to ``victim``: a
    process's number, 0 for the command itself. Or else the command gets a Ctrl-C; or its disk has no room from then on.
    """

    number: int
    before: bool
    victim: int = 0
    how: str = KILL


@dataclass
class Ended:
    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The name of the error that it ended with."""
        return self.err.partition("error[")[2].partition("]")[0]


class Commands:
    """The process from which the others are forked. It is told what to run by lines of JSON, answers with the number
    of the process, and notes how each ended.
    """

    def __init__(self) -> None:
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.handover.forked"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def fork(self, order: dict[str, Any]) -> int:
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """Kills what still runs, too."""
        self._process.communicate()


class Command:
    """One that runs."""

    def __init__(self, pid: int, said: Path) -> None:
        self._pid, self._said = pid, said

    @property
    def struck(self) -> bool:
        """Whether it came to its ``Step``."""
        return (self._said / "struck").exists()

    @property
    def running(self) -> bool:
        return not (self._said / "code").exists()

    def said(self) -> str:
        return (self._said / "err").read_text()

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def interrupt(self) -> None:
        self._signal(signal.SIGINT)

    def wait(self, seconds: float = PATIENCE) -> Ended:
        end = time.monotonic() + seconds
        while self.running:
            if time.monotonic() > end:
                self._signal(signal.SIGABRT)  # faulthandler says where it was
                time.sleep(1)
                raise AssertionError(f"the command did not end:\n{self.said()}")
            time.sleep(0.005)
        return Ended(int((self._said / "code").read_text()), (self._said / "out").read_text(), self.said())

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._pid, number)


@dataclass
class ForkedWork(Work):
    """``Work`` whose commands are forked, once ``commands`` is set."""

    commands: Commands = field(init=False)
    forks: int = 0

    def fork(self, *arguments: str, step: Step | None = None) -> Command:
        self.forks += 1
        said = self.folder / "said" / f"{self.forks}-{arguments[0]}"
        said.mkdir(parents=True)
        for name in ("out", "err"):
            (said / name).touch()
        environment = os.environ | {"WHIMBREL_SOURCE_PASSWORD": self.source.password} | self.environment
        order = {"folder": str(self.folder), "environment": environment, "umask": umask(), "arguments": arguments}
        return Command(self.commands.fork(order | {"said": str(said), "step": step}), said)

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        ended = self.fork(*arguments).wait()
        assert ended.code == code, f"whimbrel {arguments} ended with {ended.code}\n{ended.out}\n{ended.err}"
        return subprocess.CompletedProcess(arguments, ended.code, ended.out, ended.err)


def umask() -> int:
    """Of this process, which its commands shall have."""
    now = os.umask(0o077)
    os.umask(now)
    return now


# -- in the process that is forked -----------------------------------------------------------------------------------


def serve() -> None:
    """Fork what is asked for until nobody asks any more."""
    selector, running = selectors.DefaultSelector(), dict[int, tuple[int, Path]]()
    selector.register(sys.stdin, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is not sys.stdin:
                selector.unregister(key.fileobj)
                noted(*running.pop(key.fd), key.fd)
            elif line := sys.stdin.readline():
                order = json.loads(line)
                if not (pid := os.fork()):
                    run(order)
                running[os.pidfd_open(pid)] = pid, Path(order["said"])
                selector.register(list(running)[-1], selectors.EVENT_READ)
                print(pid, flush=True)
            else:
                for pid, _ in running.values():
                    os.kill(pid, signal.SIGKILL)
                return


def noted(pid: int, said: Path, descriptor: int) -> None:
    os.close(descriptor)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    (said / "code.new").write_text(str(code))
    (said / "code.new").rename(said / "code")


def run(order: dict[str, Any]) -> NoReturn:
    import faulthandler

    from whimbrel.cli.main import main

    os.chdir(order["folder"])
    os.umask(order["umask"])
    os.environ.clear()
    os.environ.update(order["environment"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(Path(order["said"], name), os.O_WRONLY | os.O_APPEND), number)
    faulthandler.enable(all_threads=True)
    code = 1
    try:
        if order["step"]:
            arm(Step(*order["step"]), Path(order["said"], "struck"))
        main(order["arguments"])
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


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


if __name__ == "__main__":
    import tests.handover.preloaded  # noqa: F401

    serve()
