"""A chain of exports: the data set as of each moment, changes folded, a gap refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.lake.helper import change, full, write_export
from tests.lake.test_convert import RULES, chain, rows, types
from whimbrel.errors import UserError
from whimbrel.lake import datasets, fold, segments, sources
from whimbrel.lake.convert import ConvertRules, chain_of, from_exports, from_files  # type: ignore[attr-defined]
from whimbrel.lake.native import find_exports
from whimbrel.lake.restore import files_of
from whimbrel.lake.types import parse_type


def test_a_chain_gives_the_table_as_of_each_moment(tmp_path: Path) -> None:
    chain(tmp_path / "e")
    lake, exports = tmp_path / "lake", find_exports(tmp_path / "e")
    for count in (1, 2, 3):
        done = from_exports(lake, RULES, exports[:count])
        assert done
        assert done.manifest.rows == len(rows(lake))
    assert from_exports(lake, RULES, exports) is None  # nothing is new
    assert len(rows(lake, "2026-01-14T10:30:00Z")) == 100
    middle = rows(lake, "2026-01-14T11:00:00Z")
    assert (len(middle), middle["1"], middle["new"]) == (100, {"n": -1}, {"more": "x"})
    now = rows(lake)
    assert (len(now), now["2"], "1" in now) == (100, {"n": 22}, False)
    assert types(lake) == {"pk": "string", "n": "int64", "more": "string"}

    at_once = tmp_path / "at-once"
    assert from_exports(at_once, RULES, exports)
    assert rows(at_once) == now


@pytest.mark.parametrize("share", [fold.FOLD_SHARE, 0.0])
def test_a_folder_whose_name_looks_like_a_partition_is_not_a_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    monkeypatch.setattr(fold, "FOLD_SHARE", share)
    place = tmp_path / "pk=7" / "line=8" / "n=9"
    for folder in (tmp_path / "usual", place):
        chain(folder / "e")
        exports = find_exports(folder / "e")
        assert from_exports(folder / "lake", RULES, exports)
        assert from_files(folder / "loose", RULES, sources.sources(exports[0]))
    assert rows(place / "lake") == rows(tmp_path / "usual" / "lake")
    assert rows(place / "loose") == rows(tmp_path / "usual" / "loose")


def test_a_restore_takes_the_exports_up_to_a_time(tmp_path: Path) -> None:
    chain(tmp_path)
    exports = find_exports(tmp_path)

    def count(as_of: str) -> int:
        return len(files_of(exports, [], as_of)) // 2  # an export has two files here

    assert count("") == 3
    assert {count(each) for each in ("2026-01-14T11:00:00Z", "2026-01-14 11:00", "2026-01-14T12:00+01:00")} == {2}
    assert count("2026-01-14T10:59:59.900Z") == 1
    with pytest.raises(UserError, match="no export as of 2026-01-14T09:00Z"):
        count("2026-01-14T09:00Z")
    with pytest.raises(UserError, match="'soon' is not a time"):
        count("soon")


@pytest.mark.parametrize("view", ["NEW_AND_OLD_IMAGES", "NEW_IMAGE"])
def test_incremental_exports_are_read_in_both_views(tmp_path: Path, view: str) -> None:
    def n(value: int) -> dict[str, Any]:
        return {"n": {"N": str(value)}}

    old = n(0) if view == "NEW_AND_OLD_IMAGES" else None
    items = [full(pk={"S": str(number)}, **n(0)) for number in range(4)]
    write_export(tmp_path, "01768385930622-efd1a093", "2026-01-14T10:00:00.000Z", items, prefix="a/b/")
    changes = [
        change({"pk": {"S": "0"}}, n(7), old),
        change({"pk": {"S": "1"}}, None, old, micros="1768386096366933"),  # some write it without its type
        change({"pk": {"S": "new"}}, n(1), micros=1768386096366933),
    ]
    write_export(
        tmp_path,
        "01768386930622-aaaaaaaa",
        "2026-01-14T11:00:00.000Z",
        changes,
        since="2026-01-14T10:00:00.000Z",
        files=5,  # a partition without changes has an empty file
        view=view,
        prefix="a/b/",
    )
    assert from_exports(tmp_path, RULES, find_exports(tmp_path))
    assert rows(tmp_path) == {"0": {"n": 7}, "2": {"n": 0}, "3": {"n": 0}, "new": {"n": 1}}


def test_a_renewal_writes_what_changed(tmp_path: Path) -> None:
    chain(tmp_path / "e")
    exports = find_exports(tmp_path / "e")
    base = from_exports(tmp_path, RULES, exports[:1])
    later = from_exports(tmp_path, RULES, exports[:2])
    assert base
    assert later
    assert later.manifest.files[: len(base.manifest.files)] == base.manifest.files
    assert [file.rows for file in later.manifest.deltas] == [3]


def test_deltas_are_folded_when_there_are_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain(tmp_path / "e")
    exports = find_exports(tmp_path / "e")
    monkeypatch.setattr(fold, "MOST_DELTAS", 1)
    for count in (1, 2, 3):
        from_exports(tmp_path, RULES, exports[:count])
    folded = datasets.current(tmp_path, "test")
    assert len(folded.deltas) == 1
    expected = rows(tmp_path)
    monkeypatch.setattr(fold, "FOLD_SHARE", 0.0)
    write_export(
        tmp_path / "e",
        "01768388930622-cccccccc",
        "2026-01-14T13:00:00.000Z",
        [change({"pk": {"S": "0"}}, None)],
        since="2026-01-14T12:00:00.000Z",
    )
    from_exports(tmp_path, RULES, find_exports(tmp_path / "e"))
    assert [file.kind for file in datasets.current(tmp_path, "test").files] == ["base"]
    assert rows(tmp_path) == {key: row for key, row in expected.items() if key != "0"}


@pytest.mark.parametrize("key", [("row", "path"), ("FILE_ROW_NUMBER", "key0")])
@pytest.mark.parametrize("share", [9.0, 0.0], ids=["into one", "into the base"])
def test_changes_are_folded_whatever_the_key_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: tuple[str, str], share: float
) -> None:
    monkeypatch.setattr(fold, "MOST_DELTAS", 1)
    monkeypatch.setattr(fold, "FOLD_SHARE", share)
    changes: list[dict[int, str | None]] = [{1: "x", 5: "x"}, {2: "x", 3: None}, {1: None, 5: "y", 6: "y"}]
    expected: dict[int, str | None] = dict.fromkeys(range(5), "a")
    keys = [{key[0]: {"N": str(number % 3)}, key[1]: {"S": str(number)}} for number in range(7)]
    add(tmp_path / "e", 0, [full(**keys[number], v={"S": "a"}) for number in range(5)])
    for moment, some in enumerate(changes, 1):
        lines = [change(keys[number], {"v": {"S": value}} if value else None) for number, value in some.items()]
        add(tmp_path / "e", moment, lines)
        expected = {number: value for number, value in (expected | some).items() if value}
        done = from_exports(tmp_path, replace(RULES, key=key), find_exports(tmp_path / "e"))
        assert done
        found = datasets.arrow(tmp_path, done.manifest).to_pylist()
        assert {int(row[done.manifest.key[1]]): row["v"] for row in found} == expected
        assert (len(found), done.manifest.rows) == (len(expected), len(expected))


@pytest.mark.parametrize("most", [1, 10])
def test_a_file_has_so_many_columns_in_row_groups_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    chain(tmp_path / "e")
    exports = find_exports(tmp_path / "e")
    from_exports(tmp_path / "usual", RULES, exports)
    for module in (segments, fold):
        monkeypatch.setattr(module, "MOST_CHUNKS", most)
    monkeypatch.setattr(fold, "COPY_BYTES", 1)  # so each row is a row group
    monkeypatch.setattr(fold, "FOLD_SHARE", 0.0)
    done = from_exports(tmp_path / "few", RULES, exports)
    assert done
    assert rows(tmp_path / "few") == rows(tmp_path / "usual")
    assert {file.rows for file in done.manifest.files} == {1 if most == 1 else 4}  # rows of three columns


def test_files_with_fewer_columns_are_folded_with_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that has the columns of now is copied as it is, another one gets what it lacks."""
    monkeypatch.setattr(fold, "FOLD_SHARE", 0.0)
    expected: dict[str, Any] = {str(number): {"n": number} for number in range(4)}
    add(tmp_path / "e", 0, [full(pk={"S": str(number)}, n={"N": str(number)}) for number in range(4)])
    changes: list[dict[str, dict[str, Any]]] = [
        {"4": {"n": 4, "later": "x"}},
        {**{key: {"n": -1} for key in "0134"}, "5": {"n": 5}},
        {"0": {"n": 7, "later": "y"}, "6": {"n": 6}},
    ]
    for moment, some in enumerate(changes, 1):
        lines = [
            change(
                {"pk": {"S": key}},
                {"n": {"N": str(row["n"])}} | ({"later": {"S": row["later"]}} if "later" in row else {}),
            )
            for key, row in some.items()
        ]
        add(tmp_path / "e", moment, lines)
        expected |= some
        done = from_exports(tmp_path, RULES, find_exports(tmp_path / "e"))
        assert done
        assert not done.manifest.deltas
        assert rows(tmp_path) == expected


