"""Who is let in: by a link that opens one browser, and from then on by that browser's cookie.

A cookie goes to every port of this machine that a browser asks by the same name. So it is bound to a path that nobody
else knows (``home``): a server of somebody else on another port is never sent it. What a page of another site could
send in somebody's name is refused by its Host, its Origin, and what the browser says of where it came from.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping, Sequence

from whimbrel.prediction.serve.access import AccessRules, Doors
from whimbrel.prediction.serve.listener import Local, RefusedRequest

COOKIE = "whimbrel"
MOST_SESSIONS = 32
OPEN = b"/open/"  # before the token of a link
_OUR_PAGES = (b"", b"same-origin", b"none")  # "none": typed, or opened from elsewhere than a page
_NO_SESSION = "open the link that `whimbrel console` printed; each link opens one browser"


class Entrance:
    def __init__(self, host: str) -> None:
        self._doors = Doors(AccessRules(control=False), host)
        self._sessions: list[str] = []
        self.home = f"/{secrets.token_hex(16)}/"
        self.token = secrets.token_urlsafe(24)  # of the link that nobody has used yet

    def by_head(
        self,
        method: bytes,
        path: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        fields: Mapping[bytes, bytes],
        local: Local,
    ) -> RefusedRequest | None:
        """Why a request is refused of which only the head is known; a Gate."""
        if refused := self._doors.by_head(method, path, headers, fields, local):
            return refused._replace(why=refused.why.partition("; allowed_hosts")[0])
        if path.startswith(OPEN):
            return None if method == b"GET" else RefusedRequest(405, "open the link with a browser")
        if not path.startswith(self.home.encode()) or not self._has_session(fields.get(b"cookie", b"")):
            return RefusedRequest(401, _NO_SESSION)
        if fields.get(b"sec-fetch-site", b"") not in _OUR_PAGES:
            return RefusedRequest(403, "this was asked by a page of another site")
        if method == b"POST" and (b"origin" not in fields or fields.get(b"content-type") != b"application/json"):
            return RefusedRequest(403, "this was not asked by the console's own page")
        return None

    def admit(self, token: str) -> str:
        """The cookie's header line for a browser that shows the link's token, which is used up by that; "" for any
        other.
        """
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            return ""
        self.token = secrets.token_urlsafe(24)
        session = secrets.token_urlsafe(32)
        self._sessions = [*self._sessions[1 - MOST_SESSIONS :], session]
        return f"set-cookie: {COOKIE}={session}; Path={self.home}; HttpOnly; SameSite=Strict\r\n"

    def _has_session(self, cookie: bytes) -> bool:
        named = [each.strip().partition(b"=") for each in cookie.split(b";")]
        shown = [value for name, _, value in named if name == COOKIE.encode()]
        return any(hmac.compare_digest(value, each.encode()) for value in shown for each in self._sessions)
