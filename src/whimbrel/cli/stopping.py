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
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any, NoReturn

from whimbrel import memory
from whimbrel.memory import out_of_memory
from whimbrel.threads import Thread

FAILED, INTERRUPTED = 3, 130  # exit codes
ENDS_WITHIN = 8.0  # seconds from the first signal
LOOK = 0.5  # seconds
SIGNALS = (signal.SIGINT, signal.SIGTERM)
_STOPPED = b"\nwhimbrel: stopped at once; the same command continues from what was saved.\n"
_USED_UP = f"\nwhimbrel: {memory.MESSAGE}. {memory.HINT}\n".encode()
_SHOW_CURSOR = b"\x1b[?25h"  # the live display hides it


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that the first signal sets, so that work ends at a safe place. To be entered in the main thread.

    A thread sets it, told by the interpreter's own handler through a pipe: a handler in Python may run while the main
    thread holds the lock of that very event, and would wait for it for ever; and it does not run at all while the main
    thread is within a long call of a library.
    """
    stop = threading.Event()
    told, tell = os.pipe()
    os.set_blocking(tell, False)  # as the interpreter asks for
    watching = Thread(partial(_watch, told, stop), "signals")
    watching.start()  # now: later there may be no memory for a thread
    with _handled(_noted, *SIGNALS), _threads_that_run_out_of_memory_end_all():
        before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
        try:
            yield stop
        finally:
            signal.set_wakeup_fd(before)
            os.close(tell)
            watching.join()
            os.close(told)


@contextmanager
def at_once_without_memory() -> Iterator[None]:
    """Should even what is done within fail for want of memory."""
    try:
        yield
    except MemoryError:
        _end_at_once(FAILED, _USED_UP)


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], Any], *signals: signal.Signals) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread has signals
        return
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


def _watch(told: int, stop: threading.Event) -> None:
    """Until the work is over, which closes the pipe."""
    asked, ends_at = 0, float("inf")
    try:
        while (more := _signals(told)) is not None:
            asked += more
            if asked:
                stop.set()
                ends_at = min(ends_at, time.monotonic() + ENDS_WITHIN)
            if asked > 1 or time.monotonic() >= ends_at:
                _end_at_once(INTERRUPTED, _STOPPED)
    except BaseException:  # for want of memory: even the frame of a function of ours needs some
        if select.select((), (2,), (), 0)[1]:
            os.write(2, _USED_UP)
        os._exit(3)


def _signals(told: int) -> int | None:
    """How many more came, in LOOK seconds at most; None when the pipe is closed."""
    if not select.select([told], [], [], LOOK)[0]:
        return 0
    numbers = os.read(told, 64)
    return sum(number in SIGNALS for number in numbers) if numbers else None


def _end_at_once(code: int, text: bytes) -> NoReturn:
    where = sys.stderr.fileno()
    if select.select([], [where], [], 0)[1]:  # else whoever reads it has stopped reading
        os.write(where, _SHOW_CURSOR + text if os.isatty(where) else text)
    os._exit(code)
