"""Any item → export → convert → query gives the value; → restore gives the item. The judge of items is boto3."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demo.servers import DynamoServer
from tests.lake.helper import change, compact, items, write_export, write_lines
from whimbrel.lake import datasets, parquet_parts
from whimbrel.lake.chain_file import home
from whimbrel.lake.changes import export_changes
from whimbrel.lake.convert import ConvertRules, from_exports, from_files
from whimbrel.lake.export import ReadLimits, export_full, facts
from whimbrel.lake.native import find_exports
from whimbrel.lake.restore import files_of, restore
from whimbrel.lake.sources import find


def expected(value: dict[str, Any] | None) -> Any:
    """A DynamoDB value as a person would say it, by rules of this test's own."""
    if value is None:
        return None
    ((tag, content),) = value.items()
    match tag:
        case "N":
            return Decimal(content)
        case "NS":
            return [Decimal(each) for each in content]
        case "B":
            return base64.b64decode(content)
        case "BS":
            return [base64.b64decode(each) for each in content]
        case "NULL":
            return None
        case "L":
            return [expected(each) for each in content]
        case "M":
            return {name: expected(each) for name, each in content.items()}
        case _:
            return content


def same(found: Any, wanted: Any, tagged: dict[str, Any] | None) -> bool:
    """True if what the data set gives is this value: as it is, or as DynamoDB's JSON, or as the digits of a number."""
    if isinstance(found, str) and not isinstance(wanted, str):
        if isinstance(wanted, Decimal) and not found.startswith("{"):
            return Decimal(found) == wanted
        return tagged is not None and normal(json.loads(found)) == normal(tagged)
    if isinstance(found, str):
        return found == wanted or (
            tagged is not None and found[:1] == "{" and normal(json.loads(found)) == normal(tagged)
        )
    if isinstance(wanted, Decimal):
        return (
            isinstance(found, int | Decimal | float)
            and Decimal(repr(found) if isinstance(found, float) else found) == wanted
        )
    if isinstance(found, list):
        assert tagged is not None
        ((tag, content),) = tagged.items()
        if tag != "L":
            as_json = sorted(json.dumps({tag[0]: each}) for each in content)  # where the column is a list<json>
            return sorted(map(str, map(plain, found))) == sorted(map(str, map(plain, wanted))) or (
                all(isinstance(each, str) and each[:1] == "{" for each in found)
                and sorted(json.dumps(json.loads(each)) for each in found) == as_json
            )
        inner = content
        return len(found) == len(inner) and all(
            same(one, other, each) for one, other, each in zip(found, wanted, inner, strict=True)
        )
    if isinstance(found, dict):
        assert tagged is not None
        inner_tags: dict[str, Any] = tagged["M"]
        return all(same(one, wanted.get(name), inner_tags.get(name)) for name, one in found.items()) and set(
            wanted
        ) <= set(found)
    return bool(found == wanted)


def plain(value: Any) -> Any:
    return Decimal(value).normalize() if isinstance(value, int | Decimal) else value


def normal(value: Any) -> Any:
    """Members of sets in order: they have none."""
    ((tag, content),) = value.items()
    if tag == "M":
        return {tag: {name: normal(each) for name, each in content.items()}}
    if tag == "L":
        return {tag: [normal(each) for each in content]}
    return {tag: sorted(content) if tag in ("SS", "NS", "BS") else content}


KEYS = st.sampled_from("abcdef")


def check_rows(lake: Path, name: str, wanted: dict[str, dict[str, Any]]) -> None:
    manifest = datasets.current(lake, name)
    attribute = {field.name: field.attribute for field in manifest.schema}
    rows = {row["pk"]: row for row in datasets.arrow(lake, manifest).to_pylist()}
    assert rows.keys() == wanted.keys()
    assert manifest.rows == len(wanted)
    for key, item in wanted.items():
        assert set(item) <= set(attribute.values())
        for column, found in rows[key].items():
            value = item.get(attribute[column])
            assert same(found, expected(value), value), (column, found, value)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.lists(items, min_size=1, max_size=16),
    st.sampled_from(["full", "plain", "old"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([1, 3, 1_000]),
)
def test_any_items_are_read_exactly(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    made: list[dict[str, Any]],
    form: str,
    packed: bool,
    spelled: bool,
    at_once: int,
) -> None:
    # So few rows at once that types grow after a part of the rows has been written.
    for name in ("_MOST_ROWS", "_FEWEST_ROWS", "_AT_ONCE", "_LOOK_LINES"):
        monkeypatch.setattr(parquet_parts, name, at_once)
    wanted = {str(number): item | {"pk": {"S": str(number)}} for number, item in enumerate(made)}
    lines: list[Any] = [{"Item": item} if form == "full" else item for item in wanted.values()]
    if form == "old":
        lines = [old(item) for item in lines]
    file = write_lines(tmp_path / "data", lines if spelled else map(compact, lines), packed)
    shutil.rmtree(tmp_path / "lake", ignore_errors=True)
    done = from_files(tmp_path / "lake", ConvertRules("t", "t", ("pk",)), find(file).files)
    assert done.refused == []
    check_rows(tmp_path / "lake", "t", wanted)


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(KEYS, items, min_size=1),
    st.lists(st.dictionaries(KEYS, st.none() | items.filter(bool), min_size=1), max_size=3),
    st.sampled_from([1, 2, 1_000]),
)
def test_any_chain_of_changes_gives_the_table_as_it_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    base: dict[str, Any],
    windows: list[dict[str, Any]],
    at_once: int,
) -> None:
    """After each window: the items as they are, but for those that did not fit and were refused by their key."""
    for name in ("_MOST_ROWS", "_FEWEST_ROWS", "_AT_ONCE", "_LOOK_LINES"):
        monkeypatch.setattr(parquet_parts, name, at_once)
    exports, lake = tmp_path / "exports", tmp_path / "lake"
    for folder in (exports, lake):
        shutil.rmtree(folder, ignore_errors=True)
    times = [f"2026-01-14T1{number}:00:00.000Z" for number in range(len(windows) + 1)]
    now = {key: item | {"pk": {"S": key}} for key, item in base.items()}
    refused: set[str] = set()
    write_export(exports, "01768385000000-00000000", times[0], [{"Item": item} for item in now.values()])
    for number in range(len(windows) + 1):
        if number:
            window = {key: item and {"pk": {"S": key}} | item for key, item in windows[number - 1].items()}
            lines = [change({"pk": {"S": key}}, item) for key, item in window.items()]
            write_export(exports, f"0176838600000{number}-00000000", times[number], lines, since=times[number - 1])
            now = {key: item for key, item in (now | window).items() if item}
            refused -= window.keys()
        done = from_exports(lake, ConvertRules("t", "t", ("pk",)), find_exports(exports))
        assert done
        refused |= {each.key["pk"]["S"] for each in done.refused}
        check_rows(lake, "t", {key: item for key, item in now.items() if key not in refused})


