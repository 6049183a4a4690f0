"""Full exports through DuckDB: a file's attributes as columns of text, and the lines that it could not account for.

DuckDB parses each line under an explicit structure, which ignores what it does not know. So every line is checked
against what was read of it: the lengths of all names, types and values that were found must add up to the length of the
line itself. Other lines (with an attribute or a type that the structure lacks, escaped text in another spelling, blanks
between the signs, anything damaged) are handed over as text, to be read one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import orjson

from whimbrel.lake.datasets import OWN_COLUMNS, literal, path_literal, quoted
from whimbrel.lake.duck import connect
from whimbrel.lake.lines import packing
from whimbrel.lake.sources import SourceFile

if TYPE_CHECKING:
    import pyarrow

MOST_BYTES = 128 << 10  # of a line: DuckDB holds 2,048 lines at once; a file with a longer one is read one by one
_BUFFER_BYTES = 1 << 20  # DuckDB would take 32 MB or more for each thread; a line has to fit in
MOST_ATTRIBUTES = (
    100  # for each, DuckDB takes half a megabyte: items with more are read one by one, which is quicker, too
)
_NO_BYTE = "\x01"  # never stands in JSON: as the separator, it makes a line one column


class Attribute(NamedTuple):
    """How one attribute is read: the content of its one scalar ``tag``, or ("") its whole value as JSON."""

    name: str
    tag: str


Plan = tuple[Attribute, ...]


class Batch(NamedTuple):
    """``texts`` has a column of texts for each attribute; ``strange`` the lines that were not accounted for, which are
    not among the rows.
    """

    texts: pyarrow.RecordBatch
    strange: list[bytes]


def readable(plan: Plan, source: SourceFile) -> bool:
    """DuckDB's names are equal when they differ in case only; such a table is read one by one."""
    names = {each.name.lower() for each in plan}
    return source.form in ("full", "plain") and 0 < len(names) == len(plan) <= MOST_ATTRIBUTES and "" not in names


def read(source: SourceFile, plan: Plan, rows: int) -> Iterator[Batch]:
    """The file in batches of about ``rows``. Raises duckdb.Error, OSError when a line is not JSON, or too long."""
    import pyarrow as pa

    with closing(connect(threads=1)) as connection:
        for batch in connection.sql(query(source, plan)).to_arrow_reader(rows):
            strange = batch.column(batch.num_columns - 1)
            texts = pa.RecordBatch.from_arrays(batch.columns[:-1], [each.name for each in plan])
            if strange.null_count == len(strange):
                yield Batch(texts, [])
            else:
                left = [line.encode() for line in strange.to_pylist() if line is not None]
                yield Batch(texts.filter(strange.is_null()), left)


def query(source: SourceFile, plan: Plan) -> str:
    values = [_Value(each, number) for number, each in enumerate(plan)]
    inner = {each.name: {each.tag: "VARCHAR"} if each.tag else "JSON" for each in plan}
    structure, item, frame = (inner, "j", len("{}")) if source.form == "plain" else ({"Item": inner}, 'j."Item"', 11)
    extracted = ", ".join(f"{item}.{value.path} AS {value.column}" for value in values)
    found = " + ".join(value.length for value in values)
    escaped = " + ".join(value.escaped_length for value in values)
    listed = ", ".join(value.column for value in values)
    # The last attribute has no comma behind it.
    return (
        f"SELECT {listed}, CASE WHEN line IS NULL THEN '' WHEN strlen(line) = {frame - 1} + {found} THEN NULL "
        f"WHEN strlen(line) = {frame - 1} + {escaped} THEN NULL ELSE line END AS strange "
        f"FROM (SELECT line, {extracted} FROM (SELECT line, from_json(line, {_json(structure)}) AS j "
        f"FROM {_lines(source.path)}))"
    )


class _Value:
    """One attribute in SQL: where it is in the structure, and how many bytes of the line it accounts for."""

    def __init__(self, attribute: Attribute, number: int) -> None:
        name, tag = attribute
        self.column = f"c{number}"
        self.path = f"{quoted(name)}.{quoted(tag)}" if tag else quoted(name)
        around = len(orjson.dumps(name)) + len(":,")
        if tag:
            around += len('{"":}') + len(tag)
        if tag in ("S", "N", "B"):
            around += len('""')
        self.length = f"coalesce(strlen({self.column}) + {around}, 0)"
        self.escaped_length = (
            f"coalesce(strlen(to_json({self.column})) + {around - 2}, 0)" if tag == "S" else self.length
        )


def _lines(path: Path) -> str:
    packed = packing(path) or "none"
    return (
        f"read_csv({path_literal(path)}, columns = {{'line': 'VARCHAR'}}, {OWN_COLUMNS}, "
        f"delim = '{_NO_BYTE}', quote = '', "
        f"escape = '', header = false, auto_detect = false, max_line_size = {MOST_BYTES}, "
        f"buffer_size = {_BUFFER_BYTES}, compression = '{packed}')"
    )


def _json(structure: object) -> str:
    return literal(orjson.dumps(structure).decode())
