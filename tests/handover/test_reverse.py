"""The reverse stream from DynamoDB's streams to real sources: shards that split, ends, gaps, and what is not ours."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from demo.servers import MariaDB, Ministack, SqlServer
from tests.handover.site import Site, StreamsServer
from whimbrel.dynamodb.shards import to_read
from whimbrel.dynamodb.streams import Shard
from whimbrel.dynamodb.streams import shards as list_shards
from whimbrel.errors import LogGone, MappingError, StateError
from whimbrel.handover import reverse as reverse_module
from whimbrel.handover.reverse import Reverse, Settings
from whimbrel.handover.way_back import way_back_facts
from whimbrel.handover.writing import WriteRules
from whimbrel.mysql.connect import connect
from whimbrel.mysql.reverse_tables import close_gate
from whimbrel.project import KeyRule, TableRule
from whimbrel.project.cutover import Cutover
from whimbrel.records import Item


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[StreamsServer]:
    with StreamsServer(tmp_path / "streams").start() as server:
        yield server


def people(database: str, target: str = "shop", **more: object) -> TableRule:
    return TableRule(f"{database}.person", target, "record", KeyRule("id", "${id}", "N"), **more)  # type: ignore[arg-type]


def person(number: int, name: str) -> Item:
    return {"id": {"N": str(number)}, "name": {"S": name}}


def new_site(source: SqlServer, streams: StreamsServer, folder: Path, rows: int = 0) -> Site:
    database = source.new_database()
    source.execute("CREATE TABLE person (id INT PRIMARY KEY, name VARCHAR(20))", database=database)
    if rows:
        values = ", ".join(f"({n}, 'first')" for n in range(rows))
        source.execute(f"INSERT INTO person VALUES {values}", database=database)
    site = Site(source, database, streams, folder / "state", (people(database),))
    site.load()
    return site


def test_changes_come_back_across_splits(source_server: SqlServer, streams: StreamsServer, tmp_path: Path) -> None:
    site = new_site(source_server, streams, tmp_path, rows=20)
    streams.call("Split", TableName="shop")
    starts = site.mark("start")
    expected = dict.fromkeys(range(20), "first")
    for round_ in range(4):
        for number in range(round_, 40, 3):
            expected[number] = f"round {round_}"
            site.put(person(number, f"round {round_}"))
        for number in range(round_, 20, 7):
            expected.pop(number, None)
            site.delete({"id": {"N": str(number)}})
        streams.call("Split", TableName="shop")
    reverse = site.reverse(starts)
    site.drain(reverse)
    assert dict(site.whole_rows("person")) == expected
    assert not len(reverse.letters)
    assert reverse.lag_seconds < 60
    again = site.reverse(starts)  # goes on where it was, and has nothing to do
    site.drain(again)
    assert again.written == 0


def test_what_was_written_before_the_start_does_not_come_back(
    mariadb: MariaDB, streams: StreamsServer, tmp_path: Path
) -> None:
    site = new_site(mariadb, streams, tmp_path, rows=3)
    site.put(person(1, "written forwards"))
    starts = site.mark("start")
    site.put(person(2, "written afterwards"))
    site.drain(site.reverse(starts))
    assert site.whole_rows("person") == [(0, "first"), (1, "first"), (2, "written afterwards")]


def test_with_the_streams_of_a_server_that_others_made(
    mariadb: MariaDB, ministack: Ministack, new_table_name: Callable[[str], str], tmp_path: Path
) -> None:
    database, target = mariadb.new_database(), new_table_name("reverse")
    mariadb.execute("CREATE TABLE person (id INT PRIMARY KEY, name VARCHAR(20))", database=database)
    site = Site(mariadb, database, ministack, tmp_path / "state", (people(database, target),), target)
    starts = site.mark("start")
    for number in range(30):
        site.put(person(number, "new"))
    site.delete({"id": {"N": "7"}})
    site.drain(site.reverse(starts))
    assert site.whole_rows("person") == [(number, "new") for number in range(30) if number != 7]


def test_an_item_that_cannot_come_back_is_a_letter_and_the_others_go_on(
    mariadb: MariaDB, streams: StreamsServer, tmp_path: Path
) -> None:
    site = new_site(mariadb, streams, tmp_path, rows=3)
    starts = site.mark("start")
    site.put(person(0, "x" * 21))
    site.put(person(1, "Ann") | {"colour": {"S": "red"}})
    site.put(person(2, "Bob"))
    reverse = site.reverse(starts)
    site.drain(reverse)
    assert site.whole_rows("person") == [(0, "first"), (1, "first"), (2, "Bob")]
    assert len(reverse.letters) == 2
    site.put(person(0, "short"))  # written whole, though its old image was never a row
    site.drain(site.reverse(starts))
    assert site.whole_rows("person")[0] == (0, "short")


@pytest.mark.parametrize(("rule", "rows", "letters"), [("stop", 2, 1), ("skip", 2, 0), ("apply", 1, 0)])
def test_what_time_to_live_deletes_follows_its_rule(
    mariadb: MariaDB, streams: StreamsServer, tmp_path: Path, rule: str, rows: int, letters: int
) -> None:
    site = new_site(mariadb, streams, tmp_path, rows=2)
    starts = site.mark("start")
    streams.call("DeleteItem", TableName="shop", Key={"id": {"N": "0"}}, expired=True)
    reverse = site.reverse(starts, WriteRules(ttl=rule))
    site.drain(reverse)
    assert (len(site.whole_rows("person")), len(reverse.letters)) == (rows, letters)


def test_a_stream_that_has_forgotten_is_no_way_back(mariadb: MariaDB, streams: StreamsServer, tmp_path: Path) -> None:
    site = new_site(mariadb, streams, tmp_path, rows=3)
    starts = site.mark("start")
    site.put(person(1, "lost"))
    streams.call("Trim", TableName="shop")
    with pytest.raises(LogGone, match="the way back is gone"):
        site.reverse(starts).follow()
    streams.call("Split", TableName="shop")
    streams.call("Trim", TableName="shop")
    with pytest.raises(LogGone, match="the way back is gone"):
        site.reverse(starts).follow()


def test_a_closed_stream_takes_nothing_more(mariadb: MariaDB, streams: StreamsServer, tmp_path: Path) -> None:
    """A process that slept goes on after MySQL was opened."""
    site = new_site(mariadb, streams, tmp_path, rows=1)
    starts = site.mark("start")
    reverse = site.reverse(starts)
    with connect(site.account) as connection:
        close_gate(connection, site.database, reverse.epoch)
    site.put(person(0, "late"))
    with pytest.raises(StateError, match="the reverse stream is closed"):
        reverse.follow()
    with pytest.raises(StateError, match="the reverse stream is closed"):
        site.reverse(starts)
    assert site.whole_rows("person") == [(0, "first")]


def test_a_table_that_cannot_be_read_back_is_refused(mariadb: MariaDB, streams: StreamsServer, tmp_path: Path) -> None:
    database = mariadb.new_database()
    mariadb.execute("CREATE TABLE person (id INT PRIMARY KEY, name VARCHAR(20) NOT NULL)", database=database)
    site = Site(mariadb, database, streams, tmp_path / "state", (people(database, exclude=("name",)),))
    with pytest.raises(MappingError, match="no row could be inserted"):
        site.reverse(site.mark("start"))


def test_following_ends_cleanly_when_asked(mariadb: MariaDB, streams: StreamsServer, tmp_path: Path) -> None:
    site = new_site(mariadb, streams, tmp_path, rows=1)
    starts, stop = site.mark("start"), threading.Event()
    reverse = site.reverse(starts, stop=stop)
    site.put(person(0, "now"))
    before = threading.active_count()

    def asked() -> bool:
        if reverse.written:
            stop.set()
        return False

    reverse.follow(asked)
    assert threading.active_count() <= before
    assert site.whole_rows("person") == [(0, "now")]


def test_the_end_is_not_reached_while_a_closed_shard_has_no_children_listed(
    mariadb: MariaDB, streams: StreamsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written last is in them, and nobody has seen it."""
    site = new_site(mariadb, streams, tmp_path, rows=1)
    starts, real = site.mark("start"), list_shards
    ends = site.mark("end")
    streams.call("Split", TableName="shop")
    site.put(person(0, "after the marker"))
    monkeypatch.setattr(reverse_module, "shards", lambda *asked: real(*asked)[:1])
    reverse, found = site.reverse(starts), []

    def done() -> bool:
        found.append(reverse.at_end(ends))
        return bool(found[-1].read or found[-1].unmarked)

    reverse.follow(done)
    assert not found[-1].read


