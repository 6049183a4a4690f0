"""Exports become data sets: types from all items, conflicts by name, chains of incremental exports, kept and pruned."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.lake.helper import change, compact, full, write_export, write_lines
from whimbrel.errors import Locked, LogCorrupt, StateError, UserError
from whimbrel.lake import convert, datasets, parquet_parts
from whimbrel.lake.convert import ConvertRules, from_exports, from_files
from whimbrel.lake.manifest import read_manifest
from whimbrel.lake.native import find_exports
from whimbrel.lake.sources import find
from whimbrel.lake.types import parse_type

RULES = ConvertRules("test", "test", ("pk",))
KEY = {"pk": {"S": "1"}}


def rows(lake: Path, as_of: str = "") -> dict[str, dict[str, Any]]:
    table = datasets.arrow(lake, datasets.at(lake, "test", as_of))
    return {
        row.pop("pk"): {name: value for name, value in row.items() if value is not None} for row in table.to_pylist()
    }


def types(lake: Path) -> dict[str, str]:
    return {field.name: field.type for field in datasets.current(lake, "test").schema}


def made(lake: Path, tmp_path: Path, lines: list[Any], rules: ConvertRules = RULES) -> convert.Converted:
    return from_files(lake, rules, find(write_lines(tmp_path / "data.json", map(compact, lines))).files)


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        (["1", "-9223372036854775808"], "int64"),
        (["1", "9223372036854775808"], "decimal(38,0)"),
        (["1", "0.25"], "decimal(18,2)"),
        (["12345678901234567", "0.25"], "decimal(38,2)"),
        (["99999999999999999999999999999999999999"], "decimal(38,0)"),
        (["1e-100", "5"], "double"),
        (["1e-100", "1234567890123456789"], "number"),
    ],
)
def test_a_number_type_holds_every_value(tmp_path: Path, numbers: list[str], kind: str) -> None:
    lines = [full(pk={"S": str(place)}, n={"N": text}) for place, text in enumerate(numbers)]
    made(tmp_path, tmp_path, lines)
    assert types(tmp_path)["n"] == kind
    for place, text in enumerate(numbers):
        found = rows(tmp_path)[str(place)]["n"]
        assert Decimal(repr(found) if isinstance(found, float) else found) == Decimal(text)


def test_types_follow_from_all_items_not_from_the_first(tmp_path: Path) -> None:
    """Past what is looked at beforehand: a wider number, a new attribute, another type, escaped text, a null."""
    lines = [full(pk={"S": str(n)}, n={"N": str(n)}, s={"S": "x"}) for n in range(5_000)]
    lines += [
        full(pk={"S": "a"}, n={"N": "1.5"}, s={"S": 'q"\\\n\u0001é'}),
        full(pk={"S": "b"}, late={"BOOL": True}),
        full(pk={"S": "c"}, s={"N": "5"}, n={"NULL": True}),
    ]
    done = made(tmp_path, tmp_path, lines)
    found = rows(tmp_path)
    assert types(tmp_path) == {"pk": "string", "n": "decimal(18,1)", "s": "json", "late": "bool"}
    assert done.mixed == ["s"]
    assert len(found) == 5_003
    assert found["4999"] == {"n": Decimal(4999), "s": '{"S":"x"}'}
    assert json.loads(found["a"]["s"]) == {"S": 'q"\\\n\u0001é'}
    assert (found["b"], found["c"]) == ({"late": True}, {"s": '{"N":"5"}'})


@pytest.mark.parametrize("late", ["12345678901234567890123456789012345678", "-9" + "0" * 37, "1e37"])
def test_a_number_that_no_decimal_of_this_scale_holds_is_not_made_another(tmp_path: Path, late: str) -> None:
    """Behind numbers of 10 digits after the point. Arrow's cast gives no error where the product overflows."""
    lines = [full(pk={"S": str(n)}, n={"N": "0.0123456789"}) for n in range(3_000)]
    made(tmp_path, tmp_path, [*lines, full(pk={"S": "late"}, n={"N": late})])
    assert Decimal(str(rows(tmp_path)["late"]["n"])) == Decimal(late)


