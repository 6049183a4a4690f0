"""Changes in an Iceberg table: files of their own, and files of rows that are deleted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.lake.helper import full
from tests.lake.test_iceberg import TABLE, Exports, by_key, deleted, item, written
from whimbrel.lake import datasets, fold, iceberg


@pytest.fixture
def exports(tmp_path: Path) -> Exports:
    return Exports(tmp_path)


def test_what_has_changed_several_times_is_there_once(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deleted, back again, and written in several deltas, which become one, and at last part of the base."""
    monkeypatch.setattr(fold, "MOST_DELTAS", 2)
    exports.add([full(**item(pk)) for pk in range(80)], whole=True)
    kinds = []
    for day in range(6):
        exports.convert()
        exports.agree()
        kinds.append([file.kind for file in datasets.current(exports.lake, TABLE).files])
        again = written(5, n={"N": str(day)}) if day % 2 else deleted(5)
        exports.add([again, written(day, n={"N": "-1"}), written(100 + day % 3, n={"N": str(day)})])
    assert kinds == [["base"], *([["base", "delta"], ["base", "delta", "delta"]] * 2), ["base", "delta"]]
    assert as_pyiceberg_reads(exports) == exports.ours()
    monkeypatch.setattr(fold, "FOLD_SHARE", 0.0)
    exports.convert()
    exports.agree()
    judged = exports.judged()
    assert not judged.deleted(judged.metadata["snapshots"][-1]), "all rows of all files are the data set's"


def as_pyiceberg_reads(exports: Exports) -> dict[str, list[dict[str, Any]]]:
    with exports.table() as table:
        return {
            iceberg._dataset(each): by_key(table.scan(snapshot_id=each.snapshot_id).to_arrow().to_pylist())
            for each in table.metadata.snapshots
        }


def test_many_deleted_rows_are_in_several_files(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whimbrel.lake.parquet_parts.FEWEST_BYTES", 1)
    monkeypatch.setattr("whimbrel.lake.iceberg_entries.MOST_DELETED", 1)
    exports.add([full(**item(pk)) for pk in range(40)], whole=True)
    exports.convert()
    exports.add([deleted(1), deleted(30)])
    exports.convert()
    exports.agree()
    assert len(list((exports.lake / "datasets" / TABLE / "metadata").glob("*.parquet"))) == 3
    assert as_pyiceberg_reads(exports) == exports.ours()


def test_a_column_whose_type_has_grown_is_written_again(exports: Exports) -> None:
    """A file has the types that its readers expect: not every one looks for fields that came later."""
    exports.add([full(**item(pk, m={"M": {"a": {"N": "1"}}})) for pk in range(40)], whole=True)
    exports.convert()
    exports.add([written(1, n={"N": "1"}, m={"M": {"b": {"BOOL": True}}})])
    exports.convert()
    assert [file.kind for file in datasets.current(exports.lake, TABLE).files] == ["base"]
    exports.agree()


def test_data_sets_from_before_are_published_with_their_deltas(exports: Exports) -> None:
    exports.without_publishing()
    exports.add([full(**item(pk)) for pk in range(9)], whole=True)
    exports.add([deleted(1)])
    exports.convert()
    assert datasets.current(exports.lake, TABLE).deltas
    exports.publishing()
    said = json.loads(exports.convert("--json"))
    assert (said["changed"], said["rows"], said["iceberg"]["added"]) == (False, 8, 2)
    exports.agree()


def test_files_of_other_types_from_before_are_said_by_name(exports: Exports) -> None:
    exports.without_publishing()
    exports.add([full(**item(pk, m={"M": {"a": {"N": "1"}}})) for pk in range(9)], whole=True)
    exports.convert()
    exports.add([written(1, n={"N": "1"}, m={"M": {"b": {"BOOL": True}}})])
    exports.convert()
    exports.publishing()
    assert "columns of other types than it has now" in exports.convert(code=2)
    exports.convert("--again")
    judged, ours = exports.judged(), exports.ours()
    assert judged.by_data_set() == {name: ours[name] for name in judged.by_data_set()}
    assert judged.current() == datasets.current(exports.lake, TABLE).id
