"""Being asked to stop, by SIGINT (Ctrl-C) or SIGTERM: the work ends at a safe place, and in any case soon.

What is saved at any moment is what a process that is killed leaves, and the same command continues from there. So a
wait that does not end by itself (a source or a target that does not answer, a reader of our output that has stopped
reading) is cut off after ENDS_WITHIN, and by a second signal at once. Likewise where memory is used up, and what is
waited for will never happen.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any, NoReturn

from whimbrel import memory
from whimbrel.errors import Retryable, Stopped, WhimbrelError
from whimbrel.memory import out_of_memory
from whimbrel.threads import Thread

FAILED, INTERRUPTED = 3, 130  # exit codes
ENDS_WITHIN = 8.0  # seconds from the first signal
SIGNALS = (signal.SIGINT, signal.SIGTERM)
_STOPPED = b"\nwhimbrel: stopped at once; the same command continues from what was saved.\n"
_USED_UP = f"\nerror[OutOfMemory]: {memory.MESSAGE}\nhint: {memory.HINT}\n".encode()
_STDERR = 2
_SHOW_CURSOR = b"\x1b[?25h"  # the live display hides it


@contextmanager
def interruptible(ends_within: float = ENDS_WITHIN) -> Iterator[threading.Event]:
    """An event that the first signal sets, so that work ends at a safe place, within so many seconds. To be entered in
    the main thread. What fails from then on, and might succeed later, ends as Stopped.

    A thread sets it, told by the interpreter's own handler through a pipe: a handler in Python may run while the main
    thread holds the lock of that very event, and would wait for it forever; and it does not run at all while the main
    thread is within a long call of a library.
    """
    stop, asked = threading.Event(), threading.Event()
    told, tell = os.pipe()
    os.set_blocking(tell, False)  # as the interpreter asks for
    watching = Thread(partial(_watch, told, stop, asked, ends_within), "signals")
    watching.start()  # now: later there may be no memory for a thread
    with _handled(_noted, *SIGNALS), _threads_that_run_out_of_memory_end_all():
        before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
        try:
            yield stop
        except WhimbrelError as error:
            if asked.is_set() and isinstance(error, Retryable):
                raise Stopped("asked to stop", hint=f"Last: {error}") from error
            raise
        finally:
            signal.set_wakeup_fd(before)
            os.close(tell)
            watching.join()
            os.close(told)


@contextmanager
def signalled() -> Iterator[threading.Event]:
    """An event that a signal sets, for work that looks at it often, never waits for it, and ends in a time of its own.
    To be entered in the main thread.
    """
    stop = threading.Event()
    with _handled(lambda _signal, _frame: stop.set(), *SIGNALS):
        yield stop


@contextmanager
def at_once_without_memory() -> Iterator[None]:
    """Should even what is done within fail for want of memory."""
    try:
        yield
    except MemoryError:
        _end_at_once(FAILED, _USED_UP)


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], Any], *signals: signal.Signals) -> Iterator[None]:
    before = {each: signal.signal(each, handler) for each in signals}
    try:
        yield
    finally:
        for each, earlier in before.items():
            signal.signal(each, earlier)


def _noted(_signal: int, _frame: FrameType | None) -> None:
    """The interpreter has written it to the pipe."""


@contextmanager
def _threads_that_run_out_of_memory_end_all() -> Iterator[None]:
    """Nobody would do what the others wait for."""
    earlier = threading.excepthook

    def ended(arguments: Any) -> None:
        if out_of_memory(arguments.exc_value):
            _end_at_once(FAILED, _USED_UP)
        earlier(arguments)

    threading.excepthook = ended
    try:
        yield
    finally:
        threading.excepthook = earlier


def _watch(told: int, stop: threading.Event, asked: threading.Event, ends_within: float) -> None:
    """Until the work is over, which closes the pipe."""
    try:
        count = _came(told, None)
        if count is None:
            return
        asked.set()
        stop.set()
        if count > 1 or _came(told, ends_within) is not None:
            _end_at_once(INTERRUPTED, _STOPPED)
    except BaseException:  # for want of memory: even the frame of a function of ours needs some
        if select.select((), (_STDERR,), (), 0)[1]:
            os.write(_STDERR, _USED_UP)
        os._exit(FAILED)


def _came(told: int, within: float | None) -> int | None:
    """How many signals came; 0 after ``within`` seconds; None when the pipe is closed."""
    while select.select([told], [], [], within)[0]:
        numbers = os.read(told, 64)
        if not numbers:
            return None
        if count := sum(number in SIGNALS for number in numbers):
            return count
    return 0


def _end_at_once(code: int, text: bytes) -> NoReturn:
    if select.select([], [_STDERR], [], 0)[1]:  # else whoever reads it has stopped reading
        os.write(_STDERR, _SHOW_CURSOR + text if os.isatty(_STDERR) else text)
    os._exit(code)
