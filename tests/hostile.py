"""A server that says what a test tells it to, in MySQL's protocol or not, and keeps every byte that it is sent."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from demo.certificates import make_certificates

SALT = bytes(range(65, 85))
_BASIC = 1 | 4 | 8 | 512 | 1 << 13 | 1 << 15 | 1 << 16 | 1 << 17 | 1 << 19 | 1 << 21  # capabilities
_TLS = 1 << 11
OK = b"\0\0\0\2\0\0\0"
END = b"\xfe\0\0\2\0"


class Session:
    """One client's connection. ``tls`` is on once the client began it."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext | None, heard: bytearray) -> None:
        self.socket, self._context, self.heard = connection, context, heard
        self.number = 0

    def send(self, payload: bytes) -> None:
        self.raw(struct.pack("<I", len(payload))[:3] + bytes([self.number]) + payload)
        self.number = (self.number + 1) % 256

    def raw(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self) -> bytes:
        head = self._exactly(4)
        self.number = (head[3] + 1) % 256
        return self._exactly(int.from_bytes(head[:3], "little"))

    def greet(self, plugin: str = "mysql_native_password", version: str = "8.0.99") -> bytes:
        """Greet, begin TLS if the client wants it, and return the client's login."""
        flags = _BASIC | (_TLS if self._context else 0)
        self.send(
            b"\x0a" + version.encode() + b"\0" + struct.pack("<I", 7) + SALT[:8] + b"\0"
            + struct.pack("<HBHHB", flags & 0xFFFF, 45, 2, flags >> 16, 21)
            + bytes(10) + SALT[8:] + b"\0" + plugin.encode() + b"\0"
        )  # fmt: skip
        login = self.receive()
        if self._context and int.from_bytes(login[:4], "little") & _TLS and len(login) == 32:
            self.socket = self._context.wrap_socket(self.socket, server_side=True)
            login = self.receive()
        return login

    def switch(self, plugin: str, challenge: bytes = SALT + b"\0") -> bytes:
        """Ask for another method; what the client answers."""
        self.send(b"\xfe" + plugin.encode() + b"\0" + challenge)
        return self.receive()

    def log_in(self) -> None:
        self.greet()
        self.switch("mysql_native_password")
        self.send(OK)

    def columns(self, count: int, said: int | None = None) -> None:
        """The beginning of a result set."""
        self.send(_length(count if said is None else said))
        for number in range(count):
            self.send(column(f"c{number}"))
        self.send(END)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise ConnectionError("the client has gone")
            data += part
        self.heard += data
        return data


def column(name: str) -> bytes:
    texts = b"".join(_text(each) for each in (b"def", b"", b"", b"", name.encode(), b""))
    return texts + b"\x0c" + struct.pack("<HIBHBH", 45, 1024, 253, 0, 0, 0)


def row(*values: str | None) -> bytes:
    return b"".join(b"\xfb" if value is None else _text(value.encode()) for value in values)


def _text(value: bytes) -> bytes:
    return _length(len(value)) + value


def _length(number: int) -> bytes:
    return bytes([number]) if number < 251 else b"\xfe" + struct.pack("<Q", number)


class Hostile:
    """Listens on a free port; each client's Session goes to ``act``, in a thread of its own."""

    def __init__(self, act: Callable[[Session], Any], tls: Path | None = None, host: str = "127.0.0.1") -> None:
        self.heard = bytearray()
        self._act = act
        self._context = None
        if tls:
            make_certificates(tls)
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(tls / "server.pem", tls / "server.key")
        self._listener = socket.create_server((host, 0))
        self.host, self.port = self._listener.getsockname()[:2]
        self._open: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), connection:
            session = Session(connection, self._context, self.heard)
            try:
                self._act(session)
            finally:
                session.socket.close()  # with TLS it is another one

    def __enter__(self) -> Hostile:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@contextlib.contextmanager
def hostile(act: Callable[[Session], Any], tls: Path | None = None, host: str = "127.0.0.1") -> Iterator[Hostile]:
    with Hostile(act, tls, host) as server:
        yield server
