"""A lake in S3: many machines, each sees whole data sets, and of two publishers one loses by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demo.servers import Ministack
from tests.lake.machines import Bucketed, Machine
from tests.lake.test_export import key, new_table
from whimbrel.lake.shared import SharedLake
from whimbrel.lake.shared_exports import SharedExports


class Shop:
    """A table of DynamoDB, and machines whose lake is one bucket."""

    def __init__(self, tmp_path: Path, ministack: Ministack, table: str, items: int = 20) -> None:
        self.server, self.table, self.folder = ministack, table, tmp_path
        self.client = new_table(ministack, table, items, stream="NEW_AND_OLD_IMAGES")
        self.bucket = Bucketed(ministack)
        self.a, self.b = self.machine("a"), self.machine("b")

    def machine(self, name: str, lake: str = "") -> Machine:
        rule = f'[[dataset]]\ntable = "{self.table}"\nkey = ["pk", "sk"]\n'
        return self.bucket.machine(self.folder / name, self.server, rule, lake)

    def put(self, number: int, n: int) -> None:
        self.client.put_item(TableName=self.table, Item=key(number) | {"n": {"N": str(n)}})

    def delete(self, number: int) -> None:
        self.client.delete_item(TableName=self.table, Key=key(number))

    def expected(self, table: str = "") -> dict[str, Any]:
        found = self.client.scan(TableName=table or self.table)["Items"]
        return {item["pk"]["S"]: int(item["n"]["N"]) for item in found}

    def current(self) -> str:
        pointer = self.bucket.get(f"lake/datasets/{self.table}/current.json")
        return str(json.loads(pointer)["id"])

    def chain(self) -> list[str]:
        found: list[str] = json.loads(self.bucket.get(f"lake/exports/{self.table}/chain.json"))["exports"]
        return found


@pytest.fixture
def shop(tmp_path: Path, ministack: Ministack, new_table_name: Callable[[str], str]) -> Shop:
    return Shop(tmp_path, ministack, new_table_name("shared"))


def test_machines_share_a_lake(shop: Shop, new_table_name: Callable[[str], str]) -> None:
    a, b, table = shop.a, shop.b, shop.table
    a.run("export", table)
    a.run("convert", table)
    assert b.rows(table) == a.rows(table) == shop.expected()
    before = shop.expected()
    shop.put(3, 333)
    shop.put(77, 77)
    shop.delete(5)
    b.run("export", table)
    b.run("convert", table)
    assert a.rows(table) == b.rows(table) == shop.expected() != before
    first = json.loads(a.run("query", "-f", "json", f'SELECT count(*) AS n FROM "{table}"'))
    assert first == {"n": len(shop.expected())}
    again = new_table_name("restored")
    a.run("restore", table, "--into", again)
    assert shop.expected(again) == shop.expected()
    exported = [path for path in shop.folder.rglob("*.json.gz") if path.is_file()]
    assert not exported, "an export's data lies in S3 alone"


def test_changes_are_found_by_comparing_on_another_machine(shop: Shop) -> None:
    shop.a.run("export", shop.table)
    shop.a.run("convert", shop.table)
    shop.put(1, -1)
    shop.delete(2)
    shop.b.run("export", shop.table, "--compare")
    shop.put(1, 1)
    shop.a.run("export", shop.table, "--compare")
    shop.a.run("convert", shop.table)
    assert shop.b.rows(shop.table) == shop.expected()


def test_as_of_is_the_same_on_every_machine(shop: Shop) -> None:
    shop.a.run("export", shop.table)
    made = json.loads(shop.a.run("convert", shop.table, "--json"))
    before = shop.expected()
    shop.put(1, -1)
    shop.b.run("export", shop.table)
    shop.b.run("convert", shop.table)
    assert shop.a.rows(shop.table, "--as-of", made["as_of"]) == before
    assert shop.a.rows(shop.table, "--dataset-id", made["id"]) == before != shop.b.rows(shop.table)


def test_what_is_not_kept_goes_from_the_bucket(shop: Shop) -> None:
    one = shop.machine("one", lake="keep = 1\nkeep_exports = 1\n")
    one.run("export", shop.table)
    one.run("convert", shop.table)
    first = (shop.current(), *shop.chain())
    one.run("export", shop.table, "--full")
    one.run("convert", shop.table)
    assert not [name for name in shop.bucket.names() if any(each in name for each in first)]
    assert one.rows(shop.table) == shop.a.rows(shop.table) == shop.expected()


# Two at once.


def test_the_second_publisher_loses_by_name(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.a.run("export", shop.table)
    shop.a.run("convert", shop.table)
    shop.put(1, -1)
    shop.a.run("export", shop.table)
    real, winner = SharedLake.publish, list[str]()

    def publish(lake: SharedLake, manifest: Any, *, current: bool) -> None:
        if not winner:
            winner.append("")
            shop.b.run("convert", shop.table)
            winner[0] = shop.current()
        real(lake, manifest, current=current)

    monkeypatch.setattr(SharedLake, "publish", publish)
    said = shop.a.run("convert", shop.table, code=3)
    assert f"another process has published {winner[0]} meanwhile, and this one is given up" in said
    assert shop.current() == winner[0]
    ids = {name.split("/")[3] for name in shop.bucket.names("/datasets/") if name.count("/") > 3}
    kept = {
        json.loads(shop.bucket.get(name))["id"] for name in shop.bucket.names("/manifest.json") if "/datasets/" in name
    }
    assert ids == kept, "nothing of the loser is left"
    assert len(kept) == 2
    monkeypatch.undo()
    assert "Nothing new" in shop.a.run("convert", shop.table)
    assert shop.a.rows(shop.table) == shop.b.rows(shop.table) == shop.expected()


@pytest.mark.parametrize("how", ["--full", "--stream", "--compare"])
def test_the_second_exporter_loses_by_name(shop: Shop, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.a.run("export", shop.table)
    shop.put(1, -1)
    real, chain = SharedExports.commit, list[str]()

    def commit(exports: SharedExports, *arguments: Any) -> Any:
        if not chain:
            chain.append("")
            shop.b.run("export", shop.table, "--compare")
            chain[:] = shop.chain()
        return real(exports, *arguments)

    monkeypatch.setattr(SharedExports, "commit", commit)
    said = shop.a.run("export", shop.table, how, code=3)
    assert "another process has exported it meanwhile, and this one is given up" in said
    monkeypatch.undo()
    assert shop.chain() == chain
    assert {name.split("/")[4] for name in shop.bucket.names("manifest-summary.json")} == set(chain)
    shop.put(1, 1)
    shop.a.run("export", shop.table, *([how] if how == "--full" else []))
    shop.a.run("convert", shop.table)
    assert shop.b.rows(shop.table) == shop.expected()


# Killed.


def killed_at(shop: Shop, steps: range) -> None:
    """Kill the export and the conversion of a change at each of these writes; a reader elsewhere sees a whole data set
    all the time, and in the end the new one.
    """
    shop.a.run("export", shop.table)
    shop.a.run("convert", shop.table)
    before = shop.expected()
    for turn, step in enumerate(steps, 1):
        shop.put(turn, 1_000 + turn)
        after = shop.expected()
        for command in (("export", shop.table, "--full"), ("convert", shop.table)):
            shop.a.killed(step, *command)
            assert shop.b.rows(shop.table) in (before, after)
            listed = shop.chain()
            whole = {name.split("/")[4] for name in shop.bucket.names("manifest-summary.json")}
            assert set(listed) <= whole
            shop.a.run(*command)
        assert shop.b.rows(shop.table) == after
        before = after


def test_nothing_is_published_half(shop: Shop) -> None:
    killed_at(shop, range(4, 10, 5))


@pytest.mark.slow
def test_nothing_is_published_half_at_any_write(shop: Shop) -> None:
    killed_at(shop, range(1, 24))