def test_the_end_is_not_reached_before_every_open_shard_is_marked(
    mariadb: MariaDB, streams: StreamsServer, tmp_path: Path
) -> None:
    """A shard that splits after it was marked: what is written to its halves is behind no marker."""
    site = new_site(mariadb, streams, tmp_path, rows=1)
    starts = site.mark("start")
    ends = site.mark("end")
    streams.call("Split", TableName="shop")
    site.put(person(0, "after the marker"))
    reverse, found = site.reverse(starts), []

    def done() -> bool:
        found.append(reverse.at_end(ends))
        return bool(found[-1].read or found[-1].unmarked)

    reverse.follow(done)
    assert not found[-1]
    assert len(found[-1].unmarked) == 2
    site.drain(site.reverse(starts))
    assert site.whole_rows("person") == [(0, "after the marker")]


def test_a_lag_of_twenty_hours_is_an_alarm(
    mariadb: MariaDB, streams: StreamsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, said = new_site(mariadb, streams, tmp_path, rows=1), list[str]()
    starts = site.mark("start")
    monkeypatch.setattr(Reverse, "lag_seconds", 21 * 3600)
    settings = Settings(site.account)
    reverse = Reverse(site.prepared, 1, starts, threading.Event(), said.append, settings)
    site.drain(reverse)
    assert said == ["The reverse stream is 21.0 hours behind; after 24 the way back is gone."]
    assert json.loads((site.project.state / "reverse.json").read_text())["lag_seconds"] == 21 * 3600


# --- which shards are read, without a server --------------------------------------------------------------------------

OLD, START = Shard("old", "", closed=True), Shard("start", "old", closed=True)
LEFT, RIGHT = Shard("left", "start", closed=False), Shard("right", "start", closed=True)
LISTED = [OLD, START, LEFT, RIGHT, Shard("grandchild", "right", closed=False)]


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        (set(), ["start"]),
        ({"start"}, ["left", "right"]),
        ({"start", "right"}, ["left", "grandchild"]),
    ],
)
def test_a_child_begins_when_its_parent_has_ended(ended: set[str], expected: list[str]) -> None:
    assert [shard.id for shard in to_read(LISTED, {"start": "1"}, ended, set(), "arn")] == expected


