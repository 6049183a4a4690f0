"""Without binlog checksums, an event that is missing is noticed by where the next one begins."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.binlog.conftest import Source
from whimbrel.errors import UndecodableEvent
from whimbrel.mysql.binlog.protocol import Packets

STATEMENTS = [
    "INSERT INTO t VALUES (1, 'x'), (2, 'y')",
    "UPDATE t SET v = 'z' WHERE id = 1",
    "CREATE TABLE other (id INT PRIMARY KEY)",
    "INSERT INTO other VALUES (1)",
    "FLUSH BINARY LOGS",
    "DELETE FROM t WHERE id = 2",
    "INSERT INTO t VALUES (3, 'w')",
    "INSERT INTO t VALUES (4, 'v')",
]


@pytest.fixture
def unchecked(source: Source) -> Iterator[Source]:
    source.execute("SET GLOBAL binlog_checksum = 'NONE'")
    try:
        source.execute("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20))")
        yield source
    finally:
        source.execute("SET GLOBAL binlog_checksum = 'CRC32'")


def test_nothing_is_missing(unchecked: Source, use_gtid: bool) -> None:
    start = unchecked.position()
    unchecked.execute(*STATEMENTS)
    outputs = unchecked.read(start, unchecked.table(), use_gtid=use_gtid)
    assert sum(len(output) for output in outputs if isinstance(output, list)) == 6


def test_any_event_that_is_lost_is_noticed(unchecked: Source, use_gtid: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    start = unchecked.position()
    unchecked.execute(*STATEMENTS)
    whole = list(events(unchecked, start, use_gtid, monkeypatch, lost=None))
    assert len(whole) > 20
    noticed = 0
    first_commit = whole.index(16) + 1  # what comes before it may have been skipped by the server
    for lost in range(first_commit, len(whole) - 4):
        if whole[lost] in (4, 27, 41):  # the name of the next file comes twice, and heartbeats are not in the log
            continue
        with pytest.raises(UndecodableEvent):
            list(events(unchecked, start, use_gtid, monkeypatch, lost=lost))
        noticed += 1
    assert noticed > 10


def events(source: Source, start: object, use_gtid: bool, patch: pytest.MonkeyPatch, lost: int | None) -> Iterator[int]:
    """The types of the events of a stream whose event number ``lost`` never comes."""
    kinds: list[int] = []
    read = Packets._read_packets

    def without(packets: Packets) -> Iterator[bytes | None]:
        for packet in read(packets):
            if packet is not None and len(packet) > 19:
                kinds.append(packet[4])
                if len(kinds) - 1 == lost:
                    continue
            yield packet

    with patch.context() as patched:
        patched.setattr(Packets, "_read_packets", without)
        source.read(start, source.table(), use_gtid=use_gtid)  # type: ignore[arg-type]
    yield from kinds
