"""An address that leads to one server now and to another later: what DNS, a proxy or a failover address does."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType

from demo.servers import SqlServer


class Door:
    """A TCP proxy on 127.0.0.1. What is open stays open when ``point`` leads elsewhere, until ``cut``.

    To a Work it is the source: it has the URL and the password of the server behind it.
    """

    def __init__(self, server: SqlServer) -> None:
        self.server = server
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._open: set[socket.socket] = set()
        self._accepting = threading.Thread(target=self._accept, name="door", daemon=True)
        self._accepting.start()

    def __enter__(self) -> Door:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listening.close()
        self.cut()

    @property
    def password(self) -> str:
        return self.server.password

    def url(self, database: str) -> str:
        return f"mysql://{self.server.user}@127.0.0.1:{self.port}/{database}"

    def point(self, server: SqlServer) -> None:
        """New connections lead to ``server``."""
        self.server = server

    def cut(self) -> None:
        """End all connections."""
        for each in list(self._open):
            _end(each)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                try:
                    server = socket.create_connection((self.server.host, self.server.port))
                except OSError:
                    client.close()
                    continue
                self._open |= {client, server}
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(one, other), name="door", daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65_536):
                other.sendall(data)
        for each in (other, one):
            _end(each)
        self._open.discard(one)
        one.close()


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
