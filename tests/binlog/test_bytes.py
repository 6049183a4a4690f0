"""A recorded stream of a real server, sent again in other pieces, damaged, or with events that servers seldom write."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Any

import pytest

from tests.binlog.conftest import commits
from tests.binlog.recorded import Recording, load
from tests.binlog.replay import event, framed, query, replayed, whole
from tests.binlog.test_stream import IMAGES
from whimbrel.errors import (
    PositionLost,
    SourceUnreachable,
    StatementChange,
    UndecodableEvent,
    UnsupportedSource,
    WhimbrelError,
)
from whimbrel.mysql.binlog.stream import Output
from whimbrel.records import Position, Table


class Recorded:
    """What a real server sent for THREE, packet by packet."""

    def __init__(self, recording: Recording) -> None:
        self.session, self.start, self.packets = recording.session, recording.start, recording.packets
        self.table, self.end = recording.tables["t"], recording.steps[-1].position
        self.outputs = self.replayed(whole(self.packets))

    def replayed(self, data: bytes, table: Table | None = None, **more: Any) -> list[Output]:
        table = table or self.table
        return replayed(self.session, data, self.start, {(table.schema, table.name): table}, **more)[0]

    def events(self, kinds: set[int]) -> list[int]:
        """Where the packets with such events are."""
        return [i for i, packet in enumerate(self.packets) if packet[5] in kinds]


@pytest.fixture(params=["mariadb", "mariadb-11.8", "mysql"])
def recording(request: pytest.FixtureRequest) -> Recorded:
    return Recorded(load(f"{request.param}-three"))


@pytest.fixture
def replay(recording: Recorded) -> Callable[..., list[Output]]:
    return recording.replayed


def test_a_packet_that_is_lost_or_comes_twice(recording: Recorded, replay: Callable[..., list[Output]]) -> None:
    """Also without checksums, and where nothing in the events themselves would tell."""
    frames = [framed(packet, number) for number, packet in enumerate(recording.packets, 1)]
    for at in range(len(frames) - 1):
        for damaged in (frames[:at] + frames[at + 1 :], frames[: at + 1] + frames[at:]):
            with pytest.raises(SourceUnreachable, match=r"packet number \d+ arrived where \d+ was expected"):
                replay(b"".join(damaged))


@pytest.mark.parametrize("seed", range(8))
def test_pieces_of_any_size(recording: Recorded, replay: Callable[..., list[Output]], seed: int) -> None:
    chance = random.Random(seed)
    outputs = replay(whole(recording.packets), pieces=lambda: chance.choice((1, 2, 3, 4, 5, 23, 24, 100, 1000)))
    assert [o for o in outputs if isinstance(o, list)] == [o for o in recording.outputs if isinstance(o, list)]
    assert commits(outputs) == commits(recording.outputs)
    assert [(c.before, c.after) for o in outputs if isinstance(o, list) for c in o] == IMAGES


def test_every_damaged_byte_is_noticed(recording: Recorded, replay: Callable[..., list[Output]]) -> None:
    """In the body of an event that has a checksum; the rows before it come out, and nothing after."""
    for index in recording.events({19, 30, 31, 32, 16, 33, 2, 162, 23, 24, 25}):
        packet = bytearray(recording.packets[index])
        packet[random.Random(index).randrange(20, len(packet))] ^= 4
        damaged = [*recording.packets[:index], bytes(packet), *recording.packets[index + 1 :]]
        with pytest.raises(UndecodableEvent, match="its checksum does not match"):
            replay(whole(damaged))


def test_truncated_anywhere_is_a_lost_connection(recording: Recorded, replay: Callable[..., list[Output]]) -> None:
    data = whole(recording.packets)
    for cut in random.Random(1).sample(range(1, len(data)), 30):
        outputs = replay(data[:cut])
        assert [o for o in outputs if isinstance(o, list)] == [o for o in recording.outputs if isinstance(o, list)][
            : sum(isinstance(o, list) for o in outputs)
        ]


def test_events_that_mean_a_loss(recording: Recorded, replay: Callable[..., list[Output]]) -> None:
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


def test_an_ignorable_event_is_ignored(recording: Recorded, replay: Callable[..., list[Output]]) -> None:
    end = recording.end.offset
    outputs = replay(whole([*recording.packets, event(99, b"?", end + 24, flags=0x80)]))
    assert commits(outputs) == commits(recording.outputs)


def test_changes_that_are_rolled_back_are_refused(recording: Recorded, replay: Callable[..., list[Output]]) -> None:
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


def test_offsets_beyond_4_gib(recording: Recorded, replay: Callable[..., list[Output]]) -> None:
    """Events say only the low 32 bits of where they end."""
    near = [event(3, b"", 0xFFFFFFF0), event(3, b"", 0x10), query("CREATE TABLE x (a INT)", "x", 0x100)]
    outputs = replay(whole([*recording.packets, *near]))
    assert commits(outputs)[-1].position.offset == (1 << 32) + 0x100


def test_rows_that_do_not_fill_their_event(recording: Recorded, replay: Callable[..., list[Output]]) -> None:
    index = recording.events({30, 23})[0]
    rows = recording.packets[index][20:-4]
    for body in (rows[:-1], rows + b"\0", rows[:16] + b"\xf0" * (len(rows) - 16)):
        rebuilt = event(recording.packets[index][5], body, recording.end.offset)
        with pytest.raises(UndecodableEvent):
            replay(whole([*recording.packets[:index], rebuilt, *recording.packets[index + 1 :]]))


def test_rows_without_a_table_map(recording: Recorded, replay: Callable[..., list[Output]]) -> None:
    maps = set(recording.events({19}))
    with pytest.raises(UndecodableEvent, match="not named before"):
        replay(whole([packet for i, packet in enumerate(recording.packets) if i not in maps]))


def test_positions_of_the_recording(recording: Recorded) -> None:
    assert isinstance(recording.start, Position)
    assert commits(recording.outputs)[-1].position == recording.end
