"""A recorded stream of a real server, sent again in other pieces, damaged, or with events that servers seldom write."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.binlog.conftest import Source, commits
from tests.binlog.test_stream import IMAGES, TABLE, THREE
from whimbrel.errors import (
    PositionLost,
    SourceUnreachable,
    StatementChange,
    UndecodableEvent,
    UnsupportedSource,
    WhimbrelError,
)
from whimbrel.mysql.binlog import stream as stream_module
from whimbrel.mysql.binlog.session import Session
from whimbrel.mysql.binlog.stream import BinlogStream, Output
from whimbrel.records import Position, Table

Packets = list[bytes]


class Recording:
    """What a real server sent for THREE, packet by packet."""

    def __init__(self, source: Source) -> None:
        source.execute(TABLE)
        self.table, self.start = source.table(), source.position()
        source.execute(*THREE)
        self.end = source.position()
        received: list[bytes] = []
        with source.stream(self.start, self.table) as stream:
            self.session: Session = stream._session
            plain = stream._packets._socket
            stream._packets._socket = _Tap(plain, received)  # type: ignore[assignment]
            self.outputs = []
            for output in stream:
                self.outputs.append(output)
                if not isinstance(output, list) and output.position.at_or_after(self.end):
                    break
            stream._packets._socket = plain
        self.packets = list(split(b"".join(received)))[1:]  # the first answers COM_REGISTER_SLAVE

    def events(self, kinds: set[int]) -> list[int]:
        """Where the packets with such events are."""
        return [i for i, packet in enumerate(self.packets) if packet[5] in kinds]


class _Tap:
    def __init__(self, wrapped: socket.socket, received: list[bytes]) -> None:
        self._wrapped, self._received = wrapped, received

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def recv(self, size: int) -> bytes:
        data = self._wrapped.recv(size)
        self._received.append(data)
        return data


def split(data: bytes) -> Iterator[bytes]:
    while len(data) >= 4 and len(data) >= (size := 4 + int.from_bytes(data[:3], "little")):
        yield data[4:size]
        data = data[size:]


def framed(packet: bytes, number: int = 1) -> bytes:
    return len(packet).to_bytes(3, "little") + bytes([number & 0xFF]) + packet


def event(kind: int, body: bytes, end: int, flags: int = 0) -> bytes:
    head = struct.pack("<IBIIIH", 1, kind, 1, 19 + len(body) + 4, end, flags)
    return b"\0" + head + body + zlib.crc32(head + body).to_bytes(4, "little")


def query(sql: str, schema: str, end: int) -> bytes:
    name = schema.encode()
    return event(2, struct.pack("<IIBHH", 1, 0, len(name), 0, 0) + name + b"\0" + sql.encode(), end)


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def recording(request: pytest.FixtureRequest) -> Recording:
    server = request.getfixturevalue(request.param)
    return Recording(Source(server, server.new_database()))


@pytest.fixture
def replay(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Output]]:
    monkeypatch.setattr(stream_module, "open_session", lambda *_, **__: recording.session)

    def read(data: bytes, pieces: Callable[[], int] = lambda: 1 << 16, table: Table = recording.table) -> list[Output]:
        ours, theirs = socket.socketpair()
        sender = threading.Thread(target=_send, args=(theirs, framed(b"\0\0\0\2\0\0\0") + data, pieces))
        sender.start()
        tables = {(table.schema, table.name): table}
        stream = BinlogStream(_Connection(ours), recording.start, tables, server_id=1, use_gtid=False)
        outputs: list[Output] = []
        try:
            for output in stream:
                outputs.append(output)
        except SourceUnreachable as error:
            if "closed the replication connection" not in str(error):
                raise
        finally:
            ours.close()
            sender.join()
            theirs.close()
        return outputs

    return read


class _Connection:
    host, port = "recorded", 0

    def __init__(self, ours: socket.socket) -> None:
        self._sock = ours


def _send(theirs: socket.socket, data: bytes, pieces: Callable[[], int]) -> None:
    """Until all is sent, or the reader has gone."""
    with contextlib.suppress(OSError):
        while data:
            size = pieces()
            theirs.sendall(data[:size])
            data = data[size:]
        theirs.shutdown(socket.SHUT_WR)


def whole(packets: Packets) -> bytes:
    return b"".join(framed(packet, number) for number, packet in enumerate(packets, 1))


def test_a_packet_that_is_lost_or_comes_twice(recording: Recording, replay: Callable[..., list[Output]]) -> None:
    """Also without checksums, and where nothing in the events themselves would tell."""
    frames = [framed(packet, number) for number, packet in enumerate(recording.packets, 1)]
    for at in range(len(frames) - 1):
        for damaged in (frames[:at] + frames[at + 1 :], frames[: at + 1] + frames[at:]):
            with pytest.raises(SourceUnreachable, match=r"packet number \d+ came where \d+ was due"):
                replay(b"".join(damaged))


@pytest.mark.parametrize("seed", range(8))
def test_pieces_of_any_size(recording: Recording, replay: Callable[..., list[Output]], seed: int) -> None:
    chance = random.Random(seed)
    outputs = replay(whole(recording.packets), lambda: chance.choice((1, 2, 3, 4, 5, 23, 24, 100, 1000)))
    assert [o for o in outputs if isinstance(o, list)] == [o for o in recording.outputs if isinstance(o, list)]
    assert commits(outputs) == commits(recording.outputs)
    assert [(c.before, c.after) for o in outputs if isinstance(o, list) for c in o] == IMAGES


def test_every_damaged_byte_is_noticed(recording: Recording, replay: Callable[..., list[Output]]) -> None:
    """In the body of an event that has a checksum; the rows before it come out, and nothing after."""
    for index in recording.events({19, 30, 31, 32, 16, 33, 2, 162, 23, 24, 25}):
        packet = bytearray(recording.packets[index])
        packet[random.Random(index).randrange(20, len(packet))] ^= 4
        damaged = [*recording.packets[:index], bytes(packet), *recording.packets[index + 1 :]]
        with pytest.raises(UndecodableEvent, match="its checksum does not fit its bytes"):
            replay(whole(damaged))


def test_truncated_anywhere_is_a_lost_connection(recording: Recording, replay: Callable[..., list[Output]]) -> None:
    data = whole(recording.packets)
    for cut in random.Random(1).sample(range(1, len(data)), 30):
        outputs = replay(data[:cut])
        assert [o for o in outputs if isinstance(o, list)] == [o for o in recording.outputs if isinstance(o, list)][
            : sum(isinstance(o, list) for o in outputs)
        ]


def test_events_that_mean_a_loss(recording: Recording, replay: Callable[..., list[Output]]) -> None:
    end = recording.end.offset + 100
    schema = recording.table.schema
    cases: list[tuple[list[bytes], type[WhimbrelError], str]] = [
        ([event(26, b"\1\0\4lost", end)], UndecodableEvent, "an incident"),
        ([event(99, b"?", end)], UndecodableEvent, "unknown type 99"),
        ([event(18, b"?" * 40, end)], StatementChange, "LOAD DATA"),
        ([query("INSERT INTO t VALUES (1)", schema, end)], StatementChange, "INSERT INTO t"),
        ([query("INSERT INTO far VALUES (1)", "away", end)], StatementChange, "INSERT INTO far"),
        ([query("XA COMMIT X'61',X'',1", schema, end)], UndecodableEvent, "prepared before the start"),
        ([b"\xff\xd4\x04#HY000could not find next log"], PositionLost, r"asked for .*could not find next log"),
        ([b"\xff\xd4\x04#HY000A replica with the same server_uuid/server_id"], UnsupportedSource, "another replica"),
        ([b"\xff\x1d\x04#08S01Server shutdown"], SourceUnreachable, "Server shutdown"),
        ([b"\xfe\0\0\2\0"], SourceUnreachable, "ended the stream"),
    ]
    for packets, error, words in cases:
        with pytest.raises(error, match=words):
            replay(whole([*recording.packets, *packets]))


def test_an_ignorable_event_is_ignored(recording: Recording, replay: Callable[..., list[Output]]) -> None:
    end = recording.end.offset
    outputs = replay(whole([*recording.packets, event(99, b"?", end + 24, flags=0x80)]))
    assert commits(outputs) == commits(recording.outputs)


def test_changes_that_are_rolled_back_are_refused(recording: Recording, replay: Callable[..., list[Output]]) -> None:
    """Instead of its commit: ROLLBACK, ROLLBACK TO, or the next file, as after a crash."""
    first = recording.events({16})[0]
    offset = recording.end.offset
    begun = recording.packets[:first]
    for sql in ("ROLLBACK", "ROLLBACK TO `s`"):
        with pytest.raises(UndecodableEvent, match="a rollback"):
            replay(whole([*begun, query(sql, "x", offset)]))
    with pytest.raises(UndecodableEvent, match="ends with its file"):
        replay(whole([*begun, event(4, struct.pack("<Q", 4) + b"bin.000099", offset)]))
    described = recording.packets[recording.events({15})[0]]
    with pytest.raises(UndecodableEvent, match="ends with its file"):
        replay(whole([*begun, described]))


def test_offsets_beyond_4_gib(recording: Recording, replay: Callable[..., list[Output]]) -> None:
    """Events say only the low 32 bits of where they end."""
    near = [event(3, b"", 0xFFFFFFF0), event(3, b"", 0x10), query("CREATE TABLE x (a INT)", "x", 0x100)]
    outputs = replay(whole([*recording.packets, *near]))
    assert commits(outputs)[-1].position.offset == (1 << 32) + 0x100


def test_rows_that_do_not_fill_their_event(recording: Recording, replay: Callable[..., list[Output]]) -> None:
    index = recording.events({30, 23})[0]
    rows = recording.packets[index][20:-4]
    for body in (rows[:-1], rows + b"\0", rows[:16] + b"\xf0" * (len(rows) - 16)):
        rebuilt = event(recording.packets[index][5], body, recording.end.offset)
        with pytest.raises(UndecodableEvent):
            replay(whole([*recording.packets[:index], rebuilt, *recording.packets[index + 1 :]]))


def test_rows_without_a_table_map(recording: Recording, replay: Callable[..., list[Output]]) -> None:
    maps = set(recording.events({19}))
    with pytest.raises(UndecodableEvent, match="not named before"):
        replay(whole([packet for i, packet in enumerate(recording.packets) if i not in maps]))


def test_positions_of_the_recording(recording: Recording) -> None:
    assert isinstance(recording.start, Position)
    assert commits(recording.outputs)[-1].position == recording.end
