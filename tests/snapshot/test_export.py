"""Export files: what was written comes back, and nothing else ever does."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whimbrel.errors import LogCorrupt
from whimbrel.records import Column, Row, Table
from whimbrel.snapshot_files import Chunk, read_chunk, write_chunk

BYTES = st.binary(max_size=40)
TEXT = st.text(max_size=40)  # every character that UTF-8 has
KINDS = {
    "int": st.integers(-(2**63), 2**64 - 1),
    "year": st.integers(0, 2155),
    "bit": st.integers(0, 2**64 - 1),
    "decimal": st.decimals(allow_nan=False, allow_infinity=False, places=9).map(str),
    "float": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "date": st.sampled_from(["0000-00-00", "2020-00-31", "9999-12-31"]),
    "datetime": st.sampled_from(["0000-00-00 00:00:00", "2020-02-29 23:59:59.999999"]),
    "timestamp": st.sampled_from(["1970-01-01 00:00:01", "2038-01-19 03:14:07.5"]),
    "time": st.sampled_from(["-838:59:59", "00:00:00.000", "838:59:59.99"]),
    "text": TEXT,
    "enum": st.sampled_from(["", "a", "ß"]),
    "set": st.sampled_from(["", "a,b"]),
    "json": st.sampled_from(["null", '{"a": [1, "\\u0000"]}']),
    "uuid": st.uuids().map(str),
    "inet4": st.ip_addresses(v=4).map(str),
    "inet6": st.ip_addresses(v=6).map(str),
    "binary": BYTES,
    "geometry": BYTES,
}
KEYS = st.tuples(KINDS["int"], KINDS["text"], KINDS["binary"], KINDS["decimal"], KINDS["double"])


@st.composite
def tables_of_rows(draw: st.DrawFn) -> tuple[Table, list[list[Row]]]:
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=6))
    columns = tuple(Column(f"c{i}", kind, members=("a", "b") if kind == "enum" else ()) for i, kind in enumerate(kinds))
    row = st.tuples(*(st.none() | KINDS[kind] for kind in kinds))
    return Table("shop", "purchase", columns, ("c0",)), draw(
        st.lists(st.lists(row, min_size=1, max_size=5), max_size=4)
    )


def written(path: Path, table: Table, chunk: Chunk, lines: list[list[Row]]) -> Path:
    writer = write_chunk(path, table, chunk)
    for rows in lines:
        writer.write(rows)
    file = writer.close()
    assert (file.rows, file.bytes) == (sum(map(len, lines)), path.stat().st_size)
    return path


@settings(max_examples=200, deadline=None)
@given(tables_of_rows(), st.none() | KEYS, st.none() | KEYS)
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, given_rows: Any, low: Any, high: Any
) -> None:
    table, lines = given_rows
    chunk = Chunk(7, low, high, ("a", "b", "c", "d", "e"))
    export = read_chunk(written(tmp_path_factory.mktemp("export") / "chunk", table, chunk, lines))
    assert (export.table, export.chunk, export.rows) == (table, chunk, sum(map(len, lines)))
    assert repr(list(export)) == repr(lines)  # repr: 1, 1.0 and True are equal, and so are 0.0 and -0.0


SIMPLE = Table("shop", "purchase", (Column("id", "int"), Column("name", "text"), Column("b", "binary")), ("id",))
ROWS = [[(i * 10 + j, f"name {i * j}", bytes([i, j])) for j in range(10)] for i in range(10)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("whole") / "chunk", SIMPLE, Chunk(1, None, None, ()), ROWS)  # type: ignore[arg-type]


def test_a_flipped_bit_anywhere_is_found(whole: Path, tmp_path: Path) -> None:
    """One bit of each byte of the file: it is corrupt, or the very same rows come out (zstd's own checksum repeats
    ours).
    """
    data, damaged, same = whole.read_bytes(), tmp_path / "damaged", 0
    for place, byte in enumerate(data):
        damaged.write_bytes(data[:place] + bytes([byte ^ (1 << place % 8)]) + data[place + 1 :])
        with contextlib.suppress(LogCorrupt):
            assert list(read_chunk(damaged)) == ROWS
            same += 1
    assert same < 10


def test_any_truncation_is_found(whole: Path, tmp_path: Path) -> None:
    data, damaged = whole.read_bytes(), tmp_path / "damaged"
    for length in range(len(data) - 4):  # the last four bytes are zstd's own checksum, which comes after the footer
        damaged.write_bytes(data[:length])
        with pytest.raises(LogCorrupt):
            read_chunk(damaged)


def test_a_damaged_file_gives_no_row_at_all(whole: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    damaged.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(LogCorrupt, match="damaged"):
        read_chunk(damaged)


def test_only_a_durable_file_has_the_final_name(tmp_path: Path) -> None:
    path = tmp_path / "chunk"
    writer = write_chunk(path, SIMPLE, Chunk(1, None, None, ()))
    writer.write(ROWS[0])
    assert not path.exists()
    writer.abandon()
    assert list(tmp_path.iterdir()) == []
    written(path, SIMPLE, Chunk(1, None, None, ()), ROWS)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_can_be_read_again(whole: Path) -> None:
    export = read_chunk(whole)
    assert list(export) == list(export) == ROWS