def old(item: dict[str, Any]) -> dict[str, Any]:
    """The same with the old format's tags, as DynamoDBItemWritable writes them."""

    def value(tagged: dict[str, Any]) -> dict[str, Any]:
        ((tag, content),) = tagged.items()
        if tag == "M":
            content = {name: value(each) for name, each in content.items()}
        if tag == "L":
            content = [value(each) for each in content]
        return {"nULLValue" if tag == "NULL" else tag[0].lower() + tag[1:]: content}

    return {name: value(each) for name, each in item.items()}


def test_any_item_survives_export_and_restore(
    dynamodb_endpoint: DynamoServer, new_table_name: Callable[[str], str], tmp_path: Path
) -> None:
    """All items of a Hypothesis run in one table: they go through the servers once, then changes to them."""
    table = new_table_name("roundtrip")
    client, target = dynamodb_endpoint.client(), dynamodb_endpoint.target()
    client.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1})
    made: list[dict[str, Any]] = []

    @settings(max_examples=40, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(items)
    def collect(item: dict[str, Any]) -> None:
        made.append({name: value for name, value in item.items() if not has_extremes(value)})

    collect()
    for number, item in enumerate(made):
        client.put_item(TableName=table, Item=to_boto(item | {"pk": {"S": f"k{number}"}}))
    folder, about = tmp_path / "lake", facts(target, table)
    export_full(target, folder, about, ReadLimits())
    assert from_exports(folder, ConvertRules(table, "t", ("pk",)), find_exports(home(folder, table)))
    check_rows(folder, "t", scanned(client, table))

    client.delete_item(TableName=table, Key={"pk": {"S": "k1"}})
    client.put_item(TableName=table, Item={"pk": {"S": "k2"}, "quite": {"S": "new"}})
    client.put_item(TableName=table, Item={"pk": {"S": "fresh"}, "ns": {"NS": ["1", "2.50"]}})
    changes = export_changes(target, folder, about, ReadLimits(), method="compare")
    assert changes.items == 3
    exports = find_exports(home(folder, table))
    done = from_exports(folder, ConvertRules(table, "t", ("pk",)), exports)
    assert done
    assert done.refused == []
    check_rows(folder, "t", scanned(client, table))

    again = table + "-again"
    restored = restore(target, again, files_of(exports, []), about.key)
    assert restored.refused == []
    assert scanned(client, again) == scanned(client, table)


def scanned(client: Any, table: str) -> dict[str, dict[str, Any]]:
    pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return {item["pk"]["S"]: from_boto(item) for page in pages for item in page["Items"]}


def to_boto(value: Any, tag: str = "") -> Any:
    """boto3 takes bytes for B where DynamoDB's JSON has base64."""
    if tag in ("B", "BS"):
        return base64.b64decode(value) if tag == "B" else [base64.b64decode(each) for each in value]
    if tag == "L":
        return [{kind: to_boto(each, kind) for kind, each in inner.items()} for inner in value]
    if tag in ("M", ""):
        return {name: {kind: to_boto(each, kind) for kind, each in inner.items()} for name, inner in value.items()}
    return value


def from_boto(value: Any, tag: str = "") -> Any:
    if tag in ("B", "BS"):
        return (
            base64.b64encode(value).decode()
            if tag == "B"
            else sorted(base64.b64encode(each).decode() for each in value)
        )
    if tag == "L":
        return [{kind: from_boto(each, kind) for kind, each in inner.items()} for inner in value]
    if tag in ("M", ""):
        return {name: {kind: from_boto(each, kind) for kind, each in inner.items()} for name, inner in value.items()}
    return sorted(value) if tag in ("SS", "NS") else value


def has_extremes(value: dict[str, Any]) -> bool:
    """Numbers that ministack's own arithmetic spells in another way, and NULLs that dynalite sorts out of sets."""
    return "e1" in json.dumps(value) or "e-1" in json.dumps(value)
