"""Running out of memory: the many errors by which it shows. And how often Python looks for garbage."""

from __future__ import annotations

import atexit
import errno
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from whimbrel.errors import OutOfMemory

_RARELY = 100_000, 20, 100  # objects, and rounds of younger ones
MESSAGE = "the memory is used up"
HINT = (
    "Give the process more, or lower chunk_rows, connections or concurrency. Where DuckDB has no more, raise "
    "warehouse.memory. The same command continues from here."
)
# Of the loader, for a library that is imported when it is first needed; of threading; of CPython where a call's frame
# has no room.
_SAID = {
    ImportError: ("failed to map segment", "annot allocate memory"),
    RuntimeError: ("can't start new thread",),
    SystemError: ("returned NULL without setting an exception", "error return without exception set"),
}
# Libraries that have an error of their own for it, by the module that it is from: not imported for this.
_SAID_BY_LIBRARIES = {
    "zstandard": "not enough memory",
    "ssl": "malloc failure",
    "duckdb": "failed to allocate",
    "orjson": "not enough memory to allocate buffer",
}


def out_of_memory(error: BaseException | None) -> OutOfMemory | None:
    """The error to raise or report where ``error``, or one that it came from, is for want of memory; else None."""
    for each in _where_it_came_from(error):
        if isinstance(each, OutOfMemory):
            return each
        if _is_for_want_of_memory(each):
            return OutOfMemory(MESSAGE, hint=HINT)
    return None


def _is_for_want_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    library = type(error).__module__.partition(".")[0].removeprefix("_")
    said = _SAID_BY_LIBRARIES.get(library)
    if said and said in str(error).lower():
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return any(isinstance(error, kind) and any(part in str(error) for part in parts) for kind, parts in _SAID.items())


def release(error: BaseException | None) -> None:
    """Let go what the frames hold in which ``error``, and those that it came from, were raised."""
    for each in _where_it_came_from(error):
        each.__traceback__ = None


def _where_it_came_from(error: BaseException | None) -> Iterator[BaseException]:
    """``error`` first. One that is raised again, while another is handled that came from it, leads back to itself."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


@contextmanager
def few_collections() -> Iterator[None]:
    """Rows and items by the ten thousand are made and let go again; looking for cycles among them finds none."""
    before = gc.get_threshold()
    gc.set_threshold(*_RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def few_collections_to_the_end() -> None:
    """The same for the rest of the process, also for what a command imports. At its end Python looks through all
    modules before they go, which takes a quarter of a second where there are many: it passes over them.
    """
    gc.freeze()  # what is there stays, and is not counted any more
    gc.set_threshold(*_RARELY)
    atexit.register(_pass_over)


def _pass_over() -> None:
    if "duckdb" not in sys.modules:  # which would print what it finds left
        gc.freeze()
