"""The part of HTTP/1.1 that one POST to one host needs: kept connections, a length or chunks, nothing else.

Source: RFC 9112. http.client and urllib3 spend more time on a small answer than DynamoDB's own signing does.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from base64 import b64encode
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from whimbrel.errors import UserError

_READ = 1 << 16
_MAX_HEAD = 1 << 16
_HEX = b"0123456789abcdefABCDEF"


class HttpAnswer(NamedTuple):
    status: int
    body: bytes
    crc32: int | None  # DynamoDB's x-amz-crc32, where the server sent it
    keep: bool  # the connection may be used again


class Broken(Exception):
    """No whole answer came. ``unanswered``: not one byte of it."""

    def __init__(self, message: str, *, unanswered: bool = False) -> None:
        super().__init__(message)
        self.unanswered = unanswered


class Damaged(Broken):
    """Something came that is not a whole HTTP answer."""


class Connections:
    """Idle connections to one host, the last used first; as many come to be as calls are under way at once."""

    def __init__(self, url: SplitResult, ca_bundle: str | None, connect_timeout: float, timeout: float) -> None:
        self._address = (url.hostname or "", url.port or (443 if url.scheme == "https" else 80))
        self._tls = ssl.create_default_context(cafile=ca_bundle) if url.scheme == "https" else None
        self._proxy = _proxy_for(url)
        self._connect_timeout, self._timeout = connect_timeout, timeout
        self._idle: list[socket.socket] = []
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False
        self.unanswered: set[int] = set()  # threads in which a request had no answer, and may yet be carried out

    def exchange(self, request: bytes) -> HttpAnswer:
        """Send and receive. Raises Broken; UserError when the server's certificate is not trusted."""
        try:
            kept = self._idle.pop()
        except IndexError:
            return self._on(self._connect(), request)
        try:
            return self._on(kept, request)
        except Broken as error:
            if not error.unanswered or self._closed:
                raise
        self.unanswered.add(threading.get_ident())
        # The server closed the idle connection, or dies just now; a fresh connection finds out which.
        return self._on(self._connect(), request)

    def close(self) -> None:
        """Close the idle connections, and end the calls that wait on the others with Broken."""
        self._closed = True
        while self._idle:
            self._drop(self._idle.pop())
        with self._lock:
            busy = list(self._open)
        for connection in busy:  # closing would leave its thread in recv(); that thread closes it when it wakes
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _on(self, connection: socket.socket, request: bytes) -> HttpAnswer:
        try:
            answer = _ask(connection, request)
        except BaseException:
            self._drop(connection)
            raise
        if answer.keep and not self._closed:
            self._idle.append(connection)
        else:
            self._drop(connection)
        return answer

    def _connect(self) -> socket.socket:
        if self._closed:
            raise Broken("the client is closed")
        host = self._address[0]
        try:
            plain = self._reach()
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = self._tls.wrap_socket(plain, server_hostname=host) if self._tls else plain
        except ssl.SSLCertVerificationError as error:
            hint = "Set AWS_CA_BUNDLE to the certificate authority that signed it."
            raise UserError(f"its certificate is not trusted: {error.verify_message}", place=host, hint=hint) from error
        except OSError as error:
            raise Broken(f"cannot connect: {_reason(error)}", unanswered=True) from error
        connection.settimeout(self._timeout)
        with self._lock:
            self._open.add(connection)
        return connection

    def _reach(self) -> socket.socket:
        if self._proxy is None:
            return socket.create_connection(self._address, self._connect_timeout)
        port = self._proxy.port or (443 if self._proxy.scheme == "https" else 80)
        connection = socket.create_connection((self._proxy.hostname or "", port), self._connect_timeout)
        try:
            _tunnel(connection, self._proxy, f"{self._address[0]}:{self._address[1]}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _drop(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)
        connection.close()


def _proxy_for(url: SplitResult) -> SplitResult | None:
    """The proxy that HTTPS_PROXY and NO_PROXY name for an https endpoint, as boto3 uses it."""
    proxy = getproxies().get("https")
    if url.scheme != "https" or not proxy or proxy_bypass(url.hostname or ""):
        return None
    return urlsplit(proxy if "//" in proxy else f"http://{proxy}")


def _tunnel(connection: socket.socket, proxy: SplitResult, to: str) -> None:
    """Ask the proxy for a way through (RFC 9110, CONNECT)."""
    lines = [f"CONNECT {to} HTTP/1.1", f"Host: {to}"]
    if proxy.username:
        pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        lines.append(f"Proxy-Authorization: Basic {b64encode(pair.encode()).decode()}")
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    data = b""
    while not data.endswith(b"\r\n\r\n"):  # byte by byte: what follows is not ours to read
        try:
            data += _more(connection, 1)
        except Damaged as error:
            raise Broken(f"the proxy {proxy.hostname} closed the connection") from error
    if data[9:12] != b"200":
        raise Broken(f"the proxy {proxy.hostname} does not let us through: {data.splitlines()[0].decode('latin-1')}")


def _ask(connection: socket.socket, request: bytes) -> HttpAnswer:
    try:
        connection.sendall(request)
        data = connection.recv(_READ)
    except TimeoutError as error:
        raise Broken("no answer in time") from error
    except OSError as error:
        raise Broken(f"the connection broke: {_reason(error)}", unanswered=True) from error
    if not data:
        raise Broken("the connection was closed without an answer", unanswered=True)
    try:
        return _read_answer(connection, data)
    except OSError as error:
        raise Damaged(f"the connection broke within the answer: {_reason(error)}") from error
    except ValueError as error:
        raise Damaged(f"it is not a valid HTTP answer: {data[:40]!r}") from error


def _read_answer(connection: socket.socket, data: bytes) -> HttpAnswer:
    while (end := data.find(b"\r\n\r\n")) < 0:
        if len(data) > _MAX_HEAD:
            raise Damaged("its head does not end")
        data += _more(connection)
    head, rest = data[:end].lower(), data[end + 4 :]
    if not head.startswith(b"http/1."):
        raise ValueError
    status = _digits(head[9:12])
    if status == 100:
        return _read_answer(connection, rest or _more(connection))
    keep = head[7:8] == b"1" and _header(head, b"connection") != b"close"
    length = _header(head, b"content-length")
    if (_header(head, b"transfer-encoding") or b"").endswith(b"chunked"):  # it says more than a length does
        body, rest = _chunks(connection, rest)
    elif length is not None:
        body, rest = _exactly(connection, rest, _digits(length))
    else:
        body, rest, keep = _to_the_end(connection, rest), b"", False
    if rest:
        raise Damaged("more data arrived than its length says")
    crc = _header(head, b"x-amz-crc32")
    return HttpAnswer(status, body, None if crc is None else _digits(crc), keep)


def _digits(text: bytes) -> int:
    """A whole number of nothing but digits: ``int`` takes signs and underscores too. Raises ValueError."""
    if not text.isdigit():
        raise ValueError(text)
    return int(text)


def _header(head: bytes, name: bytes) -> bytes | None:
    """The value of a header in a lower-case head, None if it is not there."""
    start = head.find(b"\r\n" + name + b":")
    if start < 0:
        return None
    start += len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else len(head)].strip()