def test_the_types_of_a_new_data_set_are_those_of_the_changes_too(tmp_path: Path) -> None:
    add(tmp_path / "e", 0, [full(pk={"S": "a"}, n={"N": "1"}, v={"S": "x"})])
    add(tmp_path / "e", 1, [change({"pk": {"S": "a"}}, {"n": {"N": "1.5"}, "v": {"N": "2"}})])
    add(tmp_path / "e", 2, [change({"pk": {"S": "b"}}, {"n": {"N": "1e100"}})])
    done = from_exports(tmp_path, RULES, find_exports(tmp_path / "e"))
    assert done
    assert not done.refused
    assert types(tmp_path) == {"pk": "string", "n": "double", "v": "json"}
    assert rows(tmp_path) == {"a": {"n": 1.5, "v": '{"N":"2"}'}, "b": {"n": 1e100}}
    assert rows(tmp_path, hour(0)) == {"a": {"n": 1.0, "v": '{"S":"x"}'}}


def test_a_table_that_was_empty_at_first_is_converted_with_its_first_items(tmp_path: Path) -> None:
    add(tmp_path / "e", 0, [])
    add(tmp_path / "e", 1, [])
    with pytest.raises(UserError, match="there are no items"):
        from_exports(tmp_path, RULES, find_exports(tmp_path / "e"))
    add(tmp_path / "e", 2, [change({"pk": {"S": "a"}}, {"n": {"N": "1"}}), change({"pk": {"S": "b"}}, None)])
    assert from_exports(tmp_path, RULES, find_exports(tmp_path / "e"))
    assert rows(tmp_path) == {"a": {"n": 1}}


