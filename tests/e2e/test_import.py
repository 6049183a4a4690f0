"""``load.engine = "import"``: DynamoDB makes the target of files in a bucket, or it is refused by name."""

from __future__ import annotations

import gzip
import json
import shutil
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import EndpointConnectionError

from demo.servers import Ministack
from tests.e2e.stored import Stored, change, fill, progress
from tests.e2e.work import GROUP, RECORD, UNALIGNED, Work
from whimbrel.dynamodb.imports import ItemFile
from whimbrel.errors import StateError
from whimbrel.migration import import_files

IMPORT = '[load]\nengine = "import"\n'
PROCESS = '[load]\nengine = "process"\n'
INDEXED = (
    RECORD
    + """
[[table.index]]
name = "by-quantity"
partition_key = { name = "quantity", type = "N" }
projection = "keys"
"""
)


@pytest.fixture
def stored(work: Work, ministack: Ministack) -> Stored:
    fill(work)
    return Stored(work, ministack, IMPORT)


def begun(stored: Stored) -> Work:
    """Captured, exported, and with changes that the load does not see."""
    work = stored.work
    work.call("capture", "--until-caught-up")
    work.call("snapshot")
    change(work)
    return work


def finish(work: Work) -> None:
    work.call("migrate", "--until-caught-up")
    assert progress(work)["rows_loaded"] == progress(work)["rows_exported"] == 12
    if work.mapping != UNALIGNED:
        work.assert_nothing_lost()
    else:
        assert work.verify()["rows"] > 0


def process_instead(stored: Stored) -> None:
    stored.work.target_settings = stored.work.target_settings.replace(IMPORT, PROCESS)
    stored.work.write_project()


@pytest.mark.parametrize("mapping", [GROUP, INDEXED, UNALIGNED], ids=["group", "record", "regrouped"])
@pytest.mark.parametrize("most", [10_000, 2], ids=["a file each", "two files"])
def test_a_migration_by_import(stored: Stored, mapping: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_files, "MOST_FILES", most)
    stored.work.mapping = mapping
    stored.work.write_project()
    work = begun(stored)
    work.call("load")
    files = stored.names("/import/")
    items = [json.loads(line) for name in files for line in gzip.decompress(stored.get(name)).splitlines()]
    assert len(items) == progress(work)["items_loaded"] == len(scanned(stored))
    assert len(files) <= most
    finish(work)


def scanned(stored: Stored) -> list[Any]:
    work = stored.work
    found: list[Any] = work.endpoint.client().scan(TableName=work.target, ConsistentRead=True)["Items"]
    return found


def test_the_table_is_made_as_the_project_file_has_it(stored: Stored) -> None:
    work = stored.work
    work.mapping = INDEXED
    work.target_settings = f'billing = "provisioned"\nread_capacity = 7\nwrite_capacity = 8\n{work.target_settings}'
    work.write_project()
    begun(stored).call("load")
    made = work.endpoint.client().describe_table(TableName=work.target)["Table"]
    assert made["ProvisionedThroughput"]["WriteCapacityUnits"] == 8
    assert [each["IndexName"] for each in made["GlobalSecondaryIndexes"]] == ["by-quantity"]
    finish(work)


def test_a_row_that_is_no_item_is_a_dead_letter_as_in_the_load(stored: Stored) -> None:
    work = stored.work
    work.source.execute("INSERT INTO purchase VALUES ('', 'o1', 'p1', 1)", database=work.database)
    begun(stored).call("load", code=4)
    [letter] = work.letters()
    assert letter["phase"] == "load"
    assert "empty" in letter["reason"]
    assert progress(work)["rows_loaded"] == 13
    work.source.execute("DELETE FROM purchase WHERE customerid = ''", database=work.database)
    work.call("migrate", "--until-caught-up")
    work.assert_nothing_lost()


