"""The worker of a first look: it reads the target, and then chunks of the source; all that it read counts, once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from demo.servers import Dynalite, MariaDB
from tests.conftest import unique
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import RequestRefused, SchemaDrift, Stopped, WorkerLost
from whimbrel.mapping.design import TableMapping, compile_mapping
from whimbrel.migration.digests import ItemDigests, TargetSide
from whimbrel.migration.first_rows import SourceDigests, SourceSide, takers
from whimbrel.migration.lookup import read_directly
from whimbrel.migration.reading_process import ReadingProcess
from whimbrel.mysql.connect import connect
from whimbrel.mysql.reading import TableReading
from whimbrel.mysql.schema import read_table
from whimbrel.project import NO_SOURCE, KeyRule, Source, TableRule, Target
from whimbrel.records import Column, Table
from whimbrel.spill import KeyedDigests

ROWS, PARTITIONS = 3_000, 3
RECORD = TableRule(source="sale", target="items", shape="record", partition_key=KeyRule("pk", "${name}-${line}"))
GROUP = TableRule(
    source="sale",
    target="items",
    shape="group",
    partition_key=KeyRule("pk", "${customer}"),
    entry_name="${line}",
    entry_value="name",
)


class Sides(NamedTuple):
    source: Source
    mapping: TableMapping
    target: TargetSide
    folder: Path

    def process(self, stop: threading.Event) -> ReadingProcess:
        folder = self.folder / "elsewhere"
        side = SourceSide(self.source, [self.mapping], self.target.digests, folder, PARTITIONS)
        return ReadingProcess(self.target, side, stop, lambda items: None)

    def read(self, into: SourceDigests, process: ReadingProcess | None, stop: threading.Event) -> int:
        begin = takers(self.mapping, self.target.digests, self.folder, partial(into.add, self.mapping))
        elsewhere = process.chunks_of(self.mapping) if process else None
        return read_directly(self.source, self.mapping, begin, self.counts.append, stop, elsewhere=elsewhere)

    counts: list[int]


def test_chunks_that_two_processes_share_are_smaller() -> None:
    """So that both end at about the same time."""
    table = Table("shop", "sale", (Column("id", "int"),), ("id",))
    source = Source("127.0.0.1", 3306, "me", "shop", chunk_rows=40_000)
    unused: Any = None

    def chunk_rows(source: Source, elsewhere: Any) -> int:
        return TableReading(source, table, ("id",), unused, unused, unused, elsewhere).chunk_rows

    assert (chunk_rows(source, None), chunk_rows(source, object())) == (40_000, 10_000)
    assert chunk_rows(replace(source, chunk_rows=7), object()) == 7


@pytest.fixture
def items(dynalite: Dynalite) -> str:
    name, client = unique("items"), dynalite.client()
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
    return name


@pytest.fixture(params=[RECORD, GROUP], ids=["record", "group"])
def sides(request: pytest.FixtureRequest, mariadb: MariaDB, dynalite: Dynalite, items: str, tmp_path: Path) -> Sides:
    database = mariadb.new_database()
    mariadb.execute(
        "CREATE TABLE sale (customer INT, line INT, name VARCHAR(20), PRIMARY KEY (customer, line))",
        f"INSERT INTO sale SELECT seq DIV 7, seq MOD 7, IF(seq MOD 50, CONCAT('n', seq), NULL) FROM seq_1_to_{ROWS}",
        database=database,
    )
    source = mariadb.source(database, connections=4, chunk_rows=50)
    with closing(connect(source)) as connection:
        mapping = compile_mapping(request.param, read_table(connection, database, "sale"))
    digests = ItemDigests(mapping.key_attributes, [])
    target = TargetSide(dynalite.target(), items, digests, tmp_path / "target", PARTITIONS, 1, 100)
    return Sides(source, mapping, target, tmp_path, [])


def sorted_digests(*several: KeyedDigests) -> list[tuple[bytes, bytes]]:
    return sorted(
        pair for each in several for number in range(PARTITIONS) for pair in zip(*each.partition(number), strict=True)
    )


def test_what_two_processes_read_of_a_table_is_what_one_reads(sides: Sides, tmp_path: Path) -> None:
    stop = threading.Event()
    alone = SourceDigests(tmp_path / "alone", PARTITIONS)
    assert sides.read(alone, None, stop) == ROWS
    assert sum(sides.counts) == ROWS
    sides.counts.clear()
    here = SourceDigests(tmp_path / "here", PARTITIONS)
    with sides.process(stop) as process:
        assert process.target().added == 0
        assert process.ready
        assert sides.read(here, process, stop) == ROWS
        kept, there = process.source()
    assert sum(sides.counts) == ROWS
    assert sorted_digests(here.digests, kept) == sorted_digests(alone.digests)
    assert (kept.added, here.digests.added) == (kept.given, here.digests.given)
    one, own = alone.read(), here.read()
    assert there.kept
    assert (one.items, one.kept) == (own.items + there.items, own.kept + there.kept)
    assert one.unmappable == own.unmappable + there.unmappable == 0
    keyless = [each.keyless.get(sides.mapping.source, []) for each in (own, there)]
    assert sorted(keyless[0] + keyless[1]) == sorted(one.keyless.get(sides.mapping.source, []))
    assert len(one.keyless.get(sides.mapping.source, [])) == (0 if sides.mapping.shape == "group" else ROWS // 50)


def test_a_worker_that_is_killed_while_it_helps_ends_the_reading(sides: Sides, tmp_path: Path) -> None:
    stop, here = threading.Event(), SourceDigests(tmp_path / "here", PARTITIONS)
    with sides.process(stop) as process:
        process.target()
        process._workers._all[0].process.kill()
        with pytest.raises(WorkerLost, match="SIGKILL"):
            sides.read(here, process, stop)


def test_a_stop_ends_what_it_reads_of_the_source(sides: Sides) -> None:
    stop = threading.Event()
    with sides.process(stop) as process:
        process.target()
        stop.set()
        with pytest.raises(Stopped):
            process.read(0, [])


def test_what_it_meets_in_the_source_is_raised_here(sides: Sides, mariadb: MariaDB, tmp_path: Path) -> None:
    """The table is gone by then."""
    stop, here = threading.Event(), SourceDigests(tmp_path / "here", PARTITIONS)
    with sides.process(stop) as process:
        process.target()
        mariadb.execute(f"DROP TABLE {sides.source.database}.sale")
        with pytest.raises(SchemaDrift, match="sale"):
            sides.read(here, process, stop)


@pytest.fixture
def side(dynalite: Dynalite, items: str, tmp_path: Path) -> TargetSide:
    """Of thirty items."""
    client = dynalite.client()
    for number in range(30):
        client.put_item(TableName=items, Item={"pk": {"S": f"k{number}"}, "n": {"N": str(number)}})
    digests = ItemDigests([("pk", "S")], [])
    return TargetSide(dynalite.target(), items, digests, tmp_path / "digests", 4, 2, 7)


def reading(side: TargetSide, stop: threading.Event, found: Callable[[int], None]) -> ReadingProcess:
    """Without a source."""
    return ReadingProcess(side, SourceSide(NO_SOURCE, [], side.digests, side.folder, 4), stop, found)


@pytest.mark.parametrize("alike", [False, True])
def test_another_process_reads_the_same(side: TargetSide, tmp_path: Path, alike: bool) -> None:
    stop, counts = threading.Event(), list[int]()
    side = side._replace(digests=ItemDigests([("pk", "S")], [], as_written=alike))
    with reading(side, stop, counts.append) as process:
        read = process.target()
    with closing(DynamoClient(side.target)) as client:
        here = side._replace(folder=tmp_path / "here").read(client, stop, lambda items: None)
    assert [sorted(zip(*read.partition(n), strict=True)) for n in range(4)] == [
        sorted(zip(*here.partition(n), strict=True)) for n in range(4)
    ]
    assert read.added == read.given == sum(counts) == 30
    assert max(counts) <= 7


def test_what_it_meets_is_raised_here(side: TargetSide) -> None:
    with (
        reading(side._replace(table="missing"), threading.Event(), lambda items: None) as process,
        pytest.raises(RequestRefused) as raised,
    ):
        process.target()
    assert raised.value.code == "ResourceNotFoundException"
    assert raised.value.place


def test_a_stop_ends_it(side: TargetSide) -> None:
    stop = threading.Event()
    with (
        reading(side._replace(page_items=1), stop, lambda items: stop.set()) as process,
        pytest.raises(Stopped, match="asked to stop"),
    ):
        process.target()


def test_what_fails_beside_it_ends_it(side: TargetSide) -> None:
    silent = side._replace(target=Target(endpoint="http://127.0.0.1:9", region="us-east-1"))  # it would ask for ever
    with pytest.raises(OSError, match="the source"), reading(silent, threading.Event(), lambda items: None):
        raise OSError("the source")
