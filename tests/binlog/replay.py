"""Packets of a replication stream, sent again through a socket: whole, in pieces, damaged, or made by a test."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from whimbrel.errors import SourceUnreachable
from whimbrel.mysql.binlog import stream as stream_module
from whimbrel.mysql.binlog.session import ReplicaSession
from whimbrel.mysql.binlog.stream import BinlogStream, Output
from whimbrel.records import Position, Table

Packets = list[bytes]
Tables = Mapping[tuple[str, str], Table]
REGISTERED = b"\0\0\0\2\0\0\0"  # what answers COM_REGISTER_SLAVE


class Tap:
    """A socket that keeps what went through it."""

    def __init__(self, wrapped: socket.socket) -> None:
        self.wrapped = wrapped
        self.received: list[bytes] = []
        self.sent: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.wrapped, name)

    def recv(self, size: int) -> bytes:
        data = self.wrapped.recv(size)
        self.received.append(data)
        return data

    def sendall(self, data: bytes) -> None:
        self.sent.append(data)
        self.wrapped.sendall(data)


def split(data: bytes) -> Iterator[bytes]:
    while len(data) >= 4 and len(data) >= (size := 4 + int.from_bytes(data[:3], "little")):
        yield data[4:size]
        data = data[size:]


def framed(packet: bytes, number: int = 1) -> bytes:
    return len(packet).to_bytes(3, "little") + bytes([number & 0xFF]) + packet


def whole(packets: Packets) -> bytes:
    return b"".join(framed(packet, number) for number, packet in enumerate(packets, 1))


def event(kind: int, body: bytes, end: int, flags: int = 0) -> bytes:
    head = struct.pack("<IBIIIH", 1, kind, 1, 19 + len(body) + 4, end, flags)
    return b"\0" + head + body + zlib.crc32(head + body).to_bytes(4, "little")


def query(sql: str, schema: str, end: int) -> bytes:
    name = schema.encode()
    return event(2, struct.pack("<IIBHH", 1, 0, len(name), 0, 0) + name + b"\0" + sql.encode(), end)


class Connection:
    """As much of PyMySQL's as the stream uses, once the session is open."""

    host, port = "recorded", 0

    def __init__(self, ours: Any) -> None:
        self._sock = ours


def replayed(
    session: ReplicaSession,
    data: bytes,
    start: Position,
    tables: Tables,
    *,
    pieces: Callable[[], int] = lambda: 1 << 16,
    use_gtid: bool = False,
    **more: Any,
) -> tuple[list[Output], bytes]:
    """What the stream hands out until the sender is done, and the commands that it sent. The session is not opened."""
    ours, theirs = socket.socketpair()
    sender = threading.Thread(target=_send, args=(theirs, framed(REGISTERED) + data, pieces))
    sender.start()
    tap = Tap(ours)
    outputs: list[Output] = []
    opened, stream_module.open_session = stream_module.open_session, lambda *_, **__: session  # type: ignore[attr-defined]
    try:
        stream = BinlogStream(Connection(tap), start, tables, server_id=1, use_gtid=use_gtid, **more)
        for output in stream:
            outputs.append(output)
    except SourceUnreachable as error:
        if "closed the replication connection" not in str(error):
            raise
    finally:
        stream_module.open_session = opened  # type: ignore[attr-defined]
        ours.close()
        sender.join()
        theirs.close()
    return outputs, b"".join(tap.sent)


def _send(theirs: socket.socket, data: bytes, pieces: Callable[[], int]) -> None:
    """Until all is sent, or the reader has gone."""
    with contextlib.suppress(OSError):
        while data:
            size = pieces()
            theirs.sendall(data[:size])
            data = data[size:]
        theirs.shutdown(socket.SHUT_WR)
