"""What an export by comparing finds, whatever changed between any number of them; and the digests that it knows a table
by, which it can do without.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whimbrel.errors import StateError
from whimbrel.item import normal_item
from whimbrel.lake import comparing, export, line_digests
from whimbrel.lake.chain import chain_of
from whimbrel.lake.chain_file import home
from whimbrel.lake.changes import export_changes
from whimbrel.lake.export import ExportedTable, ReadLimits, export_full
from whimbrel.lake.line_digests import BODY, HEAD, NONE, SEGMENTS
from whimbrel.lake.lines import lines
from whimbrel.lake.native import DataWriter, find_exports
from whimbrel.project import Target
from whimbrel.records import Item

ABOUT = ExportedTable("t", "arn:aws:dynamodb:::table/t", "id", (("k", "S"),), 5, 500, 1000.0, "", "")
ENDPOINT = Target(endpoint="http://127.0.0.1:1", region="us-east-1")
LIMITS = ReadLimits(segments=2)
VALUES = st.sampled_from([{"N": "1"}, {"N": "1.0"}, {"N": "2"}, {"SS": ["a", "b"]}, {"SS": ["b", "a"]}])
TABLES = st.dictionaries(st.sampled_from("abcde"), VALUES)


class Table:
    """A table in memory, in the place of what reads one from DynamoDB."""

    def __init__(self, lake: Path, patch: pytest.MonkeyPatch) -> None:
        self.values: dict[str, Any] = {}
        self.twice = False  # whether a scan gives its items twice
        self._lake, self._patch = lake, patch
        patch.setenv("AWS_ACCESS_KEY_ID", "local")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "local")
        patch.setattr(comparing, "scan", self._scan)
        patch.setattr(export, "scan_segment", self._segment)

    @property
    def place(self) -> Path:
        return home(self._lake, "t")

    def full(self) -> None:
        export_full(ENDPOINT, self._lake, ABOUT, LIMITS)

    def compare(self) -> dict[str, tuple[Any, Any]]:
        """By key, the images before and after."""
        made = export_changes(ENDPOINT, self._lake, ABOUT, LIMITS, method="compare")
        found = {}
        for path in made.paths:
            for line in map(orjson.loads, lines(path)):
                found[line["Keys"]["k"]["S"]] = line.get("OldImage"), line.get("NewImage")
        return found

    def _items(self) -> list[Item]:
        return [item(key, value) for key, value in self.values.items()] * (2 if self.twice else 1)

    def _scan(self, _wire: Any, _name: str, _segments: int, on_page: Callable[[list[Item]], None], **_: Any) -> int:
        for each in self._items():
            on_page([each])
        return len(self.values)

    def _segment(self, _calls: Any, _name: str, segment: int, segments: int, **_: Any) -> Any:
        yield self._items()[segment::segments]


def item(key: str, value: Any) -> Item:
    return {"v": value, "k": {"S": key}}


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Table:
    return Table(tmp_path, monkeypatch)


@settings(max_examples=25)
@given(st.lists(TABLES, min_size=2, max_size=4), st.sampled_from(["kept", "gone", "parts"]))
def test_the_changes_are_those_of_a_comparison_by_value(
    tmp_path_factory: pytest.TempPathFactory, states: list[dict[str, Any]], digests: str
) -> None:
    """With digests of before, without them, and where only a few are in memory at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_digests, "LINES_AT_ONCE", 2 if digests == "parts" else 500_000)
        patch.setattr("os.fsync", lambda _: None)
        table = Table(tmp_path_factory.mktemp("lake"), patch)
        table.values = known = states[0]
        table.full()
        for now in states[1:]:
            if digests == "gone":
                (table.place / HEAD).unlink()
            table.values = now
            expected = {
                key: ((key in known and item(key, known[key])) or None, (key in now and item(key, now[key])) or None)
                for key in known.keys() | now.keys()
                if not same(known.get(key), now.get(key))
            }
            assert table.compare() == expected
            known = {key: value if key in expected else known[key] for key, value in now.items()}


def same(one: Any, other: Any) -> bool:
    return one is other or (bool(one) and bool(other) and normal_item({"v": one}) == normal_item({"v": other}))


def test_an_export_that_did_not_change_is_not_read_again(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    table.values = {key: {"N": "1"} for key in "abc"}
    table.full()
    read: list[Path] = []
    monkeypatch.setattr(comparing, "lines", read.append)
    assert table.compare() == {}
    assert not read
    assert not (table.place / SEGMENTS).exists()


@pytest.mark.parametrize("damage", ["head", "body", "short", "last"])
def test_digests_that_are_damaged_or_of_another_export_are_made_again(table: Table, damage: str) -> None:
    table.values = {key: {"N": "1"} for key in "abc"}
    table.full()
    head, body = table.place / HEAD, table.place / BODY
    if damage == "head":
        head.write_bytes(b"{")
    elif damage == "last":
        head.write_bytes(orjson.dumps(orjson.loads(head.read_bytes()) | {"last": "another"}))
    else:
        body.write_bytes(body.read_bytes()[:-16] + (NONE if damage == "body" else b""))
    table.values["b"] = {"N": "2"}
    assert table.compare() == {"b": (item("b", {"N": "1"}), item("b", {"N": "2"}))}


def test_a_scan_that_gives_items_twice_changes_nothing(table: Table) -> None:
    table.values, table.twice = {"a": {"N": "1"}, "b": {"N": "1"}}, True
    table.full()
    assert not (table.place / HEAD).exists()  # two lines have one item: they are told apart by their keys
    table.values = {"a": {"N": "2"}, "c": {"N": "3"}}
    assert table.compare() == {
        "a": (item("a", {"N": "1"}), item("a", {"N": "2"})),
        "b": (item("b", {"N": "1"}), None),
        "c": (None, item("c", {"N": "3"})),
    }
    assert table.compare() == {}


def test_a_segment_whose_digests_are_lost_is_read_when_they_are_wanted(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.values = {key: {"N": "1"} for key in "abc"}
    monkeypatch.setattr(export, "sealed", lambda digests: digests)  # as a crash might leave them
    table.full()
    assert not (table.place / HEAD).exists()
    del table.values["a"]
    assert table.compare() == {"a": (item("a", {"N": "1"}), None)}


def test_a_line_that_is_not_what_was_exported_ends_the_comparison(table: Table) -> None:
    table.values = {"a": {"N": "1"}, "b": {"N": "1"}}
    table.full()
    last = chain_of(find_exports(table.place))[-1]
    for path in last.paths:
        other = [line.replace(b'{"N":"1"}', b'{"N":"9"}') for line in lines(path)]
        path.unlink()
        writer = DataWriter(path, "")
        writer.write(other)
        writer.close()
    table.values = {"b": {"N": "1"}}
    with pytest.raises(StateError, match="not what was exported"):
        table.compare()


def test_a_stop_leaves_nothing_and_the_next_comparison_finds_it_all(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.values = {"a": {"N": "1"}}
    table.full()
    table.values = {"a": {"N": "2"}}

    def broken(*_: Any, **__: Any) -> int:
        raise StateError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(comparing, "scan", broken)
        with pytest.raises(StateError, match="stopped"):
            table.compare()
    assert sorted(path.name for path in table.place.iterdir()) == sorted(
        [".lock", "AWSDynamoDB", "chain.json", BODY, HEAD]
    )
    assert list(table.compare()) == ["a"]
