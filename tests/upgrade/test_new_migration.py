"""A migration of 0.1.0 that may not be continued is begun again into the same target, as docs/types.md says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.upgrade.conftest import PHASES, OldState

NULL = {"NULL": True}
FIRST = "apply"  # what it loaded and applied has values of every old form, and rows were deleted since
OTHERS = [phase for phase in PHASES if phase not in (FIRST, "dead")]  # rows that cannot be items cannot be now, either


@pytest.mark.parametrize("phase", [FIRST, *(pytest.param(each, marks=pytest.mark.slow) for each in OTHERS)])
def test_it_is_begun_again_into_the_same_target(old_state: Callable[[str], OldState], phase: str) -> None:
    old = old_state(phase)
    left = begin_again(old)
    old.work.call("migrate", "--until-caught-up", "--into-existing")
    for table, expected in wanted(old).items():
        items = {key_of(item): without_tags(item) for item in old.items(table)}
        assert {key: item for key, item in items.items() if key in expected} == expected
        # Of a row that was deleted after 0.1.0 had stopped, nothing is left that could say so.
        assert items.keys() - expected.keys() == left[table] - expected.keys()
    removed = {table: left[table] - set(expected) for table, expected in wanted(old).items()}
    report = json.loads(
        old.work.call("verify", "--json", code=5 if any(removed.values()) else 0).stdout.splitlines()[-1]
    )
    for table, found in zip(("person", "purchase"), report["tables"], strict=True):
        assert found["counts"] == ({"extra": len(removed[table])} if removed[table] else {})
        named = {tuple(value["S"] for _, value in sorted(each["key"].items())) for each in found["differences"]}
        assert named == removed[table]
        for key in named:
            remove(old, table, key)
    old.work.verify()


def begin_again(old: OldState) -> dict[str, set[tuple[str, ...]]]:
    """What the page says: another state folder, and the target stays. Returns the keys that are in it."""
    file = old.work.folder / "whimbrel.toml"
    file.write_text(f'state = ".whimbrel-again"\n{file.read_text()}')
    there = old.work.endpoint.client().list_tables()["TableNames"]
    return {
        table: {key_of(item) for item in old.items(table)} if f"{old.work.database}-{table}" in there else set()
        for table in ("person", "purchase")
    }


def wanted(old: OldState) -> dict[str, dict[tuple[str, ...], dict[str, Any]]]:
    return {"person": persons(old), "purchase": purchases(old)}


def persons(old: OldState) -> dict[tuple[str, ...], dict[str, Any]]:
    """What the source has now, by PyMySQL and the server's own conversion, as items."""
    names = [column[0] for column in old.work.source.execute("SHOW COLUMNS FROM person", database=old.work.database)]
    items = {}
    for row in (dict(zip(names, values, strict=True)) for values in old.rows("person")):
        item = {name: NULL if value is None else {"S": str(value)} for name, value in row.items()}
        item["full"] = NULL if row["last"] is None else {"S": f"{row['first']} {row['last']}"}
        item["weight"] = {"N": str(row["weight"])}
        items[(str(row["id"]),)] = without_tags(item)
    return items  # type: ignore[return-value]


def purchases(old: OldState) -> dict[tuple[str, ...], dict[str, Any]]:
    items: dict[tuple[str, ...], dict[str, Any]] = {}
    for customer, order, product, quantity in old.rows("purchase"):
        item = items.setdefault((customer, order), {"customerid": {"S": customer}, "orderid": {"S": order}})
        item[product] = {"N": str(quantity)}
    return items


def key_of(item: dict[str, Any]) -> tuple[str, ...]:
    return (item["id"]["S"],) if "id" in item else (item["customerid"]["S"], item["orderid"]["S"])


def without_tags(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name != "tags"}


def remove(old: OldState, table: str, key: tuple[str, ...]) -> None:
    names = ("id",) if table == "person" else ("customerid", "orderid")
    old.work.endpoint.client().delete_item(
        TableName=f"{old.work.database}-{table}",
        Key={name: {"S": value} for name, value in zip(names, key, strict=True)},
    )
