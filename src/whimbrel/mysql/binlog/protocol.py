"""The replication protocol: the commands that make the server send its binlog, and the packets it then sends.

PyMySQL connects, authenticates and wraps the socket in TLS; from then on the socket is read here, in big pieces.
Sources: dev.mysql.com "Replication Protocol", mysql-server sql/rpl_binlog_sender.cc, MariaDB sql/sql_repl.cc.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

from whimbrel.errors import PrivilegeError, SourceError, SourceUnreachable, UndecodableEvent, UnsupportedSource
from whimbrel.mysql.errors import DENIED, DUMP_ENDED, Code
from whimbrel.mysql.waiting import Waiting, too_slow

_COM_BINLOG_DUMP = 0x12
_COM_REGISTER_SLAVE = 0x15
_COM_BINLOG_DUMP_GTID = 0x1E
_DUMP_HEARTBEAT_V2 = 2  # MySQL 8.0.26+: heartbeats carry 64-bit positions. MariaDB means something else by this bit.
_DUMP_ANNOTATIONS = 2  # MariaDB's BINLOG_SEND_ANNOTATE_ROWS_EVENT
_LARGEST_PACKET = 0xFFFFFF
_MOST_PARTS = 65  # a server's max_allowed_packet is 1 GiB at most, and the event's own head comes on top
_READ = 65_536  # more would be allocated again from the kernel at each read


class ServerRefusal(Exception):
    """ERR 1236: the server cannot serve this position, in its own words. Raised as a SourceError by the stream."""


class Packets:
    """Packets of one connection. ``close`` may be called by another thread, and ends the iteration."""

    def __init__(self, connection: Any, place: str, timeout: float) -> None:
        self._connection = connection  # closed by who made it, or by PyMySQL when the last reference goes
        self._socket: socket.socket = connection._sock
        self._socket.settimeout(timeout)
        self._place = place
        self._timeout = timeout
        self.closed = False
        self._asked = False  # a command was sent: the packets of its answer count on from 1
        self._packets = self._read_packets()

    def send(self, command: int, payload: bytes) -> None:
        self._asked = True
        try:
            self._socket.sendall(struct.pack("<IB", len(payload) + 1, command) + payload)
        except OSError as error:
            if not self.closed:
                raise self._lost(str(error)) from error

    def __iter__(self) -> Iterator[bytes | None]:
        """Each packet without its first byte; None before each wait for the server."""
        return self._packets

    def answer(self) -> None:
        """Wait for the OK to a command."""
        for packet in self._packets:
            if packet is not None:
                return

    def close(self) -> None:
        self.closed = True
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # beneath TLS, which is not safe between threads

    def _read_packets(self) -> Iterator[bytes | None]:
        unpack = struct.Struct("<IB").unpack_from
        data, at, size, due = b"", 0, 0, 1
        while True:
            if size - at < 5:
                yield None
                data = self._more(data[at:], 5)
                at, size = 0, len(data)
                if not data:
                    return
            head, kind = unpack(data, at)
            length = head & _LARGEST_PACKET
            if self._asked:
                due, self._asked = 1, False
            if head >> 24 != due:
                raise self._out_of_order(head >> 24, due)
            due = due + 1 & 0xFF
            end = at + 4 + length
            if end > size:
                yield None
                data = self._more(data[at:], 4 + length)
                at, end, size = 0, 4 + length, len(data)
                if not data:
                    return
            packet = data[at + 5 : end]
            at = end
            if kind:
                self._raise_for(kind, packet)
            if length == _LARGEST_PACKET:
                parts = [packet]
                while length == _LARGEST_PACKET:
                    data = self._more(data[at:], 4)
                    if not data:
                        return
                    length = int.from_bytes(data[:3], "little")
                    if data[3] != due:
                        raise self._out_of_order(data[3], due)
                    due = due + 1 & 0xFF
                    data = self._more(data, 4 + length)
                    if not data:
                        return
                    parts.append(data[4 : 4 + length])
                    if len(parts) > _MOST_PARTS:
                        raise UndecodableEvent("a packet of more than 1 GiB", place=self._place)
                    at, size = 4 + length, len(data)
                packet = b"".join(parts)
            yield packet

    def _more(self, data: bytes, size: int) -> bytes:
        """``data`` and what the server sends next, ``size`` bytes at least; empty once closed."""
        if len(data) >= size:
            return data
        part = self._received(size - len(data))
        data = data + part if part else b""
        return data if len(data) >= size or not part else self._rest(data, size)

    def _rest(self, data: bytes, size: int) -> bytes:
        """As ``_more``, of a packet that has begun: it does not have the time that a server with nothing to say has."""
        parts, have, waiting = [data], len(data), Waiting()
        while have < size:
            before = time.monotonic()
            part = self._received(size - have)
            if not part:
                return b""
            waiting.came(len(part), time.monotonic() - before)
            if waiting.over(self._timeout):
                raise self._lost(too_slow(self._timeout))
            parts.append(part)
            have += len(part)
        return b"".join(parts)

    def _received(self, missing: int) -> bytes:
        """What the server sends next, more than what is ``missing`` if it is there; empty once closed."""
        try:
            part = self._socket.recv(max(_READ, min(missing, 1 << 24)))
        except TimeoutError as error:
            if self.closed:
                return b""
            raise self._lost(f"no heartbeat for {self._timeout:g} seconds") from error
        except (OSError, ValueError) as error:
            if self.closed:
                return b""
            raise self._lost(str(error)) from error
        if not part and not self.closed:
            raise self._lost("the server closed the replication connection")
        return part

    def _raise_for(self, kind: int, packet: bytes) -> None:
        if kind == 0xFE and len(packet) < 8:
            raise self._lost("the server ended the stream")
        if kind != 0xFF:
            raise UndecodableEvent(f"a packet that begins with {kind:#x}", place=self._place)
        code = int.from_bytes(packet[:2], "little")
        text = packet[8:] if packet[2:3] == b"#" else packet[2:]
        message = text.decode("utf-8", "replace")
        if code == Code.MASTER_FATAL_ERROR_READING_BINLOG:
            raise ServerRefusal(message)
        if code in DENIED:
            raise PrivilegeError(
                f"{message} ({code})", place=self._place, hint="Grant REPLICATION SLAVE and REPLICATION CLIENT."
            )
        if code in DUMP_ENDED:
            raise self._lost(f"{message} ({code})")
        raise SourceError(f"the server refused to send its binlog: {message} ({code})", place=self._place, code=code)

    def _out_of_order(self, number: int, due: int) -> SourceUnreachable:
        """A packet is lost or came twice: what was read since the last Commit is read again by a new connection."""
        return self._lost(f"packet number {number} arrived where {due} was expected")

    def _lost(self, why: str) -> SourceUnreachable:
        return SourceUnreachable(f"replication connection lost: {why}", place=self._place)


def register_replica(packets: Packets, server_id: int) -> None:
    """So that SHOW REPLICAS names us."""
    name = b"whimbrel"
    packets.send(
        _COM_REGISTER_SLAVE,
        struct.pack("<IB", server_id, len(name)) + name + b"\0\0" + struct.pack("<HII", 0, 0, 0),
    )
    packets.answer()


def dump_from_file(
    packets: Packets, server_id: int, file: str, offset: int, mariadb: bool, every_event: bool = False
) -> None:
    """MariaDB with a GTID position: ``file`` is empty, and the session variable says where to begin. ``every_event``:
    it leaves out none, not even the text of statements beside their rows.
    """
    if offset >= 1 << 32:
        raise UnsupportedSource(
            f"the command to start from a file cannot name the offset {offset}", hint="Use GTID positions."
        )
    flags = (_DUMP_ANNOTATIONS if every_event else 0) if mariadb else _DUMP_HEARTBEAT_V2
    packets.send(_COM_BINLOG_DUMP, struct.pack("<IHI", max(offset, 4), flags, server_id) + file.encode())


def dump_from_gtids(packets: Packets, server_id: int, encoded: bytes) -> None:
    packets.send(
        _COM_BINLOG_DUMP_GTID,
        struct.pack("<HIIQI", _DUMP_HEARTBEAT_V2, server_id, 0, 4, len(encoded)) + encoded,
    )
