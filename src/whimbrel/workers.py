"""Worker processes: the one way in which whimbrel uses more than one core.

A worker is a new interpreter and no fork, since this process has threads and connections. It is told once what it is
for, then does one job after the other, and tells what came of each. What it is told, and tells, is pickled: both ends
are ours, and nobody else has the connection between them.

No worker outlives its parent. It ends at once when the connection does, which is when the parent has ended in whatever
way; there is no moment at which that could be missed. Until it is gone it keeps open what it was given to ``keep``:
with the descriptor of a lock, that lock is free only when the parent and all of its workers are gone.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, TypeVar

from whimbrel.errors import Stopped, WorkerLost
from whimbrel.memory import few_collections
from whimbrel.threads import Thread

Job = TypeVar("Job")
Told = TypeVar("Told")

Tell = Callable[[Told], None]
Do = Callable[[Job, Tell[Told]], None]
Begin = Callable[[Any, threading.Event], Do[Job, Told]]

LOOK = 0.1  # seconds between looks at a stop
ENDS_WITHIN = 35.0  # seconds for what is under way when a worker is asked to stop: calls give up before that
_GRANTED = Path("/sys/fs/cgroup/cpu.max")
_STOP = "stop"
_TOLD, _DONE, _FAILED = "told", "done", "failed"


def processes(asked: int) -> int:
    """How many may work for one command: so many as were ``asked`` for, or for 0 one a core that this process may use,
    by its affinity and by what its container is granted.
    """
    if asked:
        return asked
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        granted, period = _GRANTED.read_text().split()
        return max(1, min(allowed, int(granted) // int(period)))
    except (OSError, ValueError):  # there is none, or "max"
        return allowed


class Workers(Generic[Job, Told]):
    """A worker for each of ``settings``, which is for ``begin(setting, stop)``: what that gives does the jobs.

    ``begin`` is a function of a module. ``stop`` is told to the workers, too. ``keep`` are descriptors that each worker
    has open while it lives. As a context, it ends the workers in any case: what they have under way is waited for.
    """

    def __init__(
        self,
        begin: Begin[Job, Told],
        settings: Sequence[Any],
        stop: threading.Event,
        *,
        keep: Sequence[int] = (),
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        """``meanwhile`` is called ten times a second or oftener while workers are waited for, and may raise."""
        self._begin, self._settings, self._stop = begin, settings, stop
        self._keep, self._meanwhile = tuple(keep), meanwhile
        self._all: list[_Worker] = []

    def __enter__(self) -> Workers[Job, Told]:
        try:
            for setting in self._settings:
                self._all.append(_Worker((self._begin, setting), self._keep))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What a worker has sent may still arrive after it was killed: so it has the time to hear the answer."""
        try:
            self._ask_to_stop()
            until = time.monotonic() + ENDS_WITHIN
            for worker in self._all:
                worker.finish(until)
        finally:
            for worker in self._all:
                worker.end()
            self._all.clear()

    def answers(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Told]]:
        """Have every job done, and yield what is told, with the job.

        A job is taken from ``jobs`` when a worker has fewer than two: so none of them waits while the caller is busy
        with what was told. The first error ends it: no job begins after it, those under way are asked to stop, what
        they tell until then is yielded, then the error is raised. Raises what a job raised, WorkerLost where a worker
        ended by itself, and Stopped if ``stop`` was set.
        """
        left = iter(jobs)
        failure: BaseException | None = None
        while True:
            if failure is None and not self._stop.is_set():
                self._hand_out(left)
            else:
                self._ask_to_stop()
            busy = {worker.connection: worker for worker in self._all if worker.jobs}
            if not busy:
                break
            self._meanwhile()
            for connection in wait(list(busy), LOOK):
                worker = busy[connection]  # type: ignore[index]
                job = worker.jobs[0]
                try:
                    told = worker.receive()
                except Exception as error:
                    failure = failure or error
                    self._all.remove(worker)
                    worker.end()
                else:
                    if told:
                        yield job, told[0]
        if failure is not None:
            raise failure
        if self._stop.is_set():
            raise Stopped("asked to stop before this was done")

    def _hand_out(self, left: Iterator[Job]) -> None:
        for most in (1, 2):
            for worker in self._all:
                if len(worker.jobs) < most:
                    for job in left:
                        worker.give(job)
                        break
                    else:
                        return

    def _ask_to_stop(self) -> None:
        for worker in self._all:
            worker.ask_to_stop()


