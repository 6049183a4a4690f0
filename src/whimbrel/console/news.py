"""What is new, as server-sent events.

Each answer is whole: it waits until there is something, says it, and ends; the browser asks again with the id of the
last event, which says what it has. So a page that was away misses nothing, and a page that is closed holds nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, NamedTuple

import orjson

from whimbrel.console.pages import RULES
from whimbrel.migration.events import Event
from whimbrel.prediction.serve.responses import Response

PATIENCE = 2.0  # seconds that an answer waits for something new: a page that hears nothing for longer says so
RETRY = 100  # milliseconds until the browser asks again
KEPT = 1_000  # events, for pages that were away for a moment


class Seen(NamedTuple):
    """What a page has: the number of the overview and of the works, and up to which place in the log."""

    overview: int = 0
    works: int = 0
    log: int = 0

    def text(self) -> str:
        return ".".join(map(str, self))


class News:
    """Used by the event loop's thread alone."""

    def __init__(self) -> None:
        self.now = Seen(1, 1, 0)
        self.overview: bytes = b"null"
        self.works: bytes = b"[]"
        self.asked = asyncio.Event()  # somebody waits for something new
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._news = asyncio.Event()
        self._ended = False

    def put_overview(self, overview: dict[str, Any]) -> None:
        data = orjson.dumps(overview, default=str)
        if data != self.overview:
            self.overview = data
            self._is_new(self.now._replace(overview=self.now.overview + 1))

    def put_works(self, works: list[dict[str, Any]]) -> None:
        self.works = orjson.dumps(works, default=str)
        self._is_new(self.now._replace(works=self.now.works + 1))

    def put_events(self, events: list[Event], place: int) -> None:
        if place != self.now.log:
            self._events.extend(events)
            self._is_new(self.now._replace(log=place))

    def end(self) -> None:
        """Whoever waits is answered now."""
        self._ended = True
        self._news.set()

    async def next(self, seen: Seen) -> Response:
        """What a page that has ``seen`` lacks, as soon as there is something."""
        self.asked.set()
        if seen == self.now and not self._ended:
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._news.wait()
            except TimeoutError:
                pass
        parts = [f"retry: {RETRY}\n\n".encode()]
        if seen.overview != self.now.overview:
            parts.append(_event("overview", self.overview))
        if seen.works != self.now.works:
            parts.append(_event("works", self.works))
        if seen.log != self.now.log:
            new = [each.to_dict() for each in self._events if each.place >= seen.log]
            parts.append(_event("log", orjson.dumps(new)))
        parts.append(b"id: %s\nevent: seen\ndata: 1\n\n" % self.now.text().encode())
        return Response(200, b"".join(parts), "text/event-stream", RULES)

    def _is_new(self, now: Seen) -> None:
        self.now = now
        self._news.set()
        self._news = asyncio.Event()


def seen_in(text: str) -> Seen:
    """What an event's id says; for any other text, that a page has nothing."""
    numbers = text.split(".")
    if len(numbers) == 3 and all(each.isascii() and each.isdigit() and len(each) < 20 for each in numbers):
        return Seen(*map(int, numbers))
    return Seen()


def _event(name: str, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data)