@pytest.mark.parametrize(
    ("listed", "ended", "begun"),
    [
        ([LEFT], set(), set()),  # the start is gone before it was read
        ([LEFT], {"start"}, {"start", "right"}),  # the right half is gone before it was read to its end
        ([*LISTED, Shard("x", "unknown", closed=False)], set(), set()),
    ],
)
def test_a_gap_is_the_end_of_the_way_back(listed: list[Shard], ended: set[str], begun: set[str]) -> None:
    with pytest.raises(LogGone, match="the way back is gone"):
        to_read(listed, {"start": "1"}, ended, begun, "arn")


# --- what the plan says ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source_server", ["mariadb", "mysql"], indirect=True
)  # 11.8 has no generated columns in its log
def test_the_plan_names_what_does_not_come_back_column_by_column(
    source_server: SqlServer, streams: StreamsServer, tmp_path: Path
) -> None:
    database = source_server.new_database()
    source_server.execute(
        "CREATE TABLE person (id INT PRIMARY KEY, name VARCHAR(20) NOT NULL, twice INT AS (id * 2), "
        "memo INT NOT NULL DEFAULT 7, at TIMESTAMP DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP)",
        database=database,
    )
    rule = people(database, exclude=("name", "memo", "at"))
    site = Site(source_server, database, streams, tmp_path / "state", (rule,))
    cutover = Cutover(reverse_user="reverse", reverse_password=source_server.password)
    prepared = replace(site.prepared, project=replace(site.project, cutover=cutover))
    with connect(site.account) as connection:
        facts = {
            fact.place.rpartition(".")[2]: (fact.code, fact.reason) for fact in way_back_facts(prepared, connection)
        }
    assert facts == {
        "name": (
            "cutover-not-readable",
            "excluded, NOT NULL and without a default: no row could be inserted",
        ),
        "twice": ("cutover-not-returned", "generated: left to the server"),
        "memo": ("cutover-not-returned", "excluded: an INSERT has its default or NULL, an UPDATE leaves it"),
        "at": ("cutover-not-returned", "excluded: an INSERT has what the server sets by itself, an UPDATE sets it"),
    }
    wrong = replace(prepared.project, cutover=replace(cutover, reverse_password="wrong"))
    with connect(site.account) as connection:
        codes = {fact.code for fact in way_back_facts(replace(prepared, project=wrong), connection)}
    assert "cutover-reverse-account" in codes
    account = "reverse@'%'"
    source_server.execute(f"REVOKE DELETE, CREATE ON `{database}`.* FROM {account}")
    with connect(site.account) as connection:
        lacking = [
            fact.reason for fact in way_back_facts(prepared, connection) if fact.code == "cutover-reverse-account"
        ]
    assert lacking == [
        f"lacks DELETE on {database}.person",
        f"lacks DELETE on {database}.*",
        f"lacks CREATE on {database}.*",
    ]
