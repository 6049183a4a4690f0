"""Lines carry every canonical value exactly, or are refused by name."""

from __future__ import annotations

import math
from base64 import b64decode
from dataclasses import fields
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.changelog.histories import PICTURE, PURCHASE, read_all
from whimbrel.changelog import record
from whimbrel.changelog.files import ChangeLogWriter
from whimbrel.errors import StateError
from whimbrel.records import Change, Column, Commit, Position, Row, Table

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
INTEGERS = st.integers(-(2**63), 2**64 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int": INTEGERS,
    "year": st.integers(0, 2155),
    "bit": st.integers(0, 2**64 - 1),
    "decimal": st.decimals(allow_nan=False, allow_infinity=False).map(str),
    "float": FLOATS,
    "double": FLOATS,
    "binary": st.binary(),
    "geometry": st.binary(),
} | dict.fromkeys(
    ["date", "datetime", "timestamp", "time", "text", "enum", "set", "json", "uuid", "inet4", "inet6"], TEXT
)
NAMES = TEXT.filter(bool) | st.sampled_from(["base64", "crc", "type", "row", "values", '"},"position":{'])


@st.composite
def tables(draw: st.DrawFn) -> Table:
    names = draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    columns = tuple(
        Column(
            name,
            draw(st.sampled_from(sorted(VALUES))),
            nullable=draw(st.booleans()),
            unsigned=draw(st.booleans()),
            length=draw(st.integers(0, 2**32)),
            members=tuple(draw(st.lists(TEXT, max_size=2))),
            charset=draw(st.sampled_from(["", "utf8mb4"])),
        )
        for name in names
    )
    return Table(draw(NAMES), draw(NAMES), columns, (names[0],))


def rows(table: Table) -> st.SearchStrategy[Row]:
    return st.tuples(*(st.none() | VALUES[column.kind] for column in table.columns))


@st.composite
def changes(draw: st.DrawFn) -> Change:
    table = draw(tables())
    before, after = draw(
        st.one_of(
            st.tuples(st.none(), rows(table)),
            st.tuples(rows(table), rows(table)),
            st.tuples(rows(table), st.none()),
        )
    )
    return Change(table, before, after, Position(draw(TEXT), draw(st.integers(0, 2**63))))


def exactly(value: object) -> object:
    """Tells apart what == does not: 0.0 and -0.0, 1 and 1.0."""
    if isinstance(value, tuple):
        return tuple(exactly(part) for part in value)
    return type(value), math.copysign(1, value) if isinstance(value, float) else 0, value


@given(changes())
@example(Change(PICTURE, None, (1, b""), Position("bin.000001", 4)))
@example(Change(Table("s", "t", (Column("base64", "text"),), ("base64",)), ("x",), (None,), Position("b.1", 4)))
def test_a_change_comes_back_exactly(change: Change) -> None:
    line = record.change_encoder(change.table)(change)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert record.is_sound(line[:-1])  # type: ignore[attr-defined]
    again = record.change_decoder(change.table)(orjson.loads(line))
    assert again == change
    assert (exactly(again.before), exactly(again.after)) == (exactly(change.before), exactly(change.after))


@given(tables())
def test_a_table_comes_back_with_every_field(table: Table) -> None:
    assert record.read_table(orjson.loads(record.table_line(table))) == table


def test_a_table_line_holds_all_fields_that_a_column_has() -> None:
    line = orjson.loads(record.table_line(PURCHASE))
    assert [set(column) for column in line["columns"]] == [{field.name for field in fields(Column)}] * 2


@given(TEXT, TEXT, st.integers(0, 2**63), FLOATS, st.integers(0, 2**63))
def test_a_commit_comes_back_exactly(file: str, gtid: str, offset: int, timestamp: float, count: int) -> None:
    commit = Commit(Position(file, offset, gtid, offset % 3), timestamp)
    line = record.commit_line(commit, count, count)
    assert record.is_commit(line)
    assert record.read_commit(orjson.loads(line)) == (commit, count, count)


