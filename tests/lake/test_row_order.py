"""A data set has its rows in one order, whichever columns are asked for: a model's hold-out is told by row numbers."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from whimbrel.lake import datasets
from whimbrel.lake.datasets import DELETED, SEQUENCE
from whimbrel.lake.manifest import DataFile, Field, Manifest

ROWS, CHANGED = 300_000, 3_000


def test_each_reading_gives_the_same_order(tmp_path: Path) -> None:
    """By several threads, a data set with changes came in another order each time."""
    place = tmp_path / "datasets" / "items" / "1"
    place.mkdir(parents=True)
    base = pa.table({"pk": [f"k{n}" for n in range(ROWS)], "n": range(ROWS)})
    pq.write_table(base, place / "part.parquet", row_group_size=10_000)
    changed = pa.table({"pk": [f"k{n * 97 % ROWS}" for n in range(CHANGED)], "n": range(CHANGED)})
    changed = changed.append_column(DELETED, pa.array([n % 2 == 0 for n in range(CHANGED)]))
    pq.write_table(changed.append_column(SEQUENCE, pa.array(range(CHANGED), pa.int64())), place / "delta.parquet")
    files = [DataFile(f"1/{name}.parquet", 0, 0, "", kind) for name, kind in (("part", "base"), ("delta", "delta"))]
    schema = (Field("pk", "string", attribute="pk"), Field("n", "int64", attribute="n"))
    manifest = Manifest("1", "items", "items", "", "", schema, tuple(files), ROWS, key=("pk",))
    whole = datasets.arrow(tmp_path, manifest)
    assert whole.num_rows == ROWS - CHANGED // 2
    for columns in (["n"], ["pk", "n"], ["n"]):
        assert datasets.arrow(tmp_path, manifest, columns)["n"].combine_chunks() == whole["n"].combine_chunks()
