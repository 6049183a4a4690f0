"""Lines of an export file become rows of a table of the warehouse, for an engine that does not read them itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from whimbrel.records import Row, Table
from whimbrel.snapshot_files import line_decoder
from whimbrel.warehouse.stored import StoredTable

BYTES = 2 << 20  # of the lines that are handed over at once, as they are in the file


def rows_of_lines(table: StoredTable, version: Table, lines: Sequence[bytes], added: Row) -> list[Row]:
    """The rows of ``lines``, whose columns are those of ``version``; ``added`` are the values of ``table.added``."""
    decode, made = line_decoder(version), table.row_maker(version)
    if added:
        return [(*made(row), *added) for line in lines for row in decode(line)]
    return [made(row) for line in lines for row in decode(line)]


def some_together(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Up to BYTES of them at a time, or a single one that is longer."""
    some: list[bytes] = []
    size = 0
    for line in lines:
        if some and size + len(line) > BYTES:
            yield some
            some, size = [], 0
        some.append(line)
        size += len(line)
    if some:
        yield some
