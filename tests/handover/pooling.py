"""A proxy that pools sessions, as some do: it asks for a lock of tables in another session than all the rest."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

from demo.servers import SqlServer

QUIT, QUERY, BINLOG_DUMP = 1, 3, 0x12
OK, ERROR, END = 0x00, 0xFF, 0xFE


class PoolingProxy:
    """Before a server that speaks no TLS. ``port`` is where it listens, on 127.0.0.1."""

    def __init__(self, server: SqlServer) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._pooled: list[Any] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        for each in (*self._sockets, *self._pooled):
            with contextlib.suppress(Exception):
                each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        own = socket.create_connection((self._server.host, self._server.port))
        pooled: Any = self._server.connect(user=self._server.user)
        self._sockets.append(own)
        self._pooled.append(pooled)
        with contextlib.suppress(ConnectionError, OSError):
            log_in(client, own)
            while True:
                command = packet(client)
                if command[4] == QUIT:
                    break
                locks = command[4] == QUERY and command[5:].upper().startswith((b"LOCK TABLES", b"UNLOCK TABLES"))
                other = pooled._sock if locks else own
                other.sendall(command)
                if command[4] == BINLOG_DUMP:
                    while data := own.recv(65536):
                        client.sendall(data)
                for each in answer(other):
                    client.sendall(each)
        client.close()
        own.close()
        pooled.close()


def log_in(client: socket.socket, server: socket.socket) -> None:
    while True:
        said = packet(server)
        client.sendall(said)
        if said[3] and said[4] in (OK, ERROR):
            return
        server.sendall(packet(client))


def answer(server: socket.socket) -> Iterator[bytes]:
    """The packets of one answer; ends of a result set are those without DEPRECATE_EOF."""
    first = packet(server)
    yield first
    ends = 0 if first[4] in (OK, ERROR, END) else 2
    while ends:
        each = packet(server)
        yield each
        if each[4] == ERROR:
            return
        ends -= each[4] == END and len(each) < 13


def packet(from_: socket.socket) -> bytes:
    head = exactly(from_, 4)
    return head + exactly(from_, int.from_bytes(head[:3], "little"))


def exactly(from_: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = from_.recv(size - len(data))
        if not part:
            raise ConnectionError
        data += part
    return data
