"""``restore --import``: DynamoDB makes the table of files in a bucket. The judge of items is boto3."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import EndpointConnectionError

from demo.servers import Ministack
from demo.servers.dynamo import local_client
from tests.conftest import unique
from tests.lake.helper import change, full
from tests.lake.test_chain import export, gone, put, run
from whimbrel.dynamodb.imports import ItemFile
from whimbrel.lake import restore_import

ITEMS = 300
KEY = ("--key", "pk:S")
INDEX = """
[source]
url = "mysql://me@db/shop"
[[table]]
source = "test"
target = "test"
shape = "record"
partition_key = { name = "pk" }
[[table.index]]
name = "by-n"
partition_key = { name = "n", type = "N" }
"""

LOCAL = INDEX.replace('{ name = "n", type = "N" }', '{ name = "pk" }\nlocal = true\nsort_key = { name = "z" }')
LOCAL = LOCAL.replace("\n[[table.index]]", '\nsort_key = { name = "s" }\n[[table.index]]')


class Site:
    def __init__(self, file: Path, ministack: Ministack) -> None:
        self.file, self.bucket, self.client = file, unique("bucket"), ministack.client()
        self.s3 = local_client("s3", ministack.endpoint, ministack.region)
        self.s3.create_bucket(Bucket=self.bucket)
        self.store = f'[snapshot]\nstore = "s3://{self.bucket}/shop"\nendpoint = "{ministack.endpoint}"\n'
        self.target = f'[target]\nendpoint = "{ministack.endpoint}"\nregion = "us-east-1"\n'
        self.write(INDEX)
        export(file, 0, [full(pk={"S": f"k{n}"}, n={"N": str(n)}) for n in range(ITEMS)])
        export(file, 1, [put("k1", n={"N": "-1"}), gone("k2"), put("new", n={"N": "7"}), gone("new")], since=0)
        export(file, 2, [put("new", n={"N": "8"}), put("k2", n={"N": "9"}), put("k3", big={"B": "AAE="})], since=1)
        kept = {f"k{n}": {"n": {"N": str(n)}} for n in range(ITEMS)}
        self.wanted: dict[str, Any] = kept | {
            "k1": {"n": {"N": "-1"}},
            "k2": {"n": {"N": "9"}},
            "k3": {"big": {"B": b"\x00\x01"}},
            "new": {"n": {"N": "8"}},
        }

    def write(self, more: str) -> None:
        self.file.write_text(f"{self.target}{self.store}{more}")

    def held(self, table: str) -> dict[str, Any]:
        pages = self.client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        items = [dict(item) for page in pages for item in page["Items"]]
        return {item.pop("pk")["S"]: item for item in items}

    def objects(self) -> list[str]:
        return [each["Key"] for each in self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", ())]

    def left(self) -> list[Path]:
        return [each for each in (self.file.parent / "lake" / "restores").rglob("*") if each.is_file()]


@pytest.fixture
def site(tmp_path: Path, ministack: Ministack) -> Site:
    return Site(tmp_path / "whimbrel.toml", ministack)


@pytest.mark.parametrize("partition", [restore_import.PASS_BYTES, 500], ids=["one file", "many files"])
def test_every_item_is_as_the_last_export_has_it(
    site: Site, new_table_name: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, partition: int
) -> None:
    monkeypatch.setattr(restore_import, "PASS_BYTES", partition)
    name = new_table_name("restored")
    done = run(site.file, "restore", "test", "--into", name, *KEY, "--import")
    assert done.exit_code == 0, done.output
    assert f"{ITEMS + 1:,} items written, 0 deleted, 0 refused." in done.output
    assert site.held(name) == site.wanted
    [index] = site.client.describe_table(TableName=name)["Table"]["GlobalSecondaryIndexes"]
    assert (index["IndexName"], index["KeySchema"][0]["AttributeName"]) == ("by-n", "n")
    assert site.objects() == []
    assert site.left() == []
    again = run(site.file, "restore", "test", "--into", name, *KEY, "--import")
    assert again.exit_code == 3
    assert "error[TargetNotEmpty]" in again.output


@pytest.mark.parametrize("operation", ["PutObject", "ImportTable", "DescribeImport"])
def test_what_ends_in_between_continues_with_the_same_command(
    site: Site, new_table_name: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """The call is done, and its answer is lost for good."""
    name, asked = new_table_name("restored"), BaseClient._make_api_call  # type: ignore[attr-defined]
    monkeypatch.setattr("whimbrel.patience.PATIENCE", 0.0)  # a second try would find its own object

    def lost(client: Any, called: str, request: Any) -> Any:
        answer = asked(client, called, request)
        if called == operation:
            raise EndpointConnectionError(endpoint_url="http://aws")
        return answer

    with monkeypatch.context() as broken:
        broken.setattr(BaseClient, "_make_api_call", lost)
        done = run(site.file, "restore", "test", "--into", name, *KEY, "--import")
        assert done.exit_code == 3, done.output
    done = run(site.file, "restore", "test", "--into", name, *KEY, "--import")
    assert done.exit_code == 0, done.output
    assert site.held(name) == site.wanted
    assert site.objects() == []


def test_the_counts_decide(site: Site, new_table_name: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    name, real = new_table_name("restored"), ItemFile.close

    def close(file: ItemFile) -> None:
        file._file.write(file._packed.compress(b"none\n"))
        real(file)

    monkeypatch.setattr(ItemFile, "close", close)
    done = run(site.file, "restore", "test", "--into", name, *KEY, "--import")
    assert done.exit_code == 3
    said = " ".join(done.output.split())
    assert f"DynamoDB read {ITEMS + 2} of {ITEMS + 1} items and imported {ITEMS + 1}; 1 were refused" in said
    assert "restore without --import" in said


def test_a_line_and_an_item_that_cannot_be_are_named(site: Site, new_table_name: Callable[[str], str]) -> None:
    """What an earlier export has of the item stays, as without --import."""
    lines = [change({"other": {"S": "x"}}, {}), change({"pk": {"S": "k5"}}, {"n": {"S": "x"}})]
    export(site.file, 3, lines, since=2)
    name = new_table_name("restored")
    done = run(site.file, "restore", "test", "--into", name, *KEY, "--import")
    assert done.exit_code == 4, done.output
    assert "2 refused" in done.output
    assert "the item has no 'pk'" in done.output
    assert "n is S, and an index on it has N" in done.output
    assert site.held(name) == site.wanted


@pytest.mark.parametrize(
    ("store", "more", "arguments", "said"),
    [
        (False, "", (), "an import needs a bucket"),
        (True, "", ("--into-existing",), "an import makes its table itself"),
        (True, LOCAL, (), "no local secondary index"),
    ],
)
def test_what_an_import_cannot_do_is_refused(
    site: Site, store: bool, more: str, arguments: tuple[str, ...], said: str
) -> None:
    site.store = site.store if store else ""
    site.write(more)
    done = run(site.file, "restore", "test", "--into", unique("none"), *KEY, "--import", *arguments)
    assert done.exit_code == 2, done.output
    assert said in " ".join(done.output.split())
    assert site.objects() == []
