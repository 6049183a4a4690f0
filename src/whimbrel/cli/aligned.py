"""Rows for people: aligned columns, nothing cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO, Protocol

MOST_ROWS = 1_000


class Answers(Protocol):
    """What gives the rows of a statement as an Arrow table, None where it has none."""

    def arrow(self, statement: str) -> Any: ...


def write_table(database: Answers, statement: str, out: BinaryIO) -> None:
    """The first rows of the statement's answer, and how to get all where there are more."""
    found = database.arrow(statement)
    if found is None:
        out.write(b"Done.\n")
        return
    rows = [tuple(row.values()) for row in found.slice(0, MOST_ROWS).to_pylist()]
    numbers = [_is_number(field.type) for field in found.schema]
    for line in lines(found.column_names, rows, numbers):
        out.write(line.encode() + b"\n")
    if found.num_rows > MOST_ROWS:
        out.write(f"… {found.num_rows:,} rows; --format csv, json or parquet gives them all\n".encode())
    out.flush()


def lines(names: Sequence[str], rows: Sequence[Sequence[Any]], numbers: Sequence[bool]) -> list[str]:
    """A head, a rule, and the rows; numbers stand to the right."""
    cells = [[_shown(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]

    def line(row: Sequence[str]) -> str:
        parts = (
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, numbers, strict=True)
        )
        return "  ".join(parts).rstrip()

    return [line(list(names)), "  ".join("─" * width for width in widths), *map(line, cells)]


def _shown(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    return str(value).replace("\n", "\\n")


def _is_number(kind: Any) -> bool:
    return str(kind).startswith(("int", "uint", "double", "float", "decimal"))