def test_an_attribute_that_is_missing_is_null_and_the_row_stays(tmp_path: Path) -> None:
    made(
        tmp_path,
        tmp_path,
        [full(pk={"S": "1"}, a={"S": ""}), full(pk={"S": "2"}), full(pk={"S": "3"}, a={"NULL": True})],
    )
    assert rows(tmp_path) == {"1": {"a": ""}, "2": {}, "3": {}}


def test_bad_lines_are_named_by_file_and_line_and_the_rest_goes_on(tmp_path: Path) -> None:
    bad = [
        b'{"Item":{"pk":{"S":"2"}',
        b"",
        b'{"Item":{"pk":{"S":"3"},"n":{"N":"0x1F"}}}',
        b'{"Item":{"pk":{"S":"4"},"n":{"N":"1","S":"1"}}}',
        b'{"Item":{"pk":{"S":"5"},"pk":{"S":"6"}}}',
        b'{"Item":{"pk":{"S":"7"},"b":{"B":"?"}}}',
        b'{"Item":{"pk":{"S":"\xff"}}}',
        b'{"Item":{"pk":{"S":"8"},"z":{"Z":"1"}}}',
        b'{"Item":{"pk":{"S":"9"},"n":{"N":"7"}},"More":1}',
        b'{"Item":{"pk":null}}',
    ]
    good = [full(pk={"S": "1"}, n={"N": "1"}), full(pk={"S": "end"}, n={"N": "2"})]
    file = write_lines(tmp_path / "data.json", [compact(good[0]), *bad, compact(good[1])], packed=True)
    done = from_files(tmp_path, RULES, find(file).files)
    assert set(rows(tmp_path)) == {"1", "end"}
    assert {(each.file, each.line) for each in done.refused if each.line} | {
        (each.file, 4) for each in done.refused if not each.line
    } == {(str(file), line) for line in range(2, 12)}
    kept = tmp_path / "datasets" / "test" / done.manifest.id / "refused.jsonl"
    assert len(kept.read_text().splitlines()) == done.manifest.refused == len(bad)


STRANGE = [
    b'{"Item":{"pk":{"S":"4"},"n":{"N":"1","S":"1"}}}',
    b'{"Item":{"pk":{"S":"5"},"pk":{"S":"6"}}}',
    b'{"Item":{"pk":{"S":"8"},"z":{"Z":"1"}}}',
    b'{"Item":{"pk":{"S":"9"},"n":{"N":"7"}},"More":1}',
    b'{"Item":{"pk":{"S":"10"},"n":{}}}',
    b'{"Item":{"pk":{"S":"11"},"n":{"N":null}}}',
    b'{"Item":{"pk":{"S":"12"},"n":null}}',
    b'{"Item":{"pk":{"S":"13"},"n":{"N":5}}}',
    b'{"Item":[]}',
    b"[]",
]


@pytest.mark.parametrize("line", STRANGE)
def test_a_line_that_is_json_but_no_item_is_named(tmp_path: Path, line: bytes) -> None:
    """Far into a file, where DuckDB reads it: it would take nothing amiss."""
    good = [compact(full(pk={"S": f"k{number}"}, n={"N": str(number)})) for number in range(300)]
    file = write_lines(tmp_path / "data.json", [*good, line, good[0].replace(b"k0", b"end")])
    done = from_files(tmp_path, RULES, find(file).files)
    assert [(each.file, each.line) for each in done.refused] == [(str(file), 301)]
    assert len(rows(tmp_path)) == 301


def test_a_bad_number_in_a_fast_column_is_refused_with_its_key(tmp_path: Path) -> None:
    done = made(tmp_path, tmp_path, [full(pk={"S": "1"}, n={"N": "1"}), full(pk={"S": "2"}, n={"N": "0x1F"})])
    assert [(each.key, each.reason) for each in done.refused] == [
        ({"pk": {"S": "2"}}, "attribute 'n': attribute '' has the N \"0x1F\", which is not a number in quotes")
    ]
    assert set(rows(tmp_path)) == {"1"}


def test_a_conflict_with_a_pinned_type_is_named_with_the_key(tmp_path: Path) -> None:
    pinned = ConvertRules("test", "test", ("pk",), pinned={"pk": parse_type("string"), "n": parse_type("int64")})
    lines = [full(pk={"S": "1"}, n={"N": "1"}), full(pk={"S": "2"}, n={"N": "1.5"}), full(pk={"S": "3"}, n={"S": "x"})]
    done = made(tmp_path, tmp_path, [*lines, full(pk={"S": "4"}, new={"S": "y"})], pinned)
    assert rows(tmp_path) == {"1": {"n": 1}, "4": {"new": "y"}}
    assert {each.key["pk"]["S"]: each.reason for each in done.refused} == {
        "2": "attribute 'n': 1.5 does not fit int64",
        "3": 'attribute \'n\': {"S": "x"} does not fit int64',
    }
    assert done.added == ["new"]