def _more(connection: socket.socket, size: int = _READ) -> bytes:
    data = connection.recv(size)
    if not data:
        raise Damaged("it was cut off")
    return data


def _exactly(connection: socket.socket, data: bytes, length: int) -> tuple[bytes, bytes]:
    if len(data) < length:
        parts, have = [data], len(data)
        while have < length:
            parts.append(_more(connection))
            have += len(parts[-1])
        data = b"".join(parts)
    return data[:length], data[length:]


def _chunks(connection: socket.socket, data: bytes) -> tuple[bytes, bytes]:
    parts = []
    while True:
        line, data = _line(connection, data)
        digits = line.partition(b";")[0].strip()
        if not digits or digits.strip(_HEX):
            raise ValueError(line)
        size = int(digits, 16)
        if size == 0:
            break
        part, data = _exactly(connection, data, size + 2)
        if not part.endswith(b"\r\n"):
            raise ValueError(part[-2:])
        parts.append(part[:-2])
    while line:  # trailers, ended by an empty line
        line, data = _line(connection, data)
    return b"".join(parts), data


def _line(connection: socket.socket, data: bytes) -> tuple[bytes, bytes]:
    while (end := data.find(b"\r\n")) < 0:
        data += _more(connection)
    return data[:end], data[end + 2 :]


def _to_the_end(connection: socket.socket, data: bytes) -> bytes:
    parts = [data]
    while part := connection.recv(_READ):
        parts.append(part)
    return b"".join(parts)


def _reason(error: OSError) -> str:
    return str(error) if not error.errno else os.strerror(error.errno) if error.errno > 0 else str(error)
