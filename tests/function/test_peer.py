"""What the published solution makes of the same changes: docs/kinesis.md has the table that this test holds."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from demo.event_source import Event, EventSource
from demo.servers import Dynalite, Kinesalite
from tests.conftest import unique
from tests.function.one_stream import Changes, Items, OneStream, Row, items_of
from tests.function.peer import HASH, NAME, RANGE, VALUE, PeerFunction, PeerSender
from whimbrel.dynamodb.tables import ensure_table

pytestmark = pytest.mark.slow


def row(customer: str = "c", order: str = "o", product: str = "p", quantity: Any = 1) -> Row:
    return {HASH: customer, RANGE: order, NAME: product, VALUE: quantity}


class Peer(Changes):
    def __init__(self, kinesalite: Kinesalite, dynalite: Dynalite) -> None:
        stream, self.table, self.client = unique("stream"), unique("peer"), dynalite.client()
        kinesalite.new_stream(stream, 1)
        ensure_table(self.client, self.table, ((HASH, "S"), (RANGE, "S")), dynalite.target())
        self._sender = PeerSender(kinesalite.client, stream)
        function = PeerFunction(self.client, self.table)

        def invoke(event: Event) -> None:
            function(event)  # its mapping does not ask for item failures, and takes any answer

        self._mapping = EventSource(kinesalite.client, stream, invoke)

    def change(self, before: Row | None, after: Row | None) -> None:
        if before and after:
            self._sender.send("UpdateRowsEvent", {"before_values": before, "after_values": after})
        else:
            self._sender.send("WriteRowsEvent" if after else "DeleteRowsEvent", {"values": after or before})

    def items(self) -> Items:
        while self._mapping.step():
            pass
        return items_of(self.client, self.table)


@pytest.fixture
def peer(kinesalite: Kinesalite, dynalite: Dynalite) -> Peer:
    return Peer(kinesalite, dynalite)


def updated(peer: Changes) -> None:
    peer.insert(row())
    peer.update(row(), row(quantity=2))


def deleted(peer: Changes) -> None:
    peer.insert(row())
    peer.delete(row())


def moved(peer: Changes) -> None:
    peer.insert(row())
    peer.update(row(), row(order="other"))


def refused(peer: Changes) -> None:
    peer.insert(row(order=""))
    peer.insert(row())


def too_large(peer: Changes) -> None:
    peer.insert(row())
    peer.insert(row(product="x", quantity="x" * 410_000))


def named_as_the_key(peer: Changes) -> None:
    peer.insert(row())
    peer.insert(row(product=HASH, quantity=7))


WHOLE: Items = {("c", "o"): {"p": "1"}}


@pytest.mark.parametrize(
    ("do", "right", "wrong"),
    [
        (updated, {("c", "o"): {"p": "2"}}, WHOLE),
        (deleted, {}, WHOLE),
        (moved, {("c", "other"): {"p": "1"}}, WHOLE),
        (refused, None, WHOLE),  # whimbrel: a dead letter
        (too_large, None, WHOLE),
        (named_as_the_key, None, WHOLE | {("7", "o"): {"p": "1"}}),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_what_it_loses_or_makes_up(peer: Peer, do: Callable[[Peer], None], right: Items | None, wrong: Items) -> None:
    do(peer)
    assert peer.items() == wrong != right


@pytest.mark.parametrize(
    ("do", "right", "wrong", "letters"),
    [
        (updated, {("c", "o"): {"p": "2"}}, WHOLE, 0),
        (deleted, {}, WHOLE, 0),
        (moved, {("c", "other"): {"p": "1"}}, WHOLE, 0),
        (refused, WHOLE, WHOLE, 1),
        (too_large, {}, WHOLE, 1),  # both rows were one write: the letter has both
        (named_as_the_key, WHOLE, WHOLE | {("7", "o"): {"p": "1"}}, 1),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_both_read_one_stream(
    kinesalite: Kinesalite,
    dynalite: Dynalite,
    do: Callable[[Changes], None],
    right: Items,
    wrong: Items,
    letters: int,
) -> None:
    """whimbrel sends the post's events, and both functions take each of them."""
    with OneStream(kinesalite, dynalite) as both:
        do(both)
        both.send()
        assert (both.peer_items(), both.items(), both.letters()) == (wrong, right, letters)


def test_it_ends_at_a_value_that_json_does_not_have(peer: Peer) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        peer.insert(row(quantity=Decimal("1.5")))


def test_the_page_has_a_row_for_each() -> None:
    page = (Path(__file__).parents[2] / "docs" / "kinesis.md").read_text()
    section = page.partition("## Beside the published solution")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| |")]
    assert len(rows) == 9
