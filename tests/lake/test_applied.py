"""The position that an export says: what is read, and which data set is the one up to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from tests.lake.helper import full, write_export
from whimbrel.errors import LogCorrupt, UserError
from whimbrel.lake import datasets
from whimbrel.lake.applied import FILE, AppliedUpTo, asked_position, read_applied, to_bytes
from whimbrel.lake.convert import ConvertRules, from_exports
from whimbrel.lake.manifest import Manifest, read_manifest, to_json
from whimbrel.lake.native import find_exports
from whimbrel.records import Position

RULES = ConvertRules("test", "test", ("pk",))


def made(tmp_path: Path, *positions: AppliedUpTo | None) -> list[Manifest]:
    """A full export for each, a day apart, and its data set."""
    found = []
    for day, applied in enumerate(positions, 1):
        lines = [full(pk={"S": "a"}, n={"N": str(day)})]
        folder = write_export(tmp_path / "e", f"{day:014d}-{day:08x}", f"2026-01-{day:02}T00:00:00.000Z", lines)
        if applied:
            (folder / FILE).write_bytes(to_bytes(applied))
        converted = from_exports(tmp_path / "lake", RULES, find_exports(tmp_path / "e"))
        assert converted
        found.append(converted.manifest)
    return found


def at(number: int, source: str = "s", epoch: int = 0) -> AppliedUpTo:
    return AppliedUpTo(source, Position(f"bin.{number:06}", 4, "g:1-9", epoch))


def test_a_data_set_has_what_its_export_says(tmp_path: Path) -> None:
    found = made(tmp_path, at(1), None, at(3))
    assert [each.applied for each in found] == [at(1), None, at(3)]
    [path] = (tmp_path / "lake").glob(f"datasets/test/{found[0].id}/manifest.json")
    assert read_manifest(path) == found[0]
    assert "applied" not in orjson.loads(to_json(found[1])), "an earlier version reads it"


def test_the_newest_data_set_up_to_a_position_is_found(tmp_path: Path) -> None:
    found = made(tmp_path, at(9, source="before"), at(2), None, at(4))

    def asked(text: str) -> str:
        return datasets.at(tmp_path / "lake", "test", position=text).id

    assert asked("bin.000003:100") == asked("bin.000002:4 (g:1-9)") == found[1].id
    assert asked("bin.1000000:4") == asked("bin.000004:4") == found[3].id
    with pytest.raises(UserError, match=r"no data set up to bin.000001:4.*There is: "):
        asked("bin.000001:4")


def test_positions_of_before_a_failover_are_not_compared(tmp_path: Path) -> None:
    found = made(tmp_path, at(8), at(2, epoch=1))
    assert datasets.at(tmp_path / "lake", "test", position="bin.000009:4").id == found[1].id
    with pytest.raises(UserError, match="no data set up to"):
        datasets.at(tmp_path / "lake", "test", position="bin.000001:4")


def test_none_says_its_position(tmp_path: Path) -> None:
    made(tmp_path, None)
    with pytest.raises(UserError, match="none that says its position"):
        datasets.at(tmp_path / "lake", "test", position="bin.000001:4")


@pytest.mark.parametrize("text", ["", "bin.000001", "bin.000001:x", ":4", "bin:4"])
def test_what_is_not_a_position_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is not a position"):
        asked_position(text)


@pytest.mark.parametrize("data", [b"", b"{}", b'{"source": "s", "file": "bin", "offset": 1}', b"[1]"])
def test_a_damaged_record_is_not_passed_over(tmp_path: Path, data: bytes) -> None:
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(LogCorrupt, match="not a position"):
        read_applied(tmp_path)


def test_a_position_is_as_it_was(tmp_path: Path) -> None:
    for applied in (at(1), at(2, epoch=3), replace(at(1), source="")):
        (tmp_path / FILE).write_bytes(to_bytes(applied))
        assert read_applied(tmp_path) == applied
