"""The rows of a data set are counted as they are read, without DuckDB where few rows have changed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from whimbrel.lake import datasets, gone
from whimbrel.lake.counting import count_rows
from whimbrel.lake.datasets import DELETED, SEQUENCE
from whimbrel.lake.manifest import DataFile, Field, Manifest

KEYS = 2_000
# The key's columns with their types, and how number n is written in each.
FORMS: dict[str, dict[str, tuple[str, Any]]] = {
    "text": {"pk": ("string", lambda n: f"ü{n}")},
    "whole numbers": {"pk": ("int64", lambda n: n - 1_000)},
    "bytes": {"pk": ("binary", lambda n: bytes([n % 256, n // 256]))},
    "two columns": {"pk": ("string", lambda n: f"{n % 7}"), "sk": ("int64", lambda n: n // 7)},
    "numbers": {"pk": ("decimal(18,1)", lambda n: Decimal(n) / 2)},
}
ALONE = [form for form in FORMS if form != "numbers"]  # by PyArrow


class Items:
    """Writes data sets whose key has one of the FORMS, beside attributes with names that begin like the key's."""

    def __init__(self, folder: Path, form: str) -> None:
        self.folder, self.key = folder, FORMS[form]
        self.place = folder / "datasets" / "items" / "1"
        self.place.mkdir(parents=True)
        self.files: list[DataFile] = []
        self.sequence = 0

    def write(self, numbers: Sequence[int], deleted: Sequence[bool] | None = None, **as_other: pa.DataType) -> None:
        columns = {name: [form(n) for n in numbers] for name, (_, form) in self.key.items()}
        table = pa.table({"pk.x": ["a"] * len(numbers), **columns, "pkx": [1] * len(numbers)})
        for name, kind in as_other.items():
            place = table.column_names.index(name)
            table = table.set_column(place, name, table[name].cast(kind))
        if deleted is not None:
            table = table.append_column(DELETED, pa.array(list(deleted), pa.bool_()))
            later = range(self.sequence, self.sequence + len(numbers))
            table = table.append_column(SEQUENCE, pa.array(later, pa.int64()))
            self.sequence += len(numbers)
        name = f"{len(self.files)}.parquet"
        pq.write_table(table, self.place / name, row_group_size=300)
        self.files.append(DataFile(f"1/{name}", len(numbers), 0, "", "base" if deleted is None else "delta"))

    def manifest(self) -> Manifest:
        fields = [Field(name, kind, attribute=name) for name, (kind, _) in self.key.items()]
        schema = (*fields, Field("pk.x", "string", attribute="pk.x"), Field("pkx", "int64", attribute="pkx"))
        return Manifest("1", "items", "items", "", "", schema, tuple(self.files), 0, key=tuple(self.key))


def history(items: Items, seed: int) -> None:
    """Two files of the base, and three deltas: some keys are new, some come back, some are changed several times."""
    chance = random.Random(seed)
    kept = chance.sample(range(KEYS), KEYS // 2)
    items.write(kept[: KEYS // 4])
    items.write(kept[KEYS // 4 :])
    for _ in range(3):
        numbers = chance.choices(range(KEYS), k=chance.choice((1, 100, 500)))
        items.write(numbers, [chance.random() < 0.4 for _ in numbers])


def no_duckdb(_: object) -> Any:
    raise AssertionError("DuckDB is not needed")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("form", FORMS)
def test_they_are_counted_as_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, seed: int
) -> None:
    items = Items(tmp_path, form)
    history(items, seed)
    read = datasets.arrow(tmp_path, items.manifest(), list(items.key)).num_rows
    if form in ALONE:
        monkeypatch.setattr(gone, "bounded", no_duckdb)
    assert count_rows(tmp_path, items.manifest()) == read


@pytest.mark.parametrize("form", ALONE)
def test_many_changes_are_counted_by_duckdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    items = Items(tmp_path, form)
    history(items, 1)
    few = count_rows(tmp_path, items.manifest())
    monkeypatch.setattr(gone, "FEW", 1)
    assert count_rows(tmp_path, items.manifest()) == few


def test_a_key_whose_type_has_grown_is_compared_in_the_type_that_it_has_now(tmp_path: Path) -> None:
    """1 and 1.0 are one key, in files with different types."""
    items = Items(tmp_path, "numbers")
    items.write(range(0, KEYS, 2), pk=pa.int64())
    items.write([2, 3], [False, False])
    assert count_rows(tmp_path, items.manifest()) == KEYS // 2 + 1


@pytest.mark.parametrize("form", ALONE)
def test_duckdb_and_arrow_find_the_same_rows_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    items = Items(tmp_path, form)
    history(items, 2)
    found = rows_gone(items)
    monkeypatch.setattr(gone, "FEW", 1)
    assert rows_gone(items) == found
    listed = {file.path: pq.read_table(tmp_path / "datasets" / "items" / file.path) for file in items.files}
    key = list(items.key)
    left = [
        row
        for path, table in listed.items()
        for place, row in enumerate(table.select(key).to_pylist())
        if place not in found.get(path, [])
    ]
    read = datasets.arrow(tmp_path, items.manifest(), key).to_pylist()
    assert sorted(map(str, left)) == sorted(map(str, read))


def rows_gone(items: Items) -> dict[str, list[int]]:
    found = [(file.path, rows.to_pylist()) for file, rows in gone.gone(items.folder, items.manifest())]
    assert found == sorted((path, sorted(rows)) for path, rows in found)
    return dict(found)