def hour(number: int) -> str:
    return f"2026-01-14T{10 + number}:00:00.000Z"


def add(root: Path, number: int, lines: list[Any]) -> None:
    """The full export, number 0, or one of the changes of an hour."""
    write_export(root, f"{number:014d}-{number:08x}", hour(number), lines, since=hour(number - 1) if number else "")


def test_a_conflict_in_a_change_leaves_no_stale_row(tmp_path: Path) -> None:
    chain(tmp_path / "e")
    pinned = ConvertRules("test", "test", ("pk",), pinned={"pk": parse_type("string"), "n": parse_type("int64")})
    wrong = [change({"pk": {"S": "5"}}, {"n": {"N": "0.5"}}), change({"pk": {"S": "6"}}, {"n": {"S": "x"}})]
    write_export(
        tmp_path / "e", "01768388930622-cccccccc", "2026-01-14T13:00:00.000Z", wrong, since="2026-01-14T12:00:00.000Z"
    )
    done = from_exports(tmp_path, pinned, find_exports(tmp_path / "e"))
    assert done
    assert sorted(each.key["pk"]["S"] for each in done.refused) == ["5", "6"]
    assert not {"5", "6"} & rows(tmp_path).keys()


def test_a_gap_in_the_chain_is_an_error(tmp_path: Path) -> None:
    chain(tmp_path)
    exports = find_exports(tmp_path)
    with pytest.raises(UserError, match=r"from 2026-01-14T10:00:00.000Z to 2026-01-14T11:00:00.000Z are in no export"):
        chain_of([exports[0], exports[2]])
    with pytest.raises(UserError, match="no full export"):
        chain_of(exports[1:])
