"""What ends the packets of a binlog: errors that the server sends among them, the network, and whoever closes them."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from whimbrel.errors import PrivilegeError, SourceError, SourceUnreachable, UndecodableEvent, UnsupportedSource
from whimbrel.mysql.binlog.protocol import Packets, ServerRefusal, dump_from_file

LARGEST = b"\xff\xff\xff"
BROKEN = struct.pack("ii", 1, 0)


@contextmanager
def connected(timeout: float = 10.0) -> Iterator[tuple[Packets, socket.socket]]:
    """A client's packets, asked for, over TCP, and the server's end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    with ours, theirs:
        packets = Packets(SimpleNamespace(_sock=ours), "the source", timeout)
        packets.send(0x12, b"")
        assert theirs.recv(5) == b"\1\0\0\0\x12"
        yield packets, theirs


def first(packets: Packets) -> bytes:
    return next(packet for packet in packets if packet is not None)


def packet(body: bytes, number: int = 1) -> bytes:
    return len(body).to_bytes(3, "little") + bytes([number]) + body


def error(code: int, text: bytes) -> bytes:
    return packet(b"\xff" + struct.pack("<H", code) + text)


@pytest.mark.parametrize(
    ("sent", "kind", "said"),
    [
        (error(1236, b"#HY000Could not find first log file"), ServerRefusal, "^Could not find first log file$"),
        (error(1227, b"#42000Access denied; you need REPLICATION SLAVE"), PrivilegeError, r"GRANT|Grant REPLICATION"),
        (error(1045, b"no sign before the text"), PrivilegeError, r"no sign before the text \(1045\)"),
        (error(1053, b"#08S01Server shutdown in progress"), SourceUnreachable, r"shutdown in progress \(1053\)"),
        (error(1105, b"#HY000\xff odd"), SourceError, r"refused to send its binlog: . odd \(1105\)"),
        (packet(b"\xfe\0\0\2\0"), SourceUnreachable, "the server ended the stream"),
        (packet(b"\x07whatever"), UndecodableEvent, "begins with 0x7"),
        (packet(b"\0event", 2), SourceUnreachable, "packet number 2 arrived where 1 was expected"),
    ],
)
def test_what_the_server_sends_instead_of_an_event_is_an_error_by_name(
    sent: bytes, kind: type[Exception], said: str
) -> None:
    with connected() as (packets, server):
        server.sendall(sent)
        with pytest.raises(kind, match=said) as caught:
            first(packets)
    assert type(caught.value) is kind


def in_pieces(send: Callable[[bytes], object], body: bytes, *numbers: int) -> None:
    """As a server sends an event of more than 16 MiB."""
    for number in numbers:
        piece, body = body[:0xFFFFFF], body[0xFFFFFF:]
        send(packet(piece, number))


def while_sent(server: socket.socket, body: bytes, *numbers: int) -> threading.Thread:
    thread = threading.Thread(target=in_pieces, args=(server.sendall, body, *numbers))
    thread.start()
    return thread


def test_an_event_of_exactly_the_largest_packet_ends_with_an_empty_one() -> None:
    with connected() as (packets, server):
        sending = while_sent(server, bytes(0xFFFFFF), 1, 2)
        assert first(packets) == bytes(0xFFFFFE)  # but for the byte that says that it is an event
        server.sendall(packet(b"\0next", 3))
        assert first(packets) == b"next"
        sending.join()


def test_a_part_of_a_large_event_that_is_lost_is_noticed() -> None:
    with connected() as (packets, server):
        sending = while_sent(server, bytes(0xFFFFFF + 5), 1, 3)
        with pytest.raises(SourceUnreachable, match="packet number 3 arrived where 2 was expected"):
            first(packets)
        sending.join()


@pytest.mark.parametrize("sent", [b"", b"\x10", b"\x10\0\0\1\0half", LARGEST + b"\1" + bytes(0xFFFFFF), None])
def test_closed_by_us_it_ends_without_an_error_wherever_it_is(sent: bytes | None) -> None:
    """As by the thread that ends a run, while another one waits for the server."""
    large = LARGEST + b"\1" + bytes(0xFFFFFF) + LARGEST + b"\2half"
    with connected() as (packets, server):
        found: list[bytes | None] = []
        reading = threading.Thread(target=lambda: found.extend(packets))
        reading.start()
        server.sendall(large if sent is None else sent)
        packets.close()
        reading.join(10)
        assert not reading.is_alive()
        packets.send(1, b"")  # and nothing that is sent then is missed
    assert set(found) == {None}


def test_a_connection_that_breaks_is_lost_for_who_reads_and_for_who_sends() -> None:
    with connected() as (packets, server):
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, BROKEN)
        server.close()  # a reset
        with pytest.raises(SourceUnreachable, match=r"replication connection lost: .*reset"):
            first(packets)
        with pytest.raises(SourceUnreachable, match=r"replication connection lost: .*[Bb]roken pipe"):
            packets.send(1, b"")


def test_an_offset_that_the_command_cannot_name_is_not_cut_to_one_that_it_can() -> None:
    with connected() as (packets, server):
        with pytest.raises(UnsupportedSource, match="cannot name the offset 4294967296"):
            dump_from_file(packets, 7, "bin.000001", 1 << 32, mariadb=False)
        dump_from_file(packets, 7, "bin.000001", (1 << 32) - 1, mariadb=False)
        assert server.recv(100)[5:9] == b"\xff\xff\xff\xff"
