"""What a server may send instead of its binlog: without an end, without a sound, or more than it says."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import zstandard

from whimbrel.errors import SourceUnreachable, UndecodableEvent
from whimbrel.mysql.binlog import compressed, events, protocol
from whimbrel.mysql.binlog.compressed import uncompress_column
from whimbrel.mysql.binlog.events import payload_events, uncompress
from whimbrel.mysql.binlog.protocol import Packets

ZEROS = bytes(1 << 24)


def read_all(send: Callable[[socket.socket], None], use: Callable[[bytes], object] = bool) -> None:
    """Read what ``send`` sends as packets of a stream, until it ends."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        packets = Packets(SimpleNamespace(_sock=ours), "test", timeout=0.5)
        packets.send(0x12, b"")

        def quietly() -> None:
            with contextlib.suppress(OSError):
                send(theirs)

        sender = threading.Thread(target=quietly)
        sender.start()
        try:
            for packet in packets:
                if packet is not None:
                    use(packet)
        finally:
            packets.close()
            sender.join()


def test_a_packet_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "_MOST_PARTS", 3)

    def send(to: socket.socket) -> None:
        number = 1
        while True:
            to.sendall(b"\xff\xff\xff" + bytes([number]) + bytes(0xFFFFFF))
            number = (number + 1) % 256

    with pytest.raises(UndecodableEvent, match="more than 1 GiB"):
        read_all(send)


def test_the_largest_packet_of_a_server_is_taken() -> None:
    assert protocol._MOST_PARTS * 0xFFFFFF > (1 << 30) + 1000


@pytest.mark.parametrize("said", [b"", b"\x10", b"\x10\0\0\1\0half of it"])
def test_silence(said: bytes) -> None:
    with pytest.raises(SourceUnreachable, match="no heartbeat"):
        read_all(lambda to: to.sendall(said))


@pytest.mark.parametrize("said", [b"", b"\xff\xff\xff\1\0"])
def test_a_packet_that_drips(said: bytes) -> None:
    """No single wait is long."""

    def send(to: socket.socket) -> None:
        for byte in said or b"\0\x10\0\1" + bytes(4096):
            to.sendall(bytes([byte]))
            time.sleep(0.1)
        while True:
            to.sendall(bytes(100))
            time.sleep(0.1)

    with pytest.raises(SourceUnreachable, match=r"less than 16,384 bytes in 0\.5 seconds"):
        read_all(send)


def test_a_large_packet_may_take_its_time() -> None:
    """Longer than the server may be silent."""
    packets: list[bytes] = []

    def send(to: socket.socket) -> None:
        to.sendall(b"\0\0\x10\1\0")
        for _ in range(15):
            to.sendall(bytes(protocol._READ))
            time.sleep(0.1)
        to.sendall(bytes(protocol._READ - 1) + b"\1\0\0\2\0")

    with pytest.raises(SourceUnreachable, match="no heartbeat"):
        read_all(send, packets.append)
    assert [len(packet) for packet in packets] == [(1 << 20) - 1, 0]


@pytest.mark.parametrize("size", [1, 1000, len(ZEROS) - 1, len(ZEROS) + 1, compressed.LARGEST_EVENT + 1])
def test_compressed_bytes_are_not_more_than_they_say(size: int) -> None:
    packed, length = zlib.compress(ZEROS), size.to_bytes(4, "big")
    with pytest.raises(UndecodableEvent, match=r"another length|a compressed event of"):
        uncompress(b"\x84" + length + packed)
    with pytest.raises(UndecodableEvent, match=r"another length|a compressed column of"):
        uncompress_column(b"\x84" + length + packed)


def test_compressed_bytes_of_the_length_that_they_say() -> None:
    for plain in (b"", b"x", ZEROS):
        length = len(plain).to_bytes(4, "big")
        assert uncompress(b"\x84" + length + zlib.compress(plain)) == plain
        with pytest.raises(UndecodableEvent, match="another length"):
            uncompress(b"\x84" + length + zlib.compress(plain)[:-2])


def test_an_event_in_a_transaction_is_not_larger_than_an_event_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LARGEST_EVENT", 1 << 20)
    head = struct.pack("<IBIIIH", 0, 2, 1, 1 << 21, 0, 0)
    payload = zstandard.compress(head + bytes(1 << 21))
    field = b"\x01" + b"\x09" + b"\xfe" + struct.pack("<Q", len(payload)) + b"\x02\x01\0"
    with pytest.raises(UndecodableEvent, match="an event of 2097152 bytes"):
        list(payload_events(bytes(events.HEADER_SIZE) + field + b"\0" + payload))