class _Worker:
    """One of them, as its parent has it."""

    def __init__(self, purpose: tuple[Any, Any], keep: tuple[int, ...]) -> None:
        self.jobs = deque[Any]()  # what it does, and what it will do next
        self._asked = False
        self.connection, theirs = Pipe()
        try:
            # Not what lies in the current folder is imported; and what the terminal interrupts is the parent.
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", f"from {__name__} import run; run()"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=keep,
            )
        except BaseException:
            self.connection.close()
            raise
        finally:
            theirs.close()
        try:
            self._send(purpose)
        except BaseException:  # what it is for cannot be sent
            self.end()
            raise

    def give(self, job: Any) -> None:
        self.jobs.append(job)
        self._send((job,))

    def receive(self) -> tuple[Any, ...]:
        """What it tells next, () where that is the end of the job. Raises what the job raised, and WorkerLost."""
        try:
            kind, what = pickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            raise _lost(self.process.wait()) from None
        if kind == _TOLD:
            return (what,)
        if kind == _FAILED:
            self.jobs.clear()
            raise _as_raised(*what)
        self.jobs.popleft()
        return ()

    def ask_to_stop(self) -> None:
        if self.jobs and not self._asked:
            self._asked = True
            self._send(_STOP)

    def finish(self, until: float) -> None:
        """Wait for the end of its jobs, whatever it is."""
        with suppress(Exception):
            while self.jobs and self.connection.poll(max(0.0, until - time.monotonic())):
                self.receive()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.connection.close()

    def _send(self, message: Any) -> None:
        data = pickle.dumps(message)
        with suppress(OSError):  # it has ended: so says what is received from it
            self.connection.send_bytes(data)


def run() -> None:
    """The process that is a worker."""
    parent = Connection(os.dup(0))
    stop, jobs = threading.Event(), SimpleQueue[tuple[Any]]()

    def tell(kind: str, what: Any = None) -> None:
        parent.send_bytes(pickle.dumps((kind, what)))

    def listen() -> None:
        try:
            while True:
                message = pickle.loads(parent.recv_bytes())
                stop.set() if message == _STOP else jobs.put(message)
        finally:
            os._exit(1)  # the parent has ended, or was never as it should be

    try:
        begin, setting = pickle.loads(parent.recv_bytes())
        Thread(listen, "parent").start()
        with few_collections():
            do = begin(setting, stop)
            while True:
                (job,) = jobs.get()
                if stop.is_set():
                    raise Stopped("asked to stop before this was begun")
                do(job, lambda what: tell(_TOLD, what))
                del job
                tell(_DONE)
    except BaseException as error:
        with suppress(OSError):
            tell(_FAILED, _to_raise(error))


def _to_raise(error: BaseException) -> tuple[type[BaseException], tuple[Any, ...], dict[str, Any], str]:
    """The error for the other side. What cannot be sent of it, or should not end the parent, is said."""
    where = "".join(traceback.format_exception(error))
    found = (type(error), error.args, error.__dict__, where)
    with suppress(Exception):
        pickle.loads(pickle.dumps(found))
        if isinstance(error, Exception):
            return found
    return RuntimeError, (f"{type(error).__name__}: {error}",), {}, where


def _as_raised(
    kind: type[BaseException], arguments: tuple[Any, ...], state: dict[str, Any], where: str
) -> BaseException:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(state)
    error.add_note(f"In a worker process:\n{where}")  # which only a traceback shows
    return error


def _lost(code: int) -> WorkerLost:
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
    return WorkerLost(
        f"a worker process {how} before its work was done",
        hint="If the machine was out of memory, give it more, or set fewer `workers` in [run]. Then run the same "
        "command again: it continues from what was saved.",
    )
