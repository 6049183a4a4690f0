"""Who may ask what of the server: by the name that they call it, and by the secret that they know.

Control needs its token wherever another machine can reach the server; predictions and everything that only shows
something need theirs where one is set, and control's token opens them too. Only /ping needs none. A secret is shown as
``Authorization: Bearer``, as the password of HTTP Basic (for browsers, and not for control), or not at all: it signs
the request (sigv4.py), as boto3 does with it as its secret key.

A page of another site in somebody's browser must not reach the server in his name: not by a form (its Origin), and not
by a name of its own that resolves to this machine (its Host, which must be in the list).
"""

from __future__ import annotations

import base64
import hmac
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from time import time
from urllib.parse import urlsplit

from whimbrel.errors import UserError
from whimbrel.prediction.serve import sigv4
from whimbrel.prediction.serve.listener import Local, RefusedRequest

KEY_ID = "whimbrel"
SHORTEST = 16  # characters of a token
ANY_HOST = "*"
_HOST = re.compile(rb"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::\d{1,5})?")
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_MOST_KNOWN = 256
# Of these only one could be honoured: which one would be a guess.
_ONCE = frozenset(
    (b"host", b"origin", b"authorization", b"content-type", b"content-encoding", b"accept", b"expect", b"x-amz-target")
)


@dataclass(frozen=True, slots=True)
class AccessRules:
    """The secrets, "" where there is none; ``key_id`` is the access key that goes with them in a signature."""

    control_token: str = ""
    predict_token: str = ""
    key_id: str = KEY_ID
    hosts: tuple[str, ...] = ()  # names by which the server may be called, besides the address it listens on
    control: bool = True  # whether control is offered at all

    def check(self, host: str | None) -> None:
        """Raises UserError where the server would be open to other machines, or a token is a guess."""
        for name, token in (("token", self.control_token), ("predict_token", self.predict_token)):
            if token and len(token) < SHORTEST:
                hint = "Make one with: openssl rand -hex 32"
                raise UserError(f"is shorter than {SHORTEST} characters", place=f"[serve] {name}", hint=hint)
        if self.control and not self.control_token and not is_local(host):
            raise UserError(
                f"other machines can reach {host or 'every address'}, and control calls would not need a token",
                place="[serve] host",
                hint="Set token_env or token_file in [serve] (make one: openssl rand -hex 32), or listen on 127.0.0.1.",
            )


def is_local(host: str | None) -> bool:
    """Whether only this machine reaches what listens there. Raises UserError for a name that is not known."""
    try:
        found = socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise UserError(
            f"the address is not known: {error}", place=f"host {host}", hint="Give another --host."
        ) from None
    return all(ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)


def is_control(method: bytes, path: bytes) -> bool:
    return method == b"POST" and path == b"/"


class Doors:
    """Lets a request in or not, first by its head alone, then, where it is signed, by all of it."""

    def __init__(self, access: AccessRules, host: str | None) -> None:
        self._access = access
        # Whether there is a secret to sign with, so that ``by_signature`` has to be asked.
        self.signed = bool(access.control_token or access.predict_token)
        names = (*_LOCAL_NAMES, host or "", *access.hosts)
        self._names = {name.lower().rstrip(".").strip("[]") for name in names} - {""}
        self._known: set[tuple[bytes, Local]] = set()

    def by_head(
        self,
        method: bytes,
        path: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        found: Mapping[bytes, bytes],
        local: Local,
    ) -> RefusedRequest | None:
        """``found`` has the last of ``headers`` of each name."""
        if len(found) != len(headers) and (name := _twice(headers)):
            return RefusedRequest(400, f"the header {name} appears twice")
        host = found.get(b"host", b"")
        if (host, local) not in self._known and (refused := self._host(host, local)):
            return refused
        if b"origin" in found and not _same_site(found[b"origin"], host):
            return RefusedRequest(403, f"a page from {_shown(found[b'origin'])} may not do this")
        secrets = self._secrets(method, path) if self.signed else []
        return _without_secret(found.get(b"authorization", b""), secrets, method, path) if secrets else None

    def by_signature(self, request: sigv4.Signed) -> str:
        """Why a request that ``by_head`` let in is refused after all, or ""."""
        secrets = self._secrets(request.method.encode(), request.path.encode("latin-1"))
        authorization = dict(request.headers).get("authorization", "")
        if not secrets or not authorization.startswith(sigv4.ALGORITHM):
            return ""
        return sigv4.fault(request, self._access.key_id, secrets, time())

    def _secrets(self, method: bytes, path: bytes) -> list[str]:
        """Those of which one must be shown; none where all may come in."""
        access = self._access
        if path == b"/ping":
            return []
        if is_control(method, path):
            return [access.control_token] if access.control_token else []
        return [each for each in (access.predict_token, access.control_token) if each] if access.predict_token else []

    def _host(self, host: bytes, local: Local) -> RefusedRequest | None:
        match = _HOST.fullmatch(host)
        name = match[1].decode().lower().rstrip(".").strip("[]") if match else ""
        if not match or (match[1][:1] == b"[" and not _is_address(name)):
            return RefusedRequest(400, f"the header Host is missing or is not a host: {_shown(host)}")
        allowed = name in self._names or ANY_HOST in self._names or name == local[0].lower()
        if not allowed:
            why = f"host {_shown(host)} is not a name of this server; allowed_hosts in [serve] lists them"
            return RefusedRequest(403, why)
        if len(self._known) < _MOST_KNOWN:
            self._known.add((host, local))
        return None


def _without_secret(authorization: bytes, secrets: Iterable[str], method: bytes, path: bytes) -> RefusedRequest | None:
    kind, _, shown = authorization.partition(b" ")
    kind, control = kind.lower(), is_control(method, path)
    if kind == sigv4.ALGORITHM.lower().encode():
        return None  # its body is needed to say
    if kind == b"basic" and not control:
        kind, shown = b"bearer", _password(shown)
    matches = [hmac.compare_digest(shown.strip(), each.encode()) for each in secrets]
    if kind == b"bearer" and any(matches):
        return None
    offered = "Bearer" if control else 'Bearer, Basic realm="whimbrel"'
    why = "the token is wrong" if authorization else "this needs a token: Authorization: Bearer …, or a signed request"
    return RefusedRequest(401, why, f"www-authenticate: {offered}\r\n")


def _password(shown: bytes) -> bytes:
    try:
        return base64.b64decode(shown.strip(), validate=True).partition(b":")[2]
    except ValueError:
        return b""


def _same_site(origin: bytes, host: bytes) -> bool:
    try:
        parts = urlsplit(origin.decode("latin-1"))
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.decode("latin-1").lower()


def _twice(headers: Sequence[tuple[bytes, bytes]]) -> str:
    seen: set[bytes] = set()
    for name, _ in headers:
        if name in seen and (name in _ONCE or name.startswith(b"x-amzn-sagemaker-")):
            return name.decode("latin-1")
        seen.add(name)
    return ""


def _is_address(name: str) -> bool:
    try:
        return bool(ip_address(name))
    except ValueError:
        return False


def _shown(value: bytes) -> str:
    return repr(value[:100].decode("latin-1"))
