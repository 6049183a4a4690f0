"""The output of ``aws dynamodb scan`` and ``query``, read exactly or named."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demo.servers import DynamoServer
from tests.conftest import unique
from tests.lake.helper import ITEMS, converted, items, rows, scan_text
from tests.lake.test_roundtrip import check_rows
from whimbrel.errors import StateError, UserError


@pytest.fixture(scope="module")
def table(ministack: DynamoServer) -> tuple[Callable[..., bytes], str]:
    """A table with 300 items in it, and the AWS CLI to ask for them."""
    client, name = ministack.client(), unique("formats")
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    command = shutil.which("aws")
    if command is None:
        pytest.skip("the AWS CLI is not installed")

    def aws(verb: str, *arguments: str) -> bytes:
        run = [command, "dynamodb", verb, "--endpoint-url", ministack.endpoint, "--table-name", name, *arguments]
        return subprocess.run(run, capture_output=True, check=True, timeout=120).stdout

    for item in ITEMS.values():
        client.put_item(TableName=name, Item=as_boto3(item))
    for number in range(10, 250):
        client.put_item(TableName=name, Item={"pk": {"S": str(number)}, "n": {"N": str(number)}})
    return aws, name


def as_boto3(value: Any) -> Any:
    """boto3 takes bytes where the JSON has base64."""
    if isinstance(value, dict):
        decoded: dict[str, Callable[[Any], Any]] = {
            "B": base64.b64decode,
            "BS": lambda each: [base64.b64decode(one) for one in each],
        }
        return {name: decoded.get(name, as_boto3)(each) for name, each in value.items()}
    return [as_boto3(each) for each in value] if isinstance(value, list) else value


def wanted() -> dict[str, dict[str, Any]]:
    more = {str(number): {"pk": {"S": str(number)}, "n": {"N": str(number)}} for number in range(10, 250)}
    return {**ITEMS, **more}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        pytest.param(["--output", "json"], marks=pytest.mark.slow),
        pytest.param(["--page-size", "7"], marks=pytest.mark.slow),
        ["--query", "Items"],
        pytest.param(["--query", "Items[]", "--output", "json"], marks=pytest.mark.slow),
        ["--consistent-read", "--return-consumed-capacity", "TOTAL"],
    ],
    ids=" ".join,
)
def test_the_output_of_a_scan(tmp_path: Path, table: tuple[Any, str], arguments: list[str]) -> None:
    aws, _ = table
    (tmp_path / "scan.json").write_bytes(aws("scan", *arguments))
    done = converted(tmp_path, tmp_path / "scan.json")
    assert (done.refusals, done.new_rows) == (0, 243)
    check_rows(tmp_path / "lake", "t", wanted())


@pytest.mark.slow
def test_pages_and_segments_behind_one_another(tmp_path: Path, table: tuple[Any, str]) -> None:
    """As a loop in a shell writes them: page by page without the CLI's own paging, and in two segments."""
    aws, _ = table
    pages: list[Any] = []
    start: list[str] = []
    while True:
        page = aws("scan", "--no-paginate", "--limit", "100", *start)
        pages.append(page)
        last = json.loads(page).get("LastEvaluatedKey")
        if not last:
            break
        start = ["--exclusive-start-key", json.dumps(last)]
    assert len(pages) == 3
    (tmp_path / "pages.json").write_bytes(b"".join(pages))
    assert converted(tmp_path, tmp_path / "pages.json").refusals == 0
    check_rows(tmp_path / "lake", "t", wanted())
    for number, page in enumerate(pages):
        (tmp_path / f"folder-{number}").mkdir()
        (tmp_path / "folder-0" / f"page-{number}").write_bytes(page)
    converted(tmp_path, tmp_path / "folder-0")
    check_rows(tmp_path / "lake", "t", wanted())
    cut = aws("scan", "--max-items", "100", "--page-size", "70")
    rest = aws("scan", "--page-size", "70", "--starting-token", json.loads(cut)["NextToken"])
    (tmp_path / "cut.json").write_bytes(cut + rest)
    converted(tmp_path, tmp_path / "cut.json")
    check_rows(tmp_path / "lake", "t", wanted())
    segments = [aws("scan", "--segment", str(number), "--total-segments", "2") for number in range(2)]
    (tmp_path / "segments.json").write_bytes(b"\n".join(segments))
    converted(tmp_path, tmp_path / "segments.json")
    check_rows(tmp_path / "lake", "t", wanted())


@pytest.mark.parametrize("arguments", [["--max-items", "100"], ["--no-paginate", "--limit", "100"]], ids=" ".join)
def test_a_scan_that_was_cut_off_is_not_a_table(tmp_path: Path, table: tuple[Any, str], arguments: list[str]) -> None:
    aws, _ = table
    (tmp_path / "scan.json").write_bytes(aws("scan", *arguments))
    with pytest.raises(UserError, match="ends before the table does"):
        converted(tmp_path, tmp_path / "scan.json")


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        (["page-1.json", "page-3.json"], "page-2.json"),
        (["0", "1", "3"], "2"),
        (["page-001.json.gz", "page-002.json.gz", "page-010.json.gz"], "page-003.json.gz"),
        (["segment-0-page-0.json", "segment-0-page-2.json", "segment-1-page-0.json"], "segment-0-page-1.json"),
        (["segment0.json", "segment2.json"], "segment1.json"),
    ],
)
def test_a_page_that_is_missing_among_numbered_ones_is_named(tmp_path: Path, there: list[str], missing: str) -> None:
    """No page says which one it follows: its number does."""
    write_pages(tmp_path / "scan", there)
    with pytest.raises(UserError, match=f"{re.escape(missing)} is missing"):
        converted(tmp_path, tmp_path / "scan")


