"""Markers: one in every open shard, whatever the table's keys are, and nothing of the table's is touched."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.handover.site import StreamsServer
from whimbrel.dynamodb.streams import open_streams, shards
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import Stopped, TargetError
from whimbrel.handover import markers
from whimbrel.handover.markers import mark_shards

KEYS = [
    (("id", "S"),),
    (("id", "N"),),
    (("id", "B"),),
    (("id", "S"), ("sort", "N")),
    (("id", "N"), ("sort", "B")),
    (("id", "B"), ("sort", "S")),
]


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[StreamsServer]:
    with StreamsServer(tmp_path / "streams").start() as server:
        yield server


class Table:
    def __init__(self, server: StreamsServer, keys: tuple[tuple[str, str], ...]) -> None:
        self.server, self.keys = server, keys
        roles = zip(keys, ("HASH", "RANGE"), strict=False)
        made = server.call(
            "CreateTable",
            TableName="shop",
            KeySchema=[{"AttributeName": name, "KeyType": role} for (name, _), role in roles],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind in keys],
        )
        self.stream = made["TableDescription"]["LatestStreamArn"]
        self.client = open_streams(server.target())

    def mark(self, nonce: str = "now", **more: Any) -> dict[str, str]:
        stop = more.pop("stop", threading.Event())
        with closing(DynamoClient(self.server.target())) as wire:
            return mark_shards(wire, self.client, self.stream, "shop", self.keys, nonce, stop, **more)

    def open_shards(self) -> set[str]:
        return {shard.id for shard in shards(self.client, self.stream) if not shard.closed}


@pytest.mark.parametrize("keys", KEYS)
def test_every_open_shard_shows_one(streams: StreamsServer, keys: tuple[tuple[str, str], ...]) -> None:
    table = Table(streams, keys)
    for _ in range(5):
        streams.call("Split", TableName="shop")
    found = table.mark()
    assert found.keys() == table.open_shards()
    assert len(found) == 6
    assert streams.call("Scan", TableName="shop")["Items"] == []  # each was deleted again


def test_a_shard_that_splits_meanwhile_has_its_halves_marked(
    streams: StreamsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, put, count = Table(streams, KEYS[0]), markers._Putting.one, iter(range(100))

    def and_split(putting: Any) -> None:
        put(putting)
        if next(count) in (0, 2):
            streams.call("Split", TableName="shop")

    monkeypatch.setattr(markers._Putting, "one", and_split)
    found = table.mark()
    assert found.keys() == table.open_shards()
    assert len(found) == 3


def test_a_closed_shard_whose_halves_are_not_listed_yet_is_waited_for(
    streams: StreamsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a stream whose only shard is just being replaced would count as marked without a single marker."""
    table, real, count = Table(streams, KEYS[0]), shards, iter(range(100))
    streams.call("Split", TableName="shop")
    monkeypatch.setattr(markers, "shards", lambda *asked: real(*asked)[: 1 if next(count) < 3 else None])
    found = table.mark()
    assert found.keys() == table.open_shards()
    assert len(found) == 2
    monkeypatch.setattr(markers, "shards", lambda *asked: real(*asked)[:1])
    with pytest.raises(TargetError, match="does not list its children"):
        table.mark("later", patience=0.3)


def test_markers_of_others_count_for_nothing(streams: StreamsServer) -> None:
    table = Table(streams, KEYS[0])
    first = table.mark("first")
    second = table.mark("second")
    assert int(second["shardId-00000000000000000000-standin"]) > int(first["shardId-00000000000000000000-standin"])


def test_what_a_killed_process_left_is_deleted_by_the_next_one(
    streams: StreamsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, real = Table(streams, KEYS[3]), markers._Putting._call

    def killed(putting: Any, operation: str, body: dict[str, Any]) -> None:
        if operation == "DeleteItem":
            raise KeyboardInterrupt
        real(putting, operation, body)

    with monkeypatch.context() as patched:
        patched.setattr(markers._Putting, "_call", killed)
        with pytest.raises(KeyboardInterrupt):
            table.mark("first")
    assert len(streams.call("Scan", TableName="shop")["Items"]) == 1
    assert table.mark("second").keys() == table.open_shards()
    assert streams.call("Scan", TableName="shop")["Items"] == []


def test_who_is_stopped_between_a_marker_and_its_deletion_leaves_nothing(
    streams: StreamsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, real, stop = Table(streams, KEYS[0]), markers._Putting._call, threading.Event()

    def stopped(putting: Any, operation: str, body: dict[str, Any]) -> None:
        real(putting, operation, body)
        stop.set()

    monkeypatch.setattr(markers._Putting, "_call", stopped)
    with pytest.raises(Stopped):
        table.mark(stop=stop)
    assert streams.call("Scan", TableName="shop")["Items"] == []


def test_an_item_of_others_is_never_replaced(streams: StreamsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(streams, KEYS[0])
    item = {"id": {"S": "theirs"}, "n": {"N": "1"}}
    streams.call("PutItem", TableName="shop", Item=item)
    real, count = markers._like_random, iter(range(1000))
    monkeypatch.setattr(markers, "_like_random", lambda *of: {"S": "theirs"} if next(count) < 3 else real(*of))
    assert table.mark().keys() == table.open_shards()
    assert streams.call("Scan", TableName="shop")["Items"] == [item]


def test_a_stream_that_shows_nothing_is_an_error_by_name(
    streams: StreamsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Table(streams, KEYS[0])
    monkeypatch.setattr(markers, "page", lambda client, stream, shard, iterator: ([], iterator))
    with pytest.raises(TargetError, match=r"1 of the stream.s 1 open shards showed no marker within 0\.3 s"):
        table.mark(patience=0.3)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        table.mark(stop=stop)