def test_maps_nested_and_flat(tmp_path: Path) -> None:
    item = {"m": {"M": {"x": {"N": "1"}, "in": {"M": {"y": {"S": "z"}}}}}, "l": {"L": [{"N": "1"}, {"N": "2"}]}}
    lines = [full(**KEY, **item), full(pk={"S": "2"}, m={"M": {}})]
    made(tmp_path, tmp_path, lines)
    assert types(tmp_path)["m"] == "struct<in: struct<y: string>, x: int64>"
    assert rows(tmp_path)["1"] == {"m": {"in": {"y": "z"}, "x": 1}, "l": [1, 2]}
    made(tmp_path, tmp_path, lines, ConvertRules("test", "test", ("pk",), flatten=True))
    assert rows(tmp_path) == {"1": {"m.in.y": "z", "m.x": 1, "l": [1, 2]}, "2": {}}


def test_names_that_sql_cannot_tell_apart_get_numbers(tmp_path: Path) -> None:
    made(tmp_path, tmp_path, [full(**KEY, A={"S": "1"}, a={"S": "2"}, _deleted={"S": "3"})])
    assert rows(tmp_path) == {"1": {"A": "1", "a_2": "2", "_deleted_2": "3"}}


def chain(root: Path) -> None:
    items = [full(pk={"S": str(number)}, n={"N": str(number)}) for number in range(100)]
    write_export(root, "01768385930622-efd1a093", "2026-01-14T10:00:00.000Z", items)
    first = [
        change({"pk": {"S": "1"}}, {"n": {"N": "-1"}}),
        change({"pk": {"S": "2"}}, None),
        change({"pk": {"S": "new"}}, {"more": {"S": "x"}}),
    ]
    write_export(root, "01768386930622-aaaaaaaa", "2026-01-14T11:00:00.000Z", first, since="2026-01-14T10:00:00.000Z")
    second = [change({"pk": {"S": "1"}}, None), change({"pk": {"S": "2"}}, {"n": {"N": "22"}})]
    write_export(root, "01768387930622-bbbbbbbb", "2026-01-14T12:00:00.000Z", second, since="2026-01-14T11:00:00.000Z")


def test_damaged_exports_are_refused(tmp_path: Path) -> None:
    chain(tmp_path)
    full_export = find_exports(tmp_path)[0]
    data = full_export.paths[0].read_bytes()
    full_export.paths[0].write_bytes(data[:-1] + b"?")
    with pytest.raises(LogCorrupt, match="MD5"):
        from_exports(tmp_path / "lake", RULES, [full_export])
    full_export.paths[0].unlink()
    with pytest.raises(StateError, match="is missing"):
        find_exports(tmp_path)
    full_export.paths[0].write_bytes(data)
    listed = full_export.folder / "manifest-files.json"
    listed.write_bytes(listed.read_bytes().replace(b'"itemCount":50', b'"itemCount":51'))
    with pytest.raises(LogCorrupt, match="checksum"):
        find_exports(tmp_path)


def test_a_file_with_fewer_items_than_its_manifest_says_is_refused(tmp_path: Path) -> None:
    chain(tmp_path)
    export = find_exports(tmp_path)[0]
    short = export.files[0]._replace(items=49)
    object.__setattr__(export, "files", (short, *export.files[1:]))
    with pytest.raises(LogCorrupt, match="it has 50 items, but the export's manifest says 49"):
        from_exports(tmp_path / "lake", RULES, [export])


def test_a_reader_sees_one_whole_data_set(tmp_path: Path) -> None:
    made(tmp_path, tmp_path, [full(**KEY, n={"N": "1"})])
    before = datasets.current(tmp_path, "test")
    with datasets.building(tmp_path, "test", "20990101T000000.0-x") as workshop:
        (workshop / "part-00000-0.parquet").write_bytes(b"half")
        assert datasets.current(tmp_path, "test") == before
        assert [each.id for each in datasets.versions(tmp_path, "test")] == [before.id]
        with pytest.raises(Locked), datasets.building(tmp_path, "test", "another"):
            pass
    assert not workshop.exists()
    made(tmp_path, tmp_path, [full(**KEY, n={"N": "2"})])
    assert datasets.arrow(tmp_path, before).to_pylist() == [{"pk": "1", "n": 1}]
    datasets.check(tmp_path, before)


