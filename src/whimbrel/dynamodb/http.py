"""The part of HTTP/1.1 that one POST to one host needs: kept connections, a length or chunks, nothing else.

Source: RFC 9112. http.client and urllib3 spend more time on a small answer than DynamoDB's own signing does.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import ssl
import struct
import threading
from base64 import b64encode
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from whimbrel.dynamodb.loop import readable, whose, writable
from whimbrel.errors import UserError

_new = tuple.__new__  # a NamedTuple without the cost of its constructor
_READ = 1 << 16
_MAX_HEAD = 1 << 16
_HEX = b"0123456789abcdefABCDEF"
_HEADERS = re.compile(
    rb"\r\n(connection|content-length|transfer-encoding|x-amz-crc32):[ \t]*((?:[^\r\n]*[^\r\n \t])?)[ \t]*(?=\r|\Z)"
)


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
        self.unanswered: set[int] = set()  # of ``whose`` a request had no answer, and may yet be carried out

    async def exchange(self, request: bytes) -> HttpAnswer:
        """Send and receive. Raises Broken; UserError when the server's certificate is not trusted."""
        kept = self._kept()
        connection = kept or await self._connect()
        while True:
            try:
                answer = await _ask(connection, request, self._timeout)
                break
            except BaseException as error:
                _will_reset(connection)
                self._drop(connection)
                unanswered = isinstance(error, Broken) and error.unanswered
                if connection is not kept or not unanswered or self._closed:
                    raise
            self.unanswered.add(whose())
            # The server closed the idle connection, or dies just now; a fresh connection finds out which.
            connection = await self._connect()
        if answer.keep and not self._closed:
            self._idle.append(connection)
        else:
            self._drop(connection)
        return answer

    def close(self) -> None:
        """Close the idle connections, and end the calls that wait on the others with Broken."""
        self._closed = True
        while self._idle:
            self._drop(self._idle.pop())
        with self._lock:
            busy = list(self._open)
        for connection in busy:  # closing would leave who waits for it waiting; who wakes closes it
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _kept(self) -> socket.socket | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    async def _connect(self) -> socket.socket:
        if self._closed:
            raise Broken("the client is closed")
        host = self._address[0]
        try:
            plain = await self._reach()
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = await self._shaken_hands(plain, self._tls) if self._tls else plain
        except ssl.SSLCertVerificationError as error:
            hint = "Set AWS_CA_BUNDLE to the certificate authority that signed it."
            raise UserError(f"its certificate is not trusted: {error.verify_message}", place=host, hint=hint) from error
        except OSError as error:
            raise Broken(f"cannot connect: {_reason(error)}", unanswered=True) from error
        with self._lock:
            self._open.add(connection)
        return connection

    async def _reach(self) -> socket.socket:
        if self._proxy is None:
            return await _connected(self._address, self._connect_timeout)
        port = self._proxy.port or (443 if self._proxy.scheme == "https" else 80)
        connection = await _connected((self._proxy.hostname or "", port), self._connect_timeout)
        try:
            await _tunnel(connection, self._proxy, f"{self._address[0]}:{self._address[1]}", self._connect_timeout)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _shaken_hands(self, plain: socket.socket, tls: ssl.SSLContext) -> ssl.SSLSocket:
        try:
            connection = tls.wrap_socket(plain, server_hostname=self._address[0], do_handshake_on_connect=False)
        except BaseException:
            plain.close()
            raise
        try:
            while True:
                try:
                    connection.do_handshake()
                except ssl.SSLWantReadError:
                    await readable(connection, self._connect_timeout)
                except ssl.SSLWantWriteError:
                    await writable(connection, self._connect_timeout)
                else:
                    return connection
        except BaseException:
            connection.close()
            raise

    def _drop(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)
        connection.close()


def _will_reset(connection: socket.socket) -> None:
    """When it is closed, nothing that the kernel still holds of a request is sent: it would arrive late."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _proxy_for(url: SplitResult) -> SplitResult | None:
    """The proxy that HTTPS_PROXY and NO_PROXY name for an https endpoint, as boto3 uses it."""
    proxy = getproxies().get("https")
    if url.scheme != "https" or not proxy or proxy_bypass(url.hostname or ""):
        return None
    return urlsplit(proxy if "//" in proxy else f"http://{proxy}")


async def _connected(address: tuple[str, int], seconds: float) -> socket.socket:
    """To the first of the host's addresses that answers. Raises OSError."""
    failure: OSError = OSError(f"{address[0]} has no address")
    for family, kind, protocol, _, resolved in socket.getaddrinfo(*address, type=socket.SOCK_STREAM):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.setblocking(False)
            code = connection.connect_ex(resolved)
            if code == errno.EINPROGRESS:
                await writable(connection, seconds)
                code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not code:
                return connection
            failure = OSError(code, os.strerror(code))
            connection.close()
        except TimeoutError:
            failure = TimeoutError("timed out")
            connection.close()
        except BaseException:
            connection.close()
            raise
    raise failure


async def _tunnel(connection: socket.socket, proxy: SplitResult, to: str, seconds: float) -> None:
    """Ask the proxy for a way through (RFC 9110, CONNECT)."""
    lines = [f"CONNECT {to} HTTP/1.1", f"Host: {to}"]
    if proxy.username:
        pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        lines.append(f"Proxy-Authorization: Basic {b64encode(pair.encode()).decode()}")
    await _send(connection, "\r\n".join([*lines, "", ""]).encode(), seconds)
    coming, data = _Coming(connection, seconds), b""
    while not data.endswith(b"\r\n\r\n"):  # byte by byte: what follows is not ours to read
        try:
            data += await coming.more(1)
        except Damaged as error:
            raise Broken(f"the proxy {proxy.hostname} closed the connection") from error
    if data[9:12] != b"200":
        raise Broken(f"the proxy {proxy.hostname} does not let us through: {data.splitlines()[0].decode('latin-1')}")


