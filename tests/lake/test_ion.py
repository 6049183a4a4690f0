"""Exports in Amazon Ion, read exactly or named."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.lake.helper import ITEMS, RULES, change, compact, converted, items, rows, write_export
from whimbrel.errors import UserError
from whimbrel.lake import datasets, sources
from whimbrel.lake.convert import ConvertRules, from_exports
from whimbrel.lake.native import find_exports
from whimbrel.lake.sources import find


def ion_text(value: dict[str, Any]) -> str:
    """A DynamoDB value as the developer guide writes it in Ion, by rules of this test's own."""
    ((tag, content),) = value.items()
    match tag:
        case "S":
            return json.dumps(content)
        case "N":
            sign, digits, exponent = Decimal(content).as_tuple()
            return f"{'-' * sign}{''.join(map(str, digits))}" + (f"d{exponent}" if exponent else ".")
        case "B":
            return "{{" + content + "}}"
        case "BOOL":
            return str(content).lower()
        case "NULL":
            return "null"
        case "L":
            return f"[{','.join(map(ion_text, content))}]"
        case "M":
            return ion_struct(content)
        case _:
            return f"$dynamodb_{tag}::[{','.join(ion_text({tag[0]: each}) for each in content)}]"


def ion_struct(item: dict[str, Any]) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{ion_text(value)}" for name, value in item.items()) + "}"


GUIDE = (
    '$ion_1_0 {Item:{Authors:$dynamodb_SS::["Author1","Author2"],Dimensions:"8.5 x 11.0 x 1.5",ISBN:"333-3333333333",'
    'Id:103.,InPublication:false,PageCount:6d2,Price:2d3,ProductCategory:"Book",Title:"Book 103 Title"}}\n'
)


def test_the_example_of_the_developer_guide(tmp_path: Path) -> None:
    (tmp_path / "data.ion").write_text(GUIDE)
    assert converted(tmp_path, tmp_path / "data.ion", ConvertRules("t", "t", ("Id",))).refusals == 0
    assert rows(tmp_path) == [
        {
            "Authors": ["Author1", "Author2"],
            "Dimensions": "8.5 x 11.0 x 1.5",
            "ISBN": "333-3333333333",
            "Id": 103,
            "InPublication": False,
            "PageCount": 600,
            "Price": 2000,
            "ProductCategory": "Book",
            "Title": "Book 103 Title",
        }
    ]


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(items, min_size=1, max_size=5))
def test_any_item_in_ion_is_the_item(tmp_path: Path, made: list[dict[str, Any]]) -> None:
    every = {str(number): item | {"pk": {"S": str(number)}} for number, item in enumerate(made)}
    text = "".join(f"$ion_1_0 {{Item:{ion_struct(item)}}}\n" for item in every.values())
    (tmp_path / "data.ion").write_text(text, encoding="utf-8")
    (source,) = find(tmp_path / "data.ion").files
    found = [line.record.item if line.record else line.fault for line in sources.read(source)]
    assert [plain(item) for item in found] == [plain(item) for item in every.values()]


def plain(item: Any) -> Any:
    """Numbers by their value: Ion writes them in its own way."""
    if isinstance(item, dict):
        if item.keys() == {"N"}:
            return {"N": Decimal(item["N"])}
        if item.keys() == {"NS"}:
            return {"NS": [Decimal(each) for each in item["NS"]]}
        return {name: plain(value) for name, value in item.items()}
    return [plain(each) for each in item] if isinstance(item, list) else item


def test_a_chain_of_exports_in_ion(tmp_path: Path) -> None:
    """The same exports in JSON and in Ion give the same rows; what they say of themselves is the same, too."""
    first = [{"Item": item} for item in ITEMS.values()]
    later = [change({"pk": {"S": "1"}}, {"n": {"N": "5"}}, {}), change({"pk": {"S": "2"}}, None, {})]
    times = ("2026-01-14T12:00:00.000Z", "2026-01-14T13:00:00.000Z")
    found = []
    for form in ("json", "ion"):
        root, lake = tmp_path / form, tmp_path / f"lake-{form}"
        write = as_ion if form == "ion" else compact
        write_export(root, "01768385000000-00000000", times[0], first, form=form, write=write)
        write_export(root, "01768388600000-00000001", times[1], later, since=times[0], form=form, write=write)
        done = from_exports(lake, RULES, find_exports(root))
        assert done is not None
        assert done.refusals == 0
        found.append(sorted(datasets.arrow(lake, done.manifest).to_pylist(), key=str))
    assert found[0] == found[1]
    assert [row["pk"] for row in found[0]] == ["1", "3"]


