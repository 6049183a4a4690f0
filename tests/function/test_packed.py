"""Records of the stream: what is packed comes out again, and what was damaged does not."""

from __future__ import annotations

import json
import random
import zlib

import orjson
import pytest

from whimbrel.changelog.record import change_encoder, table_line
from whimbrel.errors import UserError
from whimbrel.kinesis import packed
from whimbrel.kinesis.lanes import LANES, hash_key, lane_of
from whimbrel.kinesis.packed import Interval, Unreadable, changes_of, pack, post_event, unpack
from whimbrel.kinesis.settings import (
    FunctionSettings,
    SourceTable,
    settings_from_json,
    settings_to_json,
    table_from_line,
)
from whimbrel.project import ConditionRule, IndexKey, IndexRule, KeyRule, TableRule
from whimbrel.records import Change, Column, Position, Table

TABLE = Table(
    "shop", "one", (Column("id", "int"), Column("b", "binary"), Column("f", "double"), Column("t", "text")), ("id",)
)
CHANGES = [
    Change(TABLE, None, (1, b"\x00\xff", 0.1, "a\nb"), Position("bin.000001", 4)),
    Change(TABLE, (1, b"\x00\xff", 0.1, "a\nb"), (2, None, -1e300, "\U0001f426"), Position("bin.000001", 9)),
    Change(TABLE, (2, None, -1e300, "\U0001f426"), None, Position("bin.000002", 4)),
]
HEAD = Interval("m", "s", 1, 7, 3, 9, [4, 6, 9], [1.5, 1.5, 2.25], {"shop.one": "digest"})


def lines() -> list[bytes]:
    return [change_encoder(TABLE)(change).rstrip(b"\n") for change in CHANGES]


def test_a_record_comes_out_as_it_was_packed() -> None:
    made = unpack(pack(HEAD, lines()))
    assert made.head == HEAD
    assert [each.change for each in changes_of(made, 0, lambda _: TABLE)] == CHANGES
    assert [(each.number, each.time) for each in changes_of(made, 4, lambda _: TABLE)] == [(6, 1.5), (9, 2.25)]


def test_an_event_of_the_post_comes_out_as_the_change_that_it_was() -> None:
    for number, change, line in zip(HEAD.numbers, CHANGES, lines(), strict=True):
        head = HEAD._replace(after=number - 1, to=number, numbers=[number], times=[1.0])
        event = post_event(head, line)
        fields = orjson.loads(event)
        assert {"schema", "table", "type", "row"} <= fields.keys()
        [found] = changes_of(unpack(event), 0, lambda _: TABLE)
        assert (unpack(event).head, found.change) == (head, change)
    marker = HEAD._replace(numbers=[], times=[])
    assert unpack(post_event(marker, b"")) == (marker, [], None)


@pytest.mark.parametrize("form", ["packed", "post"])
def test_no_damaged_byte_is_taken_for_a_record(form: str) -> None:
    head = HEAD._replace(after=3, to=4, numbers=[4], times=[1.5])
    data = pack(HEAD, lines()) if form == "packed" else post_event(head, lines()[0])
    chance = random.Random(5)
    for at in range(len(data)):
        damaged = data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]
        for wrong in (damaged, data[:at]):
            with pytest.raises(Unreadable):
                changes_of(unpack(wrong), 0, lambda _: TABLE)


@pytest.mark.parametrize("text", [b"", b"{}", b'{"type":"Marker"}', b"WHK1", b"something else", b"WHK1" + 20 * b"\0"])
def test_what_is_not_ours_is_said_to_be_unreadable(text: bytes) -> None:
    with pytest.raises(Unreadable):
        unpack(text)


@pytest.mark.parametrize(
    "head",
    [
        HEAD._replace(numbers=[4, 4, 9]),
        HEAD._replace(numbers=[3, 6, 9]),
        HEAD._replace(to=8),
        HEAD._replace(times=[1.5]),
        HEAD._replace(numbers=[4, 6], times=[1.5, 1.5]),
    ],
)
def test_numbers_that_do_not_fit_are_refused(head: Interval) -> None:
    with pytest.raises(Unreadable):
        changes_of(unpack(pack(head, lines())), 0, lambda _: TABLE)


@pytest.mark.parametrize("kind", ["WriteRowsEvent", "UpdateRowsEvent", "DeleteRowsEvent"])
def test_a_change_that_another_sender_put_is_not_passed_over(kind: str) -> None:
    """As the sender of the AWS post writes it: without a place in the log, it can be applied by nobody."""
    event = {"schema": "shop", "table": "one", "type": kind, "row": {"values": {"id": 1}}}
    with pytest.raises(UserError, match=f"a record is a {kind} of shop.one that another sender put"):
        unpack(json.dumps(event).encode())
    for other in ({**event, "type": "QueryEvent"}, {**event, "position": "x"}, {"type": kind}):
        with pytest.raises(Unreadable):
            unpack(json.dumps(other).encode())


def test_a_record_of_a_later_version_is_not_passed_over() -> None:
    lines = [orjson.dumps({**HEAD._asdict(), "format": 2}), b""]
    body = zlib.compress(b"\n".join(lines))
    with pytest.raises(UserError, match=r"has format 2; this version reads format 1\. Deploy the function"):
        unpack(b"WHK1" + zlib.crc32(body).to_bytes(4, "big") + body)


def test_a_record_that_would_fill_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "MOST_BYTES", 1 << 20)
    body = zlib.compress(b"{}\n" + bytes(2 << 20), 9)
    with pytest.raises(Unreadable, match="more than"):
        unpack(b"WHK1" + zlib.crc32(body).to_bytes(4, "big") + body)


def test_equal_keys_have_one_lane_and_lanes_are_spread() -> None:
    assert lane_of({"pk": {"N": "1"}}) == lane_of({"pk": {"N": "1.0"}})
    assert lane_of({"a": {"S": "x"}, "b": {"S": "y"}}) == lane_of({"b": {"S": "y"}, "a": {"S": "x"}})
    assert {lane_of({"pk": {"S": str(number)}}) for number in range(1000)} == set(range(LANES))
    assert 0 <= lane_of({"pk": {"S": "\ud800"}}) < LANES
    assert sorted(int(hash_key(lane)) * LANES // 2**128 for lane in range(LANES)) == list(range(LANES))


def test_the_lane_of_an_item_is_what_it_was_in_earlier_versions() -> None:
    """It says where an item's changes are in a stream that was written before."""
    assert [lane_of({"pk": {"S": each}}) for each in ("a", "order#1", "ü")] == [30, 6, 7]


def test_the_settings_come_out_as_they_were() -> None:
    rule = TableRule(
        source="shop.one",
        target="items",
        shape="record",
        partition_key=KeyRule("pk", "${id}"),
        sort_key=KeyRule("sk", "${t}"),
        exclude=("b",),
        attributes={"x": {"M": {"y": {"S": "${t}"}}}},
        indexes=(
            IndexRule("i", IndexKey("f", "N"), IndexKey("t"), projection=("a", "b")),
            IndexRule("j", IndexKey("pk"), projection="keys"),
        ),
        condition=ConditionRule("attribute_not_exists(#o)", {"#o": "owner"}),
    )
    settings = FunctionSettings(12.5, 3, (SourceTable(rule, TABLE, TABLE, ("b", "id")),))
    assert settings_from_json(settings_to_json(settings)) == settings
    assert table_from_line(table_line(TABLE)) == TABLE