async def _ask(connection: socket.socket, request: bytes, seconds: float) -> HttpAnswer:
    coming = _new(_Coming, (connection, seconds))
    try:
        await _send(connection, request, seconds)
        await readable(connection, seconds)
        data = await coming.some()
    except TimeoutError as error:
        raise Broken("no answer in time") from error
    except OSError as error:
        raise Broken(f"the connection broke: {_reason(error)}", unanswered=True) from error
    if not data:
        raise Broken("the connection was closed without an answer", unanswered=True)
    try:
        return await _read_answer(coming, data)
    except OSError as error:
        raise Damaged(f"the connection broke within the answer: {_reason(error)}") from error
    except ValueError as error:
        raise Damaged(f"it is not a valid HTTP answer: {data[:40]!r}") from error


async def _send(connection: socket.socket, data: bytes, seconds: float) -> None:
    left: bytes | memoryview = data
    while left:
        try:
            sent = connection.send(left)
            left = memoryview(left)[sent:] if sent < len(left) else b""
        except (BlockingIOError, ssl.SSLWantWriteError):
            await writable(connection, seconds)
        except ssl.SSLWantReadError:
            await readable(connection, seconds)


class _Coming(NamedTuple):
    """What arrives on a connection, waited for so many seconds each time. Raises OSError, TimeoutError among them."""

    connection: socket.socket
    seconds: float

    async def some(self, size: int = _READ) -> bytes:
        """b"" at its end."""
        while True:
            try:
                return self.connection.recv(size)
            except (BlockingIOError, ssl.SSLWantReadError):
                await readable(self.connection, self.seconds)
            except ssl.SSLWantWriteError:
                await writable(self.connection, self.seconds)

    async def more(self, size: int = _READ) -> bytes:
        """Raises Damaged at its end."""
        data = await self.some(size)
        if not data:
            raise Damaged("it was cut off")
        return data


async def _read_answer(coming: _Coming, data: bytes) -> HttpAnswer:
    while (end := data.find(b"\r\n\r\n")) < 0:
        if len(data) > _MAX_HEAD:
            raise Damaged("its head does not end")
        data += await coming.more()
    head, rest = data[:end].lower(), data[end + 4 :]
    if not head.startswith(b"http/1."):
        raise ValueError
    status = _digits(head[9:12])
    if status == 100:
        return await _read_answer(coming, rest or await coming.more())
    found = _HEADERS.findall(head)
    headers = dict(found)
    if len(headers) != len(found) and len({value for name, value in found if name == b"content-length"}) > 1:
        raise ValueError
    keep = head[7:8] == b"1" and headers.get(b"connection") != b"close"
    length = headers.get(b"content-length")
    if headers.get(b"transfer-encoding", b"").endswith(b"chunked"):  # it says more than a length does
        body, rest = await _chunks(coming, rest)
    elif length is not None:
        if (size := _digits(length)) == len(rest):
            body, rest = rest, b""
        else:
            body, rest = await _exactly(coming, rest, size)
    else:
        body, rest, keep = await _to_the_end(coming, rest), b"", False
    if rest:
        raise Damaged("more data arrived than its length says")
    crc = headers.get(b"x-amz-crc32")
    return _new(HttpAnswer, (status, body, None if crc is None else _digits(crc), keep))


def _digits(text: bytes) -> int:
    """A whole number of nothing but digits: ``int`` takes signs and underscores too. Raises ValueError."""
    if not text.isdigit():
        raise ValueError(text)
    return int(text)


async def _exactly(coming: _Coming, data: bytes, length: int) -> tuple[bytes, bytes]:
    if len(data) < length:
        parts, have = [data], len(data)
        while have < length:
            parts.append(await coming.more())
            have += len(parts[-1])
        data = b"".join(parts)
    return data[:length], data[length:]


async def _chunks(coming: _Coming, data: bytes) -> tuple[bytes, bytes]:
    parts = []
    while True:
        line, data = await _line(coming, data)
        digits = line.partition(b";")[0].strip()
        if not digits or digits.strip(_HEX):
            raise ValueError(line)
        size = int(digits, 16)
        if size == 0:
            break
        part, data = await _exactly(coming, data, size + 2)
        if not part.endswith(b"\r\n"):
            raise ValueError(part[-2:])
        parts.append(part[:-2])
    while line:  # trailers, ended by an empty line
        line, data = await _line(coming, data)
    return b"".join(parts), data


async def _line(coming: _Coming, data: bytes) -> tuple[bytes, bytes]:
    while (end := data.find(b"\r\n")) < 0:
        data += await coming.more()
    return data[:end], data[end + 2 :]


async def _to_the_end(coming: _Coming, data: bytes) -> bytes:
    parts = [data]
    while part := await coming.some():
        parts.append(part)
    return b"".join(parts)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):  # its number is none of the system's
        return f"TLS: {(error.reason or str(error)).replace('_', ' ').lower()}"
    return str(error) if not error.errno else os.strerror(error.errno) if error.errno > 0 else str(error)
