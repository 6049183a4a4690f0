"""Changes go through a real stream and the function into a table, and it is what the source has: by boto3's scan.

Of Lambda there is a stand-in of our own, see event_source.py. The stream is kinesalite's, the table dynalite's.
"""

from __future__ import annotations

import random
import threading
import time
from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import orjson
import pytest

from demo.event_source import Event, EventSource
from demo.resharding import merge, open_shards, split
from demo.servers import Kinesalite
from tests.function.streamed import Killed, Streamed
from tests.migration.applied import any_change, delete, insert, update
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import TargetError
from whimbrel.kinesis.lanes import LANES, hash_key, lane_of
from whimbrel.kinesis.packed import Interval, pack, unpack
from whimbrel.migration import dirty, send
from whimbrel.migration.dead import read_letters
from whimbrel.migration.dirty import dirty_since
from whimbrel.migration.dirty_files import DirtyPlace
from whimbrel.migration.verified import Verified
from whimbrel.project import ConditionRule
from whimbrel.records import Item

MOST_RESHARDED, MOST_KILLS = 6, 15  # of one history


class Trouble:
    """What befalls the sender and the function, by chance."""

    def __init__(self, streamed: Streamed, chance: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
        self.streamed, self.chance = streamed, chance
        self.kills = self.doubled = self.resharded = 0
        self._deadly = -1
        self._earlier: list[Event] = []
        self._looks: list[tuple[DirtyPlace, dict[str, Item]]] = []
        streamed.mapping.function = self.invoke
        ask = DynamoClient.ask

        async def asked(wire: DynamoClient, operation: str, body: bytes) -> bytes:
            self._deadly -= 1
            if self._deadly == 0:
                raise Killed
            return await ask(wire, operation, body)

        monkeypatch.setattr(DynamoClient, "ask", asked)

    def invoke(self, event: Event) -> Any:
        """Perhaps killed at any of its calls, or an earlier batch comes once more."""
        if self._earlier and self.chance.random() < 0.2:
            self.doubled += 1
            self.streamed.invoke(self.chance.choice(self._earlier))
        self._earlier.append(event)
        if self.kills >= MOST_KILLS:
            return self.streamed.invoke(event)
        try:
            return self._with_death(lambda: self.streamed.invoke(event))
        except Killed:
            self.kills += 1
            raise RuntimeError("the environment is gone") from None

    def look(self) -> None:
        """Begin a verification: where its keys begin, then what it reads of the target."""
        at = dirty_since(self.streamed.folder, None)
        if at.place is not None:
            self._looks.append((at.place, self.streamed.held()))

    def assert_nothing_unnoted(self) -> None:
        """Every item that changed since a verification began is dirty for the next one."""
        now = self.streamed.held()
        for place, then in self._looks:
            changed = {name for name in now.keys() | then.keys() if now.get(name) != then.get(name)}
            found = dirty_since(self.streamed.folder, Verified(None, 1.0, {}, "", place))
            assert not found.everything
            assert changed <= {key["pk"]["S"] for key in found.keys(self.streamed.table)}
        assert self._looks

    def between(self) -> None:
        # Each at least once in each history.
        what = 0.0 if not self.resharded else 0.15 if not self.kills else self.chance.random()
        if what < 0.1 and self.resharded < MOST_RESHARDED:
            self.resharded += 1
            if what < 0.05 and len(open_shards(self.streamed.server, self.streamed.stream)) > 1:
                merge(self.streamed.server, self.streamed.stream)
            else:
                split(self.streamed.server, self.streamed.stream, self.chance)
        elif what < 0.2 and self.kills < MOST_KILLS:
            self.kills += 1
            with suppress(Killed):
                self._with_death(self.streamed.sender.step)
            self.streamed.restart_sender()

    def _with_death(self, work: Callable[[], Any]) -> Any:
        self._deadly = self.chance.randrange(1, 120) if self.chance.random() < 0.3 else -1
        try:
            return work()
        finally:
            self._deadly = -1


def history(streamed: Streamed, chance: random.Random, transactions: int) -> None:
    for _ in range(transactions):
        made = partial(any_change, chance, streamed.source)
        streamed.source.transaction(*[made for _ in range(chance.randrange(1, 6))])


def through_trouble(streamed: Streamed, monkeypatch: pytest.MonkeyPatch, seed: int, rounds: int) -> Trouble:
    chance = random.Random(seed)
    trouble = Trouble(streamed, chance, monkeypatch)
    monkeypatch.setattr("tests.function.streamed.LEFT_SECONDS", 2.5)
    streamed.known.timeout = 0.5
    for _ in range(rounds):
        history(streamed, chance, chance.randrange(1, 12))
        trouble.between()
        if chance.random() < 0.3:
            trouble.look()
        if not streamed.sender.step():
            streamed.sender.idle()
        streamed.mapping.step()
    streamed.settle(trouble.between)
    return trouble


def test_a_small_history_arrives_through_a_split_and_a_merge(streamed: Streamed) -> None:
    chance = random.Random(7)
    history(streamed, chance, 20)
    streamed.sender.step()
    split(streamed.server, streamed.stream, chance)
    history(streamed, chance, 20)
    streamed.sender.step()
    streamed.mapping.step()
    merge(streamed.server, streamed.stream)
    history(streamed, chance, 20)
    streamed.restart_sender()
    streamed.settle()
    assert streamed.held() == streamed.source.expected()
    assert streamed.checkpoints.now.counters["applied"] == streamed.source.changes
    streamed.sender.check_end()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("form", ["packed", "post"])
def test_a_history_arrives_whatever_befalls_it(
    streamed: Streamed, monkeypatch: pytest.MonkeyPatch, seed: int, form: str
) -> None:
    streamed.form = form
    streamed.restart_sender()
    monkeypatch.setattr(dirty, "FILE_KEYS", 10)
    trouble = through_trouble(streamed, monkeypatch, seed, rounds=25)
    assert streamed.held() == streamed.source.expected()
    trouble.assert_nothing_unnoted()
    assert min(trouble.kills, trouble.doubled, trouble.resharded) > 0


@pytest.mark.slow
def test_what_was_applied_is_never_undone_by_what_is_sent_again(streamed: Streamed) -> None:
    streamed.source.transaction(insert(0, 1, "old"))
    streamed.settle()
    streamed.source.transaction(update(0, (1, "old", 1), (1, "new", 1)))
    streamed.settle()
    (streamed.folder / "sent.json").unlink()
    streamed.checkpoints.save(type(streamed.checkpoints.now)())  # as from an older copy of the state folder
    streamed.restart_sender()
    streamed.sender.step()
    seen = []
    places = [[lane.passed for lane in streamed.control.lanes(streamed.migration)]]

    def watched(event: Event) -> Any:
        answer = streamed.invoke(event)
        seen.append(streamed.held()["one#1"]["name"])
        places.append([lane.passed for lane in streamed.control.lanes(streamed.migration)])
        return answer

    streamed.mapping = EventSource(streamed.kinesis, streamed.stream, watched, batch=1)
    while streamed.mapping.step():
        pass
    assert len(seen) > LANES
    assert set(map(str, seen)) == {str({"S": "new"})}
    assert places == [places[0]] * len(places)


@pytest.mark.slow
def test_a_record_that_the_stream_lost_is_sent_again(streamed: Streamed) -> None:
    streamed.source.transaction(insert(0, 1), insert(1, 2))
    streamed.sender.step()
    lost = EventSource(streamed.kinesis, streamed.stream, lambda event: None)
    lost.step()  # takes all of it, and does nothing
    streamed.mapping._shards = lost._shards
    streamed.source.transaction(insert(0, 3))
    streamed.settle()
    assert streamed.held() == streamed.source.expected()


@pytest.mark.slow
def test_records_that_nobody_can_read_or_that_are_of_others_hold_nothing_up(streamed: Streamed) -> None:
    other = pack(Interval("another", "x", 1, 3, 0, 5), [])
    for data in (b"garbage", b"{}", b"WHK1....", other, orjson.dumps({"type": "WriteRowsEvent"})):
        streamed.kinesis.put_record(
            StreamName=streamed.stream, Data=data, PartitionKey="p", ExplicitHashKey=hash_key(3)
        )
    streamed.source.transaction(insert(0, 1))
    streamed.settle()
    assert streamed.held() == streamed.source.expected()


@pytest.mark.slow
def test_a_function_that_never_takes_a_record_is_said_by_name(streamed: Streamed) -> None:
    streamed.source.transaction(insert(0, 1))
    take = streamed.invoke

    def without_the_first(event: Event) -> Any:
        event["Records"] = [each for each in event["Records"] if not lines_of(each)]
        return take(event) if event["Records"] else None

    streamed.mapping.function = without_the_first
    with pytest.raises(TargetError, match="was sent 6 times"):
        streamed.settle()


@pytest.mark.slow
def test_a_dead_letter_of_the_function_comes_into_the_file(streamed: Streamed) -> None:
    """An item that is too large is found by the function alone."""
    streamed.source.transaction(insert(0, 1, "a"), insert(0, 2, "b" * 410_000), insert(0, 3, "c"))
    streamed.settle()
    assert sorted(streamed.held()) == ["one#1", "one#3"]
    [letter] = read_letters(streamed.folder / "dead.jsonl")
    assert (letter["table"], letter["phase"], letter["item_key"]) == ("shop.one", "apply", {"pk": {"S": "one#2"}})
    assert streamed.control.letters(streamed.migration) == {}


@pytest.mark.slow
def test_a_dead_letter_of_a_row_too_large_for_an_item_is_kept_without_its_images(streamed: Streamed) -> None:
    streamed.rules = [replace(rule, types={"n": "BOOL"}) for rule in streamed.rules]
    streamed.restart_sender()
    noise = random.Random(1).randbytes(450_000).hex()
    streamed.source.transaction(insert(0, 1, "a"), insert(0, 2, noise, 5))
    streamed.settle()
    assert sorted(streamed.held()) == ["one#1"]
    [letter] = read_letters(streamed.folder / "dead.jsonl")
    assert (letter["source_key"], letter["after"]) == ({"id": 2}, None)


@pytest.mark.slow
def test_a_poison_record_is_bisected_and_the_rest_arrives(streamed: Streamed) -> None:
    """One that the function dies of each time: the shard goes on behind it, and the sender says which lane it is."""
    streamed.mapping = EventSource(streamed.kinesis, streamed.stream, streamed.invoke, batch=40, retries=1)
    for number in range(40):
        streamed.source.transaction(insert(0, number))
    take = streamed.invoke

    def dies(event: Event) -> Any:
        if any(b'"id":7,' in each for record in event["Records"] for each in lines_of(record)):
            raise RuntimeError("out of memory")
        return take(event)

    streamed.mapping.function = dies
    with pytest.raises(TargetError, match="failure queue"):
        streamed.settle()
    assert streamed.mapping.destination
    streamed.mapping.function = streamed.invoke
    streamed.restart_sender()
    streamed.settle()
    assert streamed.held() == streamed.source.expected()


def lines_of(record: Any) -> list[bytes]:
    return unpack(b64decode(record["kinesis"]["data"])).lines


@pytest.mark.slow
def test_a_stream_is_of_one_migration(streamed: Streamed) -> None:
    assert streamed.control.take(streamed.migration)
    assert not streamed.control.take("another")
    assert streamed.control.current() == streamed.migration


@pytest.mark.slow
def test_nothing_is_sent_twice_after_an_orderly_restart(streamed: Streamed) -> None:
    streamed.source.transaction(insert(0, 1))
    streamed.settle()
    streamed.restart_sender()
    streamed.source.transaction(delete(0, (1, "x", 1)))
    streamed.settle()
    assert streamed.held() == {} == streamed.source.expected()


@pytest.mark.slow
def test_an_outage_of_the_stream_is_waited_out(streamed: Streamed, kinesalite: Kinesalite) -> None:
    streamed.source.transaction(insert(0, 1))
    streamed.sender.step()
    kinesalite.kill()
    streamed.source.transaction(insert(0, 2), delete(0, (1, "x", 1)))
    sending = threading.Thread(target=streamed.sender.step)
    sending.start()
    while not streamed.sender._stream.counters.retries:
        sending.join(0.01)
    kinesalite.start()  # by this thread: it would end with another
    sending.join()
    streamed.settle()
    assert streamed.held() == streamed.source.expected()


@pytest.mark.parametrize("changes", [0, 1])
def test_transactions_of_others_alone_leave_it_quiet(streamed: Streamed, changes: int) -> None:
    """A cutover waits for that, and its own fence is such a transaction."""
    for _ in range(changes):
        streamed.source.transaction(insert(0, 1, "a"))
    streamed.settle()

    def until_quiet() -> None:
        end = time.monotonic() + 10
        while not streamed.progress.quiet:
            assert time.monotonic() < end
            streamed.sender.idle()
            streamed.mapping.step()

    until_quiet()
    streamed.source.transaction()
    assert streamed.sender.step() == 1
    assert not streamed.progress.log_drained
    until_quiet()


@pytest.mark.slow
def test_nothing_is_on_its_way_when_it_is_quiet(streamed: Streamed) -> None:
    """Also what an earlier sender may have put that nobody knows of."""
    streamed.source.transaction(insert(0, 1, "old"))
    streamed.sender.step()
    (streamed.folder / "sent.json").unlink(missing_ok=True)
    streamed.restart_sender()
    ended = threading.Event()
    serving = threading.Thread(target=lambda: [streamed.mapping.step() for _ in iter(ended.is_set, True)])
    serving.start()
    try:
        streamed.sender.quiet()
        expected = streamed.source.expected()
        assert streamed.held() == expected
        # What is still in the stream was passed: it writes nothing over what is written past the stream now.
        key = {"pk": {"S": "one#1"}}
        streamed.client.put_item(TableName=streamed.table, Item=key | {"name": {"S": "past"}})
    finally:
        ended.set()
        serving.join()
    while streamed.mapping.step():
        pass
    assert streamed.held()["one#1"]["name"] == {"S": "past"}


@pytest.mark.slow
def test_a_function_that_takes_nothing_is_shown(streamed: Streamed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send, "SILENT_SECONDS", 0.1)
    streamed.source.transaction(insert(0, 1))
    streamed.sender.step()
    while not streamed.progress.note:
        streamed.sender.idle()
    assert f"the function took nothing of lanes {lane_of({'pk': {'S': 'one#1'}})} for" in streamed.progress.note
    streamed.settle()
    assert streamed.progress.note == ""


@pytest.mark.slow
def test_writes_that_a_condition_skips_are_counted(streamed: Streamed) -> None:
    condition = ConditionRule("attribute_not_exists(#o)", {"#o": "owner"})
    streamed.rules = [replace(rule, condition=condition) for rule in streamed.rules]
    streamed.restart_sender()
    streamed.client.put_item(TableName=streamed.table, Item={"pk": {"S": "one#1"}, "owner": {"S": "somebody"}})
    streamed.source.transaction(insert(0, 1), insert(0, 2))
    streamed.settle()
    assert sorted(streamed.held()) == ["one#1", "one#2"]
    assert "owner" in streamed.held()["one#1"]
    assert (streamed.progress.held, streamed.checkpoints.now.counters["held"]) == (1, 1)
    streamed.restart_sender()
    streamed.source.transaction(update(0, (1, "x", 1), (1, "y", 1)))
    streamed.settle()
    assert streamed.checkpoints.now.counters["held"] == 2
