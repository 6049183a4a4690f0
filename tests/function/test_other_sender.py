"""Why the function refuses events of the post's own sender: one stream of them may come of two histories, which end
with different rows. Whoever applies them is wrong about one of the two. docs/kinesis.md has the table of these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from demo.servers import Dynalite, Kinesalite
from tests.function.one_stream import OneStream
from tests.function.peer import HASH, NAME, RANGE, VALUE, PeerSender
from whimbrel.errors import UserError
from whimbrel.kinesis.packed import unpack


class Stream:
    """What a shard has after all. ``late``: the first try of so many puts from now on is delayed: boto3 has given it
    up, has put the record again, and the next one too, when it arrives.
    """

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.late = 0
        self._delayed: list[bytes] = []

    def put_record(self, *, StreamName: str, Data: str, PartitionKey: str) -> None:  # noqa: N803
        self.records += [Data.encode(), *self._delayed]
        self._delayed = [Data.encode()] if self.late else []
        self.late -= bool(self.late)


class History:
    """One row of the source, whose quantity changes. A sender that is ``down`` sees nothing of it: when it is started
    again, it begins at the end of the binary log, as python-mysql-replication does where it is to resume without a
    position.
    """

    def __init__(self) -> None:
        self.row: dict[str, Any] | None = None
        self.stream = Stream()
        self.down = False
        self._sender = PeerSender(self.stream, "stream")

    def be(self, quantity: int | None) -> None:
        before, after = self.row, None if quantity is None else _row(quantity)
        self.row = after
        if self.down:
            return
        if before and after:
            self._sender.send("UpdateRowsEvent", {"before_values": before, "after_values": after})
        else:
            self._sender.send("WriteRowsEvent" if after else "DeleteRowsEvent", {"values": after or before})


def _row(quantity: int) -> dict[str, Any]:
    return {HASH: "c", RANGE: "o", NAME: "p", VALUE: quantity}


def inserted(history: History) -> None:
    history.be(1)


def updated_while_the_sender_was_down(history: History) -> None:
    history.be(1)
    history.down = True
    history.be(2)


def deleted_while_the_sender_was_down(history: History) -> None:
    history.be(1)
    history.down = True
    history.be(None)


def inserted_deleted_and_inserted_again(history: History) -> None:
    history.be(1)
    history.be(None)
    history.be(1)


def deleted_and_the_insert_came_again_late(history: History) -> None:
    history.stream.late = 1
    history.be(1)
    history.be(None)


@pytest.mark.slow
def test_its_events_are_skipped_where_that_is_said(kinesalite: Kinesalite, dynalite: Dynalite) -> None:
    """The same changes come from both senders, and some of the other one's late, twice, or not at all. The post's own
    function goes on with all of them.
    """
    with OneStream(kinesalite, dynalite, skips_others=True) as both:
        other = both.other_sender
        other.send("WriteRowsEvent", {"values": _row(1)})
        both.insert(_row(1))
        both.update(_row(1), _row(2))
        both.send()
        other.send("WriteRowsEvent", {"values": _row(1)})
        other.send("UpdateRowsEvent", {"before_values": _row(2), "after_values": _row(3)})
        both.send()
        assert both.items() == {("c", "o"): {"p": "2"}}
        both.delete(_row(2))
        other.send("WriteRowsEvent", {"values": _row(1)})
        both.send()
        assert (both.items(), both.letters()) == ({}, 0)
        assert both.peer_items() == {("c", "o"): {"p": "1"}}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (inserted, updated_while_the_sender_was_down),
        (inserted, deleted_while_the_sender_was_down),
        (inserted_deleted_and_inserted_again, deleted_and_the_insert_came_again_late),
    ],
)
def test_two_histories_with_different_ends_are_one_stream(
    one: Callable[[History], None], other: Callable[[History], None]
) -> None:
    made = History(), History()
    one(made[0])
    other(made[1])
    assert made[0].stream.records == made[1].stream.records
    assert made[0].row != made[1].row
    for record in made[0].stream.records:
        with pytest.raises(UserError, match=r"of shop\.purchase that another sender put"):
            unpack(record)