@pytest.mark.parametrize(
    "there",
    [
        ["page-1.json", "page-2.json"],
        ["page-0.json", "page-1.json", "page-2.json"],
        ["page-09.json", "page-10.json"],  # of which nothing says that there were others before
        ["scan-20260101.json", "scan-20260301.json"],
        ["segment-0-page-0.json", "segment-0-page-1.json", "segment-1-page-0.json"],
        ["accounts.json", "orders.json"],
    ],
)
def test_other_numbers_are_not_those_of_pages(tmp_path: Path, there: list[str]) -> None:
    write_pages(tmp_path / "scan", there)
    assert converted(tmp_path, tmp_path / "scan").new_rows == len(there)


def write_pages(folder: Path, names: list[str]) -> None:
    """One item each; the last one says that the table ends."""
    folder.mkdir()
    for number, name in enumerate(names):
        more = {} if number == len(names) - 1 else {"LastEvaluatedKey": {"pk": {"S": str(number)}}}
        text = scan_text([{"pk": {"S": str(number)}}], **more).encode()
        (folder / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)


def test_the_output_of_a_query(tmp_path: Path, table: tuple[Any, str]) -> None:
    aws, _ = table
    condition = ["--key-condition-expression", "pk = :pk", "--expression-attribute-values", '{":pk": {"S": "1"}}']
    (tmp_path / "query.json").write_bytes(aws("query", *condition))
    assert converted(tmp_path, tmp_path / "query.json").refusals == 0
    check_rows(tmp_path / "lake", "t", {"1": ITEMS["1"]})


def test_an_empty_table_is_said_to_be_empty(tmp_path: Path, table: tuple[Any, str]) -> None:
    aws, _ = table
    where = ["--filter-expression", "pk = :pk", "--expression-attribute-values", '{":pk": {"S": "none"}}']
    (tmp_path / "scan.json").write_bytes(aws("scan", *where))
    with pytest.raises(UserError, match="there are no items"):
        converted(tmp_path, tmp_path / "scan.json")


@pytest.mark.parametrize("kind", ["text", "table", "yaml"])
def test_other_output_is_named(tmp_path: Path, table: tuple[Any, str], kind: str) -> None:
    aws, _ = table
    try:
        (tmp_path / "scan").write_bytes(aws("scan", "--output", kind))
    except subprocess.CalledProcessError:
        pytest.skip("this AWS CLI has no such output")
    with pytest.raises(UserError, match="lines were set aside"):
        converted(tmp_path, tmp_path / "scan")


def test_a_bad_item_of_a_scan_is_set_aside_with_its_line(tmp_path: Path) -> None:
    good = {"pk": {"S": "1"}}
    text = scan_text([good, {"pk": {"S": "2"}, "n": {"N": "x"}}, good | {"x": "raw"}, {"pk": {"S": "4"}}])
    lines = text.splitlines()
    (tmp_path / "scan.json").write_text(text)
    done = converted(tmp_path, tmp_path / "scan.json")
    assert [lines[each.line].strip() for each in done.refused] == ['"pk": {', '"pk": {']
    assert len({each.line for each in done.refused}) == 2
    assert [row["pk"] for row in rows(tmp_path)] == ["1", "4"]


DAMAGED_SCANS = {
    "cut off": (scan_text([{"pk": {"S": "1"}}] * 3)[:-30], "ends in the middle|is expected"),
    "cut off in an item": (scan_text([{"pk": {"S": "1"}}] * 3)[:100], "ends in the middle"),
    "count": (scan_text([{"pk": {"S": "1"}}], Count=2), "Count is 2"),
    "count of another kind": (scan_text([{"pk": {"S": "1"}}], Count="1"), "Count is '1'"),
    "another name": (scan_text([{"pk": {"S": "1"}}], Responses={}), "'Responses'"),
    "no items": ('{"Count": 2, "ScannedCount": 2}', "without Items"),
    "twice": ('{"Items": [], "Items": []}', "twice"),
    "garbage behind": (scan_text([{"pk": {"S": "1"}}]) + "garbage", "is expected"),
    "an item behind": (scan_text([{"pk": {"S": "1"}}]) + '{"pk": {"S": "1"}}', "'pk'"),
    "no comma": ('{"Items": [{"pk": {"S": "1"}} {"pk": {"S": "2"}}]}', "is expected"),
}


@pytest.mark.parametrize("case", DAMAGED_SCANS)
def test_a_damaged_scan_is_named(tmp_path: Path, case: str) -> None:
    text, reason = DAMAGED_SCANS[case]
    (tmp_path / "scan.json").write_text(text)
    with pytest.raises(StateError, match=reason):
        converted(tmp_path, tmp_path / "scan.json")


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(items, max_size=5), st.sampled_from([None, 1, 4]), st.integers(1, 40), st.booleans())
def test_any_scan_is_cut_into_its_items(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    found: list[dict[str, Any]],
    indent: int | None,
    block: int,
    raw: bool,
) -> None:
    """However the text falls into blocks: between the signs of an escape, too."""
    from whimbrel.lake import pages

    monkeypatch.setattr(pages, "_BLOCK", block)
    text = json.dumps({"Items": found, "Count": len(found)}, indent=indent, ensure_ascii=raw)
    (tmp_path / "scan.json").write_text(text * 2, encoding="utf-8")
    pages.check([tmp_path / "scan.json"])
    assert [json.loads(each.text) for each in pages.read(tmp_path / "scan.json")] == found * 2