def test_a_table_that_is_there_is_refused_and_nothing_is_written(stored: Stored) -> None:
    work = begun(stored)
    client = work.endpoint.client()
    names = ("customerid", "orderid")
    client.create_table(
        TableName=work.target,
        AttributeDefinitions=[{"AttributeName": each, "AttributeType": "S"} for each in names],
        KeySchema=[{"AttributeName": names[0], "KeyType": "HASH"}, {"AttributeName": names[1], "KeyType": "RANGE"}],
        BillingMode="PAY_PER_REQUEST",
    )
    told = work.call("load", "--into-existing", code=3).output
    assert "an import makes its table itself" in told
    assert refused(stored.elsewhere("checked").work) == ["an import makes its table itself"]
    assert stored.names("/import/") == []
    client.delete_table(TableName=work.target)
    finish(work)


LOCAL = """[[table.index]]
name = "local"
local = true
partition_key = { name = "customer_orderid" }
sort_key = { name = "quantity", type = "N" }
"""


def test_what_an_import_cannot_make_is_refused_by_name(stored: Stored) -> None:
    work = stored.work
    work.source.execute("CREATE TABLE other LIKE purchase", database=work.database)
    shared = GROUP.replace("entry = {", 'item = "shared"\nentry = {').replace("${productid}", "a-${productid}")
    second = shared.replace("a-${productid}", "b-${productid}")
    of_two = f'{shared}[[table]]\nsource = "{work.database}.other"\ntarget = "{work.target}"\n{second}'
    asking = f'{RECORD}[table.condition]\nexpression = "attribute_not_exists(theirs)"\n'
    for mapping, said in (
        (RECORD + LOCAL, "no local secondary index"),
        (of_two, "make one item"),
        (asking, "an import asks no condition"),
    ):
        work.mapping = mapping
        work.write_project()
        assert refused(work) == [said]
        work.call("capture", "--until-caught-up")
        work.call("snapshot")
        assert said in work.call("load", code=2).output
        shutil.rmtree(work.state)
        stored.clear()


def refused(work: Work) -> list[str]:
    """By `check`, which calls ready what `migrate` takes."""
    found = json.loads(work.call("check", "--json", code=2).stdout)["findings"]
    parts = (
        "no local secondary index", "make one item", "an import asks no condition",
        "an import makes its table itself",
    )  # fmt: skip
    said = [each["reason"] for each in found if each["code"] == "target-import"]
    return [part for part in parts for each in said if part in each]


