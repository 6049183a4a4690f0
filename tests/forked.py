"""``python -m whimbrel …`` as a process that is not started but forked, from one that has imported what commands need:
most of what a short command costs is its start. In all else it is as if it had been started: arguments, folder,
environment, open files, signals, and the end of the interpreter. Whoever asks for it has a Popen.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

ROOT = Path(__file__).parents[1]
READ_AT_THE_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "OMP_")  # variables, by the interpreter
LONGEST = 1 << 17  # bytes of an order


def can_fork(environment: Mapping[str, str]) -> bool:
    """Whether a process that is forked is as one that is started in ``environment``. `make coverage` starts them."""
    read = {name for name in {*environment, *os.environ} if name.startswith(READ_AT_THE_START)}
    return all(environment.get(name) == os.environ.get(name) for name in read) and not any(
        name.startswith("COVERAGE_") for name in environment
    )


def command(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], **more: Any
) -> subprocess.Popen[str]:
    """``whimbrel`` with ``arguments``: forked where it is then as one that is started. ``more`` is Popen's ``stdin``,
    ``stdout`` and ``stderr``.
    """
    if can_fork(environment):
        return Forked(arguments, folder, environment, **more)
    started = [sys.executable, "-m", "whimbrel", *arguments]
    return subprocess.Popen(started, cwd=folder, env=environment, text=True, **more)


class _Order(NamedTuple):
    arguments: list[str]
    folder: str
    environment: dict[str, str]
    first: list[str]
    umask: int


class Forked(subprocess.Popen[str]):
    """``arguments`` are those of whimbrel; ``more`` is Popen's ``stdin``, ``stdout`` and ``stderr``. ``first`` is
    called before them in its process: ``module:function``, and what that is given.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        first: Sequence[str] = (),
        **more: Any,
    ) -> None:
        self._first = first
        self._ended = -1  # a pipe from which its wait status is read
        super().__init__(arguments, cwd=folder, env=environment, text=True, **more)

    # As Popen's own, which these replace, are called and leave things behind.

    def _execute_child(self, arguments: Sequence[str], *given: Any) -> None:
        folder, environment, pipes = given[4], given[5], given[9:15]
        p2cread, _, _, c2pwrite, _, errwrite = pipes
        self._ended, told = os.pipe()
        standard = [mine if theirs == -1 else theirs for mine, theirs in enumerate((p2cread, c2pwrite, errwrite))]
        order = _Order(list(arguments), str(folder), dict(environment), list(self._first), _umask())
        try:
            self.pid = _origin().fork(order, [*standard, told])
        finally:
            os.close(told)
            self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]
        self._child_created = True

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        lock = self._waitpid_lock  # type: ignore[attr-defined]
        if self.returncode is None and lock.acquire(blocking=False):  # else another thread waits for it
            try:
                if self.returncode is None:
                    pid, status = self._try_wait(os.WNOHANG)
                    if pid:
                        self._handle_exitstatus(status)  # type: ignore[attr-defined]
            finally:
                lock.release()
        return self.returncode

    def _try_wait(self, flags: int) -> tuple[int, int]:
        with selectors.DefaultSelector() as selector:
            selector.register(self._ended, selectors.EVENT_READ)
            if not selector.select(0 if flags else None):
                return 0, 0  # it has not ended
        status = os.read(self._ended, 20)
        os.close(self._ended)
        return self.pid, int(status)


class _Origin:
    """The process from which they are forked. It ends with this one, and so do all that it forked."""

    def __init__(self) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._one_at_a_time = threading.Lock()
        with theirs:
            command = [sys.executable, "-m", "tests.forked", str(theirs.fileno())]
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
            )
        atexit.register(self._close)

    def fork(self, order: _Order, files: list[int]) -> int:
        with self._one_at_a_time:
            socket.send_fds(self._orders, [json.dumps(order).encode()], files)
            return int(self._orders.recv(LONGEST))

    def _close(self) -> None:
        self._orders.close()
        self._process.wait()


@cache
def _origin() -> _Origin:
    return _Origin()


def _umask() -> int:
    now = os.umask(0o077)
    os.umask(now)
    return now


# -- in the process that is forked -----------------------------------------------------------------------------------


def serve(orders: socket.socket) -> _Order:
    """Fork for each order; returns it in the process that is forked for it."""
    selector, running = selectors.DefaultSelector(), dict[int, tuple[int, int]]()
    selector.register(orders, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fd != orders.fileno():
                selector.unregister(key.fd)
                tell(key.fd, *running.pop(key.fd))
                continue
            text, files, *_ = socket.recv_fds(orders, LONGEST, 4)
            if not text:
                leave(running)
            if not (pid := os.fork()):
                selector.close()
                orders.close()
                for each in (*running, *(told for _, told in running.values()), files[3]):
                    os.close(each)
                for standard, file in enumerate(files[:3]):
                    os.dup2(file, standard)
                    os.close(file)
                return _Order(*json.loads(text))
            ended = os.pidfd_open(pid)
            running[ended] = pid, files[3]
            selector.register(ended, selectors.EVENT_READ)
            orders.send(str(pid).encode())
            for file in files[:3]:
                os.close(file)


def tell(ended: int, pid: int, told: int) -> None:
    os.close(ended)
    with suppress(BrokenPipeError):
        os.write(told, str(os.waitpid(pid, 0)[1]).encode())
    os.close(told)


def leave(running: dict[int, tuple[int, int]]) -> NoReturn:
    for pid, _ in running.values():
        os.kill(pid, signal.SIGKILL)
    sys.exit()


def become(order: _Order) -> None:
    """What ``python -m whimbrel`` finds, and its end."""
    import whimbrel.__main__ as program

    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(order.folder)
    os.umask(order.umask)
    os.environ.clear()
    os.environ.update(order.environment)
    time.tzset()
    if order.first:
        module, _, function = order.first[0].partition(":")
        getattr(import_module(module), function)(*order.first[1:])
    assert program.__file__
    sys.argv = [program.__file__, *order.arguments]
    sys.path[0] = order.folder
    sys.modules["__main__"] = program
    program.run()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a person's Ctrl-C is for who asked for the processes
    import tests.preloaded  # noqa: F401

    gc.collect()
    gc.freeze()
    become(serve(socket.socket(fileno=int(sys.argv[1]))))
