"""A cutover and a rollback of a table whose partition key is spread over buckets: what the application writes comes
back, and afterwards the items are what the rows make.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from demo.servers import Ministack, SqlServer
from tests.handover.both_sides import with_a_way_back
from tests.handover.test_lookups import CUTOVER

SERVERS = ["mariadb", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mysql", "mariadb-11.8"))]
MAPPING = """
partition_key = { name = "pk", value = "PAGE#${page}" }
sort_key = { name = "id", type = "N" }
spread = { buckets = 4, by = "id" }
exclude = ["page"]
"""
Rows = dict[int, tuple[str, int]]


def key(page: str, number: int, by: int | None = None) -> dict[str, Any]:
    """The bucket as docs/mappings.md says it; that of ``by`` instead, if it is given."""
    text = str(number if by is None else by)
    bucket = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % 4
    return {"pk": {"S": f"PAGE#{page}#{bucket}"}, "id": {"N": str(number)}}


class Clicks:
    def __init__(self, folder: Path, server: SqlServer, endpoint: Ministack) -> None:
        self.work = with_a_way_back(folder, server, endpoint, "click", MAPPING, CUTOVER)
        self.sql(
            "CREATE TABLE click (id INT PRIMARY KEY, page VARCHAR(20) NOT NULL, n INT)",
            "INSERT INTO click VALUES " + ", ".join(f"({n}, 'home', {n})" for n in range(12)),
        )
        self.client = endpoint.client()

    def sql(self, *statements: str) -> Any:
        return self.work.source.execute(*statements, database=self.work.database)

    def rows(self) -> Rows:
        return {number: (page, n) for number, page, n in self.sql("SELECT id, page, n FROM click")}

    def follow(self) -> None:
        self.work.call("migrate", "--until-caught-up")
        found = self.client.scan(TableName=self.work.target, ConsistentRead=True)["Items"]
        wanted = [{**key(page, number), "n": {"N": str(n)}} for number, (page, n) in self.rows().items()]
        assert sorted(found, key=str) == sorted(wanted, key=str)
        self.work.verify()

    def cut_over(self) -> None:
        self.work.call("cutover", "--yes", "--json", "--until-open")

    def put(self, where: dict[str, Any], n: int) -> None:
        self.client.put_item(TableName=self.work.target, Item={**where, "n": {"N": str(n)}})


@pytest.mark.parametrize("source_server", SERVERS, indirect=True)
def test_there_and_back(source_server: SqlServer, ministack: Ministack, tmp_path: Path) -> None:
    clicks = Clicks(tmp_path, source_server, ministack)
    clicks.follow()
    clicks.sql("UPDATE click SET page = 'shop' WHERE id < 3", "DELETE FROM click WHERE id = 11")
    clicks.sql("UPDATE click SET id = 20 WHERE id = 10")
    clicks.follow()
    clicks.cut_over()
    before = clicks.rows()
    clicks.put(key("home", 5), 50)
    clicks.put(key("about#us", 100), 100)
    clicks.client.delete_item(TableName=clicks.work.target, Key=key("shop", 2))
    clicks.work.call("rollback", "--yes")
    left = {number: row for number, row in before.items() if number != 2}
    assert clicks.rows() == left | {5: ("home", 50), 100: ("about#us", 100)}
    clicks.sql("UPDATE click SET id = id + 1000 WHERE page = 'home'")
    clicks.follow()


def test_an_item_in_another_bucket_than_its_own_does_not_come_back(
    mariadb: SqlServer, ministack: Ministack, tmp_path: Path
) -> None:
    clicks = Clicks(tmp_path, mariadb, ministack)
    clicks.follow()
    clicks.cut_over()
    before = clicks.rows()
    other = next(by for by in range(100) if key("home", 50, by) != key("home", 50))
    clicks.put(key("home", 50, other), 1)
    clicks.work.call("rollback", "--yes", code=3)
    assert clicks.rows() == before
    assert "another place" in (clicks.work.state / "reverse-dead.jsonl").read_text()