def test_lines_that_did_not_come_in_are_counted_whatever_the_status(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in says FAILED, and has imported the rest."""
    work, real = begun(stored), ItemFile.close
    damaged: list[int] = []

    def close(file: ItemFile) -> None:
        if not damaged:
            file._file.write(file._packed.compress(b'{"Item":{"customerid":{"S":"x"}}}\nnone\n'))
            damaged.append(1)
        real(file)

    monkeypatch.setattr(ItemFile, "close", close)
    told = " ".join(work.call("load", code=3).output.split())
    assert "DynamoDB read 8 of 6 items and imported 6; 2 were refused" in told
    assert progress(work)["loaded"] == ""
    process_instead(stored)
    finish(work)


def test_a_failed_import_that_has_everything_is_complete(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    work, real = begun(stored), BaseClient._make_api_call  # type: ignore[attr-defined]

    def call(client: Any, operation: str, arguments: Any) -> Any:
        answer = real(client, operation, arguments)
        if operation == "DescribeImport" and answer["ImportTableDescription"]["ImportStatus"] == "COMPLETED":
            answer["ImportTableDescription"]["ImportStatus"] = "FAILED"
        return answer

    monkeypatch.setattr(BaseClient, "_make_api_call", call)
    work.call("load")
    finish(work)


def test_an_import_that_could_not_begin_is_asked_for_again(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where DynamoDB may not read the bucket: FAILED, and no table."""
    work, real = begun(stored), BaseClient._make_api_call  # type: ignore[attr-defined]
    asked: list[str] = []

    def call(client: Any, operation: str, arguments: Any) -> Any:
        if operation == "ImportTable":
            asked.append(arguments["ClientToken"])
            if len(asked) == 1:
                arguments = {
                    **arguments,
                    "S3BucketSource": {**arguments["S3BucketSource"], "S3Bucket": "nobody-has-it"},
                }
        return real(client, operation, arguments)

    monkeypatch.setattr(BaseClient, "_make_api_call", call)
    assert "the import ended as FAILED" in work.call("load", code=3).output
    found = work.endpoint.client().list_tables()["TableNames"]
    if work.target in found:
        work.endpoint.client().delete_table(TableName=work.target)
    files = stored.names("/import/")
    finish(work)
    assert stored.names("/import/") == files, "they were not written again"
    assert len(set(asked)) == 2


def test_a_call_whose_answer_was_lost_is_not_a_second_import(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    work, real = begun(stored), BaseClient._make_api_call  # type: ignore[attr-defined]
    tokens: list[str] = []

    def call(client: Any, operation: str, arguments: Any) -> Any:
        answer = real(client, operation, arguments)
        if operation == "ImportTable":
            tokens.append(arguments["ClientToken"])
            if len(tokens) == 1:
                raise EndpointConnectionError(endpoint_url="lost")
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(BaseClient, "_make_api_call", call)
        work.call("load", code=3)
    arn = work.endpoint.client().describe_table(TableName=work.target)["Table"]["TableArn"]
    finish(work)
    assert len(work.endpoint.client().list_imports(TableArn=arn)["ImportSummaryList"]) == 1


def test_another_engine_does_not_take_files_for_items(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that is in a file for an import is in no table."""
    work, left = begun(stored), [2]
    real = import_files.ImportFiles._write

    def write(*arguments: Any) -> bool:
        left[0] -= 1
        if left[0] < 0:
            raise StateError("a crash")
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(import_files.ImportFiles, "_write", write)
        work.call("load", code=3)
    assert progress(work)["loaded"]
    process_instead(stored)
    finish(work)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
@pytest.mark.parametrize("steps", [pytest.param(n, marks=() if n == 31 else pytest.mark.slow) for n in range(1, 60)])
def test_killed_at_any_step(stored: Stored, steps: int, elsewhere: bool) -> None:
    work = begun(stored)
    stored.killed("load", steps)
    if elsewhere and work.checkpoint()["phase"] == "load":
        work = stored.elsewhere("other").work
    finish(work)
    arn = work.endpoint.client().describe_table(TableName=work.target)["Table"]["TableArn"]
    assert len(work.endpoint.client().list_imports(TableArn=arn)["ImportSummaryList"]) == 1


FOLLOWS = """
partition_key = {{ name = "pk", value = "USER#${{customerid}}" }}
sort_key = {{ name = "sk", value = "BUYS#${{orderid}}#${{productid}}" }}
[table.ttl]
attribute = "expires"
column = "ends"

[[table]]
source = "{0}.purchase"
target = "{1}"
partition_key = {{ name = "pk", value = "PRODUCT#${{productid}}" }}
sort_key = {{ name = "sk", value = "IS-BOUGHT#${{customerid}}#${{orderid}}" }}
[table.ttl]
attribute = "expires"
column = "ends"
"""


def test_several_sections_of_one_table_and_a_time_to_live(stored: Stored) -> None:
    """Both are in one import, which leaves the time to live off: `finish` switches it on."""
    work = stored.work
    work.source.execute(
        "ALTER TABLE purchase ADD COLUMN ends DATETIME NOT NULL DEFAULT '2020-01-01'", database=work.database
    )
    work.mapping = 'shape = "record"\n' + FOLLOWS.format(work.database, work.target)
    work.write_project()
    work.call("capture", "--until-caught-up")
    work.call("snapshot")
    work.source.execute(
        "UPDATE purchase SET quantity = 0 WHERE orderid = 'o2'",
        "DELETE FROM purchase WHERE orderid = 'o3'",
        database=work.database,
    )
    work.call("load")
    assert {item["pk"]["S"][:4] for item in scanned(stored)} == {"USER", "PROD"}
    assert len(scanned(stored)) == 24
    status = work.endpoint.client().describe_time_to_live(TableName=work.target)["TimeToLiveDescription"]
    assert status["TimeToLiveStatus"] == "DISABLED"
    work.call("migrate", "--until-caught-up")
    report = json.loads(work.call("verify", "--json").stdout.splitlines()[-1])
    assert report["equal"]
    assert len(scanned(stored)) == 20
    assert {item["expires"]["N"] for item in scanned(stored)} == {"1577836800"}
