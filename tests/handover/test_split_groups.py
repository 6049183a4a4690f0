"""A cutover and a rollback of a group that is split over items: what the application writes into the parts comes back,
and afterwards the items are what the rows make.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from demo.servers import Ministack, SqlServer
from tests.handover.both_sides import with_a_way_back
from tests.handover.test_lookups import CUTOVER

SERVERS = ["mariadb", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mysql", "mariadb-11.8"))]
PARTS = 4
MAPPING = """
shape = "group"
partition_key = { name = "pk", value = "DOC#${doc}" }
sort_key = { name = "sk", value = "NOTES" }
entry = { name = "${n}", value = "body", as = "map", into = "notes" }
oversize = { split = 4, by = "n" }
"""
Rows = dict[tuple[int, int], str]


def part_of(number: int) -> str:
    """As docs/mappings.md says it."""
    return f"NOTES#{int.from_bytes(hashlib.sha256(str(number).encode()).digest()[:4], 'big') % PARTS}"


class Notes:
    def __init__(self, folder: Path, server: SqlServer, endpoint: Ministack) -> None:
        self.work = with_a_way_back(folder, server, endpoint, "note", MAPPING, CUTOVER)
        self.sql(
            "CREATE TABLE note (doc INT, n INT, body VARCHAR(20), PRIMARY KEY (doc, n))",
            "INSERT INTO note VALUES " + ", ".join(f"({n % 2}, {n}, 'body {n}')" for n in range(12)),
        )
        self.client = endpoint.client()

    def sql(self, *statements: str) -> Any:
        return self.work.source.execute(*statements, database=self.work.database)

    def rows(self) -> Rows:
        return {(doc, n): body for doc, n, body in self.sql("SELECT doc, n, body FROM note")}

    def items(self) -> dict[tuple[str, str], dict[str, str]]:
        found = self.client.scan(TableName=self.work.target, ConsistentRead=True)["Items"]
        return {
            (item["pk"]["S"], item["sk"]["S"]): {name: each["S"] for name, each in item["notes"]["M"].items()}
            for item in found
        }

    def equal(self) -> None:
        wanted: dict[tuple[str, str], dict[str, str]] = {}
        for (doc, n), body in self.rows().items():
            wanted.setdefault((f"DOC#{doc}", part_of(n)), {})[str(n)] = body
        assert self.items() == wanted

    def follow(self) -> None:
        self.work.call("migrate", "--until-caught-up")
        self.equal()
        self.work.verify()

    def put_at_dynamodb(self, doc: int, n: int, body: str) -> None:
        """One entry, in its part, which is made where it is not there."""
        key = {"pk": {"S": f"DOC#{doc}"}, "sk": {"S": part_of(n)}}
        there = self.client.get_item(TableName=self.work.target, Key=key).get("Item", {**key, "notes": {"M": {}}})
        there["notes"]["M"][str(n)] = {"S": body}
        self.client.put_item(TableName=self.work.target, Item=there)


@pytest.mark.parametrize("source_server", SERVERS, indirect=True)
def test_there_and_back(source_server: SqlServer, ministack: Ministack, tmp_path: Path) -> None:
    notes = Notes(tmp_path, source_server, ministack)
    notes.follow()
    notes.work.call("cutover", "--yes", "--json", "--until-open")
    before = notes.rows()
    notes.put_at_dynamodb(0, 2, "changed")
    notes.put_at_dynamodb(1, 100, "new")
    notes.put_at_dynamodb(7, 3, "another document")
    [gone] = [key for key in notes.items() if key == ("DOC#1", part_of(5))]
    notes.client.delete_item(TableName=notes.work.target, Key={"pk": {"S": gone[0]}, "sk": {"S": gone[1]}})
    notes.work.call("rollback", "--yes")
    left = {(doc, n): body for (doc, n), body in before.items() if (f"DOC#{doc}", part_of(n)) != gone}
    added = {(1, 100): "new"} if part_of(100) != part_of(5) else {}
    assert notes.rows() == left | added | {(0, 2): "changed", (7, 3): "another document"}
    notes.sql("UPDATE note SET n = n + 1000 WHERE doc = 0", "DELETE FROM note WHERE doc = 7")
    notes.follow()


def test_an_entry_in_another_part_than_its_own_does_not_come_back(
    mariadb: SqlServer, ministack: Ministack, tmp_path: Path
) -> None:
    """It would be a row whose entry is elsewhere: it is told, and nothing is written."""
    notes = Notes(tmp_path, mariadb, ministack)
    notes.follow()
    notes.work.call("cutover", "--yes", "--json", "--until-open")
    before = notes.rows()
    wrong = next(f"NOTES#{each}" for each in range(PARTS) if f"NOTES#{each}" != part_of(50))
    item = {"pk": {"S": "DOC#9"}, "sk": {"S": wrong}, "notes": {"M": {"50": {"S": "lost"}}}}
    notes.client.put_item(TableName=notes.work.target, Item=item)
    said = notes.work.call("rollback", "--yes", code=3).output
    assert notes.rows() == before
    assert "1 " in said
    letters = [json.loads(line) for path in notes.work.state.glob("*.jsonl") for line in path.read_text().splitlines()]
    assert any("another place" in str(letter.get("reason")) for letter in letters), letters
