"""A server that answers as it is told, byte by byte."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress

CLOSE = b"<close>"


class ScriptedServer:
    """Answers each request with the next piece of its script; ``CLOSE`` closes the connection instead."""

    def __init__(self, *script: bytes) -> None:
        self._script = list(script)
        self.requests: list[bytes] = []
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while self._script:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            with connection, suppress(ConnectionResetError):  # a client that gives an answer up resets the connection
                while self._script and (request := request_on(connection)):
                    self.requests.append(request)
                    answer = self._script.pop(0)
                    connection.sendall(answer.removesuffix(CLOSE))
                    if answer.endswith(CLOSE):
                        break

    def close(self) -> None:
        self._script.clear()
        self._socket.close()


def request_on(connection: socket.socket) -> bytes:
    """One whole request, b"" at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := connection.recv(65536)):
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head.lower())[1])
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def answer(body: bytes, *, status: str = "200 OK", head: str = "", length: bool = True) -> bytes:
    lines = f"HTTP/1.1 {status}\r\n" + (f"Content-Length: {len(body)}\r\n" if length else "") + head + "\r\n"
    return lines.encode() + body