@given(changes(), st.data())
def test_a_changed_byte_is_noticed(change: Change, data: st.DataObject) -> None:
    line = bytearray(record.change_encoder(change.table)(change)[:-1])
    line[data.draw(st.integers(0, len(line) - 1))] ^= data.draw(st.integers(1, 255))
    assert not record.is_sound(bytes(line))  # type: ignore[attr-defined]


NUMBERS = Table("shop", "numbers", (Column("id", "int"), Column("f", "double")), ("id",))


@pytest.mark.parametrize(
    ("table", "row", "reason"),
    [
        (PURCHASE, (1, "\ud800"), "surrogates"),
        (PURCHASE, (2**64, "x"), "64-bit"),
        (PURCHASE, (-(2**63) - 1, "x"), "64-bit"),
        (PURCHASE, (1, Decimal("1.5")), "Decimal"),
        (PURCHASE, (1, date(2026, 1, 1)), "date"),
        (PURCHASE, (1, b"bytes in a text column"), "bytes"),
        (PURCHASE, (1,), "zip"),
        (PURCHASE, (1, "x", "y"), "zip"),
        (PICTURE, (1, bytearray(b"x")), "bytearray"),
        (NUMBERS, (1, math.nan), "not a SQL number"),
        (NUMBERS, (1, math.inf), "not a SQL number"),
        (NUMBERS, (1, "1.5"), "real number"),
    ],
)
def test_what_json_cannot_carry_exactly_is_refused_by_name(table: Table, row: Row, reason: str) -> None:
    change = Change(table, None, row, Position("bin.000007", 99))
    with pytest.raises(StateError, match=reason) as refused:
        record.change_encoder(table)(change)
    assert "bin.000007:99" in str(refused.value)
    assert refused.value.place == table.full_name
    assert refused.value.hint


def test_a_name_that_is_no_unicode_text_is_refused() -> None:
    with pytest.raises(StateError, match="surrogates"):
        record.change_encoder(Table("shop", "\udc80", PURCHASE.columns, ("id",)))


def test_after_a_refused_change_the_transaction_cannot_be_committed(tmp_path: Path) -> None:
    good = Change(PURCHASE, None, (1, "x"), Position("bin.000001", 1))
    with ChangeLogWriter(tmp_path) as writer:
        writer.append([good])
        with pytest.raises(StateError):
            writer.append([good, good._replace(after=(1, "\ud800"))])
        with pytest.raises(StateError):
            writer.commit(Commit(Position("bin.000001", 2), 0.0))
    with ChangeLogWriter(tmp_path) as writer:
        assert writer.last is None
    assert read_all(tmp_path) == []


def test_the_lines_have_the_fields_of_the_post() -> None:
    old, new, position = (1, "a"), (2, None), Position("bin.000001", 120, "0-1-7")
    encode = record.change_encoder(PURCHASE)
    insert, update, delete = (
        orjson.loads(encode(Change(PURCHASE, before, after, position)))
        for before, after in [(None, new), (old, new), (old, None)]
    )
    kinds = ["WriteRowsEvent", "UpdateRowsEvent", "DeleteRowsEvent"]
    assert [line["type"] for line in (insert, update, delete)] == kinds
    for line in (insert, update, delete):
        assert (line["schema"], line["table"]) == ("shop", "purchase")
        assert line["position"] == {"file": "bin.000001", "offset": 120}
    assert insert["row"] == {"values": {"id": 2, "note": None}}
    assert update["row"] == {"before_values": {"id": 1, "note": "a"}, "after_values": {"id": 2, "note": None}}
    assert delete["row"] == {"values": {"id": 1, "note": "a"}}


def test_bytes_are_base64_that_anybody_can_read() -> None:
    line = orjson.loads(record.change_encoder(PICTURE)(Change(PICTURE, None, (1, b"\x00\xff"), Position("b.1", 1))))
    assert b64decode(line["row"]["values"]["data"]["base64"]) == b"\x00\xff"
