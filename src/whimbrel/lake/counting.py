"""How many rows a data set has. Of its base only the key columns are read; where few rows have changed, by PyArrow
alone: to import DuckDB takes longer than to count a million rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whimbrel.lake.datasets import DELETED, SEQUENCE, home, select
from whimbrel.lake.duck import bounded
from whimbrel.lake.manifest import DataFile, Manifest
from whimbrel.lake.need import need
from whimbrel.lake.types import arrow_type, parse_type

if TYPE_CHECKING:
    import pyarrow

FEW = 100_000  # rows in the deltas: their keys are all in memory, and looked through for each batch of the base
_BATCH_ROWS = 128 << 10  # of the base
_COMPARED_ALIKE = ("string", "int64", "binary")  # by DuckDB and by Arrow


def count_rows(folder: Path, manifest: Manifest) -> int:
    """Raises StateError when a file is gone."""
    query = f"SELECT count(*) FROM ({select(folder, manifest, manifest.key)})"
    place = home(folder, manifest.name)
    if _are_few(manifest) and _have_its_keys(place, manifest):
        return _counted(place, manifest)
    with bounded(place) as connection:
        [rows] = connection.execute(query).fetchone()
        return int(rows)


def _are_few(manifest: Manifest) -> bool:
    return 0 < sum(file.rows for file in manifest.deltas) <= FEW


def _have_its_keys(place: Path, manifest: Manifest) -> bool:
    """Whether each file has the key in the data set's types, which are compared alike."""
    read_schema = need("pyarrow.parquet", "lake").read_schema
    kinds = {field.name: parse_type(field.type) for field in manifest.schema if field.name in manifest.key}
    stored = [read_schema(place / file.path) for file in manifest.files]
    return all(
        kind.kind in _COMPARED_ALIKE
        and all(name in each.names and each.field(name).type == arrow_type(kind) for each in stored)
        for name, kind in kinds.items()
    )


def _counted(place: Path, manifest: Manifest) -> int:
    key = list(manifest.key)
    latest: dict[
        tuple[Any, ...], tuple[int, bool]
    ] = {}  # of each key in the deltas: its last number, and if it is gone
    for file in manifest.deltas:
        for batch in _batches(place, file, [*key, SEQUENCE, DELETED]):
            kind = batch.select(key).schema
            for *values, number, gone in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                if number > latest.get(tuple(values), (-1, False))[0]:
                    latest[tuple(values)] = number, gone
    changed = need("pyarrow", "lake").table([list(each) for each in zip(*latest, strict=True)], schema=kind)
    stored = (batch for file in manifest.files if file.kind == "base" for batch in _batches(place, file, key))
    return sum(_not_among(changed, batch) for batch in stored) + sum(not gone for _, gone in latest.values())


def _not_among(changed: pyarrow.Table, batch: pyarrow.RecordBatch) -> int:
    """How many keys of the batch are not in ``changed``."""
    if batch.num_columns == 1:  # the join would import more than this does
        pc = need("pyarrow.compute", "lake")
        same = pc.is_in(batch.column(0), value_set=changed.column(0).combine_chunks())
        return int(pc.sum(pc.invert(same)).as_py())
    pa = need("pyarrow", "lake")
    left = pa.Table.from_batches([batch]).join(changed, changed.column_names, join_type="left anti")
    return int(left.num_rows)


def _batches(place: Path, file: DataFile, columns: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
    with need("pyarrow.parquet", "lake").ParquetFile(place / file.path) as stored:
        for batch in stored.iter_batches(_BATCH_ROWS, columns=list(columns)):
            yield batch.select(columns)  # "a" stands for "a.b", too
