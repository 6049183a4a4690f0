"""What the console does for a person, each in a thread: it goes on when the page is closed, and its end is kept."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from whimbrel.errors import Locked, WhimbrelError
from whimbrel.memory import out_of_memory
from whimbrel.migration.live import Update
from whimbrel.threads import Thread

MOST_MESSAGES = 500
log = logging.getLogger("whimbrel.console")


@dataclass
class Work:
    """``do`` is given this, and returns a result that can be made JSON. ``steers``: it changes something on one of the
    sides or in the state folder; one such work is done at a time.
    """

    name: str
    do: Callable[[Work], Any]
    steers: bool
    changed: Callable[[], None]
    began: float = field(default_factory=time.time)
    ended: float | None = None
    messages: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=MOST_MESSAGES))
    figures: dict[str, Any] | None = None
    result: Any = None
    error: dict[str, str] | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    def tell(self, update: Update) -> None:
        """Of a run: a message stays, figures are replaced."""
        if update.message:
            self.say(update.message)
        self.figures = update.to_dict()
        self.changed()

    def say(self, message: str) -> None:
        """Also in the log."""
        log.info("said", extra={"text": message})
        self.note(message)

    def note(self, message: str) -> None:
        self.messages.append((time.time(), message))
        self.changed()

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "began": self.began,
            "ended": self.ended,
            "stopping": self.stop.is_set(),
            "messages": [{"time": at, "text": text} for at, text in list(self.messages)],
            "figures": self.figures,
            "result": self.result,
            "error": self.error,
        }


class WorkList:
    """The newest work of each name. ``changed`` is called in any thread, as often as one of them has something new."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._works: dict[str, Work] = {}
        self._threads: list[Thread] = []
        self._lock = threading.Lock()

    def start(self, name: str, do: Callable[[Work], Any], *, steers: bool) -> None:
        """Raises Locked while one of this name, or another one that steers, is under way."""
        with self._lock:
            for each in self._works.values():
                if each.ended is None and (each.name == name or (steers and each.steers)):
                    hint = "Wait until it has ended, or stop it."
                    raise Locked(f"{each.name} is under way already", place="console", hint=hint)
            work = self._works[name] = Work(name, do, steers, self._changed)
            thread = Thread(partial(_done, work), f"console {name}")
            self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()
        self._changed()

    def stop(self, name: str) -> None:
        """At a safe place; nothing happens if no such work is under way."""
        if work := self._works.get(name):
            work.stop.set()
            self._changed()

    def close(self, seconds: float) -> None:
        """Stop all, and wait so long for their ends."""
        for work in list(self._works.values()):
            work.stop.set()
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    @property
    def steering(self) -> str:
        """What is under way that changes something, or ""."""
        return next((each.name for each in list(self._works.values()) if each.steers and each.ended is None), "")

    def to_list(self) -> list[dict[str, Any]]:
        return [each.to_dict() for each in list(self._works.values())]


def _done(work: Work) -> None:
    try:
        work.result = work.do(work)
    except Exception as error:
        work.error = error_words(error)
        log.error(f"{work.name}, in the console, ended by an error", extra={"reason": str(error)})
    finally:
        work.ended = time.time()
        work.changed()


def error_words(error: Exception) -> dict[str, str]:
    """An error as the page shows it: never a traceback. What is nobody else's fault is named as a bug."""
    if used_up := out_of_memory(error):
        error = used_up
    if isinstance(error, WhimbrelError):
        said = {"error": type(error).__name__, "place": error.place, "message": error.message, "hint": error.hint}
        return {name: text.strip() for name, text in said.items()}
    log.error("a bug in whimbrel", exc_info=error)
    message, hint = f"a bug in whimbrel: {type(error).__name__}", "Please report it with whimbrel.log."
    return {"error": "InternalError", "place": "", "message": message, "hint": hint}
