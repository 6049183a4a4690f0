"""Bad lines and bad changes are set aside, each with its reason."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from pathlib import Path

import pytest

from tests.lake.helper import change, compact, full, write_export, write_lines
from tests.lake.test_hostile import FULL_ID, LATER_ID, NOON, ONE, RULES, entries, rewrite_manifest, run
from whimbrel.errors import UserError
from whimbrel.lake import datasets
from whimbrel.lake.convert import from_exports, from_files
from whimbrel.lake.native import find_exports
from whimbrel.lake.sources import find

# A line, and a word of the reason.
BAD = {
    "number too large": (b'{"pk":{"S":"1"},"n":{"N":"1E999999999"}}', "outside the range"),
    "number too small": (b'{"pk":{"S":"1"},"n":{"N":"1E-999999999"}}', "outside the range"),
    "number out of range": (b'{"pk":{"S":"1"},"n":{"N":"1E126"}}', "outside the range"),
    "39 digits": (b'{"pk":{"S":"1"},"n":{"N":"' + b"1" * 39 + b'"}}', "more than the 38 digits"),
    "a million digits": (b'{"pk":{"S":"1"},"n":{"N":"' + b"1" * 1_000_000 + b'"}}', "outside the range"),
    "in a set": (b'{"pk":{"S":"1"},"n":{"NS":["1","1E999999999"]}}', "outside the range"),
    "in a map": (b'{"pk":{"S":"1"},"n":{"M":{"x":{"N":"1E99999999999999999999"}}}}', "outside the range"),
    "NaN": (b'{"pk":{"S":"1"},"n":{"N":"NaN"}}', "not a number"),
    "Infinity": (b'{"pk":{"S":"1"},"n":{"N":"Infinity"}}', "not a number"),
    "NaN of JSON": (b'{"pk":{"S":"1"},"n":{"N":NaN}}', "not JSON"),
    "two signs": (b'{"pk":{"S":"1"},"n":{"N":"+-1"}}', "not a number"),
    "blank": (b'{"pk":{"S":"1"},"n":{"N":" 1"}}', "not a number"),
    "no digits": (b'{"pk":{"S":"1"},"n":{"N":""}}', "not a number"),
    "underscore": (b'{"pk":{"S":"1"},"n":{"N":"1_0"}}', "not a number"),
    "other digits": ('{"pk":{"S":"1"},"n":{"N":"\u0661"}}'.encode(), "not a number"),
    "number without quotes": (b'{"pk":{"S":"1"},"n":{"N":1}}', "not a number"),
    "deep": (b'{"pk":{"S":"1"},"n":' + b'{"L":[' * 100_000 + b"]}" * 100_000 + b"}", "not JSON"),
    "nested 300": (b'{"pk":{"S":"1"},"n":' + b'{"L":[' * 300 + b"]}" * 300 + b"}", "not JSON"),
    "nested 33": (b'{"pk":{"S":"1"},"n":' + b'{"L":[' * 33 + b"]}" * 33 + b"}", "deeper"),
    "raw lists": (b'{"pk":{"S":"1"},"n":' + b"[" * 500 + b"]" * 500 + b"}", "not JSON"),
    "a name twice": (b'{"pk":{"S":"1"},"pk":{"S":"2"}}', "twice"),
    "a name twice among many": (
        b"{" + b"".join(b'"a%d":{"S":"1"},' % n for n in range(100_000)) + b'"a99999":{"S":"1"}}',
        "twice",
    ),
    "a name twice inside": (b'{"pk":{"S":"1"},"m":{"M":{"a":{"S":"1"},"a":{"S":"2"}}}}', "twice"),
    "not UTF-8": (b'{"pk":{"S":"\xff\xfe"}}', "not JSON"),
    "surrogate": (b'{"pk":{"S":"\\ud800"}}', "not JSON"),
    "surrogate in UTF-8": (b'{"pk":{"S":"\xed\xa0\x80"}}', "not JSON"),
    "NUL": (b'{"pk":{"S":"a\0b"}}', "not JSON"),
    "only NUL": (b"\0" * 100, "not JSON"),
    "unknown type": (b'{"pk":{"S":"1"},"x":{"X":"1"}}', "which DynamoDB does not have"),
    "two types": (b'{"pk":{"S":"1","N":"1"}}', "not one value"),
    "no type": (b'{"pk":"1"}', "not one value"),
    "null": (b'{"pk":null}', "not one value"),
    "NULL false": (b'{"pk":{"S":"1"},"x":{"NULL":false}}', "NULL"),
    "BOOL text": (b'{"pk":{"S":"1"},"x":{"BOOL":"true"}}', "BOOL"),
    "not base64": (b'{"pk":{"S":"1"},"x":{"B":"a"}}', "base64"),
    "an empty set": (b'{"pk":{"S":"1"},"x":{"SS":[]}}', "has the set []"),
    "a member twice": (b'{"pk":{"S":"1"},"x":{"SS":["a","b","a"]}}', "a member twice"),
    "a number twice": (b'{"pk":{"S":"1"},"x":{"NS":["1","1.0"]}}', "a member twice"),
    "bytes twice, in a list": (b'{"pk":{"S":"1"},"x":{"L":[{"BS":["AA==","AB=="]}]}}', "a member twice"),
    "no key": (b'{"n":{"N":"5"}}', "its key attribute 'pk' is missing"),
    "a key that is NULL": (b'{"pk":{"NULL":true},"n":{"N":"5"}}', "its key attribute 'pk' is missing"),
    "an empty key": (b'{"pk":{"S":""},"n":{"N":"5"}}', "its key attribute 'pk' is empty"),
    "a long key": (b'{"n":{"N":"5"},"pk":{"S":"' + b"x" * 3_000 + b'"}}', "'pk' is longer than 2,048 bytes"),
    "cut off": (b'{"pk":{"S":"1"', "not JSON"),
    "more behind it": (b'{"pk":{"S":"1"}}{"pk":{"S":"2"}}', "not JSON"),
    "empty": (b"", "empty"),
    "too long": (b'{"pk":{"S":"' + b"x" * (5 << 20) + b'"}}', "longer than 4 MB"),
}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] if at % 3 else []) for at, case in enumerate(BAD)]
)
def test_a_bad_line_is_set_aside_with_its_reason(tmp_path: Path, case: str) -> None:
    """Far behind what is looked at beforehand, where DuckDB reads."""
    line, reason = BAD[case]
    lines = [b'{"pk":{"S":"k%d"},"n":{"N":"%d"}}' % (number, number) for number in range(3_000)]
    lines += [line, b'{"pk":{"S":"end"}}']
    done = from_files(tmp_path / "lake", RULES, find(write_lines(tmp_path / "data.json", lines)).files)
    assert done.refusals == len(done.refused) == 1
    assert reason in done.refused[0].reason
    assert done.refused[0].line == 3_001 or done.refused[0].key.items() <= json.loads(line).items()
    assert done.new_rows == len(lines) - 1


def test_a_bad_line_of_every_kind_in_one_file(tmp_path: Path) -> None:
    good = [b'{"pk":{"S":"k%d"},"n":{"N":"%d"}}' % (number, number) for number in range(len(BAD))]
    lines = [line for pair in zip(good, (line for line, _ in BAD.values()), strict=True) for line in pair]
    done = from_files(tmp_path / "lake", RULES, find(write_lines(tmp_path / "data.json", lines)).files)
    lines_of = {each.line: each.reason for each in done.refused}
    assert {line for line in lines_of if line} == {
        2 * number + 2 for number, (_, reason) in enumerate(BAD.values()) if "'pk' is" not in reason
    }
    assert done.refusals == len(BAD)
    assert done.new_rows == len(good)


def test_two_items_of_one_key_are_named(tmp_path: Path) -> None:
    """A file and its copy, or the pages of two scans, would double rows without a word."""
    folder = tmp_path / "pages"
    folder.mkdir()
    for name, ids in {"a.json": range(2_000), "b.json": range(1_999, 3_000)}.items():
        # One attribute that only the end of a file has: its segments have other columns.
        late = {f"{name} late": {"S": "x"}}
        items = [{"pk": {"S": f"k{each}"}, "n": {"N": "1"}} | (late if each % 1_000 == 900 else {}) for each in ids]
        write_lines(folder / name, items)
    with pytest.raises(UserError, match="1 keys occur more than once, such as pk = 'k1999', in 2 items"):
        from_files(tmp_path / "lake", RULES, find(folder).files)
    assert datasets.names(tmp_path / "lake") == []


@pytest.mark.parametrize(
    "value", [{"N": "1"}, {"BOOL": True}, {"M": {}}, {"L": []}, {"SS": ["a"]}], ids=lambda value: min(value)
)
def test_a_key_has_one_type_in_all_items(tmp_path: Path, value: dict[str, object]) -> None:
    file = write_lines(tmp_path / "data.json", [{"pk": {"S": "1"}}, {"pk": value}])
    with pytest.raises(UserError, match="the key attribute 'pk' has the type json"):
        from_files(tmp_path / "lake", RULES, find(file).files)


def test_more_attributes_than_a_table_can_have_columns_end_soon(tmp_path: Path) -> None:
    """40,000 names fit into one item of 400 KB."""
    wide = {"pk": {"S": "1"}} | {f"a{number}": {"S": ""} for number in range(40_000)}
    file = write_lines(tmp_path / "data.json", [wide])
    with pytest.raises(UserError, match="more than 5,000 different attributes"):
        from_files(tmp_path / "lake", RULES, find(file).files)


@pytest.mark.slow
def test_a_table_of_many_attributes_is_converted_and_queried(project: Path) -> None:
    wide = {"pk": {"S": "1"}} | {f"a{number}": {"S": ""} for number in range(4_999)}
    file = write_lines(project.parent / "data.json", [wide, {"pk": {"S": "2"}, "a7": {"S": "x"}}])
    assert run(project, "convert", "test", "--from", str(file)).exit_code == 0
    assert "x" in run(project, "query", "-f", "csv", "SELECT a7 FROM test WHERE pk = '2'").output


METADATA = [
    b'{"Metadata":{"WriteTimestampMicros":{"N":"x"}},"Keys":{"pk":{"S":"1"}}}',
    b'{"Metadata":{"WriteTimestampMicros":1e5,"a":1},"Keys":{"pk":{"S":"1"}},"NewImage":{"pk":{"S":"1"}}}',
    b'{"Metadata":{"t":1e15},"Keys":{"pk":{"S":"1"}},"NewImage":{"pk":{"S":"1"},"a":{"N":"1"},"a":{"N":"2"}}}',
    b'{"Metadata":{},"Keys":{},"NewImage":{"pk":{"S":"1"}}}',
    b'{"Metadata":{},"Keys":{"pk":{"S":"1"}},"NewImage":null}',
    b'{"Metadata":{},"Keys":{"pk":{"S":"1"}},"NewImage":{"pk":{"S":"2"}}}',
    b'{"Metadata":{},"Keys":{"pk":{"S":"1"}},"NewImages":{"pk":{"S":"1"}}}',
    b'{"Metadata":{},"NewImage":{"pk":{"S":"1"}}}',
]


def test_a_bad_change_is_set_aside(tmp_path: Path) -> None:
    exports, lake = tmp_path / "exports", tmp_path / "lake"
    write_export(exports, FULL_ID, NOON, [full(pk={"S": "1"}, a={"N": "0"})])
    good = change({"pk": {"S": "2"}}, {"a": {"N": "2"}})
    folder = write_export(exports, LATER_ID, ONE, [good], since=NOON, files=1)
    listed = entries(folder)
    data = gzip.compress(b"\n".join([compact(good), *METADATA]) + b"\n")
    (folder.parent / "data" / listed[0]["dataFileS3Key"].rpartition("/")[2]).write_bytes(data)
    md5 = base64.b64encode(hashlib.md5(data).digest()).decode()
    listed[0] |= {"itemCount": 1 + len(METADATA), "md5Checksum": md5, "etag": ""}
    rewrite_manifest(folder, listed, itemCount=1 + len(METADATA))
    done = from_exports(lake, RULES, find_exports(exports))
    assert done is not None
    assert [each.line for each in done.refused] == list(range(2, 2 + len(METADATA)))
    assert {row["pk"] for row in datasets.arrow(lake, done.manifest).to_pylist()} == {"1", "2"}


def test_when_every_line_was_set_aside_the_reasons_are_shown(project: Path) -> None:
    lines = [b'{"pk":"1"}'] * 7 + [b"id,name", b"1E5"]
    file = write_lines(project.parent / "data.json", lines)
    result = run(project, "convert", "test", "--from", str(file))
    assert result.exit_code == 2
    assert "all of its 9 lines were set aside" in result.output
    assert "7 times: attribute 'pk' is \"1\", not one value with its type (first:" in result.output
    assert f"{file}, line 1" in result.output
    assert "there are no items" not in result.output
    assert run(project, "query", "SHOW TABLES").exit_code == 0


def test_a_data_set_stays_where_every_line_of_the_next_was_set_aside(project: Path) -> None:
    file = write_lines(project.parent / "data.json", [full(pk={"S": "1"})])
    assert run(project, "convert", "test", "--from", str(file)).exit_code == 0
    write_lines(file, [b"garbage"])
    assert run(project, "convert", "test", "--from", str(file)).exit_code == 2
    assert "1" in run(project, "query", "-f", "csv", "SELECT pk FROM test").output
