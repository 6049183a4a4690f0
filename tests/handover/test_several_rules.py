"""Rows come back from the items of one rule where their table is in several; those of the others are copies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from demo.application import allow
from demo.servers import Ministack, SqlServer
from tests.conftest import unique
from tests.e2e.work import Work
from tests.handover.site import Site, StreamsServer
from tests.handover.test_lookups import CUTOVER
from whimbrel.errors import MappingError
from whimbrel.handover.reconcile import Reconciled, reconcile, verify_back
from whimbrel.handover.way_back import way_back_facts
from whimbrel.mysql.connect import connect
from whimbrel.project import KeyRule, TableRule
from whimbrel.project.cutover import Cutover
from whimbrel.records import Item


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[StreamsServer]:
    with StreamsServer(tmp_path / "streams").start() as server:
        yield server


def rules(database: str) -> tuple[TableRule, TableRule]:
    """The second has all columns, the first not."""
    to = KeyRule("pk", "USER#${followed}"), KeyRule("sk", "FOLLOWED_BY#${follower}")
    by = KeyRule("pk", "USER#${follower}"), KeyRule("sk", "FOLLOWS#${followed}")
    return (
        TableRule(f"{database}.follow", "shop", "record", *to, exclude=("since",), number=1),
        TableRule(f"{database}.follow", "shop", "record", *by, number=2),
    )


def follows(follower: str, followed: str, since: str) -> Item:
    both = {"follower": {"S": follower}, "followed": {"S": followed}, "since": {"S": since}}
    return {"pk": {"S": f"USER#{follower}"}, "sk": {"S": f"FOLLOWS#{followed}"}, **both}


def followed_by(followed: str, follower: str) -> Item:
    both = {"follower": {"S": follower}, "followed": {"S": followed}}
    return {"pk": {"S": f"USER#{followed}"}, "sk": {"S": f"FOLLOWED_BY#{follower}"}, **both}


def key(item: Item) -> Item:
    return {name: item[name] for name in ("pk", "sk")}


def new_site(source: SqlServer, streams: StreamsServer, folder: Path, *, of: int = 2, filter_: str = "") -> Site:
    database = source.new_database()
    source.execute(
        "CREATE TABLE follow (follower VARCHAR(9), followed VARCHAR(9), since VARCHAR(9), "
        "PRIMARY KEY (follower, followed))",
        "INSERT INTO follow VALUES ('a', 'b', '1'), ('b', 'a', '2'), ('c', 'a', '3')",
        database=database,
    )
    made = tuple(replace(rule, filter=filter_) for rule in rules(database)[:of])
    site = Site(source, database, streams, folder / "state", made)
    site.load()
    return site


def test_rows_come_back_from_one_of_them(source_server: SqlServer, streams: StreamsServer, tmp_path: Path) -> None:
    site = new_site(source_server, streams, tmp_path)
    starts = site.mark("start")
    site.put(follows("a", "b", "changed"))
    site.put(follows("d", "a", "new"))
    site.put(followed_by("a", "d"))
    site.delete(key(follows("b", "a", "")))
    site.delete(key(followed_by("a", "b")))
    site.put(followed_by("x", "y"))  # of a copy alone
    site.delete(key(followed_by("a", "c")))
    reverse = site.reverse(starts)
    site.drain(reverse)
    rows = [("a", "b", "changed"), ("c", "a", "3"), ("d", "a", "new")]
    assert (site.whole_rows("follow"), len(reverse.letters)) == (rows, 0)
    assert reconcile(site.beside()) == Reconciled(0, 0, 0, 0)
    [report] = verify_back(site.beside())
    assert report.equal
    assert site.whole_rows("follow") == rows


def test_the_plan_says_which(source_server: SqlServer, streams: StreamsServer, tmp_path: Path) -> None:
    site = new_site(source_server, streams, tmp_path)
    table = f"{site.database}.follow"
    assert facts(site, "cutover-not-returned") == {
        (table, f"its rows come back from the items of {table}#2; those of {table}#1 are copies")
    }
    assert not facts(site, "cutover-not-readable")


def test_with_filters_none_has_all_rows(source_server: SqlServer, streams: StreamsServer, tmp_path: Path) -> None:
    site = new_site(source_server, streams, tmp_path, filter_="follower <> 'x'")
    reason = "of its 2 rules none has all rows, without a filter, and every column that another has"
    assert facts(site, "cutover-not-readable") == {(f"{site.database}.follow", reason)}
    with pytest.raises(MappingError, match="of its 2 rules none has all rows"):
        site.reverse(site.mark("start"))


def facts(site: Site, code: str) -> set[tuple[str, str]]:
    cutover = Cutover(reverse_user=site.account.user, reverse_password=site.account.password)
    prepared = replace(site.prepared, project=replace(site.project, cutover=cutover))
    with closing(connect(site.project.source)) as connection:
        return {(fact.place, fact.reason) for fact in way_back_facts(prepared, connection) if fact.code == code}


MAPPING = """
partition_key = { name = "pk", value = "USER#${follower}" }
sort_key = { name = "sk", value = "FOLLOWS#${followed}" }
[[table]]
source = "follow"
target = "TARGET"
partition_key = { name = "pk", value = "USER#${followed}" }
sort_key = { name = "sk", value = "FOLLOWED_BY#${follower}" }
[[table]]
source = "follow"
target = "TARGET"
item = "shared"
shape = "group"
partition_key = { name = "pk", value = "COUNTS#${followed}" }
sort_key = { name = "sk", value = "FOLLOWERS" }
entry = { name = "${follower}", value = "since", as = "map", into = "followers" }
[[table]]
source = "person"
target = "TARGET"
item = "shared"
partition_key = { name = "pk", value = "COUNTS#${name}" }
sort_key = { name = "sk", value = "FOLLOWERS" }
"""


def test_after_a_return_copies_are_written_again_and_those_without_rows_removed(
    mariadb: SqlServer, ministack: Ministack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the part of an item that another table has a part of. What the rows make is gone through several times, as
    where it does not fit into memory.
    """
    monkeypatch.setattr("whimbrel.migration.leftovers.PARTITIONS", 1)
    monkeypatch.setattr("whimbrel.spill._BYTES_OF_A_PASS", 60)
    database = mariadb.new_database()
    allow(mariadb, database, "back")
    work = Work(tmp_path, mariadb, database, ministack, unique("follow"), table="follow")
    work.mapping = MAPPING.replace("TARGET", work.target)
    work.target_settings, work.source_settings = CUTOVER, ""
    work.environment["WHIMBREL_REVERSE_PASSWORD"] = mariadb.password
    work.write_project()
    mariadb.execute(
        "CREATE TABLE follow (follower VARCHAR(9), followed VARCHAR(9), since VARCHAR(9), "
        "PRIMARY KEY (follower, followed))",
        "CREATE TABLE person (name VARCHAR(9) PRIMARY KEY)",
        "INSERT INTO follow VALUES ('a', 'b', '1'), ('b', 'a', '2'), ('c', 'a', '3'), ('a', 'c', '4')",
        "INSERT INTO person VALUES ('a'), ('b'), ('d')",
        database=database,
    )
    work.call("migrate", "--until-caught-up")
    work.verify()
    work.call("cutover", "--yes", "--json", "--until-open")
    for gone in (follows("a", "b", ""), follows("a", "c", "")):
        ministack.client().delete_item(TableName=work.target, Key=key(gone))
    ministack.client().put_item(TableName=work.target, Item=follows("d", "a", "5"))
    said = " ".join(work.call("rollback", "--yes").output.split())
    assert f"`whimbrel refill {database}.follow#2 --remove`" in said
    assert f"`whimbrel refill {database}.follow#3 --remove`" in said
    work.call("migrate", "--until-caught-up")
    assert sum(work.verify(equal=False)["counts"].values()) == 6  # two copies are left, one is missing, of each rule
    work.call("refill", "follow#2")
    assert sum(work.verify(equal=False)["counts"].values()) == 5
    for number in (2, 3):
        assert (
            "2 items that no row of it makes were removed" in work.call("refill", f"follow#{number}", "--remove").output
        )
    work.verify()
