"""Which path means what, below the path that one console has for itself (``Entrance.home``):

=====================  =====================================================================================
GET  /open/TOKEN       a link: opens one browser
GET  (home)            the page, and its files by their names
GET  start             all that the page shows first; ``stream``: what is new since
GET  events, figures, letters, differences    more of each
POST do/NAME           begins an action; ``stop/NAME`` ends it at a safe place
POST ask/NAME          a question that is answered at once
=====================  =====================================================================================
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import orjson

from whimbrel.api import looking
from whimbrel.console.actions import ACTIONS
from whimbrel.console.asks import SAVES, SqlBox, asks
from whimbrel.console.entrance import OPEN, Entrance
from whimbrel.console.news import News, seen_in
from whimbrel.console.pages import RULES, html, page_files
from whimbrel.console.works import WorkList, error_words
from whimbrel.errors import UserError, WhimbrelError
from whimbrel.prediction.serve.listener import Request
from whimbrel.prediction.serve.responses import Response
from whimbrel.project import Project
from whimbrel.threads import in_thread

Asked = Mapping[str, str]
Handled = Response | Coroutine[Any, Any, Response]
MOST_ASKED = 8  # questions that are answered at once


class Paths:
    """``project`` is what was read at the start, and ``read`` reads the file again. ``used`` is called when a link has
    been used.
    """

    def __init__(
        self,
        project: Project,
        read: Callable[[], Project],
        entrance: Entrance,
        works: WorkList,
        news: News,
        *,
        read_only: bool,
        used: Callable[[], None],
    ) -> None:
        self._project, self._read = project, read
        self._entrance, self._works, self._news = entrance, works, news
        self._read_only = read_only
        self._used = used
        self._files = page_files()
        self._box = SqlBox()
        self._asks = asks(self._box)
        self._asking = asyncio.Semaphore(MOST_ASKED)

    def handle(self, request: Request) -> Handled:
        if request.path.startswith(OPEN):
            return self._open(request.path.removeprefix(OPEN).decode("latin-1"))
        name = request.path.decode("latin-1").removeprefix(self._entrance.home)
        if request.method == b"POST":
            kind, _, what = name.partition("/")
            return self._posted(kind, what, request.body)
        if request.method not in (b"GET", b"HEAD"):
            return said(405, error_words(UserError("this path is read with GET")))
        if name in self._files:
            return self._files[name]
        if name == "stream":
            asked = _query(request)
            last = request.fields.get(b"last-event-id", b"").decode("latin-1") or asked.get("after", "")
            return self._news.next(seen_in(last))
        if name == "start":
            return self._start()
        if name in SHOWN:
            return self._answer(partial(SHOWN[name], self._project, _query(request)))
        return said(404, error_words(UserError("there is nothing at this path")))

    def end(self) -> None:
        """The query that is being answered ends."""
        self._box.end()

    def _open(self, token: str) -> Response:
        cookie = self._entrance.admit(token)
        if not cookie:
            text = "A link opens one browser, once. The console has printed a new one where it was started."
            return html(403, "This link was used already", text)
        self._used()
        # Not by a redirect: after one from another site's page, the browser would keep the cookie to itself.
        home = self._entrance.home
        more = f'<meta http-equiv="refresh" content="0; url={home}"><link rel="icon" href="{home}icon.svg">'
        return html(200, "whimbrel", "Opening the console …", more, cookie)

    async def _start(self) -> Response:
        """``seen`` first: what is new after it is said by ``stream``, perhaps a second time, but never not at all."""
        self._news.asked.set()
        seen = self._news.now.text()
        events = await in_thread(lambda: looking.events(self._project))
        found = {
            "seen": seen,
            "overview": orjson.Fragment(self._news.overview),
            "works": orjson.Fragment(self._news.works),
            "events": [each.to_dict() for each in events],
            "actions": {name: {"words": each.words, "steers": each.steers} for name, each in ACTIONS.items()},
        }
        return said(200, found)

    def _posted(self, kind: str, what: str, body: bytes) -> Handled:
        try:
            given = orjson.loads(body or b"{}")
            if not isinstance(given, dict):
                raise UserError("the body must be a JSON object")
            if kind == "do" and what in ACTIONS:
                return self._do(what, given)
            if kind == "stop" and what in ACTIONS:
                self._refuse_read_only(ACTIONS[what].steers)
                self._works.stop(what)
                return said(200, {"stopping": what})
            if kind == "ask" and what in self._asks:
                self._refuse_read_only(what in SAVES)
                return self._answer(partial(self._asks[what], self._read, given))
        except orjson.JSONDecodeError:
            return said(400, error_words(UserError("the body is not JSON")))
        except WhimbrelError as error:
            return said(409, error_words(error))
        return said(404, error_words(UserError("there is nothing at this path")))

    def _do(self, name: str, given: dict[str, Any]) -> Response:
        action = ACTIONS[name]
        self._refuse_read_only(action.steers or action.names_a_file(given))
        action.refuse_unconfirmed(given)
        self._works.start(name, lambda work: action.do(self._read(), given, work), steers=action.steers)
        return said(200, {"started": name})

    def _refuse_read_only(self, steers: bool) -> None:
        if steers and self._read_only:
            hint = "Start it without --read-only to steer."
            raise UserError("this console is read-only", place="console", hint=hint)

    async def _answer(self, do: Callable[[], Any]) -> Response:
        async with self._asking:
            try:
                return said(200, await in_thread(do))
            except Exception as error:
                return said(409, error_words(error))


def said(status: int, found: Any) -> Response:
    return Response(status, orjson.dumps(found, default=str, option=orjson.OPT_NON_STR_KEYS), "application/json", RULES)


def _events(project: Project, asked: Asked) -> Any:
    found = looking.events(project, before=int(_number(asked, "before")) if "before" in asked else None)
    return [each.to_dict() for each in found]


def _figures(project: Project, asked: Asked) -> Any:
    return looking.figures(project, since=_number(asked, "since"))


def _letters(project: Project, asked: Asked) -> Any:
    letters, following = looking.letters(project, after=int(_number(asked, "after")))
    return {"letters": letters, "next": following}


def _differences(project: Project, asked: Asked) -> Any:
    return looking.last_verification(project)


SHOWN = {"events": _events, "figures": _figures, "letters": _letters, "differences": _differences}


def _query(request: Request) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(request.query.decode("latin-1")).items()}


def _number(asked: Asked, name: str) -> float:
    """0 where it is not given. Raises UserError."""
    try:
        found = float(asked.get(name, 0))
    except ValueError:
        found = -1.0
    if not 0 <= found < 1 << 53:
        raise UserError(f"{name} must be a number, 0 or more")
    return found