def test_what_a_kept_manifest_lists_is_kept(tmp_path: Path) -> None:
    chain(tmp_path / "e")
    exports = find_exports(tmp_path / "e")
    for count in (1, 2, 3):
        from_exports(tmp_path, RULES, exports[:count])
    before = rows(tmp_path)
    gone = datasets.retain(tmp_path, "test", keep=1)
    assert len(gone) == 2
    assert rows(tmp_path) == before
    with pytest.raises(UserError, match="no data set as of"):
        datasets.at(tmp_path, "test", "2026-01-14T10:30:00Z")
    from_exports(tmp_path, RULES, exports, fresh=True)
    datasets.retain(tmp_path, "test", keep=1)
    folders = [path for path in (tmp_path / "datasets" / "test").iterdir() if path.is_dir()]
    listed = {file.path.partition("/")[0] for file in datasets.current(tmp_path, "test").files}
    assert {path.name for path in folders} == listed | {datasets.current(tmp_path, "test").id}


def test_a_manifest_says_what_it_is(tmp_path: Path) -> None:
    done = made(tmp_path, tmp_path, [full(**KEY)])
    path = tmp_path / "datasets" / "test" / done.manifest.id / "manifest.json"
    assert read_manifest(path) == done.manifest
    path.write_text("{}")
    with pytest.raises(LogCorrupt, match="not a manifest"):
        read_manifest(path)


@pytest.mark.parametrize("manifest", [True, False])
def test_the_old_format_is_read(tmp_path: Path, manifest: bool) -> None:
    write_lines(
        tmp_path / "92dd1414", [{"pk": {"s": "1"}, "n": {"n": "5"}, "f": {"bOOL": True}, "x": {"nULLValue": True}}]
    )
    write_lines(
        tmp_path / "ba3f3535",
        [b'pk\x03{"s":"2"}\x02set\x03{"nS":["1","2"]}\x02m\x03{"m":{"a":{"sS":["x"]}}}'],
        packed=True,
    )
    (tmp_path / "_SUCCESS").touch()
    if manifest:
        entries = [{"url": f"s3://b/p/{name}", "mandatory": True} for name in ("92dd1414", "ba3f3535")]
        (tmp_path / "manifest").write_text(json.dumps({"name": "DynamoDB-export", "version": 3, "entries": entries}))
        write_lines(tmp_path / "not-listed", [{"pk": {"s": "3"}}])
    lake = tmp_path / "lake"
    assert from_files(lake, RULES, find(tmp_path).files).refused == []
    assert rows(lake) == {"1": {"n": 5, "f": True}, "2": {"set": [1, 2], "m": {"a": ["x"]}}}


def test_a_table_without_items(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are no items"):
        made(tmp_path, tmp_path, [])
    assert datasets.names(tmp_path) == []
    pinned = ConvertRules("test", "test", ("pk",), pinned={"pk": parse_type("string"), "n": parse_type("int64")})
    assert made(tmp_path, tmp_path, [], pinned).manifest.rows == 0
    assert rows(tmp_path) == {}


@pytest.mark.parametrize(
    "later", ["1.5", "0.0000005", "1e-25", "12345678901234567890", "1234567890123456.25", "1e30", "1e-100"]
)
@pytest.mark.parametrize("first", ["7", "-9223372036854775808", "0.25"])
def test_what_is_written_becomes_wider_when_a_later_number_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, later: str
) -> None:
    monkeypatch.setattr(parquet_parts, "_MOST_ROWS", 2_048)
    lines = [full(pk={"S": str(n)}, n={"N": first}) for n in range(3_000)] + [full(pk={"S": "last"}, n={"N": later})]
    done = made(tmp_path, tmp_path, lines)
    assert done.refused == []
    found = {key: Decimal(str(row["n"])) for key, row in rows(tmp_path).items()}
    assert found == {str(n): Decimal(first) for n in range(3_000)} | {"last": Decimal(later)}
