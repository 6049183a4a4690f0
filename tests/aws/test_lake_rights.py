"""The policies of a lake in S3 against the calls that its commands make: none is missing, and none is there for
nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from botocore.client import BaseClient

from demo.servers import Ministack
from tests.aws.calls import S3_ACTIONS
from tests.lake.catalog import Catalog
from tests.lake.machines import Machine
from tests.lake.recovery import Recovery
from tests.lake.test_by_dynamodb import NativeShop
from tests.lake.test_export import key
from tests.lake.test_shared import Shop
from whimbrel.aws.allowed import Allowed
from whimbrel.aws.policies import policies
from whimbrel.dynamodb import exports
from whimbrel.errors import Stopped
from whimbrel.lake.athena import Athena
from whimbrel.project import load_project

# What only a failure asks for; and what DynamoDB does in the name of whoever asks it to export.
UNSEEN = {"s3:AbortMultipartUpload", "dynamodb:ListExports", "s3:PutObjectAcl"}
BY_ATHENA = {
    ("s3:GetBucketLocation", ""),
    ("s3:PutObject", "lake/athena"),
    ("s3:GetObject", "lake/athena"),
}
BY_ATHENA |= {("glue:GetDatabase", "")}


@pytest.fixture
def shop(
    tmp_path: Path, ministack: Ministack, new_table_name: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[NativeShop]:
    monkeypatch.setattr(exports, "FIRST_LOOK", 0.005)
    made = NativeShop(tmp_path, ministack, new_table_name("rights"), items=3)
    with Recovery(ministack, made.bucket.s3, made.table) as recovery:
        made.with_recovery(recovery)
        yield made


class Calls:
    """What a command asks of S3, by action and place, and of DynamoDB, by action."""

    def __init__(self, shop: NativeShop) -> None:
        self.shop, self.found = shop, set[tuple[str, str]]()

    def of(self, machine: Machine, *arguments: str) -> None:
        self.shop.recovery.counts.clear()
        with self.noting():
            machine.run(*arguments)
        self.found |= {(f"dynamodb:{operation}", "") for operation in self.shop.recovery.counts}

    @contextmanager
    def noting(self) -> Iterator[None]:
        asked = BaseClient._make_api_call  # type: ignore[attr-defined]

        def note(client: Any, operation: str, request: dict[str, Any]) -> Any:
            if client.meta.service_model.service_name == "s3":
                self._note(operation, request)
            return asked(client, operation, request)

        with patch.object(BaseClient, "_make_api_call", note):
            yield

    def _note(self, operation: str, request: dict[str, Any]) -> None:
        keys = (
            [request["Key"]]
            if "Key" in request
            else [each["Key"] for each in request.get("Delete", {}).get("Objects", [])]
        )
        action = f"s3:{S3_ACTIONS.get(operation, operation)}"
        if not keys:
            assert request["Prefix"].startswith("lake/")
            keys = [""]
        self.found |= {(action, "/".join(key.split("/")[:2])) for key in keys}


def allowed(statements: list[Allowed]) -> set[tuple[str, str]]:
    return {
        (action, resource.partition("${LakeBucket}/")[2].removesuffix("/*") if action.startswith("s3:") else "")
        for each in statements
        for action in each.actions
        for resource in each.resources
    }


def test_every_call_is_allowed_and_every_right_is_used(shop: NativeShop) -> None:
    made = {name: Calls(shop) for name in ("export", "convert", "query")}
    shop.recovery.on = False
    one = shop.through(shop.machine("one", "recovery = true\nkeep = 1\nkeep_exports = 1\n"))
    export, convert = (made[name].of for name in ("export", "convert"))
    export(one, "export", shop.table)
    convert(one, "convert", shop.table)
    shop.put(1, -1)
    shop.recovery.advance(60)
    export(one, "export", shop.table)
    convert(one, "convert", shop.table)
    made["query"].of(shop.b, "query", f'SELECT * FROM "{shop.table}"')
    export(one, "export", shop.table, "--compare")
    export(one, "export", shop.table, "--stream")
    made["query"].of(shop.b, "query", "--as-of", "2026-01-14T11:00:00Z", "SHOW TABLES")
    shop.recovery.now = datetime.now(UTC)
    export(one, "export", shop.table, "--full")
    granted = policies(load_project(one.project))
    for account, calls in made.items():
        rights = allowed(granted[account])
        assert calls.found - rights == set(), f"{account}: calls that no policy allows"
        unused = {each for each in rights - calls.found if each[0] not in UNSEEN}
        assert unused == set(), f"{account}: rights that nobody uses"


def test_an_account_may_publish_and_ask_athena(
    tmp_path: Path, ministack: Ministack, new_table_name: Callable[[str], str]
) -> None:
    """What Athena does in the name of whoever asks it is not seen here."""
    shop = Shop(tmp_path, ministack, new_table_name("asked"), items=3)
    with Catalog(shop.bucket) as catalog:
        one = shop.machine("one", catalog.settings + "keep = 1\n")
        text = one.project.read_text().replace("key = ", 'name = "asked"\npublish = "iceberg"\nkey = ')
        one.project.write_text(text)
        one.run("export", shop.table)
        calls = {name: CatalogCalls(catalog) for name in ("convert", "query")}
        calls["convert"].of(one, "convert", shop.table)
        shop.put(1, -1)
        one.run("export", shop.table)
        calls["convert"].of(one, "convert", shop.table)
        shop.client.put_item(TableName=shop.table, Item=key(5) | {"n": {"N": "0.5"}})
        one.run("export", shop.table, "--full")
        calls["convert"].of(one, "convert", shop.table, "--again")
        calls["query"].of(one, "query", "--engine", "athena", "SELECT count(*) FROM asked")
        calls["query"].stopped(one)
    granted = policies(load_project(one.project))
    for account, made in calls.items():
        rights = allowed(granted[account])
        assert made.found - rights == set(), f"{account}: calls that no policy allows"
        of_lake = {each for each in rights if each[1] in ("lake/exports", "")}  # of other tests, and of the list
        unused = rights - made.found - of_lake - BY_ATHENA
        assert {each for each in unused if each[0] not in UNSEEN} == set(), f"{account}: rights that nobody uses"
        asked = {each for each in rights if each[0].partition(":")[0] in ("athena", "glue")} - BY_ATHENA
        assert asked <= made.found


class CatalogCalls(Calls):
    """And of Glue and Athena, by action."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog, self.found = catalog, set[tuple[str, str]]()

    def of(self, machine: Machine, *arguments: str) -> None:
        self.catalog.counts.clear()
        with self.noting():
            machine.run(*arguments)
        self.found |= {(each, "") for each in self.catalog.counts}

    def stopped(self, machine: Machine) -> None:
        stop = threading.Event()
        asking = Athena(load_project(machine.project), stop)
        stop.set()
        with pytest.raises(Stopped):
            asking.run("SELECT 1")
        self.found |= {(each, "") for each in self.catalog.counts}


def test_recovery_is_switched_on_by_nobody_who_is_not_to(shop: NativeShop) -> None:
    actions = {action for each in policies(load_project(shop.a.project))["export"] for action in each.actions}
    assert "dynamodb:ExportTableToPointInTime" in actions
    assert "dynamodb:UpdateContinuousBackups" not in actions
    shop.a.project.write_text(shop.a.project.read_text().replace('export = "native"\n', ""))
    scanned = {action for each in policies(load_project(shop.a.project))["export"] for action in each.actions}
    assert "dynamodb:ExportTableToPointInTime" not in scanned