def as_ion(line: dict[str, Any]) -> bytes:
    parts = []
    for name, content in line.items():
        if name == "Metadata":
            parts.append(f"Metadata:{{WriteTimestampMicros:{content['WriteTimestampMicros']['N']}.}}")
        else:
            parts.append(f"{name}:{ion_struct(content)}")
    return f"$ion_1_0 {{{','.join(parts)}}}".encode()


BAD_ION = {
    "symbol": "$ion_1_0 {Item:{pk:foo}}",
    "annotated": '$ion_1_0 {Item:{pk:foo::"x"}}',
    "a set of nothing": '$ion_1_0 {Item:{pk:$dynamodb_SS::"x"}}',
    "another set": '$ion_1_0 {Item:{pk:$dynamodb_LS::["x"]}}',
    "a set of numbers with a text": '$ion_1_0 {Item:{pk:$dynamodb_NS::[1.,"x"]}}',
    "float": "$ion_1_0 {Item:{pk:1e0}}",
    "nan": "$ion_1_0 {Item:{pk:nan}}",
    "timestamp": "$ion_1_0 {Item:{pk:2020-01-01T}}",
    "clob": '$ion_1_0 {Item:{pk:{{"abc"}}}}',
    "sexp": "$ion_1_0 {Item:{pk:(1 2)}}",
    "typed null": "$ion_1_0 {Item:{pk:null.string}}",
    "a name twice": '$ion_1_0 {Item:{pk:"1",pk:"2"}}',
    "a part twice": '$ion_1_0 {Item:{pk:"1"},Item:{pk:"2"}}',
    "huge number": "$ion_1_0 {Item:{pk:1d999999999}}",
    "huge number in range of Ion": "$ion_1_0 {Item:{pk:1d5000}}",
    "39 digits": "$ion_1_0 {Item:{pk:" + "1" * 39 + ".}}",
    "two values": '$ion_1_0 {Item:{pk:"1"}} {Item:{pk:"2"}}',
    "no value": "$ion_1_0",
    "cut off": '$ion_1_0 {Item:{pk:"1"',
    "more than an item": '$ion_1_0 {Item:{pk:"1"},More:1}',
    "a text": '$ion_1_0 "x"',
    "an item that is a list": "$ion_1_0 {Item:[]}",
    "deep": "$ion_1_0 {Item:{pk:" + "[" * 100_000 + "]" * 100_000 + "}}",
    "40 levels": "$ion_1_0 {Item:{pk:" + "[" * 40 + "]" * 40 + "}}",
    "surrogate": '$ion_1_0 {Item:{pk:"\\ud800"}}',
    "JSON": '{"Item":{"pk":{"S":"1"}}} ,',
}


def test_bad_lines_of_ion_are_set_aside(tmp_path: Path) -> None:
    good = '$ion_1_0 {Item:{pk:"good",n:12345678901234567890123456789012345678.}}'
    (tmp_path / "data.ion").write_text("\n".join([good, *BAD_ION.values(), '$ion_1_0 {Item:{pk:"end"}}']) + "\n")
    (source,) = find(tmp_path / "data.ion").files
    lines = list(sources.read(source))
    assert [case for case, line in zip(["good", *BAD_ION, "end"], lines, strict=True) if line.record] == ["good", "end"]
    assert all(line.fault for line in lines[1:-1])
    assert lines[0].record is not None
    assert lines[0].record.item == {"pk": {"S": "good"}, "n": {"N": "12345678901234567890123456789012345678"}}


def test_binary_ion_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"\xe0\x01\x00\xea\x0f")
    with pytest.raises(UserError, match="binary Ion"):
        find(tmp_path / "data")
