"""The rows of each item brought together by Spark, for a table whose chunks do not hold its items whole.

The parts are those of a process that brings rows together on disk (regroup.py), so that a load may change from one to
the other. Spark has the rows as bytes: the number of their part, the bytes of their item's key, and the row itself. It
sorts by the first two, as bytes; so the rows of one item follow each other, whatever batches they are handed out in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from whimbrel.mapping.design import TableMapping
from whimbrel.migration.portions import Portions
from whimbrel.migration.regroup import partition_of, record_of, row_of
from whimbrel.migration.spark.places import Where
from whimbrel.migration.spark.task import task
from whimbrel.records import Row

if TYPE_CHECKING:
    from pyarrow import RecordBatch

COLUMNS = "part int, key binary, record binary"


class Keyed(NamedTuple):
    """A row as Spark has it."""

    part: int
    key: bytes
    record: bytes


def rows_of_chunks(where: Where, batches: Iterable[RecordBatch]) -> Iterator[RecordBatch]:
    """The rows of the chunks whose numbers are in the column ``number``, as COLUMNS; those of parts that are due."""
    import pyarrow

    kinds = [("part", pyarrow.int32()), ("key", pyarrow.binary()), ("record", pyarrow.binary())]
    schema = pyarrow.schema([pyarrow.field(*kind, nullable=True) for kind in kinds])
    with task(where) as mine:
        due, partitions = frozenset(mine.job.parts), mine.job.partitions
        for number in _numbers(batches):
            with mine.chunk(number) as export:
                for rows in export:
                    keyed = [each for each in _keyed(mine.mapping, rows, partitions) if each.part in due]
                    columns = zip(*keyed, strict=True) if keyed else ((), (), ())
                    arrays = [pyarrow.array(column, kind) for column, (_, kind) in zip(columns, kinds, strict=True)]
                    yield pyarrow.record_batch(arrays, schema=schema)


def load_sorted(where: Where, batches: Iterable[RecordBatch]) -> Iterator[RecordBatch]:
    """Load the parts that ``batches`` have, which are sorted; gives their numbers, as ``part``."""
    import pyarrow

    with task(where) as mine:
        for part, rows in groupby(_all(batches), itemgetter(0)):
            mine.load(part, whole_groups(rows, mine.portions))
            yield pyarrow.record_batch([pyarrow.array([part], pyarrow.int32())], names=["part"])


def whole_groups(rows: Iterable[Keyed], portions: Portions) -> Iterator[list[Row]]:
    """Portions of sorted ``rows``: a heavy one ends only where another item begins, which may be in a later batch."""
    found: list[Row] = []
    weight, last = 0, b""
    for _, key, record in rows:
        if key != last and portions.is_heavy(weight):
            yield found
            found, weight = [], 0
        last = key
        found.append(row_of(record))
        weight += portions.weight(1, len(record))
    if found:
        yield found


def _keyed(mapping: TableMapping, rows: Iterable[Row], partitions: int) -> Iterator[Keyed]:
    for row in rows:
        key = mapping.group_key(row)
        yield Keyed(partition_of(key, partitions) + 1, key, record_of(row))


def _all(batches: Iterable[RecordBatch]) -> Iterator[Keyed]:
    for batch in batches:
        yield from map(Keyed, *(column.to_pylist() for column in batch.columns))


def _numbers(batches: Iterable[RecordBatch]) -> Iterator[int]:
    for batch in batches:
        yield from batch.column(0).to_pylist()
